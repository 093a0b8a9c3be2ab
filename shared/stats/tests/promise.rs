//! The promise, by simulation with fixed seeds: how often a release that does no harm is rolled
//! back, and how often one beyond the margin is promoted early.
//!
//! Each law has a counter-example beside it, so that a judge who never says anything fails too.

use stats::{Counts, Judge, JudgeConfig, Verdict, cluster_size};

const RELEASES: u32 = 1000;
const REQUESTS_PER_WINDOW: u64 = 1200;

/// The canary's part of the requests, window by window.
const LADDER: [(usize, f64); 4] = [(5, 0.01), (5, 0.05), (10, 0.25), (10, 0.5)];

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0 (inclusive) to 1 (exclusive).
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many of `n` happen, each with probability `p`: jumps from one to the next.
    fn binomial(&mut self, n: u64, p: f64) -> u64 {
        let log_miss = (-p).ln_1p();
        let (mut happened, mut at) = (0, 0.0);
        loop {
            at += 1.0 + ((1.0 - self.uniform()).ln() / log_miss).floor();
            if at > n as f64 {
                return happened;
            }
            happened += 1;
        }
    }

    fn arm(&mut self, count: u64, rate: f64) -> Counts {
        Counts::new(count, self.binomial(count, rate)).unwrap()
    }
}

/// The (canary, baseline) request counts of a whole release.
fn ladder() -> impl Iterator<Item = (u64, u64)> {
    LADDER.into_iter().flat_map(|(windows, part)| {
        let canary = (REQUESTS_PER_WINDOW as f64 * part) as u64;
        std::iter::repeat_n((canary, REQUESTS_PER_WINDOW - canary), windows)
    })
}

/// The part of many releases in which the judge ever says `verdict`. `window` draws what the two
/// arms of the given size saw.
fn part_with(
    verdict: Verdict,
    config: &JudgeConfig,
    metrics: &[&str],
    window: impl Fn(&mut Random, u64, u64) -> (Counts, Counts),
) -> f64 {
    config.validate().unwrap();
    let ends_so = |seed: &u32| {
        let mut random = Random(u64::from(*seed));
        let mut judge = Judge::new(config);
        ladder().any(|(canary, baseline)| {
            let (canary, baseline) = window(&mut random, canary, baseline);
            let window = metrics.iter().map(|metric| (*metric, canary, baseline));
            judge.observe_window(config, window).unwrap();
            judge.verdict(config) == verdict
        })
    };
    let ended_so = (0..RELEASES).filter(ends_so).count();
    ended_so as f64 / f64::from(RELEASES)
}

/// A larger alpha than the default, so that there is something to count.
fn config() -> JudgeConfig {
    JudgeConfig {
        alpha: 0.05,
        ..JudgeConfig::default()
    }
}

/// The canary's rate is `risk` times the baseline's, and both drift over two orders of magnitude.
fn drifting(risk: f64) -> impl Fn(&mut Random, u64, u64) -> (Counts, Counts) {
    move |random, canary, baseline| {
        let rate = 0.001 * 100_f64.powf(random.uniform());
        (random.arm(canary, risk * rate), random.arm(baseline, rate))
    }
}

/// Equal versions, but bad requests come in bursts that land on one arm as a unit.
fn bursts(size: impl Fn(&mut Random) -> u64) -> impl Fn(&mut Random, u64, u64) -> (Counts, Counts) {
    move |random, canary, baseline| {
        let on_canary = canary as f64 / (canary + baseline) as f64;
        let (mut canary_bad, mut baseline_bad) = (0, 0);
        for _ in 0..random.binomial(20, 0.2) {
            let burst = size(random);
            if random.uniform() < on_canary {
                canary_bad += burst;
            } else {
                baseline_bad += burst;
            }
        }
        // Retries come on top of the requests that were routed.
        (
            Counts {
                count: canary.max(canary_bad),
                bad: canary_bad,
            },
            Counts {
                count: baseline.max(baseline_bad),
                bad: baseline_bad,
            },
        )
    }
}

#[test]
fn a_release_without_harm_is_rolled_back_with_probability_alpha_at_most() {
    let part = part_with(Verdict::Rollback, &config(), &["errors"], drifting(1.0));
    assert!(part <= 0.05, "{part}");
    assert!(part > 0.0, "at this alpha a judge who bets loses sometimes");
}

#[test]
fn a_release_with_harm_is_rolled_back() {
    let part = part_with(Verdict::Rollback, &config(), &["errors"], drifting(5.0));
    assert!(part > 0.99, "{part}");
}

#[test]
fn the_promise_holds_for_metrics_that_always_agree() {
    let metrics = ["errors", "slow:p90", "slow:p99"];
    let part = part_with(Verdict::Rollback, &config(), &metrics, drifting(1.0));
    assert!(part <= 0.05, "{part}");
}

#[test]
fn the_promise_holds_at_the_edge_of_a_larger_r0() {
    let config = JudgeConfig {
        r0: 1.25,
        ..config()
    };
    let part = part_with(Verdict::Rollback, &config, &["slow:p90"], drifting(1.25));
    assert!(part <= 0.05, "{part}");
}

#[test]
fn the_promise_holds_at_an_absolute_limit() {
    let mut config = config();
    config.slo.insert("errors".to_owned(), 0.01);
    config.weights = [("slo:errors".to_owned(), 1.0)].into();
    let without_baseline =
        |rate| move |random: &mut Random, canary, _| (random.arm(canary, rate), Counts::default());
    let part = part_with(
        Verdict::Rollback,
        &config,
        &["errors"],
        without_baseline(0.01),
    );
    assert!(part <= 0.05, "{part}");
    let part = part_with(
        Verdict::Rollback,
        &config,
        &["errors"],
        without_baseline(0.03),
    );
    assert!(part > 0.99, "{part}");
}

#[test]
fn eta_restores_the_promise_under_bursts_of_a_known_size() {
    let mut config = config();
    let part = part_with(Verdict::Rollback, &config, &["errors"], bursts(|_| 10));
    assert!(
        part > 0.05,
        "bursts break the promise when nobody knows of them: {part}"
    );

    config.eta.insert("errors".to_owned(), 0.1);
    let part = part_with(Verdict::Rollback, &config, &["errors"], bursts(|_| 10));
    assert!(part <= 0.05, "{part}");
}

#[test]
fn robust_mode_keeps_the_promise_under_bursts_of_unknown_size() {
    let mut config = config();
    config.robust.insert("errors".to_owned());
    let any_size = |random: &mut Random| 1 + (200.0 * random.uniform().powi(4)) as u64;
    let part = part_with(Verdict::Rollback, &config, &["errors"], bursts(any_size));
    assert!(part <= 0.05, "{part}");
    let part = part_with(Verdict::Rollback, &config, &["errors"], drifting(5.0));
    assert!(part > 0.9, "robust mode still sees a regression: {part}");
}

#[test]
fn a_release_at_the_margin_is_promoted_early_with_probability_alpha_ni_at_most() {
    let config = config();
    let with_rate_ratio_and_rise = |ratio: f64, rise: f64| {
        move |random: &mut Random, canary, baseline| {
            (
                random.arm(canary, ratio * 0.02 + rise),
                random.arm(baseline, 0.02),
            )
        }
    };
    let at_margin = with_rate_ratio_and_rise(config.ni_ratio, config.ni_abs);
    let part = part_with(Verdict::Promote, &config, &["errors"], at_margin);
    assert!(part <= 0.05, "{part}");

    let better = with_rate_ratio_and_rise(0.5, 0.0);
    let part = part_with(Verdict::Promote, &config, &["errors"], better);
    assert!(part > 0.9, "{part}");
}

#[test]
fn the_size_of_clusters_is_found_on_equal_versions() {
    let measured = |window: &dyn Fn(&mut Random, u64, u64) -> (Counts, Counts)| {
        let mut random = Random(7);
        let release = (0..100).flat_map(|_| ladder());
        cluster_size(release.map(|(canary, baseline)| window(&mut random, canary, baseline)))
    };
    let independent = measured(&drifting(1.0)).unwrap();
    assert!(independent < 1.1, "{independent}");
    let in_tens = measured(&bursts(|_| 10)).unwrap();
    assert!((9.0..11.0).contains(&in_tens), "{in_tens}");
}
