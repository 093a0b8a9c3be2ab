//! Turns an outside event into the rollback of the releases that it concerns, and looks after those
//! that nobody else does.

use std::collections::BTreeSet;

use engine::{Class, Driven, Invocation, PortError, Ports, Trigger, roll_back, sweep};
use futures::future::{join_all, try_join_all};
use jiff::SignedDuration;
use release::sources::{OutsideEvent, RollbackRequest, SWEEP, read};
use release::{Phase, Release, ReleaseId};

/// From one try to the next, while another run is at work on the target or AWS does not answer.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The most tries of one run; its deadline comes sooner.
const TRIES_MAX: usize = 600;

/// The function `rollback-trigger`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RollbackTrigger;

impl Trigger for RollbackTrigger {
    const NAME: &'static str = "rollback-trigger";

    /// At the schedule's event, sweeps. Otherwise rolls back every active release that registered for
    /// this event. An event that concerns none is logged and dropped.
    async fn run(
        &self,
        ports: &impl Ports,
        call: &Invocation,
        event: &OutsideEvent<'_>,
    ) -> Result<(), PortError> {
        if event.detail_type == SWEEP {
            let swept = Box::pin(sweep(ports, call)).await?;
            tracing::info!(?swept, "swept");
            return Ok(());
        }
        let request = match read(event) {
            Ok(Some(request)) => request,
            Ok(None) => {
                tracing::info!("the event asks for nothing");
                return Ok(());
            }
            Err(error) => {
                tracing::error!(%error, "event dropped");
                return Ok(());
            }
        };
        let releases = concerned(ports, &request).await?;
        if releases.is_empty() {
            tracing::info!("the event concerns no active release");
        }
        let rollbacks = releases.iter().map(|id| finish(ports, call, id, &request));
        join_all(rollbacks).await.into_iter().collect()
    }
}

/// The active releases that registered one of the request's names.
async fn concerned(
    ports: &impl Ports,
    request: &RollbackRequest,
) -> Result<BTreeSet<ReleaseId>, PortError> {
    let found = request.watches.iter().map(|name| ports.watching(name));
    Ok(try_join_all(found).await?.into_iter().flatten().collect())
}

/// Drives the rollback until the traffic is back, waiting while another run has the target.
async fn finish(
    ports: &impl Ports,
    call: &Invocation,
    id: &ReleaseId,
    request: &RollbackRequest,
) -> Result<(), PortError> {
    for _ in 0..TRIES_MAX {
        let because = |release: &Release| {
            let concerned = request.concerns(release);
            concerned.then(|| request.because.clone())
        };
        match roll_back(ports, call, id, because).await {
            Ok(Some(Driven { release, because })) => match release.phase {
                // What is left takes time, and is the next job's or the sweep's.
                Phase::RollingBack if release.is_back() => {
                    tracing::info!(release = %id, %because, "the traffic is back");
                    return Ok(());
                }
                Phase::RollingBack => {
                    tracing::info!(release = %id, %because, "not rolled back yet");
                }
                phase @ (Phase::RolledBack | Phase::Promoted | Phase::Shifting) => {
                    tracing::info!(release = %id, ?phase, %because, "event handled");
                    return Ok(());
                }
            },
            Ok(None) => return Ok(()),
            Err(error) if error.class.may_pass() => {
                tracing::info!(release = %id, %error, "waiting for the target");
            }
            Err(error) => return Err(error),
        }
        if call.time_left(ports) <= PAUSE {
            break;
        }
        ports.sleep(PAUSE).await;
    }
    Err(PortError::new(
        Class::Conflict,
        format!("finish the rollback of {id}"),
        "the time of this run is over",
    ))
}
