//! `penstock hold`, `resume`, `skip-wait`, `approve` and `promote`.

use anyhow::Context;
use aws::Aws;
use clap::{Args, Subcommand};
use engine::{Clock, give_order};
use release::{By, Order, Phase};

use super::which::Which;

/// What somebody may order a release that is on its way up.
#[derive(Debug, Subcommand)]
pub enum ByHand {
    /// Keep a release at its weight, whatever the plan says
    ///
    /// The judge and the alarms watch on, and may still take it back. After 12 hours without
    /// `penstock resume` the release goes back by itself.
    Hold(To),
    /// Let a release that is held go on with its plan
    Resume(To),
    /// End the step that a release waits in: a wait or a judge step
    SkipWait(To),
    /// Let a release go on that waits for approval
    Approve(To),
    /// Give the candidate everything now, without the steps that are left
    Promote(To),
}

/// Which release, and why.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct To {
    #[command(flatten)]
    which: Which,
    /// Why; it stands in the release's log besides your AWS identity.
    #[arg(long)]
    because: String,
}

const EXAMPLES: &str = "\
It is stored in the release's log with the AWS credentials of this shell; the function's next look,
within half a minute or so, obeys.

Examples:
  penstock hold web-0f0e0d0c-1111-4222-8333-444455556666 --table penstock-ReleaseLog-1A2B3C \\
    --because 'support is looking at a ticket'
  PENSTOCK_TABLE=... penstock approve app/shop --because 'looks good'    the release of this target";

impl ByHand {
    /// Runs the command.
    ///
    /// # Errors
    /// When the order makes no sense for the release as it is, or cannot be stored.
    pub async fn run(self) -> anyhow::Result<()> {
        let (order, to) = match self {
            Self::Hold(to) => (Order::Hold, to),
            Self::Resume(to) => (Order::Resume, to),
            Self::SkipWait(to) => (Order::SkipWait, to),
            Self::Approve(to) => (Order::Approve, to),
            Self::Promote(to) => (Order::Promote, to),
        };
        let sdk = aws::sdk_config().await;
        let who = aws::local::identity(&sdk).await;
        let who = who.context("could not find out who you are")?;
        let aws = Aws::new(&sdk, to.which.table.clone());
        let id = to.which.find(&aws).await?;
        let by = By::new(&who, &to.because, aws.now());
        let release = give_order(&aws, &id, order, &by).await?;
        let steps = release.plan().steps.len();
        let at = match release.phase {
            Phase::Shifting => format!("at {}", release.weight),
            Phase::RollingBack | Phase::Promoted | Phase::RolledBack => "over".to_owned(),
        };
        println!(
            "{order}: stored for release {id}, which is {at}, step {} of {steps}",
            (release.step + 1).min(steps)
        );
        Ok(())
    }
}
