//! The golden vectors: every number and every verdict, after every window.

use serde::Deserialize;
use stats::{Counts, Judge, JudgeConfig, Verdict};

const TOLERANCE: f64 = 1e-9;

#[derive(Deserialize)]
struct Golden {
    defaults: JudgeConfig,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    config: JudgeConfig,
    windows: Vec<Line>,
}

#[derive(Deserialize)]
struct Line {
    minute: u32,
    metric: String,
    canary: Counts,
    baseline: Counts,
    log_e_metric: f64,
    log_e: f64,
    log_ni_metric: f64,
    verdict: Verdict,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/judge.json")).expect("the golden file is valid")
}

#[test]
fn the_judge_agrees_with_every_golden_line() {
    let cases = golden().cases;
    assert_eq!(cases.len(), 7);
    for Case {
        name,
        config,
        windows,
    } in cases
    {
        config.validate().unwrap();
        let mut judge = Judge::new(&config);
        for line in windows {
            let look = judge
                .observe(&config, &line.metric, line.canary, line.baseline)
                .unwrap();
            for (what, ours, golden) in [
                ("log_e_metric", look.log_e_metric, line.log_e_metric),
                ("log_e", look.log_e, line.log_e),
                ("log_ni_metric", look.log_ni_metric, line.log_ni_metric),
            ] {
                assert!(
                    (ours - golden).abs() <= TOLERANCE,
                    "{name}, minute {}, {}: {what} is {ours}, not {golden}",
                    line.minute,
                    line.metric,
                );
            }
            let verdict = judge.verdict(&config);
            assert_eq!(verdict, line.verdict, "{name}, minute {}", line.minute);
            assert_eq!(judge.log_e(&config), look.log_e);
        }
    }
}

#[test]
fn the_defaults_are_the_golden_defaults() {
    assert_eq!(JudgeConfig::default(), golden().defaults);
}
