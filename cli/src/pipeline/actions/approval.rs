//! A manual approval: waits until a person answers.

use std::time::Duration;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Context, Done};
use crate::pipeline::event::Event;
use crate::pipeline::execution::{Approval, Failure, Verdict};
use crate::pipeline::jobs::Details;

/// AWS's default: seven days.
const MINUTES_DEFAULT: u32 = 7 * 24 * 60;

pub(super) async fn perform(context: &Context<'_>) -> Result<Done, Failure> {
    if context.execution.start.approve {
        return Ok(done("approved without asking"));
    }
    let (sender, answer) = oneshot::channel();
    let token = Uuid::new_v4().to_string();
    context.run(|run| {
        run.approval = Some(Approval {
            token: token.clone(),
            answer: Some(sender),
        })
    });
    context.execution.journal.record(Event::ApprovalNeeded {
        stage: context.stage(),
        action: context.action.name.clone(),
        token,
        message: context.setting("CustomData").map(str::to_owned),
        link: context.setting("ExternalEntityLink").map(str::to_owned),
    });
    let minutes = context.action.timeout_in_minutes.unwrap_or(MINUTES_DEFAULT);
    match tokio::time::timeout(Duration::from_secs(u64::from(minutes) * 60), answer).await {
        Ok(Ok(Verdict {
            approved: true,
            summary,
        })) => Ok(done(&summary)),
        Ok(Ok(Verdict {
            approved: false,
            summary,
        })) => Err(Failure::job(format!("rejected: {summary}"))),
        Ok(Err(_)) | Err(_) => Err(Failure::job(format!(
            "nobody answered within {minutes} minutes"
        ))),
    }
}

fn done(summary: &str) -> Done {
    Done {
        details: Details {
            summary: Some(summary.into()),
            ..Details::default()
        },
        ..Done::default()
    }
}
