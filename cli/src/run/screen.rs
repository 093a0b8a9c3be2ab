//! How an execution is shown: a spinner for each running action, one lasting line for each finished one.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::time::Duration;

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::pipeline::event::{Entry, Event, Status};
use crate::pipeline::submit::Submitted;

/// The spinner turns so often.
const TURN: Duration = Duration::from_millis(100);
/// Lines that the player itself adds to a build's output.
const NOTE: &str = "note: ";

/// For whom it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// A person at a terminal.
    Live,
    /// A log file.
    Plain,
    /// A program: the events as they are.
    Json,
}

impl Style {
    /// [`Style::Live`] where the output is a terminal.
    pub fn detect() -> Self {
        if io::stdout().is_terminal() {
            Self::Live
        } else {
            Self::Plain
        }
    }
}

/// Shows an execution on standard output.
#[derive(Debug)]
pub struct Screen {
    style: Style,
    /// Also what builds print.
    verbose: bool,
    bars: MultiProgress,
    running: BTreeMap<(String, String), ProgressBar>,
}

impl Screen {
    /// An empty screen.
    pub fn new(style: Style, verbose: bool) -> Self {
        Self {
            style,
            verbose,
            bars: MultiProgress::new(),
            running: BTreeMap::new(),
        }
    }

    /// Can a person be asked?
    pub fn asks(&self) -> bool {
        match self.style {
            Style::Live | Style::Plain => true,
            Style::Json => false,
        }
    }

    /// The first line.
    pub fn begin(&self, submitted: &Submitted) {
        self.note(&format!(
            "{} {}",
            style(&submitted.pipeline).bold(),
            style(&submitted.execution_id).dim()
        ));
    }

    /// The spinners go.
    pub fn end(&mut self) {
        self.running.clear();
        let _not_a_terminal = self.bars.clear();
    }

    /// A lasting line; not for programs.
    pub fn note(&self, line: &str) {
        match self.style {
            Style::Live => {
                let _not_a_terminal = self.bars.println(line);
            }
            Style::Plain => println!("{line}"),
            Style::Json => {}
        }
    }

    /// Runs something that reads from the terminal, without spinners in between.
    pub async fn suspended<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let bars = self.bars.clone();
        Ok(tokio::task::spawn_blocking(move || bars.suspend(work)).await??)
    }

    /// Shows an event.
    pub fn show(&mut self, entry: &Entry) {
        if self.style == Style::Json {
            if let Ok(line) = serde_json::to_string(entry) {
                println!("{line}");
            }
            return;
        }
        match &entry.event {
            Event::StageStarted { stage } => self.note(&style(stage).bold().to_string()),
            Event::ActionStarted {
                stage,
                action,
                provider,
            } => self.started(stage, action, provider),
            Event::ActionProgress {
                stage,
                action,
                summary,
                percent,
                ..
            } => {
                // A summary tells more than the number, and most tell the number too.
                let percent = || percent.map(|percent| format!("{percent} %"));
                let told = summary.clone().or_else(percent);
                self.progress(stage, action, told.as_deref().unwrap_or("goes on"));
            }
            Event::Output {
                stage,
                action,
                line,
            } => self.output(stage, action, line),
            Event::ApprovalNeeded {
                stage,
                action,
                message,
                link,
                ..
            } => self.asked(stage, action, message.as_deref(), link.as_deref()),
            Event::ActionSucceeded {
                stage,
                action,
                summary,
                milliseconds,
                ..
            } => {
                let (mark, time) = (style("✓").green(), time(*milliseconds));
                let told = summary.as_deref().unwrap_or_default();
                self.finished(stage, action, &[&mark.to_string(), action, told, &time]);
            }
            Event::ActionFailed {
                stage,
                action,
                code,
                message,
                milliseconds,
            } => {
                let (mark, time) = (style("✗").red(), time(*milliseconds));
                let told = format!("{code}: {}", message.replace('\n', "\n      "));
                self.finished(stage, action, &[&mark.to_string(), action, &told, &time]);
            }
            Event::ActionAbandoned { stage, action } => {
                let mark = style("-").yellow().to_string();
                self.finished(stage, action, &[&mark, action, "abandoned"]);
            }
            Event::StageEnded { .. } | Event::ExecutionStopping => {}
            Event::ExecutionEnded { status, message } => self.ended(*status, message.as_deref()),
        }
    }

    fn started(&mut self, stage: &str, action: &str, provider: &str) {
        if self.style == Style::Plain {
            println!("  > {action} ({provider})");
            return;
        }
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(template) =
            ProgressStyle::with_template("  {spinner} {prefix} {elapsed} {wide_msg}")
        {
            bar.set_style(template);
        }
        bar.set_prefix(action.to_owned());
        bar.set_message(provider.to_owned());
        bar.enable_steady_tick(TURN);
        self.running
            .insert((stage.to_owned(), action.to_owned()), bar);
    }

    fn progress(&self, stage: &str, action: &str, told: &str) {
        match self.running.get(&(stage.to_owned(), action.to_owned())) {
            Some(bar) => bar.set_message(told.to_owned()),
            None => self.note(&format!("    {action}: {told}")),
        }
    }

    fn output(&self, stage: &str, action: &str, line: &str) {
        if self.verbose || line.starts_with(NOTE) {
            self.note(&format!(
                "    {} {line}",
                style(format!("{action} |")).dim()
            ));
        } else if self.style == Style::Live {
            self.progress(stage, action, &console::strip_ansi_codes(line));
        }
    }

    fn asked(&self, stage: &str, action: &str, message: Option<&str>, link: Option<&str>) {
        let message = message.unwrap_or("approval needed");
        let link = link.map(|link| format!(" {link}")).unwrap_or_default();
        let mark = style("?").yellow();
        self.note(&format!("  {mark} {stage}/{action}: {message}{link}"));
    }

    /// Replaces the action's spinner by a line of these words.
    fn finished(&mut self, stage: &str, action: &str, words: &[&str]) {
        if let Some(bar) = self.running.remove(&(stage.to_owned(), action.to_owned())) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        let words = words.iter().filter(|word| !word.is_empty());
        self.note(&words.fold(" ".to_owned(), |line, word| line + " " + word));
    }

    fn ended(&self, status: Status, message: Option<&str>) {
        let word = match status {
            Status::Succeeded => style("Succeeded").green().bold(),
            Status::Failed => style("Failed").red().bold(),
            Status::InProgress => style("InProgress").bold(),
            Status::Stopping => style("Stopping").yellow().bold(),
            Status::Stopped => style("Stopped").yellow().bold(),
            Status::Superseded => style("Superseded").yellow().bold(),
        };
        // The last lines of a build stand above already.
        let first = message.and_then(|message| message.lines().next());
        let message = first
            .map(|message| format!(": {message}"))
            .unwrap_or_default();
        self.note(&format!("{word}{message}"));
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rounded to a tenth of a second anyway"
)]
fn time(milliseconds: u64) -> String {
    let text = match milliseconds {
        0..=119_999 => format!("{:.1} s", milliseconds as f64 / 1000.0),
        _ => format!(
            "{} min {} s",
            milliseconds / 60_000,
            milliseconds % 60_000 / 1000
        ),
    };
    style(format!("({text})")).dim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_the_unit_that_fits() {
        console::set_colors_enabled(false);
        assert_eq!([time(449), time(125_000)], ["(0.4 s)", "(2 min 5 s)"]);
    }
}
