//! `penstock status`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use aws::Aws;
use clap::Args;
use engine::{Clock, ReleaseLog};
use jiff::SignedDuration;
use release::account::Account;
use release::{Head, Release, ReleaseId};

use super::tell;
use super::which::Which;
use crate::live::{self, View, Watch};

/// The columns where there is no terminal.
const COLUMNS: usize = 160;
/// The exit status of `--watch` when it could not see how the release ended.
const UNKNOWN: u8 = 2;

/// Show how a release stands: its weight, its evidence, what it waits for and what comes next.
///
/// The release is read from its log in DynamoDB with the AWS credentials of this shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    #[command(flatten)]
    which: Which,
    /// Print everything that the log adds up to, as JSON.
    #[arg(long, conflicts_with = "watch")]
    json: bool,
    /// Show it until it is over; then the exit status is 0 when it was promoted, 1 when it was rolled
    /// back. Without a terminal, one line for each thing that happens.
    #[arg(short, long)]
    watch: bool,
    /// How often to look, with --watch: 1s to 1h.
    #[arg(long, default_value = "2s", value_parser = pause, requires = "watch")]
    every: Duration,
}

const EXAMPLES: &str = "\
Examples:
  penstock status web-0f0e0d0c-1111-4222-8333-444455556666 --table penstock-ReleaseLog-1A2B3C
  PENSTOCK_TABLE=... penstock status web-0f0e0d0c --watch
  PENSTOCK_TABLE=... penstock status app/shop --json | jq .weight

Exit status of --watch: 0 promoted, 1 rolled back, 2 it could not be seen how it ended, 130 after
Ctrl-C, which ends the watching and not the release.";

fn pause(text: &str) -> Result<Duration, String> {
    let read: Option<SignedDuration> = text.parse().ok();
    let bounds = SignedDuration::from_secs(1)..=SignedDuration::from_hours(1);
    let fits = read.filter(|time| bounds.contains(time));
    let fits = fits.and_then(|time| Duration::try_from(time).ok());
    fits.ok_or_else(|| "write a time from 1s to 1h".to_owned())
}

impl Status {
    /// Runs the command; gives the exit status.
    ///
    /// # Errors
    /// When the release cannot be read.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let aws = Aws::new(&aws::sdk_config().await, self.which.table.clone());
        if self.watch {
            let watched = self.watch(&aws).await;
            return Ok(watched.unwrap_or_else(|error| {
                tell(&error);
                ExitCode::from(UNKNOWN)
            }));
        }
        let id = self.which.find(&aws).await?;
        match self.json {
            true => print_json(&aws, &id).await?,
            false => print(&aws, &id).await?,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn watch(&self, aws: &Aws) -> anyhow::Result<ExitCode> {
        let watch = Watch {
            id: self.which.find(aws).await?,
            every: self.every,
        };
        live::watch(aws, &watch).await
    }
}

async fn print_json(aws: &Aws, id: &ReleaseId) -> anyhow::Result<()> {
    let head: Head<Option<Release>> = aws.load(id).await?;
    let Some(release) = head.state else {
        bail!("there is no release {id} in this table");
    };
    let text = serde_json::to_string_pretty(&release).context("could not print the release")?;
    println!("{text}");
    Ok(())
}

async fn print(aws: &Aws, id: &ReleaseId) -> anyhow::Result<()> {
    let events = aws.events::<Option<Release>>(id).await?;
    let Some(account) = Account::of(&events) else {
        bail!("there is no release {id} in this table");
    };
    let view = View {
        account: &account,
        now: aws.now(),
        width: live::width().min(COLUMNS),
    };
    view.lines().iter().for_each(|line| println!("{line}"));
    Ok(())
}
