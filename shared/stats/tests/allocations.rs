//! After its start-up the judge allocates nothing, however long a release lasts.

use allocation_counter::measure;
use stats::{Counts, Judge, JudgeConfig};

/// All that a judge can be asked to watch: comparisons by request and by window, with a limit.
fn config() -> JudgeConfig {
    let shares = [
        ("errors", 0.4),
        ("slo:errors", 0.2),
        ("slow:p90", 0.2),
        ("slow:p99", 0.2),
    ];
    let config = JudgeConfig {
        eta: [("slow:p99".to_owned(), 0.5)].into(),
        robust: ["slow:p90".to_owned()].into(),
        weights: shares.map(|(key, share)| (key.to_owned(), share)).into(),
        hold: 5.0,
        slo: [("errors".to_owned(), 0.01)].into(),
        ..JudgeConfig::default()
    };
    config.validate().unwrap();
    config
}

const METRICS: [&str; 3] = ["errors", "slow:p90", "slow:p99"];
const WINDOWS: u64 = 1_000;

/// Some window of a release; every fourth one has an empty arm.
fn arms(at: u64) -> (Counts, Counts) {
    let canary = Counts::new(600 * u64::from(!at.is_multiple_of(4)), 0).unwrap();
    (canary, Counts::new(59_400, at % 90).unwrap())
}

#[test]
fn observing_and_judging_a_window_allocate_nothing() {
    let config = config();
    let mut judge = Judge::new(&config);
    let by_metric = measure(|| {
        for at in 0..WINDOWS {
            let (canary, baseline) = arms(at);
            for metric in METRICS {
                judge.observe(&config, metric, canary, baseline).unwrap();
                std::hint::black_box(judge.verdict(&config));
            }
        }
    });
    assert_eq!(by_metric.count_total, 0, "{by_metric:?}");

    let by_window = measure(|| {
        for at in 0..WINDOWS {
            let (canary, baseline) = arms(at);
            let window = METRICS.map(|metric| (metric, canary, baseline));
            judge.observe_window(&config, window).unwrap();
            std::hint::black_box((judge.log_e(&config), judge.verdict(&config)));
        }
    });
    assert_eq!(by_window.count_total, 0, "{by_window:?}");
}

#[test]
fn the_count_is_one_that_can_fail() {
    let config = config();
    let judge = Judge::new(&config);
    let copied = measure(|| _ = std::hint::black_box(judge.clone()));
    assert!(copied.count_total > 0, "{copied:?}");
}
