//! The only loop that moves a release: load, decide, intend, perform.

mod company;
mod step;

use futures::join;
use jiff::{SignedDuration, Timestamp};
use release::config::TargetSpec;
use release::{
    By, Candidate, Effect, Event, Generation, Head, Live, Observation, Order, Phase, Reason,
    Release, ReleaseId, Started, Weight, ask_rollback, decide, take_order,
};

use crate::{AppendError, Class, Invocation, PortError, Ports, TrafficTarget};

/// The most rounds of one drive: a few weights in a row need three each.
pub const ROUNDS_MAX: usize = 24;
/// How often a run sets a weight that does not read back.
const WEIGHT_TRIES_MAX: usize = 3;
/// From one try to the next.
const WEIGHT_PAUSE: SignedDuration = SignedDuration::from_millis(200);

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
    let mut log = Log::as_loaded(ports.load(id).await?);
    for _ in 0..ROUNDS_MAX {
        let Some(release) = &log.head.state else {
            return Ok(None);
        };
        let events = match because(release) {
            Some(because) => ask_rollback(release, ports.now(), because),
            None => Vec::new(),
        };
        if events.is_empty() {
            return match log.head.state {
                Some(release) if release.phase != Phase::RollingBack => Ok(Some(Driven {
                    release,
                    because: Reason::Over,
                })),
                _ => Box::pin(go_on(ports, call, id, log)).await.map(Some),
            };
        }
        log = store(ports, call, id, &log.head, &events).await?;
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
    head: Head<Option<Release>>,
) -> Result<Driven, PortError> {
    go_on(ports, call, id, Log::as_loaded(head)).await
}

/// The same, after these events, if they are not overtaken.
pub(crate) async fn drive_after(
    ports: &impl Ports,
    call: &Invocation,
    id: &ReleaseId,
    head: &Head<Option<Release>>,
    events: &[Event],
) -> Result<Driven, PortError> {
    let log = store(ports, call, id, head, events).await?;
    go_on(ports, call, id, log).await
}

/// A release's log, and what stands ready for the effect that it ends with.
struct Log<Reading> {
    head: Head<Option<Release>>,
    /// Whether its last events are this run's: else it has moved on.
    is_ours: bool,
    ready: Option<Ready<Reading>>,
}

/// This run has the fence for an effect, and has read what the effect needs, if it could be read.
struct Ready<Reading> {
    generation: Generation,
    reading: Option<Reading>,
}

impl<Reading> Log<Reading> {
    fn as_loaded(head: Head<Option<Release>>) -> Self {
        Self {
            head,
            is_ours: false,
            ready: None,
        }
    }
}

async fn go_on<P: Ports>(
    ports: &P,
    call: &Invocation,
    id: &ReleaseId,
    Log {
        mut head,
        mut ready,
        ..
    }: Log<P::Reading>,
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
            let done = match perform(ports, call, id, release, effect, ready.take()).await {
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
            head = store(ports, call, id, &head, &[done]).await?.head;
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
        let log = store(ports, call, id, &head, &decision.events).await?;
        (head, ready) = (log.head, log.ready);
        // What was asked of somebody is used up; and what was seen before others went on is old.
        seen = log.is_ours.then_some(Observation {
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

/// The log after these events, or after those of others that were faster.
///
/// An effect that they intend need not wait for what comes before it: its fence is taken in the same
/// write, and its target read meanwhile.
async fn store<P: Ports>(
    ports: &P,
    call: &Invocation,
    id: &ReleaseId,
    head: &Head<Option<Release>>,
    events: &[Event],
) -> Result<Log<P::Reading>, PortError> {
    let after = head.after(events).state;
    let intending = after.as_ref().filter(|_| events.iter().any(is_intent));
    let stored = match intending.and_then(|release| Some((release, release.intended?))) {
        None => {
            let stored = ports.append(id, head, events).await;
            stored.map(|head| (head, None))
        }
        Some((release, effect)) => {
            let (spec, generation) = (&release.plan().target, release.generation);
            let target = spec.id();
            let (stored, reading) = join!(
                ports.append_and_fence(id, head, events, &target, generation, call),
                read_ahead(ports, spec, effect)
            );
            let ready = Ready {
                generation,
                reading,
            };
            stored.map(|(head, is_fenced)| (head, is_fenced.then_some(ready)))
        }
    };
    match stored {
        Ok((head, ready)) => Ok(Log {
            head,
            is_ours: true,
            ready,
        }),
        Err(AppendError::Moved) => Ok(Log::as_loaded(ports.load(id).await?)),
        Err(AppendError::Port(error)) => Err(error),
        Err(busy @ AppendError::Busy { .. }) => Err(PortError::new(
            Class::Permanent,
            format!("go on with release {id}"),
            busy,
        )),
    }
}

fn is_intent(event: &Event) -> bool {
    matches!(event, Event::Intended { .. })
}

/// What an effect needs of its target. One that cannot be read is read again when its turn comes.
async fn read_ahead<P: TrafficTarget>(
    ports: &P,
    target: &TargetSpec,
    effect: Effect,
) -> Option<P::Reading> {
    match effect {
        Effect::SetWeight(_) => ports.reading(target).await.ok(),
        Effect::Deploy
        | Effect::Retire
        | Effect::TestTraffic(_)
        | Effect::StopAlongside
        | Effect::HoldStage => None,
    }
}

/// Performs the latest intent behind the fence, and reads it back before anybody else can.
///
/// A run that does not know what became of an effect keeps the fence until it is surely over, and
/// does nothing else to the target: what it sent off may still arrive.
async fn perform<P: Ports>(
    ports: &P,
    call: &Invocation,
    id: &ReleaseId,
    release: &Release,
    effect: Effect,
    ready: Option<Ready<P::Reading>>,
) -> Result<(), PortError> {
    let target = release.plan().target.id();
    if let Some(earlier) = call.doubt(&target).filter(|earlier| *earlier != effect) {
        return Err(PortError::new(
            Class::Conflict,
            format!("{effect} at {target}"),
            format!("this run sent off '{earlier}', which may still arrive; a later run goes on"),
        ));
    }
    let reading = match ready.filter(|ready| ready.generation == release.generation) {
        Some(ready) => ready.reading,
        None => {
            ports.fence(&target, id, release.generation, call).await?;
            None
        }
    };
    let result = act(ports, call, release, effect, reading).await;
    if is_unknown(&result) {
        call.doubts(&target, effect);
    }
    if call.doubt(&target).is_none()
        && let Err(error) = ports.unfence(&target, call).await
    {
        // It ends by itself with this call's deadline.
        tracing::warn!(%error, "fence not given back");
    }
    result
}

/// Whether an effect may still happen although it was not reported as done.
fn is_unknown(result: &Result<(), PortError>) -> bool {
    result
        .as_ref()
        .is_err_and(|error| error.class == Class::Retryable)
}

async fn act<P: Ports>(
    ports: &P,
    call: &Invocation,
    release: &Release,
    effect: Effect,
    reading: Option<P::Reading>,
) -> Result<(), PortError> {
    let (target, arms) = (&release.plan().target, &release.started.arms);
    match effect {
        Effect::SetWeight(weight) => weigh(ports, call, release, weight, reading).await,
        Effect::Deploy => ports.deploy(target, arms).await,
        Effect::Retire => {
            let idle = match release.weight {
                Weight::ZERO => &arms.candidate,
                _ => &arms.stable,
            };
            ports.retire(target, arms, idle).await
        }
        Effect::TestTraffic(on) => {
            let test = release.plan().test_traffic().filter(|_| on);
            ports.route(target, arms, test).await
        }
        Effect::StopAlongside => company::stop(ports, release).await,
        Effect::HoldStage => company::hold_stage(ports, release).await,
    }
}

/// Sets the weight until it reads back.
async fn weigh<P: Ports>(
    ports: &P,
    call: &Invocation,
    release: &Release,
    weight: Weight,
    mut reading: Option<P::Reading>,
) -> Result<(), PortError> {
    for _ in 1..WEIGHT_TRIES_MAX {
        let result = weigh_once(ports, release, weight, reading.take()).await;
        if !is_unknown(&result) {
            return result;
        }
        call.doubts(&release.plan().target.id(), Effect::SetWeight(weight));
        ports.sleep(WEIGHT_PAUSE).await;
    }
    weigh_once(ports, release, weight, reading).await
}

async fn weigh_once<P: Ports>(
    ports: &P,
    release: &Release,
    weight: Weight,
    reading: Option<P::Reading>,
) -> Result<(), PortError> {
    let (target, arms) = (&release.plan().target, &release.started.arms);
    ports.set_weight(target, arms, weight, reading).await?;
    let live = ports.weight(target, arms).await?;
    tracing::info!(%weight, generation = %release.generation, %live, "weight set");
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
