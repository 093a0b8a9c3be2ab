//! The promise, by enumeration: while a release does no harm, no window is expected to raise the
//! evidence, whatever came before it. All outcomes of one small window are tried.

use stats::{Counts, Judge, JudgeConfig, Look};

/// Requests of (canary, baseline) in the window to come.
const ARMS: [(u64, u64); 4] = [(1, 1), (1, 9), (6, 11), (12, 3)];
/// Bad rates of the baseline.
const RATES: [f64; 5] = [0.0, 0.01, 0.1, 0.5, 0.8];
/// How exact a sum of some hundred floats is.
const TOLERANCE: f64 = 1e-9;

fn counts(count: u64, bad: u64) -> Counts {
    Counts::new(count, bad).unwrap()
}

/// What the releases have behind them: nothing, good windows, and bad ones.
fn histories() -> [Vec<(Counts, Counts)>; 3] {
    let good = (counts(50, 2), counts(500, 22));
    let bad = (counts(50, 9), counts(500, 22));
    [vec![], vec![good; 5], vec![good, good, bad, bad]]
}

fn judge_after(config: &JudgeConfig, metrics: &[&str], history: &[(Counts, Counts)]) -> Judge {
    config.validate().unwrap();
    let mut judge = Judge::new(config);
    for (canary, baseline) in history {
        let window = metrics.iter().map(|metric| (*metric, *canary, *baseline));
        judge.observe_window(config, window).unwrap();
    }
    judge
}

/// P(0), P(1), .. P(n) bad requests.
fn chances(n: u64, rate: f64) -> Vec<f64> {
    let mut chances = vec![0.0; n as usize + 1];
    chances[0] = 1.0;
    for _ in 0..n {
        for bad in (0..chances.len()).rev() {
            let before = if bad == 0 { 0.0 } else { chances[bad - 1] };
            chances[bad] = chances[bad] * (1.0 - rate) + before * rate;
        }
    }
    chances
}

/// The mean of `value` over all outcomes of a window, each request being bad by itself.
fn mean(
    arms: (u64, u64),
    canary_rate: f64,
    baseline_rate: f64,
    value: impl Fn(Counts, Counts) -> f64,
) -> f64 {
    let mut mean = 0.0;
    for (canary_bad, p) in (0..).zip(chances(arms.0, canary_rate)) {
        for (baseline_bad, q) in (0..).zip(chances(arms.1, baseline_rate)) {
            mean += p * q * value(counts(arms.0, canary_bad), counts(arms.1, baseline_bad));
        }
    }
    mean
}

/// How many times as large the evidence is expected to be after one window more, at most, over
/// all histories, arms and rates. `canary_rate` gives the canary's rate for the baseline's.
fn growth(
    config: &JudgeConfig,
    canary_rate: impl Fn(f64) -> f64,
    evidence: impl Fn(&Look) -> f64,
) -> f64 {
    let mut largest = 0.0_f64;
    for history in histories() {
        let before = judge_after(config, &["errors"], &history);
        let look = |canary, baseline| {
            let mut after = before.clone();
            after.observe(config, "errors", canary, baseline).unwrap()
        };
        // A window without requests is no evidence: what it shows is what was there before.
        let level = evidence(&look(counts(0, 0), counts(0, 0)));
        for arms in ARMS {
            for rate in RATES {
                let canary_rate = canary_rate(rate);
                if canary_rate <= 1.0 {
                    largest = largest.max(mean(arms, canary_rate, rate, |canary, baseline| {
                        (evidence(&look(canary, baseline)) - level).exp()
                    }));
                }
            }
        }
    }
    largest
}

fn config(json: &str) -> JudgeConfig {
    serde_json::from_str(json).unwrap()
}

#[test]
fn no_window_is_expected_to_raise_the_evidence_of_a_regression_without_one() {
    for json in [
        "{}",
        r#"{"r0": 1.25}"#,
        r#"{"eta": {"errors": 0.2}}"#,
        r#"{"hazard": 0.5, "pi0": 0.1}"#,
        r#"{"robust": ["errors"]}"#,
    ] {
        let config = config(json);
        let harmless = [0.0, 0.5, 1.0].map(|part| {
            growth(
                &config,
                |rate| part * config.r0 * rate,
                |look| look.log_e_metric,
            )
        });
        let largest = harmless.into_iter().fold(0.0, f64::max);
        assert!(largest <= 1.0 + TOLERANCE, "{json}: {largest}");
        let harmful = growth(&config, |rate| 4.0 * rate, |look| look.log_e_metric);
        assert!(harmful > 1.05, "{json}: {harmful}");
    }
}

#[test]
fn no_window_is_expected_to_raise_the_evidence_of_a_broken_limit_within_it() {
    let config = config(r#"{"slo": {"errors": 0.1}, "weights": {"slo:errors": 1}}"#);
    let evidence = |look: &Look| look.log_e_limit.unwrap();
    for rate in [0.0, 0.05, 0.1] {
        let within = growth(&config, |_| rate, evidence);
        assert!(within <= 1.0 + TOLERANCE, "{rate}: {within}");
    }
    let beyond = growth(&config, |_| 0.4, evidence);
    assert!(beyond > 1.05, "{beyond}");
}

#[test]
fn no_window_is_expected_to_raise_the_evidence_of_being_good_at_or_beyond_the_margin() {
    for json in [
        "{}",
        r#"{"eta": {"errors": 0.2}}"#,
        r#"{"ni_abs": 0.05, "ni_ratio": 1}"#,
    ] {
        let config = config(json);
        let edge = |rate: f64| config.ni_ratio * rate + config.ni_abs;
        for beyond in [0.0, 0.02, 0.1] {
            let largest = growth(
                &config,
                |rate| edge(rate) + beyond,
                |look| look.log_ni_metric,
            );
            assert!(largest <= 1.0 + TOLERANCE, "{json}: {largest}");
        }
        let good = growth(&config, |_| 0.0, |look| look.log_ni_metric);
        assert!(good > 1.05, "{json}: {good}");
    }
}

/// The same requests counted by two metrics, and the opposite of each other: no dependence between
/// metrics may raise what is expected of all together.
#[test]
fn no_dependence_between_metrics_raises_what_is_expected_of_all_together() {
    let config = config(r#"{"weights": {"errors": 0.5, "slow:p90": 0.3}}"#);
    let metrics = ["errors", "slow:p90"];
    let negated = |arm: Counts| counts(arm.count, arm.count - arm.bad);
    for history in histories() {
        let before = judge_after(&config, &metrics, &history);
        let level = before.log_e(&config);
        for arms in ARMS {
            for rate in RATES {
                for opposite in [false, true] {
                    let mean = mean(arms, rate, rate, |canary, baseline| {
                        let mut after = before.clone();
                        let other = match opposite {
                            true => ("slow:p90", negated(canary), negated(baseline)),
                            false => ("slow:p90", canary, baseline),
                        };
                        let window = [("errors", canary, baseline), other];
                        after.observe_window(&config, window).unwrap();
                        (after.log_e(&config) - level).exp()
                    });
                    assert!(
                        mean <= 1.0 + TOLERANCE,
                        "{arms:?} {rate} {opposite}: {mean}"
                    );
                }
            }
        }
    }
}
