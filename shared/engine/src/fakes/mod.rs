//! A small world in memory: a log, one target with real consequences, metrics that follow from the
//! weight, and a pipeline that keeps the answers it gets. Time moves only when told to.

mod artifact;
mod faults;

use std::cell::{Ref, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use release::announce::Announcement;
use release::check::Probed;
use release::config::{ERRORS, TestTraffic};
use release::{
    Approved, ArmCounts, Arms, CheckVerdict, Checked, Claim, Generation, Head, JobReply, Live,
    Release, ReleaseId, Story,
};
use release::{TargetId, Weight, Window, WindowQuery};
use serde_json::{Value, json};
use stats::Counts;

use crate::{
    AppendError, Class, Due, Fact, Invocation, Lost, Memory, PortError, Recalled, Sourced, Stream,
};

pub use artifact::Throttled;
pub use faults::{Fault, Mutant, Run};

/// Requests in one window, over both arms.
pub const REQUESTS_PER_WINDOW: u64 = 2_000;

/// The world.
pub struct World {
    state: RefCell<State>,
}

/// What is in it. Tests may look at, and change, everything.
pub struct State {
    /// The world's time.
    pub now: Timestamp,
    /// Stored events as they would be on disk, by kind and id.
    pub logs: BTreeMap<(&'static str, ReleaseId), Vec<Value>>,
    /// Who holds what.
    pub held: BTreeMap<TargetId, Held>,
    /// When somebody last asked for an active story, and until when the sweep leaves it alone.
    pub active: BTreeMap<ReleaseId, (Timestamp, Timestamp)>,
    /// Names registered by active stories.
    pub watches: BTreeMap<String, BTreeSet<ReleaseId>>,
    /// Every weight the target has had, and since when; the last one is live.
    pub weights: Vec<(Timestamp, Weight)>,
    /// The share of the candidate's requests that fail; the stable version's never do.
    pub candidate_fails: f64,
    /// The sides of a release that begins.
    pub arms: Arms,
    /// What there is to know of the target before a release begins.
    pub warnings: Vec<String>,
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
    /// Deployments alongside that are under way, by ARN.
    pub under_way: BTreeSet<String>,
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

/// Who holds a target.
#[derive(Debug, Clone)]
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
            state: RefCell::new(State {
                now,
                logs: BTreeMap::new(),
                held: BTreeMap::new(),
                active: BTreeMap::new(),
                watches: BTreeMap::new(),
                weights: vec![(now, Weight::ZERO)],
                candidate_fails: 0.0,
                arms: Arms {
                    stable: "blue".to_owned(),
                    candidate: "green".to_owned(),
                },
                warnings: Vec::new(),
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
                under_way: BTreeSet::new(),
                refuses_to_stop: false,
                stage_closed: None,
                in_stage: true,
                stage_rolled_back: false,
                approval: None,
                histories: BTreeMap::new(),
                executions: BTreeMap::new(),
                sources: BTreeMap::new(),
            }),
        }
    }
}

impl World {
    /// A look.
    pub fn look(&self) -> Ref<'_, State> {
        self.state.borrow()
    }

    /// A change.
    pub fn change(&self) -> RefMut<'_, State> {
        self.state.borrow_mut()
    }

    /// Lets time pass.
    pub fn pass(&self, time: SignedDuration) {
        let mut state = self.change();
        state.now += time;
    }

    /// The candidate's live weight.
    pub fn weight(&self) -> Weight {
        self.look().weights.last().map_or(Weight::ZERO, |(_, w)| *w)
    }

    fn load<S: Story>(&self, id: &ReleaseId) -> Result<Head<S>, PortError> {
        self.load_at(id, u64::MAX)
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
    ) -> Result<Head<S>, AppendError> {
        let mut state = self.change();
        let key = (S::KIND, id.clone());
        let stored = state.logs.get(&key).map_or(0, Vec::len);
        if stored as u64 != head.seq {
            return Err(AppendError::Moved);
        }
        let next = head.after(events);
        let claims: Vec<Claim> = events
            .iter()
            .scan(head.clone(), |so_far, event| {
                let claim = so_far.state.claim(event);
                *so_far = so_far.after(std::slice::from_ref(event));
                Some(claim)
            })
            .flatten()
            .collect();
        for claim in claims {
            state.claim(id, claim)?;
        }
        let as_json = events.iter().map(serde_json::to_value);
        let as_json: Vec<Value> = as_json
            .collect::<Result<_, _>>()
            .map_err(|e| PortError::new(Class::Permanent, format!("write the log of {id}"), e))?;
        state.logs.entry(key).or_default().extend(as_json);
        Ok(next)
    }

    fn fence(
        &self,
        target: &TargetId,
        release: &ReleaseId,
        generation: Generation,
        call: &Invocation,
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
            Some((owner, until)) if *owner != call.owner && *until >= now => {
                Err(refused("another call has it"))
            }
            Some(_) | None => {
                held.generation = generation;
                held.fence = Some((call.owner.clone(), call.deadline));
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

    fn beat(&self, id: &ReleaseId, at: Timestamp, until: Timestamp) {
        if let Some(active) = self.change().active.get_mut(id) {
            *active = (at, until);
        }
    }

    fn due(&self, now: Timestamp, limit: usize) -> Vec<Due> {
        let state = self.look();
        let due = state.active.iter().filter(|(_, (_, until))| *until < now);
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
        let active = state.active.get_mut(&due.id);
        let (asked, left_alone) = active.filter(|(_, since)| *since == due.since)?;
        *left_alone = until;
        Some(*asked)
    }

    fn arms(&self) -> Result<Arms, PortError> {
        if self.weight() != Weight::ZERO {
            return Err(PortError::new(
                Class::Misconfigured,
                "tell the stable version from the candidate",
                "both have traffic; give one of them all of it",
            ));
        }
        Ok(self.look().arms.clone())
    }

    fn set_weight(&self, weight: Weight) -> Result<(), PortError> {
        let mut state = self.change();
        if state.refuses_weight == Some(weight) {
            return Err(PortError::new(
                Class::Denied,
                "set the weight",
                "AccessDenied",
            ));
        }
        let now = state.now;
        state.weights.push((now, weight));
        Ok(())
    }

    fn live(&self) -> Live {
        Live {
            weight: self.weight(),
            stable_healthy: 2,
            candidate_healthy: 2,
            candidate_ready: self.look().now >= self.look().ready_at,
        }
    }

    fn stop(&self, arn: &str) -> Result<(), PortError> {
        let mut state = self.change();
        if state.refuses_to_stop {
            let doing = format!("stop {arn}");
            return Err(PortError::new(Class::Denied, doing, "AccessDenied"));
        }
        state.under_way.remove(arn);
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
        let mut state = self.change();
        let next = match state.checks.len() {
            0 => None,
            1 => state.checks.first().cloned(),
            _ => Some(state.checks.remove(0)),
        };
        next.unwrap_or_else(|| Checked {
            verdict: CheckVerdict::Pass,
            said: "fine".to_owned(),
        })
    }

    fn windows(&self, query: WindowQuery) -> Vec<Window> {
        let mut start = query.from;
        std::iter::from_fn(|| {
            (start < query.until).then(|| {
                let window = self.look().window(start);
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
        let next = seen.and_then(|seen| match seen.len() {
            0 | 1 => seen.first().cloned(),
            _ => Some(seen.remove(0)),
        });
        next.ok_or_else(|| {
            let doing = format!("look at {name}");
            PortError::new(Class::Misconfigured, doing, "there is no such thing")
        })
    }

    fn probe(&self) -> Probed {
        let mut state = self.change();
        match state.probes.len() {
            0 => Probed::healthy("healthy"),
            1 => state.probes[0].clone(),
            _ => state.probes.remove(0),
        }
    }
}

impl State {
    fn claim(&mut self, id: &ReleaseId, claim: Claim) -> Result<(), AppendError> {
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
                for name in watches {
                    self.watches.entry(name).or_default().insert(id.clone());
                }
            }
            Claim::Wake { at } => {
                self.active.entry(id.clone()).or_insert((at, at)).1 = at;
            }
            Claim::GiveBack { target, watches } => {
                self.held.remove(&target);
                self.active.remove(id);
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
    fn window(&self, start: Timestamp) -> Window {
        let weight = self.weights.iter().rev().find(|(since, _)| *since <= start);
        let points = weight.map_or(0, |(_, w)| u64::from(w.basis_points()));
        let canary = REQUESTS_PER_WINDOW * points / 10_000;
        let bad = (canary as f64 * self.candidate_fails) as u64;
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
