//! `penstock replay`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use console::style;
use release::replay::{Compared, Replay, View};
use stats::numerals::odds;

use super::story::{Told, write};
use super::{gate, tell};

/// The exit status for what cannot be replayed: no such release, a mistake in the configuration.
const UNUSABLE: u8 = 2;
/// Most windows that are listed: those around the first difference.
const SHOWN_MAX: usize = 12;
/// How many of them come before it.
const SHOWN_BEFORE: usize = 4;

/// Show what another plan would have made of the same release, and where it would have differed.
///
/// Every fact of the release's log is shown again, in time, to the plan of another configuration:
/// its steps, its judge, its alarms. Nothing is moved. Where the two part, what follows is what the
/// other plan makes of requests that were served at the recorded weights.
///
/// The exit status is 0 when the other plan decides the same, 1 when it does not, and 2 when there
/// is nothing to replay.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReplayCommand {
    #[command(flatten)]
    told: Told,
    /// The configuration with the other plan.
    #[arg(long, default_value = "penstock.yaml")]
    config: PathBuf,
    /// The plan's name in the configuration; may be left out where there is one only.
    #[arg(long)]
    section: Option<String>,
    /// How the answer is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Output,
}

const EXAMPLES: &str = "\
Examples:
  penstock replay web-0f0e0d0c-1111-4222-8333-444455556666 --config stricter.yaml --table penstock-ReleaseLog-1A2B3C
  penstock replay web.jsonl --section web        a log that `penstock report --format log` wrote
  penstock replay web.jsonl --format json | jq .parted";

/// How the answer is printed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// For a terminal.
    #[default]
    Text,
    /// For programs: both courses, where they part, and both verdicts of every window.
    Json,
}

impl ReplayCommand {
    /// Runs the command; gives the exit status.
    pub async fn run(self) -> ExitCode {
        match self.replay().await {
            Ok(Some(replay)) if replay.parted.is_none() => ExitCode::SUCCESS,
            Ok(Some(_)) => ExitCode::FAILURE,
            Ok(None) => ExitCode::from(UNUSABLE),
            Err(error) => {
                tell(&error);
                ExitCode::from(UNUSABLE)
            }
        }
    }

    /// Replays and prints; None when the configuration has a mistake, which has been shown.
    async fn replay(&self) -> anyhow::Result<Option<Replay>> {
        let Some(config) = gate::read_config(&self.config)? else {
            return Ok(None);
        };
        let (_, plan) = config
            .release(self.section.as_deref())
            .map_err(|error| anyhow!("{error}; here that is --section"))?;
        let events = self.told.events().await?;
        let replay = Replay::of(&events, plan)?;
        let printed = match self.format {
            Output::Text => text(&replay),
            Output::Json => {
                serde_json::to_string_pretty(&replay).context("could not write the answer")? + "\n"
            }
        };
        write(&printed, None)?;
        Ok(Some(replay))
    }
}

/// For a terminal: the answer, and the windows around the first difference.
/// The longest sentence that is shown, in characters.
const SENTENCE_CHARS_MAX: usize = 1_000;

fn text(replay: &Replay) -> String {
    let mark = match replay.parted {
        None => style("=").green().bold(),
        Some(_) => style("≠").yellow().bold(),
    };
    // What the log says may be anybody's words.
    let sentences = replay.summary().into_iter();
    let sentences: Vec<_> = sentences
        .map(|sentence| reports::printable(&sentence, SENTENCE_CHARS_MAX))
        .collect();
    let mut lines = Vec::new();
    for (index, sentence) in sentences.iter().enumerate() {
        lines.push(match index {
            0 => format!("{mark} {}", style(sentence).bold()),
            _ => format!("  {sentence}"),
        });
    }
    let apart = replay.verdicts_apart();
    if apart > 0 {
        let all = replay.windows.len();
        lines.push(format!(
            "  The verdicts differ after {apart} of {all} windows."
        ));
    }
    lines.extend(windows(replay));
    lines.join("\n") + "\n"
}

fn windows(replay: &Replay) -> Vec<String> {
    let differs = |window: &Compared| window.recorded != window.other;
    let Some(first) = replay.windows.iter().position(differs) else {
        return Vec::new();
    };
    let from = first.saturating_sub(SHOWN_BEFORE);
    let shown = replay.windows.iter().skip(from).take(SHOWN_MAX);
    let head = format!("  {:<9} {:<34} {}", "window", "recorded", "other");
    let mut lines = vec![String::new(), style(head).dim().to_string()];
    for window in shown {
        let line = format!(
            "{:<9} {:<34} {}",
            window.start.strftime("%H:%M:%S").to_string(),
            view(window.recorded),
            view(window.other)
        );
        lines.push(match differs(window) {
            true => format!("{} {line}", style("≠").yellow()),
            false => format!("  {line}"),
        });
    }
    let more = replay.windows.len().saturating_sub(from + SHOWN_MAX);
    if from > 0 || more > 0 {
        let note = format!("  {from} windows before these and {more} after: --format json has all");
        lines.push(style(note).dim().to_string());
    }
    lines
}

fn view(view: Option<View>) -> String {
    match view {
        Some(View {
            weight,
            log_e,
            verdict,
        }) => format!("{:<6} {:<12} {}", weight.to_string(), verdict, odds(log_e)),
        None => "over".to_owned(),
    }
}
