//! What the judge says, in the order of urgency.

use stats::{Counts, Judge, JudgeConfig, ObserveError, Verdict};

/// A canary and a baseline in which nothing is wrong.
const STEADY: [u64; 4] = [3000, 3, 57_000, 57];
/// A canary that fails.
const BROKEN: [u64; 4] = [3000, 300, 57_000, 57];

struct Trial {
    config: JudgeConfig,
    judge: Judge,
}

impl Trial {
    fn under(config: JudgeConfig) -> Self {
        config.validate().unwrap();
        let judge = Judge::new(&config);
        Self { config, judge }
    }

    /// One window: canary requests, bad ones, baseline requests, bad ones.
    fn sees(&mut self, metric: &str, window: [u64; 4]) -> Verdict {
        let [canary, canary_bad, baseline, baseline_bad] = window;
        let canary = Counts::new(canary, canary_bad).unwrap();
        let baseline = Counts::new(baseline, baseline_bad).unwrap();
        self.judge
            .observe(&self.config, metric, canary, baseline)
            .unwrap();
        self.judge.verdict(&self.config)
    }
}

#[test]
fn who_has_seen_nothing_cannot_conclude() {
    let trial = Trial::under(JudgeConfig::default());
    assert_eq!(trial.judge.verdict(&trial.config), Verdict::Inconclusive);
    assert!(trial.judge.log_e(&trial.config).abs() < 1e-15);
}

#[test]
fn one_metric_without_requests_keeps_all_from_concluding() {
    let mut trial = Trial::under(JudgeConfig::default());
    assert_eq!(trial.sees("errors", STEADY), Verdict::Continue);
    assert_eq!(trial.sees("slow:p90", [0, 0, 0, 0]), Verdict::Inconclusive);
    assert_eq!(trial.judge.windows_with_traffic(), 0);
    assert_eq!(
        trial.sees("slow:p90", [3000, 300, 57_000, 5700]),
        Verdict::Continue
    );
    assert_eq!(trial.judge.windows_with_traffic(), 1);
}

#[test]
fn what_is_required_must_be_seen_and_the_rest_counts_as_evidence_of_harm_only() {
    let requiring = |name: &str| {
        Trial::under(JudgeConfig {
            required: [name.to_owned()].into(),
            ..JudgeConfig::default()
        })
    };
    let mut trial = requiring("errors");
    assert_eq!(trial.sees("slow:p90", STEADY), Verdict::Inconclusive);
    assert_eq!(
        trial.judge.explain(&trial.config),
        "errors: no window yet in which both arms had requests"
    );
    assert_eq!(trial.sees("errors", STEADY), Verdict::Continue);
    assert_eq!(trial.sees("slow:p90", [9, 1, 990, 99]), Verdict::Continue);
    assert_eq!(trial.sees("slow:p90", BROKEN), Verdict::Rollback);

    let mut trial = requiring("errors");
    trial.sees("slow:p90", [9, 1, 990, 99]);
    for _ in 0..8 {
        trial.sees("errors", STEADY);
    }
    assert_eq!(trial.sees("errors", STEADY), Verdict::Promote);

    let mut trial = requiring("slow:p90");
    for _ in 0..9 {
        assert_eq!(trial.sees("errors", STEADY), Verdict::Inconclusive);
    }
}

#[test]
fn a_metric_may_tolerate_more_than_the_others() {
    let config = JudgeConfig {
        r0_of: [("slow:p90".to_owned(), 4.0)].into(),
        ..JudgeConfig::default()
    };
    let worse = [3000, 900, 57_000, 5_700]; // three times
    let mut trial = Trial::under(config.clone());
    assert_eq!(trial.sees("slow:p90", worse), Verdict::Continue);
    assert_eq!(trial.sees("slow:p99", worse), Verdict::Rollback);
}

#[test]
fn a_rollback_stays_however_well_the_canary_does_later() {
    let mut trial = Trial::under(JudgeConfig::default());
    assert_eq!(trial.sees("errors", BROKEN), Verdict::Rollback);
    let peak = trial.judge.peak_log_e();
    for _ in 0..500 {
        assert_eq!(
            trial.sees("errors", [3000, 0, 57_000, 570]),
            Verdict::Rollback
        );
    }
    assert!(
        trial.judge.log_e(&trial.config) < 0.0,
        "the evidence itself is long gone"
    );
    assert_eq!(trial.judge.peak_log_e(), peak);
    let sentence = trial.judge.explain(&trial.config);
    assert!(sentence.contains("evidence over 10^15 to 1"), "{sentence}");
}

#[test]
fn promotion_waits_for_enough_windows() {
    let mut trial = Trial::under(JudgeConfig {
        min_windows: 4,
        ..JudgeConfig::default()
    });
    let good = [300_000, 300, 300_000, 300];
    let verdicts: Vec<_> = (0..4).map(|_| trial.sees("errors", good)).collect();
    assert_eq!(verdicts[..3], [Verdict::Continue; 3]);
    assert_eq!(verdicts[3], Verdict::Promote);
}

#[test]
fn promotion_waits_for_every_observed_metric() {
    let mut trial = Trial::under(JudgeConfig::default());
    let good = [300_000, 300, 300_000, 300];
    (0..3).for_each(|_| _ = trial.sees("errors", good));
    assert_eq!(trial.judge.verdict(&trial.config), Verdict::Promote);
    assert_eq!(
        trial.sees("slow:p90", [3000, 300, 3000, 300]),
        Verdict::Continue
    );
}

#[test]
fn a_metric_with_share_zero_can_only_delay() {
    let mut config = JudgeConfig::default();
    config.weights.insert("beta".to_owned(), 0.0);
    let mut trial = Trial::under(config);
    assert_eq!(trial.sees("beta", BROKEN), Verdict::Continue);
    assert!(trial.judge.log_e(&trial.config).abs() < 1e-15);
    let good = [300_000, 300, 300_000, 300];
    (0..5).for_each(|_| assert_ne!(trial.sees("errors", good), Verdict::Promote));
}

#[test]
fn a_share_that_nobody_uses_counts_as_one() {
    let config = JudgeConfig {
        weights: [("errors".to_owned(), 0.25)].into(),
        ..JudgeConfig::default()
    };
    let mut trial = Trial::under(config);
    trial.sees("errors", [600, 3, 59_400, 58]);
    let e = trial.judge.metric("errors").unwrap().log_e().exp();
    let together = trial.judge.log_e(&trial.config).exp();
    assert!((together - (0.25 * e + 0.75)).abs() < 1e-12, "{together}");
}

#[test]
fn eta_scales_every_bet_on_its_metric() {
    let with_eta = |eta| {
        let mut config = JudgeConfig::default();
        config.eta.insert("errors".to_owned(), eta);
        config.slo.insert("errors".to_owned(), 0.001);
        config.weights = [("errors".to_owned(), 0.5), ("slo:errors".to_owned(), 0.5)].into();
        let mut trial = Trial::under(config);
        (0..2).for_each(|_| _ = trial.sees("errors", BROKEN));
        trial.judge.metric("errors").unwrap().clone()
    };
    let (full, tenth) = (with_eta(1.0), with_eta(0.1));
    for (what, full, tenth) in [
        ("comparison", full.log_e(), tenth.log_e()),
        (
            "limit",
            full.log_e_limit().unwrap(),
            tenth.log_e_limit().unwrap(),
        ),
    ] {
        // The priors of the experts blur the ratio.
        assert!(
            (5.0..15.0).contains(&(full / tenth)),
            "{what}: {full} {tenth}"
        );
    }
}

#[test]
fn suspicion_forbids_promotion() {
    let mut trial = Trial::under(JudgeConfig::default());
    (0..5).for_each(|_| _ = trial.sees("errors", [300_000, 300, 300_000, 300]));
    assert_eq!(trial.judge.verdict(&trial.config), Verdict::Promote);
    // A late rise: the good windows still outweigh it in the evidence for a promotion.
    assert_eq!(
        trial.sees("errors", [300_000, 415, 300_000, 300]),
        Verdict::Continue
    );
    let odds = trial.judge.log_e(&trial.config).exp();
    assert!((5.0..100.0).contains(&odds), "{odds}");
    trial.config.suspicion = 100.0;
    assert_eq!(trial.judge.verdict(&trial.config), Verdict::Promote);
}

#[test]
fn a_hold_comes_before_doubt() {
    let mut trial = Trial::under(JudgeConfig {
        hold: 5.0,
        ..JudgeConfig::default()
    });
    // Ten of ten slow requests are alarming, and still far too few to conclude anything.
    let verdict = trial.sees("slow:p90", [10, 7, 990, 99]);
    let odds = trial.judge.log_e(&trial.config).exp();
    assert!((5.0..100.0).contains(&odds), "{odds}");
    assert_eq!(verdict, Verdict::Hold);
    trial.config.hold = 0.0;
    assert_eq!(trial.judge.verdict(&trial.config), Verdict::Inconclusive);
}

#[test]
fn robust_mode_never_promotes_early() {
    let mut config = JudgeConfig::default();
    config.robust.insert("errors".to_owned());
    let mut trial = Trial::under(config);
    let good = [300_000, 300, 300_000, 300];
    (0..20).for_each(|_| assert_eq!(trial.sees("errors", good), Verdict::Continue));
}

#[test]
fn a_window_counts_once_all_its_metrics_are_in() {
    let arm = |count, bad| Counts::new(count, bad).unwrap();
    let alarming = ("errors", arm(3000, 24), arm(57_000, 171));
    let calming = ("slow:p90", arm(3000, 0), arm(57_000, 5700));
    let config = JudgeConfig {
        weights: [("errors".to_owned(), 0.5), ("slow:p90".to_owned(), 0.5)].into(),
        ..JudgeConfig::default()
    };
    let peak_after = |windows: &[[(&str, Counts, Counts); 2]]| {
        let mut judge = Judge::new(&config);
        for window in windows {
            judge.observe_window(&config, *window).unwrap();
        }
        judge.peak_log_e()
    };
    assert_eq!(
        peak_after(&[[alarming, calming]]),
        peak_after(&[[calming, alarming]])
    );

    let mut one_by_one = Judge::new(&config);
    for (metric, canary, baseline) in [alarming, calming] {
        one_by_one
            .observe(&config, metric, canary, baseline)
            .unwrap();
    }
    assert!(one_by_one.peak_log_e() > peak_after(&[[alarming, calming]]));
}

#[test]
fn a_window_with_one_refused_metric_changes_nothing() {
    let config = JudgeConfig::default();
    let mut judge = Judge::new(&config);
    let arm = Counts { count: 9, bad: 1 };
    let window = [("errors", arm, arm), ("latency", arm, arm)];
    assert!(judge.observe_window(&config, window).is_err());
    assert_eq!(judge, Judge::new(&config));
}

#[test]
fn a_metric_that_comes_twice_in_one_window_is_refused_and_changes_nothing() {
    let config = JudgeConfig::default();
    let mut judge = Judge::new(&config);
    let arm = Counts { count: 9, bad: 1 };
    let window = ["errors", "slow:p90", "errors"].map(|metric| (metric, arm, arm));
    let refused = judge.observe_window(&config, window).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "could not judge by metric \"errors\" twice in one window: give each metric once"
    );
    assert_eq!(judge, Judge::new(&config));
}

#[test]
fn an_unknown_metric_is_refused_and_changes_nothing() {
    let config = JudgeConfig::default();
    let mut judge = Judge::new(&config);
    let refused = judge
        .observe(&config, "latency", Counts::default(), Counts::default())
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "could not judge by metric \"latency\": give it a share in weights \
         (it has errors, slow:p90, slow:p99)"
    );
    assert_eq!(judge, Judge::new(&config));
}

#[test]
fn impossible_counts_are_refused_and_change_nothing() {
    let config = JudgeConfig::default();
    let mut judge = Judge::new(&config);
    let (possible, impossible) = (Counts { count: 9, bad: 1 }, Counts { count: 1, bad: 9 });
    for (canary, baseline) in [(possible, impossible), (impossible, possible)] {
        let refused = judge
            .observe(&config, "errors", canary, baseline)
            .unwrap_err();
        assert!(matches!(refused, ObserveError::Counts { .. }), "{refused}");
    }
    assert_eq!(judge, Judge::new(&config));
}

#[test]
fn verdicts_are_written_in_lower_case() {
    for verdict in [
        Verdict::Continue,
        Verdict::Hold,
        Verdict::Promote,
        Verdict::Rollback,
        Verdict::Inconclusive,
    ] {
        assert_eq!(
            serde_json::to_string(&verdict).unwrap(),
            format!("\"{verdict}\"")
        );
        assert_eq!(verdict.to_string(), format!("{verdict:?}").to_lowercase());
    }
}

/// A state as releases have it in their snapshots, after the window `BROKEN` with a limit of 1 %.
const STORED: &str = r#"{"metrics":{"errors":{"observed":true,"canary":{"count":3000,"bad":300},
"baseline":{"count":57000,"bad":57},"windows":1,"comparison":{"by_request":{
"experts":[110.79160426080462,188.49340008261424,293.34296537661294,415.304447369798,555.4015255943752,697.3245119663776,741.3924377048974,665.1905795467926],
"reserve":-0.9675840262617055}},
"good_enough":{"by_split":-62.50822575477802,"by_rates":0.0},
"limit":{"canary":{"count":3000,"bad":300},"wealth":{
"experts":[104.60686695556721,175.91148869110148,267.3686995667569,360.3932431452398,418.0497152407717,147.22793673309647,-1591.9368969130614,-27901.49784125147],
"reserve":-0.9675840262617055}}}},
"peak_log_e":740.6992905243375}"#;

#[test]
fn a_state_that_was_stored_is_still_read() {
    let config = JudgeConfig {
        weights: [("errors".to_owned(), 0.5), ("slo:errors".to_owned(), 0.5)].into(),
        slo: [("errors".to_owned(), 0.01)].into(),
        ..JudgeConfig::default()
    };
    let mut trial = Trial::under(config);
    trial.sees("errors", BROKEN);
    let read: Judge = serde_json::from_str(STORED).unwrap();
    let seen = |judge: &Judge| {
        let metric = judge.metric("errors").unwrap();
        (
            metric.canary(),
            metric.baseline(),
            metric.canary_under_limit(),
        )
    };
    assert_eq!(seen(&read), seen(&trial.judge));
    let error = trial.judge.log_e(&trial.config) - read.log_e(&trial.config);
    assert!(error.abs() < 1e-9, "{error}");
    assert_eq!(read.verdict(&trial.config), Verdict::Rollback);
}

#[test]
fn the_state_is_small() {
    let mut trial = Trial::under(JudgeConfig::default());
    for metric in ["errors", "slow:p90", "slow:p99"] {
        (0..1000).for_each(|_| _ = trial.sees(metric, STEADY));
    }
    let written = serde_json::to_string(&trial.judge).unwrap();
    assert!(written.len() < 2048, "{} bytes: {written}", written.len());
}
