//! What is shown of a release, line by line.

use std::collections::BTreeMap;

use console::{measure_text_width, style};
use jiff::Timestamp;
use pages::told;
use release::account::{Account, JudgedWindow, What};
use release::forecast::{Awaited, Forecast, next};
use release::{Phase, Release, Weight};
use stats::numerals::{grouped, odds, percent};
use stats::{Counts, Verdict};

use super::words::{fit, lasting, phase, plain, resource, step_number, target};

/// The columns of the labels.
const LABEL: usize = 11;
/// The widest that the bar of the weight becomes.
const BAR_MAX: usize = 50;
/// The most metrics that have a line.
const METRICS_MAX: usize = 16;
/// The most alarms that are named.
const ALARMS_MAX: usize = 5;
/// The most lines that one sentence takes.
const WRAPPED_MAX: usize = 3;
/// How many of the last facts are shown.
const FACTS: usize = 6;

/// A release at one moment.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// What it did so far.
    pub account: &'a Account,
    /// When it is looked at.
    pub now: Timestamp,
    /// The columns that there are.
    pub width: usize,
}

impl View<'_> {
    /// Every line, none longer than the columns. The last ones are those to leave out first.
    pub fn lines(&self) -> Vec<String> {
        let release = &self.account.end;
        let mut lines = self.head(release);
        lines.extend(self.progress(release));
        lines.push(String::new());
        lines.extend(self.evidence());
        lines.extend(alarms(release).map(|alarms| labelled("alarms", &alarms)));
        lines.push(String::new());
        lines.extend(self.facts());
        let lines = lines.into_iter().map(|line| fit(&line, self.width));
        lines.collect()
    }

    fn head(&self, release: &Release) -> Vec<String> {
        let id = plain(release.started.release.as_str());
        let until = match release.is_active() {
            true => self.now,
            false => self.account.until(),
        };
        let lasted = lasting(until.duration_since(release.started.at));
        let mut lines = vec![
            format!("{}  {}  {lasted}", style(id).bold(), phase(release)),
            labelled("target", &target(release)),
            labelled("stable", &resource(&release.started.arms.stable)),
            labelled("candidate", &resource(&release.started.arms.candidate)),
        ];
        if let Some(execution) = &release.started.execution {
            lines.push(labelled("execution", &plain(execution)));
        }
        if let Some(why) = &release.plan().hotfix {
            lines.extend(self.wrapped("hotfix", &plain(why)));
        }
        let warnings = release.started.warnings.iter().chain(&release.left_behind);
        lines.extend(warnings.flat_map(|warning| self.wrapped("warning", &plain(warning))));
        lines
    }

    /// The weight, the steps, and what comes next.
    fn progress(&self, release: &Release) -> Vec<String> {
        let mut lines = vec![
            labelled("weight", &bar(release.weight, self.width)),
            labelled("steps", &steps(release, self.width.saturating_sub(LABEL))),
        ];
        let coming = next(release, self.now);
        let since = lasting(self.now.duration_since(release.step_since));
        match release.phase {
            Phase::Shifting => {
                let (step, steps) = (step_number(release), release.plan().steps.len());
                lines.push(labelled("step", &format!("{step} of {steps}, for {since}")));
                lines.extend(self.wrapped("waits for", &self.awaited(&coming)));
            }
            Phase::RollingBack => {
                lines.extend(self.wrapped("because", &because(release)));
                if let Some(since) = release.stuck_since {
                    lines.extend(self.wrapped("stuck", &self.stuck(since)));
                }
                lines.extend(self.wrapped("waits for", &self.awaited(&coming)));
            }
            Phase::RolledBack => lines.extend(self.wrapped("because", &because(release))),
            Phase::Promoted => {}
        }
        match (&coming.then, release.is_active()) {
            (Some(then), _) => lines.push(labelled("then", &plain(&then.to_string()))),
            (None, _) => lines.push(labelled("serves", &plain(&release.serving()))),
        }
        lines
    }

    /// Since when the rollback is stuck, and what it met last.
    fn stuck(&self, since: Timestamp) -> String {
        let moments = self.account.moments.iter().rev();
        let why = moments.into_iter().find_map(|moment| match &moment.what {
            What::RollbackStuck { why } => Some(plain(why)),
            What::Began { .. }
            | What::Weight { .. }
            | What::Act { .. }
            | What::CandidateReady
            | What::Checked { .. }
            | What::Frozen { .. }
            | What::CleanupFailed { .. }
            | What::Alarms { .. }
            | What::StepDone { .. }
            | What::Ordered { .. }
            | What::RollbackDecided
            | What::Ended { .. } => None,
        });
        let lasted = lasting(self.now.duration_since(since));
        let why = why.unwrap_or_default();
        format!("since {lasted}, and tried again and again: {why}")
    }

    /// What is waited for, and between when and when it comes.
    fn awaited(&self, coming: &Forecast) -> String {
        let mut text = plain(&coming.awaits.to_string());
        let left = |at: Timestamp| lasting(at.duration_since(self.now));
        if let Some(from) = coming.from.filter(|from| *from > self.now) {
            text += &format!("; in {} at the earliest", left(from));
        }
        if let Some(until) = coming.until {
            text += &match coming.awaits {
                Awaited::Time if coming.from.is_some_and(|from| from > self.now) => String::new(),
                _ if until > self.now => format!("; given up in {}", left(until)),
                _ => "; given up at the next look".to_owned(),
            };
        }
        text
    }

    /// The verdict, and each metric's counts, rates and evidence beside the thresholds.
    fn evidence(&self) -> Vec<String> {
        let account = self.account;
        let said = format!("{}: {}", verdict(account.verdict), plain(&account.evidence));
        let mut lines = self.wrapped("verdict", &said);
        let head = row("metric", "candidate", "stable", "evidence", self.width);
        lines.push(style(head).dim().to_string());
        let totals = totals(&account.windows);
        for name in account.metrics.iter().take(METRICS_MAX) {
            let (canary, baseline) = totals.get(name.as_str()).copied().unwrap_or_default();
            let metric = account.end.judge.metric(name);
            let evidence = metric.map_or_else(|| "not judged".to_owned(), |m| odds(m.log_e()));
            let limit = metric.and_then(stats::Metric::log_e_limit).map(odds);
            let limit = limit.map(|limit| format!(", of its limit {limit}"));
            let evidence = evidence + &limit.unwrap_or_default();
            let name = plain(name);
            lines.push(row(
                &name,
                &rate(canary),
                &rate(baseline),
                &evidence,
                self.width,
            ));
        }
        let log_e = account.end.judge.log_e(&account.end.judge_config());
        let hold = account
            .log_e_hold
            .map(|hold| format!("holds at {}, ", odds(hold)));
        let thresholds = format!(
            "all together {}; {}goes back at {}",
            odds(log_e),
            hold.unwrap_or_default(),
            odds(account.log_e_rollback)
        );
        lines.push(labelled("", &thresholds));
        if let Some(window) = account.windows.last() {
            let requests = window.requests;
            let last = format!(
                "last window {}: candidate {}, stable {} requests",
                window.start.strftime("%H:%M:%S"),
                grouped(requests.candidate),
                grouped(requests.stable)
            );
            lines.push(labelled("", &style(last).dim().to_string()));
        }
        lines
    }

    /// A sentence after its label, in as many lines as it needs, up to [`WRAPPED_MAX`].
    fn wrapped(&self, label: &str, text: &str) -> Vec<String> {
        let columns = self.width.saturating_sub(LABEL).max(1);
        let mut lines = Vec::new();
        let mut line = String::new();
        for word in text.split(' ') {
            let fits = measure_text_width(&line) + 1 + measure_text_width(word) <= columns;
            if !line.is_empty() && !fits && lines.len() + 1 < WRAPPED_MAX {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
        let labels = std::iter::once(label).chain(std::iter::repeat(""));
        let lines = labels.zip(lines);
        lines.map(|(label, line)| labelled(label, &line)).collect()
    }

    fn facts(&self) -> Vec<String> {
        // The newest first: what does not fit into the terminal is the oldest.
        let told = told(self.account, FACTS).into_iter().rev();
        let lines = told.map(|fact| {
            let why = match fact.why.is_empty() {
                true => String::new(),
                false => format!(": {}", fact.why),
            };
            let at = style(fact.at.strftime("%H:%M:%S").to_string()).dim();
            format!("{at}  {}", plain(&(fact.what + &why + " — " + &fact.who)))
        });
        lines.collect()
    }
}

fn labelled(label: &str, text: &str) -> String {
    let label = format!("{label:<LABEL$}");
    format!("{}{text}", style(label).dim())
}

fn because(release: &Release) -> String {
    let because = release.because.as_ref();
    plain(&because.map_or_else(String::new, ToString::to_string))
}

/// `████████░░░░░░░░  25%`
fn bar(weight: Weight, width: usize) -> String {
    let columns = width.saturating_sub(LABEL + 10).min(BAR_MAX);
    let points = usize::from(weight.basis_points());
    let whole = usize::from(Weight::FULL.basis_points());
    // Little is not nothing, and nearly all is not all.
    let filled = match points {
        0 => 0,
        _ if points == whole => columns,
        _ => (points * columns / whole)
            .max(1)
            .min(columns.saturating_sub(1)),
    };
    let (on, off) = ("█".repeat(filled), "░".repeat(columns - filled));
    format!(
        "{}{}  {}",
        style(on).cyan(),
        style(off).dim(),
        style(weight).bold()
    )
}

/// The steps around the current one, as many as fit.
fn steps(release: &Release, width: usize) -> String {
    let steps = &release.plan().steps;
    let current = release.step;
    let mut line = String::new();
    let from = current.saturating_sub(2).min(steps.len().saturating_sub(4));
    if from > 0 {
        line += "… ";
    }
    for (index, step) in steps.iter().enumerate().skip(from) {
        let words = plain(&step.words());
        let text = match (index < current, index == current, release.phase) {
            (true, ..) => style(format!("✓ {words}")).green(),
            (_, true, Phase::Shifting) => style(format!("▸ {words}")).bold(),
            (_, true, Phase::RollingBack | Phase::RolledBack) => style(format!("✗ {words}")).red(),
            (..) => style(format!("· {words}")).dim(),
        };
        let text = text.to_string();
        let used = measure_text_width(&line) + measure_text_width(&text);
        if used + 3 > width && index > from {
            return line + "…";
        }
        line += &text;
        if index + 1 < steps.len() {
            line += "  ";
        }
    }
    line
}

fn verdict(verdict: Verdict) -> String {
    let word = match verdict {
        Verdict::Continue => style("go on").green(),
        Verdict::Promote => style("no worse").green().bold(),
        Verdict::Inconclusive => style("too few requests").yellow(),
        Verdict::Hold => style("hold").yellow().bold(),
        Verdict::Rollback => style("roll back").red().bold(),
    };
    word.to_string()
}

/// Columns of counts, which share what the name and the evidence leave.
fn row(name: &str, candidate: &str, stable: &str, evidence: &str, width: usize) -> String {
    let counts = (width.saturating_sub(38) / 2).clamp(15, 24);
    let cut = |text: &str, columns| {
        let text = fit(text, columns);
        console::pad_str(&text, columns, console::Alignment::Left, None).into_owned()
    };
    format!(
        "{:LABEL$}{} {} {} {evidence}",
        "",
        cut(name, 10),
        cut(candidate, counts),
        cut(stable, counts)
    )
}

/// `0.4 % of 1 753`
fn rate(counts: Counts) -> String {
    match counts.rate() {
        Some(rate) => format!("{} of {}", percent(rate), grouped(counts.count)),
        None => "–".to_owned(),
    }
}

/// What both versions did in all windows, by metric.
fn totals(windows: &[JudgedWindow]) -> BTreeMap<&str, (Counts, Counts)> {
    let mut totals: BTreeMap<&str, (Counts, Counts)> = BTreeMap::new();
    for (name, metric) in windows.iter().flat_map(|window| &window.metrics) {
        let (canary, baseline) = totals.entry(name).or_default();
        *canary = canary.saturating_add(metric.canary);
        *baseline = baseline.saturating_add(metric.baseline);
    }
    totals
}

/// The watched alarms: those that fire, and how many do not.
fn alarms(release: &Release) -> Option<String> {
    let watched = &release.plan().alarms;
    if watched.is_empty() {
        return None;
    }
    let firing = release.alarms_firing.iter().take(ALARMS_MAX).map(|name| {
        match release.alarms_ignored.contains(name) {
            true => format!("{} (since before, ignored)", style(plain(name)).yellow()),
            false => style(plain(name)).red().bold().to_string(),
        }
    });
    let firing: Vec<_> = firing.collect();
    let count = release.alarms_firing.len();
    let quiet = watched.len().saturating_sub(count);
    Some(match firing.is_empty() {
        true => format!("none of {} fires", watched.len()),
        false => format!("{count} firing, {quiet} quiet: {}", firing.join(", ")),
    })
}

#[cfg(test)]
mod tests;
