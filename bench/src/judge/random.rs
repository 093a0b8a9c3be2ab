//! Random numbers that can be asked for again: a draw is named by what it is for.

use std::f64::consts::TAU;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
#[derive(Debug, Clone)]
pub struct Random(u64);

/// The golden ratio in 64 bits, by which SplitMix64 counts.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    /// The stream of this name. Equal names give equal streams, others independent ones.
    pub fn named(name: &[u64]) -> Self {
        let absorb = |state: u64, part: &u64| mix(state ^ part.wrapping_add(STRIDE));
        Self(name.iter().fold(STRIDE, absorb))
    }

    /// 64 random bits, for a stream to be named by.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STRIDE);
        mix(self.0)
    }

    /// Uniform in 0 (inclusive) to 1 (exclusive).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many events happen that are expected `mean` times, each independent of the others.
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        let mode = mean.floor();
        let at_mode = (mode * mean.ln() - mean - ln_factorial(mode)).exp();
        self.outwards(mode, at_mode, f64::INFINITY, |k| mean / (k + 1.0))
    }

    /// How many of `n` happen, each with probability `p`.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p <= 0.0 || n == 0 {
            return 0;
        }
        if p >= 1.0 {
            return n;
        }
        let n = n as f64;
        let mode = ((n + 1.0) * p).floor().min(n);
        let ways = ln_factorial(n) - ln_factorial(mode) - ln_factorial(n - mode);
        let at_mode = (ways + mode * p.ln() + (n - mode) * (-p).ln_1p()).exp();
        let odds = p / (1.0 - p);
        self.outwards(mode, at_mode, n, |k| (n - k) / (k + 1.0) * odds)
    }

    /// A number from 0 to `most`: walks outwards from the likeliest one, up and down in turns,
    /// until the probabilities passed exceed a uniform number. `growth(k)` is P(k + 1) / P(k).
    fn outwards(&mut self, mode: f64, at_mode: f64, most: f64, growth: impl Fn(f64) -> f64) -> u64 {
        let mut left = self.uniform() - at_mode;
        let (mut above, mut p_above) = (mode, at_mode);
        let (mut below, mut p_below) = (mode, at_mode);
        while left >= 0.0 && (p_above > 0.0 || p_below > 0.0) {
            p_above *= if above < most { growth(above) } else { 0.0 };
            above += 1.0;
            left -= p_above;
            if left < 0.0 {
                return whole(above);
            }
            p_below *= if below > 0.0 {
                growth(below - 1.0).recip()
            } else {
                0.0
            };
            below -= 1.0;
            left -= p_below;
            if left < 0.0 {
                return whole(below);
            }
        }
        whole(mode) // chosen at once, or by the last bits of rounding
    }
}

/// A whole number from 0 on.
fn whole(k: f64) -> u64 {
    k as u64
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// ln n!, by Stirling's series from 16 on (its error there is below 1e-9).
fn ln_factorial(n: f64) -> f64 {
    if n < 16.0 {
        let factors = (2..=whole(n)).map(|k| k as f64);
        return factors.product::<f64>().ln();
    }
    let series = (1.0 / 12.0 - 1.0 / (360.0 * n * n)) / n;
    n * n.ln() - n + 0.5 * (TAU * n).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: u32 = 20_000;

    /// Mean and variance of many draws.
    fn moments(name: u64, mut draw: impl FnMut(&mut Random) -> u64) -> (f64, f64) {
        let mut random = Random::named(&[name]);
        let draws: Vec<f64> = (0..DRAWS).map(|_| draw(&mut random) as f64).collect();
        let mean = draws.iter().sum::<f64>() / f64::from(DRAWS);
        let squares = draws.iter().map(|draw| (draw - mean).powi(2));
        (mean, squares.sum::<f64>() / f64::from(DRAWS - 1))
    }

    /// Whether a mean and a variance are within five standard errors of a nearly normal law's.
    fn fits((mean, variance): (f64, f64), law_mean: f64, law_variance: f64) -> bool {
        let n = f64::from(DRAWS);
        // The fourth moment of a small count adds 1 / variance to that of a normal law.
        let spread = law_variance * ((2.0 + 1.0 / law_variance) / n).sqrt();
        (mean - law_mean).abs() < 5.0 * (law_variance / n).sqrt()
            && (variance - law_variance).abs() < 5.0 * spread
    }

    #[test]
    fn poisson_counts_have_the_mean_and_variance_of_their_law() {
        for (name, mean) in [(1, 0.006), (2, 0.7), (3, 7.5), (4, 600.0), (5, 59_400.0)] {
            let seen = moments(name, |random| random.poisson(mean));
            assert!(fits(seen, mean, mean), "{mean}: {seen:?}");
        }
    }

    #[test]
    fn binomial_counts_have_the_mean_and_variance_of_their_law() {
        for (name, n, p) in [
            (1, 1, 0.3),
            (2, 60, 0.001),
            (3, 60, 0.99),
            (4, 6_000, 0.1),
            (5, 60_000, 0.0001),
            (6, 60_000, 0.5),
        ] {
            let seen = moments(name, |random| random.binomial(n, p));
            let mean = n as f64 * p;
            assert!(fits(seen, mean, mean * (1.0 - p)), "{n} {p}: {seen:?}");
        }
    }

    #[test]
    fn small_counts_have_the_probabilities_of_their_law() {
        let mut random = Random::named(&[9]);
        let mut seen = [0_u32; 5];
        (0..DRAWS).for_each(|_| seen[random.binomial(4, 0.4) as usize] += 1);
        let law = [0.1296, 0.3456, 0.3456, 0.1536, 0.0256];
        for (seen, p) in seen.into_iter().zip(law) {
            let n = f64::from(DRAWS);
            let error = (n * p * (1.0 - p)).sqrt();
            assert!((f64::from(seen) - n * p).abs() < 5.0 * error, "{seen} {p}");
        }
    }

    #[test]
    fn what_never_or_always_happens_is_not_drawn() {
        let mut random = Random::named(&[]);
        assert_eq!(random.binomial(60_000, 0.0), 0);
        assert_eq!(random.binomial(60_000, 1.0), 60_000);
        assert_eq!(random.binomial(0, 0.5), 0);
        assert_eq!(random.poisson(0.0), 0);
    }

    #[test]
    fn a_stream_is_told_by_its_name() {
        let first = |name: &[u64]| Random::named(name).bits();
        assert_eq!(first(&[1, 2]), first(&[1, 2]));
        let names: [&[u64]; 6] = [&[], &[0], &[0, 0], &[1, 2], &[2, 1], &[1, 2, 0]];
        let firsts: std::collections::BTreeSet<u64> = names.into_iter().map(first).collect();
        assert_eq!(firsts.len(), names.len());
    }

    #[test]
    fn the_factorial_joins_its_series() {
        let exact: f64 = (2..=20_u64).map(|k| (k as f64).ln()).sum();
        assert!((ln_factorial(20.0) - exact).abs() < 1e-8);
        assert_eq!(ln_factorial(0.0), 0.0);
    }
}
