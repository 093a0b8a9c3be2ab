//! `penstock releases`.

use anyhow::Context;
use aws::Aws;
use aws::local::listing::{Begun, SCAN_PAGES_MAX};
use clap::{Args, ValueEnum};
use console::style;
use engine::{Clock, ReleaseLog};
use jiff::Timestamp;
use release::{Head, Phase, Release};
use serde_json::{Value, json};
use wildmatch::WildMatch;

use super::story::write;
use crate::live::words;

/// The most releases that are read for one answer.
const LIMIT_MAX: usize = 1_000;

/// List the releases of a table, newest first: what they move, how far they are, what the judge says.
///
/// The release log has no index, so this scans the table, 200 MB of it at most, with the AWS
/// credentials of this shell; they need dynamodb:Scan and dynamodb:Query.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Releases {
    /// Only those that are going on.
    #[arg(long)]
    active: bool,
    /// Only those of targets whose ARN has this part, or fits this pattern with * and ?.
    #[arg(long, value_name = "PATTERN")]
    target: Option<String>,
    /// At most so many, 1 to 1000.
    #[arg(long, default_value_t = 20, value_parser = limit)]
    limit: usize,
    /// What to print.
    #[arg(long, value_enum, default_value_t)]
    format: Output,
    /// The release log's table: the stack's output ReleaseLogTable.
    #[arg(long, env = aws::TABLE_VARIABLE)]
    table: String,
}

const EXAMPLES: &str = "\
Examples:
  penstock releases --table penstock-ReleaseLog-1A2B3C
  PENSTOCK_TABLE=... penstock releases --active --format json | jq -r '.[].release'
  penstock releases --target 'arn:aws:lambda:*:function:shop:*'";

/// How the list is printed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// A table.
    #[default]
    Text,
    /// For programs: an array, one object a release.
    Json,
}

fn limit(text: &str) -> Result<usize, String> {
    let number = text.parse().ok();
    let fits = number.filter(|number| (1..=LIMIT_MAX).contains(number));
    fits.ok_or_else(|| format!("write a number from 1 to {LIMIT_MAX}"))
}

impl Releases {
    /// Runs the command.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn run(self) -> anyhow::Result<()> {
        let aws = Aws::new(&aws::sdk_config().await, self.table.clone());
        let listing = aws.releases().await?;
        if !listing.is_complete {
            eprintln!(
                "the table has more than the {SCAN_PAGES_MAX} MB that are looked at: releases may be \
                 missing"
            );
        }
        if listing.unreadable > 0 {
            let count = listing.unreadable;
            eprintln!("{count} releases are of another version of Penstock and are left out");
        }
        let mut found = Vec::new();
        for begun in &listing.begun {
            if found.len() == self.limit {
                break;
            }
            let is_active = listing.active.contains(&begun.id);
            if (self.active && !is_active) || !self.fits(begun) {
                continue;
            }
            let head: Head<Option<Release>> = aws.load(&begun.id).await?;
            found.extend(head.state);
        }
        let text = match self.format {
            Output::Json => {
                let all: Vec<_> = found.iter().map(object).collect();
                serde_json::to_string_pretty(&all).context("could not write the list")? + "\n"
            }
            Output::Text => {
                let width = crate::live::width();
                let lines = table(&found, aws.now());
                let lines = lines.iter().map(|line| words::fit(line, width) + "\n");
                lines.collect()
            }
        };
        write(&text, None)
    }

    fn fits(&self, begun: &Begun) -> bool {
        let target = &begun.target.0;
        self.target.as_ref().is_none_or(|pattern| {
            target.contains(pattern) || WildMatch::new(pattern).matches(target)
        })
    }
}

/// What programs get of a release.
fn object(release: &Release) -> Value {
    json!({
        "release": release.started.release,
        "target": release.plan().target.id(),
        "phase": release.phase,
        "active": release.is_active(),
        "weight": release.weight,
        "step": words::step_number(release),
        "steps": release.plan().steps.len(),
        "began": release.started.at,
        "step_since": release.step_since,
        "held_by": release.held.as_ref().map(|by| &by.who),
        "verdict": release.verdict(),
        "evidence": release.evidence(),
        "because": release.because.as_ref().map(ToString::to_string),
    })
}

/// Two lines a release: how it stands, and why.
fn table(releases: &[Release], now: Timestamp) -> Vec<String> {
    if releases.is_empty() {
        return vec!["no releases".to_owned()];
    }
    let names = words::short_ids(releases.iter().map(|r| r.started.release.as_str()));
    let longest = names.iter().map(|name| name.chars().count()).max();
    let name_width = longest.unwrap_or(0).max("RELEASE".len());
    let row = |name: &str, phase: &str, weight: &str, step: &str, since: &str, target: &str| {
        let phase = console::pad_str(phase, 12, console::Alignment::Left, None);
        format!("{name:<name_width$}  {phase} {weight:>7} {step:>6}  {since:<9}  {target}")
    };
    let head = row("RELEASE", "PHASE", "WEIGHT", "STEP", "BEGAN", "TARGET");
    let mut lines = vec![style(head).bold().to_string()];
    for (release, name) in releases.iter().zip(&names) {
        let step = format!(
            "{}/{}",
            words::step_number(release),
            release.plan().steps.len()
        );
        let ago = words::ago(now.duration_since(release.started.at));
        lines.push(row(
            name,
            &words::phase(release).to_string(),
            &release.weight.to_string(),
            &step,
            &ago,
            &words::target(release),
        ));
        let why = match (&release.phase, &release.because) {
            (Phase::Shifting | Phase::Promoted, _) | (_, None) => release.evidence(),
            (Phase::RollingBack | Phase::RolledBack, Some(because)) => because.to_string(),
        };
        let held = release.held.as_ref().filter(|_| release.is_active());
        let held = held.map(|by| format!("held by {}: {}; ", by.who, by.why));
        let why = words::plain(&(held.unwrap_or_default() + &why));
        lines.push(format!("{:name_width$}  {}", "", style(why).dim()));
    }
    lines
}
