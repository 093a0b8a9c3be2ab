//! `penstock abort`.

use anyhow::{Context, bail};
use aws::Aws;
use clap::Args;
use engine::{Clock, Invocation, roll_back};
use jiff::SignedDuration;
use release::{Phase, Reason, Release};

use super::which::Which;

/// While this command works on a target, no function touches it; if it is killed, for so long.
const TIME_MAX: SignedDuration = SignedDuration::from_secs(30);

/// Roll a release back by hand: all traffic to the stable version, and the pipeline's action fails.
///
/// It works with the AWS credentials of this shell, also when the pipeline was abandoned and no
/// function is invoked any more. A release that has ended is left as it is.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Abort {
    #[command(flatten)]
    which: Which,
    /// Why; it stands in the release's log and in the pipeline's message.
    #[arg(long, default_value = "aborted with penstock abort")]
    because: String,
}

const EXAMPLES: &str = "\
Example:
  penstock abort web-0f0e0d0c-1111-4222-8333-444455556666 --table penstock-ReleaseLog-1A2B3C \\
    --because 'customers report a blank page'";

impl Abort {
    /// Runs the command.
    ///
    /// # Errors
    /// When the release cannot be rolled back, or not yet.
    pub async fn run(self) -> anyhow::Result<()> {
        let sdk = aws::sdk_config().await;
        let aws = Aws::new(&sdk, self.which.table.clone());
        let id = self.which.find(&aws).await?;
        let owner = format!("penstock-abort-{}", uuid::Uuid::new_v4());
        let call = Invocation::new(owner, aws.machine_time() + TIME_MAX);
        let by = aws::local::identity(&sdk).await.ok();
        let because = |_: &Release| {
            Some(Reason::Asked {
                why: self.because.clone(),
                by: by.clone(),
            })
        };
        let driven = roll_back(&aws, &call, &id, because).await;
        let driven = driven.context("the release is not rolled back yet; run the command again")?;
        let Some(driven) = driven else {
            bail!("there is no release {id} in this table");
        };
        match driven.release.phase {
            Phase::RolledBack => println!("{id} rolled back: the stable version serves 100% again"),
            Phase::Promoted => println!("{id} was promoted already; nothing was changed"),
            // What is left to do, its pipeline's next job or the sweep does.
            Phase::RollingBack if driven.release.is_back() => println!(
                "{id} rolled back: the stable version serves 100% again; {}",
                driven.because
            ),
            Phase::RollingBack | Phase::Shifting => {
                bail!("{id} is not over yet; run the command again")
            }
        }
        Ok(())
    }
}
