//! Every digit that a float can hold: the judge against the same formulas in 60 digits.
//!
//! `precision/reference.py` made the numbers, from the formulas as the design writes them.

use serde::Deserialize;
use stats::{Counts, Judge, JudgeConfig, Look};

/// Absolute, for evidence of ordinary size.
const TOLERANCE: f64 = 1e-9;

/// Relative, for evidence beyond what anybody acts on.
const TOLERANCE_RELATIVE: f64 = 1e-12;

#[derive(Deserialize)]
struct Case {
    name: String,
    /// Canary requests, bad ones, baseline requests, bad ones.
    windows: Vec<[u64; 4]>,
    log_e: Vec<f64>,
    log_e_robust: Vec<f64>,
    log_e_limit: Vec<f64>,
    log_ni: Vec<f64>,
}

fn looks(config: &str, windows: &[[u64; 4]]) -> Vec<Look> {
    let config: JudgeConfig = serde_json::from_str(config).unwrap();
    config.validate().unwrap();
    let mut judge = Judge::new(&config);
    let look = |&[canary, canary_bad, baseline, baseline_bad]: &[u64; 4]| {
        let canary = Counts::new(canary, canary_bad).unwrap();
        let baseline = Counts::new(baseline, baseline_bad).unwrap();
        judge.observe(&config, "errors", canary, baseline).unwrap()
    };
    windows.iter().map(look).collect()
}

#[track_caller]
fn agree(what: &str, case: &str, ours: impl Iterator<Item = f64>, exact: &[f64]) {
    let ours: Vec<f64> = ours.collect();
    assert_eq!(ours.len(), exact.len());
    for (at, (ours, exact)) in ours.into_iter().zip(exact).enumerate() {
        let error = (ours - exact).abs();
        assert!(
            error <= TOLERANCE.max(exact.abs() * TOLERANCE_RELATIVE),
            "{case}, window {at}: {what} is {ours}, not {exact}"
        );
    }
}

#[test]
fn evidence_is_exact_from_no_request_to_a_trillion_and_at_one_basis_point() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("precision/reference.json")).unwrap();
    assert!(cases.len() >= 11);
    for case in cases {
        let (name, windows) = (&*case.name, &*case.windows);
        let plain = looks("{}", windows);
        agree(
            "log_e",
            name,
            plain.iter().map(|look| look.log_e_metric),
            &case.log_e,
        );
        agree(
            "log_ni",
            name,
            plain.iter().map(|look| look.log_ni_metric),
            &case.log_ni,
        );
        let robust = looks(r#"{"robust": ["errors"]}"#, windows);
        agree(
            "robust",
            name,
            robust.iter().map(|look| look.log_e_metric),
            &case.log_e_robust,
        );
        let limit = looks(
            r#"{"slo": {"errors": 0.001}, "weights": {"slo:errors": 1.0}}"#,
            windows,
        );
        agree(
            "limit",
            name,
            limit.iter().filter_map(|look| look.log_e_limit),
            &case.log_e_limit,
        );
    }
}
