//! The plan, and what the judge promises, in words.

use release::Phase;
use release::account::Account;
use release::config::Policy;
use stats::numerals::{odds, percent};

use crate::words;

/// Most steps that are shown; a configuration has fewer.
const STEPS_MAX: usize = 100;
/// Most alarms that are named; a configuration has fewer.
const ALARMS_MAX: usize = 50;
/// Most metrics of slow requests that are named; a configuration has fewer.
const SLOW_MAX: usize = 16;
/// Most warnings that are shown; a release has two at most.
const WARNINGS_MAX: usize = 10;
/// Longest warning that is shown, in characters.
const WARNING_CHARS_MAX: usize = 1_000;
/// Longest name of an alarm or a metric that is shown, in characters.
const NAME_CHARS_MAX: usize = 200;

/// What the page says of the plan.
pub(super) struct PlanShown {
    pub(super) steps: Vec<StepShown>,
    /// What was agreed on, and what it means.
    pub(super) terms: Vec<(&'static str, String)>,
}

/// A step, and how far the release came.
pub(super) struct StepShown {
    pub(super) class: &'static str,
    pub(super) text: String,
}

impl PlanShown {
    pub(super) fn of(account: &Account) -> Self {
        let end = &account.end;
        let steps = account.plan().steps.iter().take(STEPS_MAX).enumerate();
        let steps = steps.map(|(index, step)| StepShown {
            class: match (index < end.step, index == end.step, end.phase) {
                (true, _, _) => "gone",
                (_, true, Phase::Shifting) => "here",
                (_, true, Phase::RollingBack | Phase::RolledBack) => "stopped",
                (_, _, _) => "ahead",
            },
            text: step.words(),
        });
        Self {
            steps: steps.collect(),
            terms: terms(account),
        }
    }
}

fn terms(account: &Account) -> Vec<(&'static str, String)> {
    let plan = account.plan();
    let config = account.end.judge_config();
    let warnings = account.end.started.warnings.iter();
    let warnings = warnings.chain(&account.end.left_behind).take(WARNINGS_MAX);
    let mut terms: Vec<_> = warnings
        .map(|warning| ("Warning", words::cut(warning, WARNING_CHARS_MAX)))
        .collect();
    let goes_back: Vec<_> = plan.rollback.words().collect();
    if !goes_back.is_empty() {
        let goes_back = words::cut(&goes_back.join(", "), WARNING_CHARS_MAX);
        terms.push(("When it goes back", format!("It also {goes_back}.")));
    }
    let hotfix = plan.hotfix.iter();
    terms.extend(hotfix.map(|why| ("Hotfix", words::cut(why, WARNING_CHARS_MAX))));
    terms.extend([
        (
            "Promise",
            format!(
                "A candidate that is no worse than the stable version is rolled back with a \
                 probability of at most {}, over the whole release and however often it is looked \
                 at. So it goes back once the odds that it is worse reach {}.",
                percent(config.alpha),
                odds(account.log_e_rollback)
            ),
        ),
        (
            "Worse",
            match config.r0 > 1.0 {
                true => format!(
                    "more bad requests a request than {} times those of the stable version, over \
                     the same minutes",
                    config.r0
                ),
                false => "more bad requests a request than the stable version, over the same \
                          minutes"
                    .to_owned(),
            },
        ),
        (
            "Windows",
            format!(
                "of {:#}, each judged once, {:#} after its end",
                plan.window, plan.settle
            ),
        ),
    ]);
    terms.extend(account.log_e_hold.map(|hold| {
        let text = format!(
            "from {} on the weight is not raised, and looked at again",
            odds(hold)
        );
        ("Suspicion", text)
    }));
    terms.push((
        "Too few requests",
        match plan.inconclusive {
            Policy::Wait => format!("wait, {:#} at most, then roll back", plan.patience),
            Policy::Fail => "roll back".to_owned(),
            Policy::GoOn => "take the next step".to_owned(),
        },
    ));
    let slow = account.end.started.slower_than.iter().take(SLOW_MAX);
    let slow: Vec<_> = slow
        .map(|(metric, time)| {
            let name = words::cut(metric, NAME_CHARS_MAX);
            format!(
                "{name} counts requests of more than {}",
                words::duration(time.as_secs_f64())
            )
        })
        .collect();
    if !slow.is_empty() {
        terms.push((
            "Slow",
            format!(
                "by the stable version before the release: {}",
                slow.join(", ")
            ),
        ));
    }
    let alarms = plan.alarms.iter().take(ALARMS_MAX);
    let alarms: Vec<_> = alarms
        .map(|alarm| words::cut(alarm, NAME_CHARS_MAX))
        .collect();
    if !alarms.is_empty() {
        terms.push((
            "Alarms",
            format!("any of them rolls back: {}", alarms.join(", ")),
        ));
    }
    let shares = config.weights.iter().take(ALARMS_MAX);
    let shares: Vec<_> = shares
        .map(|(metric, share)| {
            let eta = config.eta.get(metric).copied().unwrap_or(1.0);
            let clusters = match eta < 1.0 {
                true => format!(" in clusters of {:.1}", 1.0 / eta),
                false => String::new(),
            };
            let name = words::cut(metric, NAME_CHARS_MAX);
            format!("{name}{clusters} {}", percent(*share))
        })
        .collect();
    let sizes = account.cluster_sizes.iter().take(ALARMS_MAX);
    let sizes: Vec<_> = sizes
        .map(|(metric, size)| format!("{} {size:.1}", words::cut(metric, NAME_CHARS_MAX)))
        .collect();
    if !sizes.is_empty() {
        terms.push((
            "Clusters",
            format!(
                "if both versions are alike, so many bad requests came together, which is what \
                 cluster-size should be: {}",
                sizes.join(", ")
            ),
        ));
    }
    terms.push(("Shares", format!("of the evidence: {}", shares.join(", "))));
    terms
}
