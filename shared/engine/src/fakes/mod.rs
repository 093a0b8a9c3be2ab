//! A small world in memory: a log, one target with real consequences, metrics that follow from the
//! weight, and a pipeline that keeps the answers it gets. Time moves only when told to.

mod artifact;
mod choices;
mod faults;
mod log;
mod stage;

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use release::announce::Announcement;
use release::check::Probed;
use release::config::{ERRORS, TestTraffic};
use release::{
    Approved, ArmCounts, Arms, CheckVerdict, Checked, Claim, Generation, Head, JobReply, Live,
    Release, ReleaseId, Started, Story,
};
use release::{TargetId, Weight, Window, WindowQuery};
use serde_json::{Value, json};
use stats::Counts;

use crate::{
    AppendError, Class, Due, Fact, Invocation, Lost, Memory, PortError, Recalled, Sourced, Stream,
};

pub use artifact::Throttled;
pub use choices::{Choices, shrink};
pub use faults::{Fault, Mutant, Run};
pub use log::Log;
pub use stage::{Actor, Answer, Call, Cue};

/// Requests in one window, over both arms.
pub const REQUESTS_PER_WINDOW: u64 = 2_000;

/// For how long a look may still see the weight that was.
pub const STALE_MAX: SignedDuration = SignedDuration::from_secs(5);

/// How long after its run's end a fence stays: how far two clocks may be apart.
pub const FENCE_SLACK: SignedDuration = SignedDuration::from_secs(5);

/// How far a clock may be wrong once an answer has told the time.
pub const CLOCK_ERROR_MAX: SignedDuration = SignedDuration::from_secs(4);

/// A log's kind of story and id.
type LogKey = (&'static str, ReleaseId);

/// The world. A clone is another world, which goes on from the same state: it is copied when one of
/// them changes.
#[derive(Clone)]
pub struct World {
    state: RefCell<Rc<State>>,
    /// What happens to the call that is under way.
    under_way: Cell<Option<Fault>>,
}

/// What is in it. Tests may look at, and change, everything.
#[derive(Clone)]
pub struct State {
    /// The world's time.
    pub now: Timestamp,
    /// Stored events as they would be on disk, by kind and id.
    pub logs: BTreeMap<LogKey, Log>,
    /// Who holds what.
    pub held: BTreeMap<TargetId, Held>,
    /// When somebody last asked for an active story, and until when the sweep leaves it alone.
    pub active: BTreeMap<ReleaseId, (Timestamp, Timestamp)>,
    /// Active stories whose rollback has been decided: nobody puts the sweep off any more.
    pub woken: BTreeSet<ReleaseId>,
    /// `active` before its last change: what an index may still show.
    pub active_before: BTreeMap<ReleaseId, (Timestamp, Timestamp)>,
    /// Names registered by active stories.
    pub watches: BTreeMap<String, BTreeSet<ReleaseId>>,
    /// Every weight that a target has been given; its last one is live.
    pub weights: Vec<Moved>,
    /// Weights that were answered as set, and were not.
    pub ignored: Vec<(TargetId, Weight)>,
    /// Those of them that an old answer then showed as live: two answers that are not so.
    pub believed: Vec<(TargetId, Weight)>,
    /// Weights that were sent off and will arrive, and when at the latest.
    pub late: Vec<(Timestamp, Moved)>,
    /// The share of the candidate's requests that fail; the stable version's never do.
    pub candidate_fails: f64,
    /// The same of single releases, where it differs.
    pub fails: BTreeMap<ReleaseId, f64>,
    /// The sides of a release that begins.
    pub arms: Arms,
    /// What there is to know of the target before a release begins.
    pub warnings: Vec<String>,
    /// The digests of the images that the candidate runs.
    pub images: BTreeSet<String>,
    /// A weight that the target refuses to be given.
    pub refuses_weight: Option<Weight>,
    /// Alarms that are firing.
    pub alarms: BTreeSet<String>,
    /// Every answer the pipeline got, in order, by job.
    pub answers: Vec<(String, JobReply)>,
    /// What is on the bus, in order.
    pub announced: Vec<Announcement>,
    /// How many announcements the next calls take, in turn; then all. A call that takes none fails.
    pub bus_takes: Vec<usize>,
    /// Measurements, the oldest first.
    pub measured: Vec<String>,
    /// Artifacts, by bucket and key.
    pub artifacts: BTreeMap<(String, String), Vec<u8>>,
    /// How many requests for parts of one artifact a run may make before it is throttled.
    pub artifact_requests: usize,
    /// Whether the job may not store artifacts.
    pub refuses_artifacts: bool,
    /// What the next probes see, in turn; the last one stays.
    pub probes: Vec<Probed>,
    /// What functions that are asked say, in turn; the last one stays.
    pub checks: Vec<Checked>,
    /// Versions that run, where releases put them up.
    pub up: BTreeSet<String>,
    /// When the candidate that was put up last is ready.
    pub ready_at: Timestamp,
    /// The test traffic that goes to the candidate.
    pub test_traffic: Option<TestTraffic>,
    /// Whether test traffic cannot be ended, for want of a right.
    pub refuses_test_traffic_to_end: bool,
    /// What deploys alongside, by ARN, and whether a deployment of it is under way.
    pub alongside: BTreeMap<String, bool>,
    /// Whether those cannot be stopped, for want of a right.
    pub refuses_to_stop: bool,
    /// Why the stage is closed, if it is.
    pub stage_closed: Option<String>,
    /// Whether the release's execution is in its stage: until its action has been answered.
    pub in_stage: bool,
    /// Whether the stage has been rolled back.
    pub stage_rolled_back: bool,
    /// What somebody decided in the pipeline.
    pub approval: Option<Approved>,
    /// What gates remember, as it would be on disk, and how often each was stored.
    pub histories: BTreeMap<Stream, (u64, Value)>,
    /// When executions began, by pipeline and execution.
    pub executions: BTreeMap<(String, String), Timestamp>,
    /// What the next looks at a report group (by its name or ARN) or at an image (by its name and
    /// tag or digest) see, in turn; the last one stays.
    pub sources: BTreeMap<String, Vec<Sourced>>,
}

/// A target was given a weight.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Moved {
    /// When it got there.
    pub at: Timestamp,
    /// Which.
    pub target: TargetId,
    /// The side that got it; the other one has the rest.
    pub candidate: String,
    /// How much.
    pub weight: Weight,
    /// The release that held the target then.
    pub holder: Option<ReleaseId>,
}

/// Who holds a target.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Held {
    /// The active release.
    pub by: ReleaseId,
    /// The latest generation that has had the fence.
    pub generation: Generation,
    /// Who has the fence now, and until when at the latest.
    pub fence: Option<(String, Timestamp)>,
}

impl Default for World {
    fn default() -> Self {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(500_000);
        Self {
            state: RefCell::new(Rc::new(State {
                now,
                logs: BTreeMap::new(),
                held: BTreeMap::new(),
                active: BTreeMap::new(),
                woken: BTreeSet::new(),
                active_before: BTreeMap::new(),
                watches: BTreeMap::new(),
                weights: Vec::new(),
                ignored: Vec::new(),
                believed: Vec::new(),
                late: Vec::new(),
                candidate_fails: 0.0,
                fails: BTreeMap::new(),
                arms: Arms {
                    stable: "blue".to_owned(),
                    candidate: "green".to_owned(),
                },
                warnings: Vec::new(),
                images: BTreeSet::new(),
                refuses_weight: None,
                alarms: BTreeSet::new(),
                answers: Vec::new(),
                announced: Vec::new(),
                bus_takes: Vec::new(),
                measured: Vec::new(),
                artifacts: BTreeMap::new(),
                artifact_requests: usize::MAX,
                refuses_artifacts: false,
                probes: Vec::new(),
                checks: Vec::new(),
                up: BTreeSet::from(["blue".to_owned()]),
                ready_at: now,
                test_traffic: None,
                refuses_test_traffic_to_end: false,
                alongside: BTreeMap::new(),
                refuses_to_stop: false,
                stage_closed: None,
                in_stage: true,
                stage_rolled_back: false,
                approval: None,
                histories: BTreeMap::new(),
                executions: BTreeMap::new(),
                sources: BTreeMap::new(),
            })),
            under_way: Cell::new(None),
        }
    }
}

impl World {
    /// A look.
    pub fn look(&self) -> Ref<'_, State> {
        Ref::map(self.state.borrow(), Rc::as_ref)
    }

    /// A change.
    pub fn change(&self) -> RefMut<'_, State> {
        RefMut::map(self.state.borrow_mut(), Rc::make_mut)
    }

    /// Lets time pass. What was sent off has arrived by the time it does so at the latest.
    pub fn pass(&self, time: SignedDuration) {
        let mut state = self.change();
        state.now += time;
        let now = state.now;
        while let Some(due) = state.late.iter().position(|(until, _)| *until < now) {
            state.arrive(due);
        }
    }

    /// Lets a weight arrive that was sent off.
    pub fn arrive(&self, number: usize) {
        self.change().arrive(number);
    }

    /// Somebody else gives the target this weight that was moved last.
    pub fn drift(&self, weight: Weight) {
        let mut state = self.change();
        let Some(last) = state.weights.last().cloned() else {
            return;
        };
        let at = state.now;
        state.weights.push(Moved { at, weight, ..last });
    }

    /// The weight that was set last, of whichever target.
    pub fn weight(&self) -> Weight {
        let state = self.look();
        state.weights.last().map_or(Weight::ZERO, |m| m.weight)
    }

    /// The live weight of this side of this target.
    pub fn live_weight(&self, target: &TargetId, candidate: &str) -> Weight {
        let now = self.look().now;
        let Some(Fault::Stale) = self.under_way.get() else {
            return self.look().weight_at(target, candidate, now);
        };
        let shown = self.look().weight_at(target, candidate, now - STALE_MAX);
        let told = (target.clone(), shown);
        if self.look().ignored.contains(&told) {
            self.change().believed.push(told);
        }
        shown
    }

    fn load<S: Story>(&self, id: &ReleaseId) -> Result<Rc<Head<S>>, PortError> {
        let folded = self
            .look()
            .logs
            .get(&(S::KIND, id.clone()))
            .and_then(Log::folded);
        match folded {
            Some(head) => Ok(head),
            None => self.load_as_stored(id).map(Rc::new),
        }
    }

    /// The story as its stored events tell it, whatever has been kept in memory.
    pub fn load_as_stored<S: Story>(&self, id: &ReleaseId) -> Result<Head<S>, PortError> {
        Ok(Head::default().after(&self.events::<S>(id)?))
    }

    fn load_at<S: Story>(&self, id: &ReleaseId, seq: u64) -> Result<Head<S>, PortError> {
        let mut events = self.events::<S>(id)?;
        events.truncate(usize::try_from(seq).unwrap_or(usize::MAX));
        Ok(Head::default().after(&events))
    }

    fn events<S: Story>(&self, id: &ReleaseId) -> Result<Vec<S::Event>, PortError> {
        let state = self.look();
        let log = state.logs.get(&(S::KIND, id.clone()));
        let events = log.into_iter().flatten().cloned();
        let events: Result<_, _> = events.map(serde_json::from_value).collect();
        events.map_err(|e| PortError::new(Class::Permanent, format!("read the log of {id}"), e))
    }

    fn put(&self, announcements: &[Announcement]) -> Result<usize, PortError> {
        let mut state = self.change();
        let takes = match state.bus_takes.is_empty() {
            true => announcements.len(),
            false => state.bus_takes.remove(0).min(announcements.len()),
        };
        let taken = announcements.iter().take(takes).cloned();
        state.announced.extend(taken);
        match takes {
            0 => Err(PortError::new(Class::Retryable, "announce", "throttled")),
            _ => Ok(takes),
        }
    }

    /// A record as [`World::records`] makes it.
    fn fact(record: &Value) -> Result<Option<Fact>, PortError> {
        let read = || {
            let release = record["release"].as_str()?.to_owned().try_into().ok()?;
            let seq = record["seq"].as_u64()?;
            let event = serde_json::from_value(record["event"].clone()).ok()?;
            Some(Fact {
                release,
                seq,
                event,
            })
        };
        match (record["release"].is_null(), read()) {
            (true, _) => Ok(None),
            (false, Some(fact)) => Ok(Some(fact)),
            (false, None) => {
                let doing = "read a record of the log's stream";
                Err(PortError::new(Class::Permanent, doing, "it is broken"))
            }
        }
    }

    /// What the stream hands over of the whole log of a release.
    pub fn records(&self, id: &ReleaseId) -> Vec<Value> {
        let state = self.look();
        let log = state
            .logs
            .get(&(<Option<Release> as Story>::KIND, id.clone()));
        let events = log.into_iter().flatten().zip(1_u64..);
        let record = |(event, seq): (&Value, u64)| {
            json!({
                "release": id, "seq": seq, "event": event,
                "dynamodb": {"SequenceNumber": format!("{:021}", 100 + seq)},
            })
        };
        events.map(record).collect()
    }

    fn append<S: Story>(
        &self,
        id: &ReleaseId,
        head: &Head<S>,
        events: &[S::Event],
        mutant: Option<Mutant>,
    ) -> Result<Rc<Head<S>>, AppendError> {
        let key = (S::KIND, id.clone());
        let stored = self.look().logs.get(&key).map_or(0, Log::len);
        if stored as u64 != head.seq {
            return Err(AppendError::Moved);
        }
        let mut after = Head::clone(&*self.load::<S>(id)?);
        let mut claims = Vec::new();
        for event in events {
            claims.extend(after.state.claim(event));
            after.state.apply(event);
            after.seq += 1;
        }
        let mut state = self.change();
        for claim in claims {
            state.claim(id, claim, mutant)?;
        }
        let as_json = events.iter().map(serde_json::to_value);
        let as_json: Vec<Value> = as_json
            .collect::<Result<_, _>>()
            .map_err(|e| PortError::new(Class::Permanent, format!("write the log of {id}"), e))?;
        let after = Rc::new(after);
        let log = state.logs.entry(key).or_default();
        as_json.into_iter().for_each(|event| log.push(event));
        log.keep(Rc::clone(&after));
        Ok(after)
    }

    fn fence(
        &self,
        target: &TargetId,
        release: &ReleaseId,
        generation: Generation,
        owner: &str,
        until: Timestamp,
    ) -> Result<(), PortError> {
        let mut state = self.change();
        let now = state.now;
        let refused = |why: &str| PortError::new(Class::Conflict, format!("fence {target}"), why);
        let held = state.held.get_mut(target).filter(|h| h.by == *release);
        let held = held.ok_or_else(|| refused("the release does not hold it"))?;
        if held.generation > generation {
            return Err(refused("a later generation has had it"));
        }
        match &held.fence {
            Some((other, until)) if other != owner && *until >= now => {
                Err(refused("another call has it"))
            }
            Some(_) | None => {
                held.generation = generation;
                held.fence = Some((owner.to_owned(), until));
                Ok(())
            }
        }
    }

    fn unfence(&self, target: &TargetId, call: &Invocation) {
        let mut state = self.change();
        if let Some(held) = state.held.get_mut(target) {
            held.fence = held.fence.take().filter(|(owner, _)| *owner != call.owner);
        }
    }

    fn beat(&self, id: &ReleaseId, at: Timestamp, until: Timestamp, mutant: Option<Mutant>) {
        let mut state = self.change();
        state.active_before = state.active.clone();
        if state.woken.contains(id) && mutant != Some(Mutant::BeatLulls) {
            return;
        }
        if let Some(active) = state.active.get_mut(id) {
            *active = (at, until);
        }
    }

    fn due(&self, now: Timestamp, limit: usize) -> Vec<Due> {
        let state = self.look();
        let active = match self.under_way.get() {
            Some(Fault::Stale) => &state.active_before,
            Some(_) | None => &state.active,
        };
        let due = active.iter().filter(|(_, (_, until))| *until < now);
        let mut due: Vec<_> = due
            .map(|(id, (_, until))| Due {
                id: id.clone(),
                since: *until,
            })
            .collect();
        due.sort_by_key(|due| due.since);
        due.truncate(limit);
        due
    }

    fn take_due(&self, due: &Due, until: Timestamp) -> Option<Timestamp> {
        let mut state = self.change();
        state.active_before = state.active.clone();
        let active = state.active.get_mut(&due.id);
        let (asked, left_alone) = active.filter(|(_, since)| *since == due.since)?;
        *left_alone = until;
        Some(*asked)
    }

    fn arms(&self, target: &TargetId) -> Result<Arms, PortError> {
        let sides = self.look().arms.clone();
        let live = self.live_weight(target, &sides.candidate);
        if live == Weight::FULL {
            return Ok(Arms {
                stable: sides.candidate,
                candidate: sides.stable,
            });
        }
        if live != Weight::ZERO {
            return Err(PortError::new(
                Class::Misconfigured,
                "tell the stable version from the candidate",
                "both have traffic; give one of them all of it",
            ));
        }
        Ok(sides)
    }

    /// Makes a call to which this happens.
    fn under<T>(&self, fault: Option<Fault>, make: impl FnOnce(&Self) -> T) -> T {
        self.under_way.set(fault);
        let answer = make(self);
        self.under_way.set(None);
        answer
    }

    /// What was sent off and not answered arrives by `until` at the latest.
    fn set_weight(
        &self,
        target: &TargetId,
        candidate: &str,
        weight: Weight,
        until: Timestamp,
    ) -> Result<(), PortError> {
        if self.look().refuses_weight == Some(weight) {
            return Err(PortError::new(
                Class::Denied,
                "set the weight",
                "AccessDenied",
            ));
        }
        let at = self.look().now;
        let moved = Moved {
            at,
            target: target.clone(),
            candidate: candidate.to_owned(),
            weight,
            holder: None,
        };
        match self.under_way.get() {
            Some(Fault::Ignored) => self.change().ignored.push((target.clone(), weight)),
            Some(Fault::Arrives) => {
                self.change().late.push((until, moved));
                let doing = "set the weight";
                return Err(PortError::new(Class::Retryable, doing, "no answer in time"));
            }
            Some(_) | None => self.change().land(moved),
        }
        Ok(())
    }

    fn live(&self, target: &TargetId, candidate: &str) -> Live {
        Live {
            weight: self.live_weight(target, candidate),
            stable_healthy: 2,
            candidate_healthy: 2,
            candidate_ready: self.look().now >= self.look().ready_at,
        }
    }

    fn find(&self, arn: &str) -> Result<(), PortError> {
        match self.look().alongside.contains_key(arn) {
            true => Ok(()),
            false => Err(PortError::new(
                Class::Misconfigured,
                format!("find {arn}"),
                "there is no such thing",
            )),
        }
    }

    fn stop(&self, arn: &str) -> Result<(), PortError> {
        let mut state = self.change();
        if state.refuses_to_stop {
            let doing = format!("stop {arn}");
            return Err(PortError::new(Class::Denied, doing, "AccessDenied"));
        }
        state.alongside.insert(arn.to_owned(), false);
        Ok(())
    }

    fn roll_back_stage(&self) -> Result<(), PortError> {
        let mut state = self.change();
        if state.in_stage {
            let doing = "roll the stage back";
            return Err(PortError::new(Class::Permanent, doing, "it still runs"));
        }
        state.stage_rolled_back = true;
        Ok(())
    }

    fn run_check(&self) -> Checked {
        in_turn(&mut self.change().checks).unwrap_or_else(|| Checked {
            verdict: CheckVerdict::Pass,
            said: "fine".to_owned(),
        })
    }

    fn windows(&self, started: &Started, query: WindowQuery) -> Vec<Window> {
        let mut start = query.from;
        std::iter::from_fn(|| {
            (start < query.until).then(|| {
                let window = self.look().window(started, start);
                start += query.length;
                window
            })
        })
        .collect()
    }

    fn answer(&self, job: &str, reply: &JobReply) {
        let mut state = self.change();
        if state.answers.iter().all(|(answered, _)| answered != job) {
            state.answers.push((job.to_owned(), reply.clone()));
            state.in_stage &= matches!(reply, JobReply::Continue { .. });
        }
    }

    fn recall(&self, stream: &Stream) -> Recalled {
        let state = self.look();
        let Some((version, stored)) = state.histories.get(stream) else {
            return Recalled::default();
        };
        let memory = serde_json::from_value(stored.clone());
        Recalled {
            memory: memory.unwrap_or_else(|error| {
                let (why, told) = (error.to_string(), None);
                Memory::Lost(Lost { why, told })
            }),
            version: Some(version.to_string()),
        }
    }

    fn remember(&self, stream: &Stream, seen: &Recalled, memory: &Memory) -> Result<(), PortError> {
        let doing = || format!("store the history of {stream}");
        let mut state = self.change();
        let stored = state.histories.get(stream).map(|(version, _)| *version);
        if seen.version != stored.map(|version| version.to_string()) {
            let why = "something else has been stored since";
            return Err(PortError::new(Class::Conflict, doing(), why));
        }
        let memory = serde_json::to_value(memory)
            .map_err(|e| PortError::new(Class::Permanent, doing(), e))?;
        let next = stored.map_or(1, |version| version + 1);
        state.histories.insert(stream.clone(), (next, memory));
        Ok(())
    }

    fn source(&self, name: &str) -> Result<Sourced, PortError> {
        let mut state = self.change();
        let seen = state.sources.get_mut(name);
        seen.and_then(in_turn).ok_or_else(|| {
            let doing = format!("look at {name}");
            PortError::new(Class::Misconfigured, doing, "there is no such thing")
        })
    }

    fn probe(&self) -> Probed {
        in_turn(&mut self.change().probes).unwrap_or_else(|| Probed::healthy("healthy"))
    }
}

/// The next of these, in turn; the last one stays.
fn in_turn<T: Clone>(all: &mut Vec<T>) -> Option<T> {
    match all.len() {
        0 | 1 => all.first().cloned(),
        _ => Some(all.remove(0)),
    }
}

impl State {
    /// A weight gets to its target.
    fn land(&mut self, moved: Moved) {
        let holder = self.held.get(&moved.target).map(|held| held.by.clone());
        let at = self.now;
        self.weights.push(Moved {
            at,
            holder,
            ..moved
        });
    }

    fn arrive(&mut self, number: usize) {
        if number < self.late.len() {
            let (_, moved) = self.late.remove(number);
            self.land(moved);
        }
    }

    fn weight_at(&self, target: &TargetId, candidate: &str, at: Timestamp) -> Weight {
        let mut moves = self.weights.iter().rev();
        match moves.find(|moved| moved.target == *target && moved.at <= at) {
            None => Weight::ZERO,
            Some(moved) if moved.candidate == candidate => moved.weight,
            Some(moved) => {
                let rest = Weight::FULL.basis_points() - moved.weight.basis_points();
                Weight::from_basis_points(rest).unwrap_or(Weight::ZERO)
            }
        }
    }

    fn claim(
        &mut self,
        id: &ReleaseId,
        claim: Claim,
        mutant: Option<Mutant>,
    ) -> Result<(), AppendError> {
        self.active_before = self.active.clone();
        match claim {
            Claim::Take {
                target,
                watches,
                since,
                until,
            } => {
                if let Some(held) = self.held.get(&target) {
                    let holder = held.by.clone();
                    return Err(AppendError::Busy { target, holder });
                }
                let held = Held {
                    by: id.clone(),
                    generation: Generation::default(),
                    fence: None,
                };
                self.held.insert(target, held);
                self.active.insert(id.clone(), (since, until));
                let watches = watches.into_iter();
                for name in watches.filter(|_| mutant != Some(Mutant::NotRegistered)) {
                    self.watches.entry(name).or_default().insert(id.clone());
                }
            }
            Claim::Wake { .. } if mutant == Some(Mutant::NotWoken) => {}
            Claim::Wake { at } => {
                self.woken.insert(id.clone());
                self.active.entry(id.clone()).or_insert((at, at)).1 = at;
            }
            Claim::GiveBack { target, watches } => {
                let fence = self.held.get(&target).and_then(|held| held.fence.as_ref());
                if fence.is_some_and(|(_, until)| *until >= self.now)
                    && mutant != Some(Mutant::EndsBesideOthers)
                {
                    let doing = format!("append to the log of {id}");
                    let why = format!("another run is at work on {target}");
                    return Err(PortError::new(Class::Conflict, doing, why).into());
                }
                if mutant != Some(Mutant::NeverGivenBack) {
                    self.held.remove(&target);
                }
                self.active.remove(id);
                self.woken.remove(id);
                for name in watches {
                    if let Some(ids) = self.watches.get_mut(&name) {
                        ids.remove(id);
                    }
                }
            }
        }
        Ok(())
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a few thousand requests times a share of at most one"
    )]
    fn window(&self, started: &Started, start: Timestamp) -> Window {
        let weight = self.weight_at(&started.plan.target.id(), &started.arms.candidate, start);
        let points = u64::from(weight.basis_points());
        let fails = self.fails.get(&started.release);
        let fails = fails.copied().unwrap_or(self.candidate_fails);
        let canary = REQUESTS_PER_WINDOW * points / 10_000;
        let bad = (canary as f64 * fails) as u64;
        let counts = ArmCounts {
            canary: Counts { count: canary, bad },
            baseline: Counts {
                count: REQUESTS_PER_WINDOW - canary,
                bad: 0,
            },
        };
        Window {
            start,
            metrics: BTreeMap::from([(ERRORS.to_owned(), counts)]),
        }
    }
}
