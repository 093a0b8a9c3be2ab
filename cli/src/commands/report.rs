//! `penstock report`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use pages::ReleasePage;
use release::account::write_log;

use super::story::{Told, account, write};

/// Tell what a release did and why: one page with its weights, requests, errors and evidence over
/// time, every decision with its reason, and who took it.
///
/// The release is read from its log in DynamoDB with the AWS credentials of this shell, at any time
/// for a year; it may still be going on.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Report {
    #[command(flatten)]
    told: Told,
    /// The file to write; standard output when absent, or -.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// What to write.
    #[arg(long, value_enum, default_value_t)]
    format: Output,
}

const EXAMPLES: &str = "\
Examples:
  penstock report web-0f0e0d0c-1111-4222-8333-444455556666 -o report.html --table penstock-ReleaseLog-1A2B3C
  PENSTOCK_TABLE=... penstock report web-0f0e... --format json | jq '.windows[].verdict'
  penstock report web-0f0e... --format log -o web.jsonl    the log itself, to look at again elsewhere
  penstock report web.jsonl -o report.html                 from such a file, without AWS";

/// What is written.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// A page that stands alone.
    #[default]
    Html,
    /// For programs: each window and each decision, as the judge saw them.
    Json,
    /// The log itself, one event a line: what `report` and `replay` take as FILE.
    Log,
}

impl Report {
    /// Runs the command.
    ///
    /// # Errors
    /// When the release cannot be read, or the report cannot be written.
    pub async fn run(self) -> anyhow::Result<()> {
        let events = self.told.events().await?;
        let text = match self.format {
            Output::Log => write_log(&events).context("could not write the log")?,
            Output::Json => {
                let account = account(&events)?;
                serde_json::to_string_pretty(&account).context("could not write the report")? + "\n"
            }
            Output::Html => {
                let account = account(&events)?;
                let page = ReleasePage {
                    account: &account,
                    pipeline: None,
                    made: Timestamp::now(),
                };
                page.html()
            }
        };
        write(&text, self.output.as_deref())
    }
}
