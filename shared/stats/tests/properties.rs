//! What holds for any input whatever.

use proptest::prelude::*;
use stats::{Counts, Judge, JudgeConfig, Look, Verdict};

const METRICS: [&str; 3] = ["errors", "slow:p90", "slow:p99"];

/// One window of one metric.
type Window = (usize, Counts, Counts);

/// Small counts, ordinary ones, and all that fit.
fn counts() -> impl Strategy<Value = Counts> {
    let size = prop_oneof![0..10_u64, 0..=1_000_000_000_000_u64, any::<u64>()];
    (size, 0.0..=1.0_f64).prop_map(|(count, part)| Counts {
        count,
        bad: ((count as f64 * part) as u64).min(count),
    })
}

fn window() -> impl Strategy<Value = Window> {
    (0..METRICS.len(), counts(), counts())
}

/// Any valid configuration, with a limit on the first metric and maybe robust mode on the second.
fn config() -> impl Strategy<Value = JudgeConfig> {
    let judge = (
        1e-9..=0.5_f64,
        1e-9..=0.5_f64,
        1e-9..0.999_f64,
        0.0..0.999_f64,
    );
    let margin = (
        1.0..=10.0_f64,
        1.0..=10.0_f64,
        0.0..=1.0_f64,
        1e-5..=1.0_f64,
    );
    let special = (
        1e-3..=1.0_f64,
        any::<bool>(),
        1e-9..0.999_f64,
        prop_oneof![Just(0.0), Just(5.0)],
    );
    (judge, margin, special).prop_map(|(judge, margin, special)| {
        let (alpha, alpha_ni, pi0, hazard) = judge;
        let (r0, ni_ratio, ni_abs, blind_abs) = margin;
        let (eta, robust, limit, hold) = special;
        JudgeConfig {
            alpha,
            alpha_ni,
            pi0,
            hazard,
            r0,
            ni_ratio,
            ni_abs,
            blind_abs,
            eta: [("errors".to_owned(), eta)].into(),
            robust: robust.then(|| "slow:p90".to_owned()).into_iter().collect(),
            weights: [
                ("errors", 0.4),
                ("slo:errors", 0.2),
                ("slow:p90", 0.3),
                ("slow:p99", 0.0),
            ]
            .map(|(metric, share)| (metric.to_owned(), share))
            .into(),
            hold,
            slo: [("errors".to_owned(), limit)].into(),
            ..JudgeConfig::default()
        }
    })
}

fn observe(judge: &mut Judge, config: &JudgeConfig, (metric, canary, baseline): Window) -> Look {
    judge
        .observe(config, METRICS[metric], canary, baseline)
        .expect("the metric has a share")
}

/// `a <= b`, but for the last digits of a sum.
fn at_most(a: f64, b: f64) -> bool {
    a <= b + 1e-9 + 1e-12 * a.abs().max(b.abs())
}

proptest! {
    #[test]
    fn no_counts_lead_to_a_panic_or_to_nonsense(
        config in config(),
        windows in prop::collection::vec(window(), 0..20),
    ) {
        prop_assert_eq!(config.validate(), Ok(()));
        let mut judge = Judge::new(&config);
        for window in windows {
            let look = observe(&mut judge, &config, window);
            prop_assert!(look.log_e_metric.is_finite(), "{look:?}");
            prop_assert!(look.log_e_limit.is_none_or(f64::is_finite), "{look:?}");
            prop_assert!(look.log_ni_metric.is_finite(), "{look:?}");
            prop_assert!(look.log_e.is_finite(), "{look:?}");
            let sentence = judge.explain(&config);
            prop_assert!(!sentence.contains("NaN") && !sentence.contains("inf"), "{sentence}");
        }
    }

    #[test]
    fn a_run_goes_on_bit_by_bit_after_being_written_and_read(
        config in config(),
        before in prop::collection::vec(window(), 0..20),
        after in prop::collection::vec(window(), 0..20),
    ) {
        let mut judge = Judge::new(&config);
        for window in before {
            observe(&mut judge, &config, window);
        }
        let written = serde_json::to_string(&judge).unwrap();
        let mut read: Judge = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(&read, &judge);
        for window in after {
            let ours = observe(&mut judge, &config, window);
            let theirs = observe(&mut read, &config, window);
            prop_assert_eq!(ours.log_e.to_bits(), theirs.log_e.to_bits());
            prop_assert_eq!(ours, theirs);
        }
        let (ours, theirs) = (serde_json::to_string(&judge), serde_json::to_string(&read));
        prop_assert_eq!(ours.unwrap(), theirs.unwrap());
    }

    #[test]
    fn a_rollback_is_never_taken_back(
        config in config(),
        windows in prop::collection::vec(window(), 0..40),
    ) {
        let mut judge = Judge::new(&config);
        let verdict_after = |window| {
            observe(&mut judge, &config, window);
            judge.verdict(&config)
        };
        let verdicts: Vec<_> = windows.into_iter().map(verdict_after).collect();
        let first = verdicts.iter().position(|verdict| *verdict == Verdict::Rollback);
        for verdict in verdicts.iter().skip(first.unwrap_or(verdicts.len())) {
            prop_assert_eq!(*verdict, Verdict::Rollback);
        }
    }

    #[test]
    fn more_bad_requests_on_the_canary_never_look_better_and_on_the_baseline_never_worse(
        config in config(),
        metric in 0..METRICS.len(),
        history in prop::collection::vec((counts(), counts()), 0..5),
        arms in (counts(), counts()),
        more in (0.0..=1.0_f64, 0.0..=1.0_f64),
    ) {
        let look_at = |canary, baseline| {
            let mut judge = Judge::new(&config);
            for (canary, baseline) in &history {
                observe(&mut judge, &config, (metric, *canary, *baseline));
            }
            observe(&mut judge, &config, (metric, canary, baseline))
        };
        let worse = |arm: Counts, part: f64| {
            let room = arm.count - arm.bad;
            let bad = arm.bad + ((room as f64 * part) as u64).min(room);
            Counts { bad, ..arm }
        };
        let (canary, baseline) = arms;
        let look = look_at(canary, baseline);
        let canary_worse = look_at(worse(canary, more.0), baseline);
        let baseline_worse = look_at(canary, worse(baseline, more.1));
        prop_assert!(at_most(look.log_e_metric, canary_worse.log_e_metric));
        prop_assert!(at_most(look.log_e_limit.unwrap_or(0.0), canary_worse.log_e_limit.unwrap_or(0.0)));
        prop_assert!(at_most(look.log_e, canary_worse.log_e));
        prop_assert!(at_most(canary_worse.log_ni_metric, look.log_ni_metric));
        prop_assert!(at_most(baseline_worse.log_e_metric, look.log_e_metric));
        prop_assert!(at_most(look.log_ni_metric, baseline_worse.log_ni_metric));
        prop_assert_eq!(baseline_worse.log_e_limit, look.log_e_limit);
    }

    #[test]
    fn a_window_with_an_empty_arm_is_no_evidence_of_a_regression(
        before in window(),
        alone in counts(),
        canary_is_empty in any::<bool>(),
    ) {
        let config = JudgeConfig::default();
        let mut judge = Judge::new(&config);
        observe(&mut judge, &config, before);
        let untouched = judge.clone();

        let empty = Counts::default();
        let (canary, baseline) = if canary_is_empty { (empty, alone) } else { (alone, empty) };
        let look = observe(&mut judge, &config, (before.0, canary, baseline));
        prop_assert!(!look.compared);
        prop_assert_eq!(judge, untouched);
    }
}
