//! The only loop that moves a release: load, decide, intend, perform.

mod company;
mod step;

use futures::join;
use jiff::Timestamp;
use release::{
    By, Candidate, Effect, Event, Generation, Head, Live, Observation, Order, Phase, Reason,
    Release, ReleaseId, Started, Weight, ask_rollback, decide, take_order,
};

use crate::{AppendError, Class, Invocation, PortError, Ports};

/// The most rounds of one drive: a few weights in a row need three each.
pub const ROUNDS_MAX: usize = 24;

/// Where a drive left a release, and why there.
#[derive(Debug)]
pub struct Driven {
    /// As the log has it.
    pub release: Release,
    /// The last decision's reason.
    pub because: Reason,
}

/// Begins a release: stores how it began together with its first intent, and holds its target.
/// A release that another call has begun meanwhile is loaded instead.
pub async fn begin(
    ports: &impl Ports,
    id: &ReleaseId,
    started: Started,
) -> Result<Head<Option<Release>>, AppendError> {
    let nothing = Head::default();
    let mut look = Observation::at(started.at);
    look.alarms = Some(started.alarms_firing.clone());
    // Whoever begins a release has just looked at its target.
    look.live = Some(Live {
        weight: Weight::ZERO,
        stable_healthy: 1,
        candidate_healthy: 1,
        candidate_ready: true,
    });
    let mut events = vec![Event::Started(Box::new(started))];
    if let Some(release) = &nothing.after(&events).state {
        events.extend(decide(release, &look).events);
    }
    match ports.append(id, &nothing, &events).await {
        Err(AppendError::Moved) => Ok(ports.load(id).await?),
        stored => stored,
    }
}

/// Turns a release round if `because` has a reason to, and takes a rollback as far as it goes now.
/// A release that goes on, or is over, is left alone.
pub async fn roll_back(
    ports: &impl Ports,
    call: &Invocation,
    id: &ReleaseId,
    because: impl Fn(&Release) -> Option<Reason>,
) -> Result<Option<Driven>, PortError> {
    let mut head: Head<Option<Release>> = ports.load(id).await?;
    for _ in 0..ROUNDS_MAX {
        let Some(release) = &head.state else {
            return Ok(None);
        };
        let events = match because(release) {
            Some(because) => ask_rollback(release, ports.now(), because),
            None => Vec::new(),
        };
        if events.is_empty() {
            return match head.state {
                Some(release) if release.phase != Phase::RollingBack => Ok(Some(Driven {
                    release,
                    because: Reason::Over,
                })),
                _ => Box::pin(drive(ports, call, id, head)).await.map(Some),
            };
        }
        head = append_or_reload(ports, id, &head, &events).await?.0;
    }
    Err(PortError {
        class: Class::Conflict,
        doing: format!("turn release {id} round: others were faster {ROUNDS_MAX} times"),
        cause: None,
    })
}

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// It makes no sense for the release as it is; says why.
    #[error("{0}")]
    Refused(String),
    /// The log could not be read or written.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// Stores an order that somebody gave by hand; the release's next look obeys it.
pub async fn give_order(
    ports: &impl Ports,
    id: &ReleaseId,
    order: Order,
    by: &By,
) -> Result<Release, OrderError> {
    let mut head: Head<Option<Release>> = ports.load(id).await?;
    for _ in 0..ROUNDS_MAX {
        let Some(release) = &head.state else {
            return Err(OrderError::Refused(format!(
                "there is no release {id} in this table: its id is the action's external execution \
                 id"
            )));
        };
        let event = take_order(release, order, by.clone()).map_err(OrderError::Refused)?;
        match ports.append(id, &head, &[event]).await {
            Ok(Head {
                state: Some(release),
                ..
            }) => return Ok(release),
            Ok(_) | Err(AppendError::Moved) => head = ports.load(id).await?,
            Err(AppendError::Port(error)) => return Err(error.into()),
            Err(busy @ AppendError::Busy { .. }) => {
                let doing = format!("{order} release {id}");
                return Err(PortError::new(Class::Permanent, doing, busy).into());
            }
        }
    }
    Err(OrderError::Refused(format!(
        "could not {order} release {id}: others were faster {ROUNDS_MAX} times; try again"
    )))
}

/// Takes the release at `head` as far as it goes now.
///
/// Safe to die in at any point and to run any number of times at once: what is to be done is
/// stored before it is done, effects are absolute, and only the holder of the fence of the latest
/// generation performs them. `Err` of class Conflict: another call is at work on the target.
pub async fn drive(
    ports: &impl Ports,
    call: &Invocation,
    id: &ReleaseId,
    mut head: Head<Option<Release>>,
) -> Result<Driven, PortError> {
    let mut seen = None;
    let mut because = Reason::ReadingBack;
    for _ in 0..ROUNDS_MAX {
        let Some(release) = head.state.as_ref() else {
            break;
        };
        if let Some(effect) = release.intended {
            seen = None; // the world changes
            let (at, generation) = (ports.now(), release.generation);
            let done = match perform(ports, call, id, release, effect).await {
                Ok(()) => Event::Performed {
                    at: ports.now(),
                    generation,
                    effect,
                },
                Err(error) if is_left(effect, &error) => Event::CleanupFailed {
                    at,
                    effect,
                    why: error.to_string(),
                },
                Err(error) => {
                    let told = tell_if_stuck(ports, id, head, &error.to_string()).await;
                    head = moved_on(ports, id, &told, error).await?;
                    continue;
                }
            };
            head = append_or_reload(ports, id, &head, &[done]).await?.0;
            continue;
        }
        let look = match seen.take() {
            Some(look) => look,
            None => observe(ports, release).await,
        };
        let decision = decide(release, &look);
        because = decision.because;
        if decision.events.is_empty() {
            head = tell_if_stuck(ports, id, head, &because.to_string()).await;
            break;
        }
        let (after, is_ours) = append_or_reload(ports, id, &head, &decision.events).await?;
        head = after;
        // What was asked of somebody is used up; and what was seen before others went on is old.
        seen = is_ours.then_some(Observation {
            checked: None,
            approval: None,
            ..look
        });
    }
    match head.state {
        Some(release) => Ok(Driven { release, because }),
        None => Err(PortError {
            class: Class::Permanent,
            doing: format!("find release {id}: its log is empty"),
            cause: None,
        }),
    }
}

/// Whether an effect that failed is left undone: traffic is where it belongs already, and a release
/// that can never end would hold its target for good.
fn is_left(effect: Effect, error: &PortError) -> bool {
    let never = !error.class.may_pass();
    match effect {
        Effect::Retire | Effect::TestTraffic(false) | Effect::StopAlongside | Effect::HoldStage => {
            never
        }
        Effect::SetWeight(_) | Effect::Deploy | Effect::TestTraffic(true) => false,
    }
}

/// The log, with the fact in it that this rollback is stuck, when it is and nobody was told lately.
/// Whether that can be stored or not, the rollback is tried again.
async fn tell_if_stuck(
    ports: &impl Ports,
    id: &ReleaseId,
    head: Head<Option<Release>>,
    why: &str,
) -> Head<Option<Release>> {
    let release = head.state.as_ref();
    let Some(stuck) = release.and_then(|release| release.stuck_for(why, ports.now())) else {
        return head;
    };
    tracing::error!(why, "a rollback is stuck");
    match ports.append(id, &head, &[stuck]).await {
        Ok(head) => head,
        Err(error) => {
            tracing::warn!(%error, "could not store that a rollback is stuck");
            head
        }
    }
}

/// After an effect that was not performed: the newer log, when that explains it.
async fn moved_on(
    ports: &impl Ports,
    id: &ReleaseId,
    head: &Head<Option<Release>>,
    error: PortError,
) -> Result<Head<Option<Release>>, PortError> {
    if error.class != Class::Conflict {
        return Err(error);
    }
    let fresh = ports.load(id).await?;
    if fresh.seq == head.seq {
        return Err(error);
    }
    Ok(fresh)
}

/// The log after these events, and whether they are in it: else it has moved on.
pub(crate) async fn append_or_reload(
    ports: &impl Ports,
    id: &ReleaseId,
    head: &Head<Option<Release>>,
    events: &[Event],
) -> Result<(Head<Option<Release>>, bool), PortError> {
    match ports.append(id, head, events).await {
        Ok(head) => Ok((head, true)),
        Err(AppendError::Moved) => Ok((ports.load(id).await?, false)),
        Err(AppendError::Port(error)) => Err(error),
        Err(busy @ AppendError::Busy { .. }) => Err(PortError::new(
            Class::Permanent,
            format!("go on with release {id}"),
            busy,
        )),
    }
}

/// Performs the latest intent behind the fence, and reads it back before anybody else can.
async fn perform(
    ports: &impl Ports,
    call: &Invocation,
    id: &ReleaseId,
    release: &Release,
    effect: Effect,
) -> Result<(), PortError> {
    let target = release.plan().target.id();
    ports.fence(&target, id, release.generation, call).await?;
    let result = act(ports, release, effect, release.generation).await;
    let unknown = |error: &PortError| error.class == Class::Retryable;
    if result.as_ref().is_err_and(unknown) {
        // The effect may still happen: nobody else may act before this call is surely over.
        return result;
    }
    if let Err(error) = ports.unfence(&target, call).await {
        // It ends by itself with this call's deadline.
        tracing::warn!(%error, "fence not given back");
    }
    result
}

async fn act(
    ports: &impl Ports,
    release: &Release,
    effect: Effect,
    generation: Generation,
) -> Result<(), PortError> {
    let (target, arms) = (&release.plan().target, &release.started.arms);
    let weight = match effect {
        Effect::SetWeight(weight) => weight,
        Effect::Deploy => return ports.deploy(target, arms).await,
        Effect::Retire => {
            let idle = match release.weight {
                Weight::ZERO => &arms.candidate,
                _ => &arms.stable,
            };
            return ports.retire(target, arms, idle).await;
        }
        Effect::TestTraffic(on) => {
            let test = release.plan().test_traffic().filter(|_| on);
            return ports.route(target, arms, test).await;
        }
        Effect::StopAlongside => return company::stop(ports, release).await,
        Effect::HoldStage => return company::hold_stage(ports, release).await,
    };
    ports.set_weight(target, arms, weight).await?;
    let live = ports.weight(target, arms).await?;
    tracing::info!(%weight, %generation, %live, "weight set");
    if live == weight {
        return Ok(());
    }
    Err(PortError {
        class: Class::Retryable,
        doing: format!("set the weight to {weight}: it reads back as {live}"),
        cause: None,
    })
}

/// One look at whatever the release's phase depends on, all at once.
async fn observe(ports: &impl Ports, release: &Release) -> Observation {
    let mut seen = Observation::at(ports.now());
    let (target, arms) = (&release.plan().target, &release.started.arms);
    let live = async { could_observe("the target", ports.live(target, arms).await) };
    match release.phase {
        Phase::Shifting => {
            (
                seen.windows,
                seen.alarms,
                seen.live,
                seen.checked,
                seen.approval,
            ) = join!(
                windows(ports, release, seen.now),
                alarms(ports, release),
                live,
                step::checked(ports, release),
                step::approval(ports, release),
            );
        }
        Phase::RollingBack => {
            (seen.windows, seen.live, seen.in_stage) = join!(
                windows(ports, release, seen.now),
                live,
                company::in_stage(ports, release),
            );
        }
        Phase::Promoted | Phase::RolledBack => {}
    }
    seen
}

async fn windows(
    ports: &impl Ports,
    release: &Release,
    now: Timestamp,
) -> Option<Vec<release::Window>> {
    // Before the first step, and after the last, there is nothing to compare.
    let is_due = match release.phase {
        Phase::Shifting => {
            release.candidate == Candidate::Ready && release.current_step().is_some()
        }
        // What the candidate still gets once it was turned back.
        Phase::RollingBack | Phase::Promoted | Phase::RolledBack => release.proving(now).is_some(),
    };
    let Some(query) = release.due_windows(now).filter(|_| is_due) else {
        return Some(Vec::new());
    };
    let windows = ports.windows(&release.started, query).await;
    could_observe("the metrics", windows)
}

async fn alarms(
    ports: &impl Ports,
    release: &Release,
) -> Option<std::collections::BTreeSet<String>> {
    match release.plan().alarms.as_slice() {
        [] => Some(std::collections::BTreeSet::new()),
        names => could_observe("the alarms", ports.firing(names).await),
    }
}

/// 'Could not observe' is a state of its own: it holds the weight, and the plan's patience bounds it.
fn could_observe<T>(what: &str, result: Result<T, PortError>) -> Option<T> {
    result
        .inspect_err(|error| tracing::warn!(%error, "could not observe {what}"))
        .ok()
}
