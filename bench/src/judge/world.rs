//! The world that every decider meets: requests, and how many of them are bad, minute by minute.
//!
//! A minute is a pure function of the scenario, the release's seed, the minute and the weight, so
//! two deciders that give a release the same weight in the same minute see the same counts.

use std::f64::consts::TAU;

use super::random::Random;

/// What the canary does to requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Harm {
    /// Nothing: the same version again.
    None,
    /// Errors are this many times as frequent.
    Times(f64),
    /// So many more of all requests fail.
    Plus(f64),
    /// Every request fails.
    Outage,
    /// 15 % of the requests are slower than the stable version's p90, and 2 % than its p99.
    Slow,
    /// 30 % of the requests are slower than the stable version's p90, and 10 % than its p99.
    VerySlow,
}

/// What happens to both versions alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Nothing.
    Calm,
    /// The error rate swings between a quarter and four times the base within [`DRIFT_MINUTES`].
    Drift,
    /// In some minutes ([`BURST_PROBABILITY`]) errors are [`BURST_TIMES`] as frequent.
    Bursts,
}

/// One swing of [`Weather::Drift`], there and back.
pub const DRIFT_MINUTES: f64 = 30.0;
/// How far [`Weather::Drift`] swings: between the base over this and the base times this.
pub const DRIFT_TIMES: f64 = 4.0;
/// The part of the minutes that have a burst.
pub const BURST_PROBABILITY: f64 = 0.15;
/// How many times as frequent errors are in a burst.
pub const BURST_TIMES: f64 = 20.0;

/// The law of a release's traffic.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scenario {
    /// Requests a second to both versions together, on average.
    pub requests_per_second: f64,
    /// The part of the stable version's requests that fails, in calm weather.
    pub base: f64,
    /// What the canary does.
    pub harm: Harm,
    /// The first minute in which it does it, counted from 1.
    pub since: u32,
    /// What happens to both versions.
    pub weather: Weather,
    /// How many failures come together, in one arm; 1 when each comes alone.
    pub cluster: u32,
}

/// How likely a request is to be bad, for one version in one minute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// It fails.
    pub errors: f64,
    /// It is slower than the stable version's p90 before the release.
    pub over_p90: f64,
    /// It is slower than the stable version's p99 before the release.
    pub over_p99: f64,
    /// It takes more than half a second, which is where Flagger's example draws the line.
    pub over_half_second: f64,
}

/// The requests of one arm in one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Arm {
    /// All of them.
    pub count: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those slower than the stable version's p90 before the release.
    pub over_p90: u64,
    /// Those slower than its p99.
    pub over_p99: u64,
    /// Those that took more than half a second.
    pub over_half_second: u64,
}

/// One minute of both arms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minute {
    /// Counted from 1.
    pub number: u32,
    /// The new version.
    pub canary: Arm,
    /// The stable version.
    pub baseline: Arm,
}

/// The stable version: 10 % of its requests are over its p90, by definition, and 1 % over its p99.
const STABLE_OVER_P90: f64 = 0.1;
const STABLE_OVER_P99: f64 = 0.01;
const STABLE_OVER_HALF_SECOND: f64 = 0.001;

/// The streams of random numbers of one minute.
const WEATHER: u64 = 1;
const CANARY: u64 = 2;
const BASELINE: u64 = 3;

impl Scenario {
    /// Equal versions in calm weather.
    pub const fn calm(requests_per_second: f64, base: f64) -> Self {
        Self {
            requests_per_second,
            base,
            harm: Harm::None,
            since: 1,
            weather: Weather::Calm,
            cluster: 1,
        }
    }

    /// Requests a minute to both versions together, on average.
    pub fn requests_per_minute(&self) -> f64 {
        60.0 * self.requests_per_second
    }

    /// Whether the canary does harm in this minute.
    pub fn harms(&self, minute: u32) -> bool {
        self.harm != Harm::None && minute >= self.since
    }

    /// The stable version's rates in this minute of the release of this seed.
    pub fn stable_rates(&self, seed: u64, minute: u32) -> Rates {
        Rates {
            errors: (self.base * self.weather(seed, minute)).min(1.0),
            over_p90: STABLE_OVER_P90,
            over_p99: STABLE_OVER_P99,
            over_half_second: STABLE_OVER_HALF_SECOND,
        }
    }

    /// The canary's rates in this minute of the release of this seed.
    pub fn canary_rates(&self, seed: u64, minute: u32) -> Rates {
        let stable = self.stable_rates(seed, minute);
        if minute < self.since {
            return stable;
        }
        self.harm.on(stable)
    }

    /// What both arms do in this minute when the canary has `weight` (0 to 1) of the requests.
    pub fn minute(&self, seed: u64, number: u32, weight: f64) -> Minute {
        let arm = |stream, weight: f64, rates: Rates| {
            let mut random = Random::named(&[seed, number.into(), stream]);
            self.arm(&mut random, weight, rates)
        };
        Minute {
            number,
            canary: arm(CANARY, weight, self.canary_rates(seed, number)),
            baseline: arm(BASELINE, 1.0 - weight, self.stable_rates(seed, number)),
        }
    }

    fn arm(&self, random: &mut Random, weight: f64, rates: Rates) -> Arm {
        let count = random.poisson(weight * self.requests_per_minute());
        let errors = self.errors(random, count, rates.errors);
        let count = count.max(errors); // retries come on top of what was routed
        // Each slower class is a part of the one before.
        let over_p90 = random.binomial(count, rates.over_p90);
        let over_p99 = random.binomial(over_p90, rates.over_p99 / rates.over_p90);
        let over_half_second = random.binomial(over_p99, rates.over_half_second / rates.over_p99);
        Arm {
            count,
            errors,
            over_p90,
            over_p99,
            over_half_second,
        }
    }

    fn errors(&self, random: &mut Random, count: u64, rate: f64) -> u64 {
        if self.cluster <= 1 {
            return random.binomial(count, rate);
        }
        let size = f64::from(self.cluster);
        random.poisson(count as f64 * rate / size) * u64::from(self.cluster)
    }

    /// By how much the weather multiplies the error rate of both versions.
    fn weather(&self, seed: u64, minute: u32) -> f64 {
        match self.weather {
            Weather::Calm => 1.0,
            Weather::Drift => {
                let phase = Random::named(&[seed, WEATHER]).uniform();
                let turn = f64::from(minute) / DRIFT_MINUTES + phase;
                DRIFT_TIMES.powf((TAU * turn).sin())
            }
            Weather::Bursts => {
                let luck = Random::named(&[seed, WEATHER, minute.into()]).uniform();
                if luck < BURST_PROBABILITY {
                    BURST_TIMES
                } else {
                    1.0
                }
            }
        }
    }
}

impl Harm {
    /// The rates of a canary that does this, beside a stable version of these rates.
    fn on(self, stable: Rates) -> Rates {
        let failing = |errors: f64| Rates {
            errors: errors.min(1.0),
            ..stable
        };
        match self {
            Self::None => stable,
            Self::Times(ratio) => failing(stable.errors * ratio),
            Self::Plus(rise) => failing(stable.errors + rise),
            Self::Outage => failing(1.0),
            Self::Slow => Rates {
                over_p90: 0.15,
                over_p99: 0.02,
                over_half_second: 0.003,
                ..stable
            },
            Self::VerySlow => Rates {
                over_p90: 0.3,
                over_p99: 0.1,
                over_half_second: 0.03,
                ..stable
            },
        }
    }
}

impl Arm {
    /// The part that failed; `None` without requests.
    pub fn error_rate(&self) -> Option<f64> {
        (self.count > 0).then(|| self.errors as f64 / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTES: u32 = 4_000;

    /// All counts of many minutes, each of another release.
    fn total(scenario: &Scenario, weight: f64) -> Minute {
        let add = |a: Arm, b: Arm| Arm {
            count: a.count + b.count,
            errors: a.errors + b.errors,
            over_p90: a.over_p90 + b.over_p90,
            over_p99: a.over_p99 + b.over_p99,
            over_half_second: a.over_half_second + b.over_half_second,
        };
        let minutes = (1..=MINUTES).map(|n| scenario.minute(u64::from(n), n, weight));
        let sum = minutes.reduce(|a, b| Minute {
            number: b.number,
            canary: add(a.canary, b.canary),
            baseline: add(a.baseline, b.baseline),
        });
        sum.unwrap()
    }

    fn rate(part: u64, of: u64) -> f64 {
        part as f64 / of as f64
    }

    fn near(seen: f64, law: f64) -> bool {
        (seen / law - 1.0).abs() < 0.05
    }

    fn with(harm: Harm) -> Scenario {
        Scenario {
            harm,
            ..Scenario::calm(10.0, 0.01)
        }
    }

    #[test]
    fn traffic_is_split_by_weight() {
        let all = total(&Scenario::calm(10.0, 0.01), 0.25);
        let requests = f64::from(MINUTES) * 600.0;
        assert!(near(all.canary.count as f64, 0.25 * requests));
        assert!(near(all.baseline.count as f64, 0.75 * requests));
    }

    #[test]
    fn each_harm_has_the_error_rate_it_says() {
        for (harm, law) in [
            (Harm::None, 0.01),
            (Harm::Times(1.5), 0.015),
            (Harm::Times(5.0), 0.05),
            (Harm::Plus(0.1), 0.11),
            (Harm::Outage, 1.0),
            (Harm::Slow, 0.01),
        ] {
            let all = total(&with(harm), 0.5);
            let (canary, baseline) = (all.canary, all.baseline);
            assert!(near(rate(canary.errors, canary.count), law), "{harm:?}");
            assert!(near(rate(baseline.errors, baseline.count), 0.01));
        }
    }

    #[test]
    fn each_harm_has_the_slowness_it_says() {
        for (harm, p90, p99, half_second) in [
            (Harm::None, 0.1, 0.01, 0.001),
            (Harm::Slow, 0.15, 0.02, 0.003),
            (Harm::VerySlow, 0.3, 0.1, 0.03),
        ] {
            let all = total(&with(harm), 0.5);
            let canary = all.canary;
            assert!(near(rate(canary.over_p90, canary.count), p90), "{harm:?}");
            assert!(near(rate(canary.over_p99, canary.count), p99), "{harm:?}");
            let over = rate(canary.over_half_second, canary.count);
            assert!(near(over, half_second), "{harm:?}: {over}");
            assert!(near(rate(all.baseline.over_p90, all.baseline.count), 0.1));
        }
    }

    #[test]
    fn weather_is_the_same_for_both_arms_and_has_its_mean() {
        // The mean of 4^sin(x) is the Bessel function I0(ln 4) = 1.54088.
        let bursts = 1.0 + BURST_PROBABILITY * (BURST_TIMES - 1.0);
        for (weather, mean) in [(Weather::Drift, 1.540_88), (Weather::Bursts, bursts)] {
            let scenario = Scenario {
                weather,
                ..Scenario::calm(10.0, 0.01)
            };
            let all = total(&scenario, 0.5);
            for arm in [all.canary, all.baseline] {
                let seen = rate(arm.errors, arm.count);
                assert!(near(seen, 0.01 * mean), "{weather:?}: {seen}");
            }
            assert_eq!(scenario.canary_rates(7, 7), scenario.stable_rates(7, 7));
        }
    }

    #[test]
    fn clusters_keep_the_rate_and_come_whole() {
        let scenario = Scenario {
            cluster: 10,
            ..Scenario::calm(10.0, 0.01)
        };
        let all = total(&scenario, 0.25);
        assert!(near(rate(all.canary.errors, all.canary.count), 0.01));
        assert!(near(rate(all.baseline.errors, all.baseline.count), 0.01));
        for number in 1..=100 {
            let minute = scenario.minute(1, number, 0.25);
            assert_eq!(
                (minute.canary.errors % 10, minute.baseline.errors % 10),
                (0, 0)
            );
        }
    }

    #[test]
    fn a_leak_begins_when_it_says() {
        let leak = Scenario {
            since: 13,
            ..with(Harm::Times(5.0))
        };
        assert_eq!(leak.canary_rates(1, 12), leak.stable_rates(1, 12));
        assert_eq!(leak.canary_rates(1, 13).errors, 0.05);
        assert_eq!((leak.harms(12), leak.harms(13)), (false, true));
    }

    #[test]
    fn the_same_minute_at_the_same_weight_is_the_same() {
        let scenario = with(Harm::Times(2.0));
        assert_eq!(scenario.minute(3, 4, 0.05), scenario.minute(3, 4, 0.05));
        assert_ne!(scenario.minute(3, 4, 0.05), scenario.minute(4, 4, 0.05));
        assert_ne!(scenario.minute(3, 4, 0.05), scenario.minute(3, 5, 0.05));
    }
}
