//! `penstock status`.

use anyhow::{Context, bail};
use aws::Aws;
use clap::Args;
use engine::ReleaseLog;
use release::{Head, Phase, Reason, Release, ReleaseId};

/// Show how a release stands: its weight, its evidence, and what it waits for.
///
/// RELEASE is the id that the pipeline shows as the action's external execution id. The release is read from
/// its log in DynamoDB with the AWS credentials of this shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Status {
    /// The release's id.
    release: String,
    /// The release log's table: the stack's output ReleaseLogTable.
    #[arg(long, env = aws::TABLE_VARIABLE)]
    table: String,
    /// Print everything that the log adds up to, as JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  penstock status web-0f0e0d0c-1111-4222-8333-444455556666 --table penstock-ReleaseLog-1A2B3C
  PENSTOCK_TABLE=... penstock status web-0f0e... --json | jq .weight";

impl Status {
    /// Runs the command.
    ///
    /// # Errors
    /// When the release cannot be read.
    pub async fn run(self) -> anyhow::Result<()> {
        let id = ReleaseId::try_from(self.release)?;
        let aws = Aws::new(&aws::sdk_config().await, self.table);
        let head: Head<Option<Release>> = aws.load(&id).await?;
        let Some(release) = head.state else {
            bail!(
                "there is no release {id} in this table: its id is the action's external execution id"
            );
        };
        if self.json {
            println!(
                "{}",
                serde_json::to_string_pretty(&release).context("could not print the release")?
            );
        } else {
            show(&release, head.seq);
        }
        Ok(())
    }
}

fn show(release: &Release, events: u64) {
    let phase = match release.phase {
        Phase::Shifting => console::style("shifting").cyan(),
        Phase::RollingBack => console::style("rolling back").yellow(),
        Phase::Promoted => console::style("promoted").green(),
        Phase::RolledBack => console::style("rolled back").red(),
    };
    let steps = release.plan().steps.len();
    println!(
        "{}  {phase}",
        console::style(&release.started.release).bold()
    );
    for (name, value) in [
        ("target", release.plan().target.id().to_string()),
        ("stable", release.started.arms.stable.clone()),
        ("candidate", release.started.arms.candidate.clone()),
        ("began", release.started.at.to_string()),
        ("weight", release.weight.to_string()),
        (
            "step",
            format!("{} of {steps}", (release.step + 1).min(steps)),
        ),
        ("evidence", release.evidence()),
        (
            "because",
            release
                .because
                .as_ref()
                .map_or_else(|| "-".to_owned(), Reason::to_string),
        ),
        (
            "log",
            format!("{events} events, generation {}", release.generation),
        ),
    ] {
        println!("  {name:<10} {value}");
    }
    for warning in &release.started.warnings {
        println!("  {:<10} {warning}", console::style("warning").yellow());
    }
}
