//! One run of a function in the [`World`]: every port call goes through one place, where it can be
//! counted, broken, or preceded by a rival.

use std::any::Any;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::rc::Rc;

use jiff::{SignedDuration, Timestamp};
use release::announce::Announcement;
use release::check::{ProbeSpec, Probed, RunCheck};
use release::config::{Alongside, StageArn, TargetSpec, TestTraffic};
use release::gate::ImageRef;
use release::{
    Approved, Arms, Checked, Effect, Event, Generation, Head, JobReply, Live, Release, ReleaseId,
    Started, Story, TargetId, Weight, Window, WindowQuery,
};

use serde_json::Value;

use super::stage::{Call, Cue};
use super::{Throttled, World};
use crate::{
    AppendError, Artifact, ArtifactStore, Class, Clock, Company, Due, EventBus, Executions, Fact,
    GateHistory, HealthProbe, Invocation, Job, JobReporter, Memory, MetricSource, PortError,
    Recalled, ReleaseLog, ReportSource, Sourced, Stream, Telemetry, TrafficTarget,
};

/// What happens at one port call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The run ends before the call has an effect.
    DieBefore,
    /// The run ends after the call had its effect, before its answer arrives.
    DieAfter,
    /// The call has its effect, but its answer is lost and the run goes on.
    AnswerLost,
    /// The call is refused for now.
    Throttled,
    /// A rival runs in between, before the call.
    Rival,
    /// The call is answered as done, and is not.
    Ignored,
    /// The call is answered as failed, and has its effect later.
    Arrives,
    /// The call sees what was a while ago.
    Stale,
}

impl Fault {
    /// Those that can happen at any call.
    pub const ALL: [Self; 5] = [
        Self::DieBefore,
        Self::DieAfter,
        Self::AnswerLost,
        Self::Throttled,
        Self::Rival,
    ];
}

/// A rule of the protocol, broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Effects are reported as done without being done.
    EffectsSkipped,
    /// Effects are carried out before their intent is stored.
    ActsBeforeIntent,
    /// Events are stored whatever else has been stored meanwhile.
    UnconditionalAppend,
    /// Nobody asks whether somebody else is at work on the target.
    NoFence,
    /// The fence of a run that died stays for ever.
    NoLease,
    /// The fence is given back although the effect may still happen.
    FenceGivenBackInDoubt,
    /// The fence is given back once a weight is set, although it was sent off twice.
    DoubtForgotten,
    /// The fence admits a release that does not hold the target.
    FenceForAnyRelease,
    /// The fence admits a generation that has been outranked.
    NoGeneration,
    /// A rollback has the generation of what it is to outrank.
    GenerationNotRaised,
    /// A weight that was set is taken for live.
    NoReadBack,
    /// A target may be held by two releases.
    NoClaim,
    /// A release ends although another run of it has the fence.
    EndsBesideOthers,
    /// A release that has ended still holds its target.
    NeverGivenBack,
    /// A release does not register for the alarms that it watches.
    NotRegistered,
    /// An event turns a release round that began after what it tells of.
    NotConcerned,
    /// A release that is held goes on all the same.
    HoldIgnored,
    /// Nobody looks after what nobody looks after.
    NoSweep,
    /// The sweep leaves a release alone although its rollback has been decided.
    NotWoken,
    /// The sweep does not know that a pipeline asks.
    NoBeat,
    /// A job that was begun before a rollback was decided puts the sweep off all the same.
    BeatLulls,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::EffectsSkipped,
        Self::ActsBeforeIntent,
        Self::UnconditionalAppend,
        Self::NoFence,
        Self::NoLease,
        Self::FenceGivenBackInDoubt,
        Self::DoubtForgotten,
        Self::FenceForAnyRelease,
        Self::NoGeneration,
        Self::GenerationNotRaised,
        Self::NoReadBack,
        Self::NoClaim,
        Self::EndsBesideOthers,
        Self::NeverGivenBack,
        Self::NotRegistered,
        Self::NotConcerned,
        Self::HoldIgnored,
        Self::NoSweep,
        Self::NotWoken,
        Self::NoBeat,
        Self::BeatLulls,
    ];
}

/// One run of a function. Implements every port.
pub struct Run<'w> {
    world: &'w World,
    call: Invocation,
    cue: Option<Rc<Cue>>,
    skew: SignedDuration,
    calls: Cell<usize>,
    last_set: Cell<Option<Weight>>,
    is_in_doubt: Cell<bool>,
    fault: Option<(usize, Fault)>,
    rival: Option<&'w dyn Fn(&World)>,
    mutant: Option<Mutant>,
}

impl<'w> Run<'w> {
    /// A run that lives until `call`'s deadline and nothing happens to.
    pub fn new(world: &'w World, call: Invocation) -> Self {
        Self {
            world,
            call,
            cue: None,
            skew: SignedDuration::ZERO,
            calls: Cell::new(0),
            last_set: Cell::new(None),
            is_in_doubt: Cell::new(false),
            fault: None,
            rival: None,
            mutant: None,
        }
    }

    /// The same run with `fault` at its port call number `at`, counted from 0.
    #[must_use]
    pub fn with_fault(mut self, at: usize, fault: Fault, rival: &'w dyn Fn(&World)) -> Self {
        self.fault = Some((at, fault));
        self.rival = Some(rival);
        self
    }

    /// The same run, which makes a call only when it is its turn.
    #[must_use]
    pub fn on_stage(mut self, cue: Rc<Cue>) -> Self {
        self.cue = Some(cue);
        self
    }

    /// The same run, whose clock is so far ahead of the world's.
    #[must_use]
    pub fn with_skew(mut self, skew: SignedDuration) -> Self {
        self.skew = skew;
        self
    }

    /// The same run under a broken protocol.
    #[must_use]
    pub fn with_mutant(mut self, mutant: Option<Mutant>) -> Self {
        self.mutant = mutant;
        self
    }

    /// Port calls made so far.
    pub fn calls(&self) -> usize {
        self.calls.get()
    }

    /// The one place through which every call goes. A run that dies never comes back from it: its
    /// future stays pending, and whoever polls it drops it.
    async fn at<T, E: From<PortError>>(
        &self,
        call: Call,
        make: impl FnOnce(&World) -> Result<T, E>,
    ) -> Result<T, E> {
        let fault = match &self.cue {
            Some(cue) => cue.turn(call).await,
            None => self.planned(),
        };
        if self.world.look().now > self.call.deadline {
            return self.die().await; // the platform has ended this run
        }
        let answer = match fault {
            None | Some(Fault::Rival | Fault::Ignored | Fault::Arrives | Fault::Stale) => {
                self.world.under(fault, make)
            }
            Some(Fault::DieBefore) => return self.die().await,
            Some(Fault::DieAfter) => {
                let _lost = make(self.world);
                return self.die().await;
            }
            Some(Fault::AnswerLost) => {
                let _lost = make(self.world);
                Err(unreachable_now().into())
            }
            Some(Fault::Throttled) => Err(unreachable_now().into()),
        };
        if let Some(cue) = &self.cue {
            let told = match fault {
                None | Some(Fault::Rival | Fault::Ignored) => self.world.told_to(call),
                Some(Fault::Stale) => !self.world.told_to(call),
                Some(_) => 0,
            };
            cue.hears((call, self.now(), told, answer.is_ok()));
        }
        answer
    }

    async fn through<T, E: From<PortError>>(
        &self,
        make: impl FnOnce(&World) -> Result<T, E>,
    ) -> Result<T, E> {
        self.at(Call::Other, make).await
    }

    /// What happens to a call of a run that is alone.
    fn planned(&self) -> Option<Fault> {
        let number = self.calls.replace(self.calls.get() + 1);
        let fault = self.fault.filter(|(at, _)| *at == number).map(|(_, f)| f);
        if fault == Some(Fault::Rival)
            && let Some(rival) = self.rival
        {
            rival(self.world);
        }
        fault
    }

    async fn die<T>(&self) -> T {
        if let Some(cue) = &self.cue {
            cue.die();
        }
        pending().await
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn store<S: Story>(
        &self,
        world: &World,
        id: &ReleaseId,
        head: &Head<S>,
        events: &[S::Event],
    ) -> Result<Head<S>, AppendError> {
        if self.is(Mutant::ActsBeforeIntent)
            && let Some((target, candidate, weight)) = intended(head, events)
        {
            world.set_weight(&target, &candidate, weight, self.call.deadline)?;
        }
        if self.is(Mutant::NoClaim) {
            world.change().held.clear();
        }
        let lowered = self
            .is(Mutant::GenerationNotRaised)
            .then(|| lowered::<S>(events));
        let events = lowered.as_deref().unwrap_or(events);
        match self.is(Mutant::UnconditionalAppend) {
            true => world.append(id, &world.load(id)?, events, self.mutant),
            false => world.append(id, head, events, self.mutant),
        }
    }

    fn take_fence(
        &self,
        world: &World,
        target: &TargetId,
        release: &ReleaseId,
        generation: Generation,
        call: &Invocation,
    ) -> Result<(), PortError> {
        let generation = match self.is(Mutant::NoGeneration) {
            true => Generation(u64::MAX),
            false => generation,
        };
        if self.is(Mutant::NoFence) {
            return Ok(());
        }
        if self.is(Mutant::FenceForAnyRelease)
            && let Some(held) = world.change().held.get_mut(target)
        {
            held.by = release.clone();
        }
        world.fence(target, release, generation, call, self.now())?;
        if self.is(Mutant::NoLease)
            && let Some(held) = world.change().held.get_mut(target)
        {
            held.fence = Some((call.owner.clone(), Timestamp::MAX));
        }
        Ok(())
    }
}

fn unreachable_now() -> PortError {
    PortError::new(
        Class::Retryable,
        "reach the service",
        "a fault was injected",
    )
}

/// The weight that one of these events intends, for which side of which target.
fn intended<S: Story>(head: &Head<S>, events: &[S::Event]) -> Option<(TargetId, String, Weight)> {
    let after: Head<S> = head.after(events);
    let release = (&after.state as &dyn Any).downcast_ref::<Option<Release>>()?;
    let release = release.as_ref()?;
    let Some(Effect::SetWeight(weight)) = release.intended else {
        return None;
    };
    let (target, candidate) = (release.plan().target.id(), &release.started.arms.candidate);
    Some((target, candidate.clone(), weight))
}

/// The events of a rollback, with the generation before theirs.
fn lowered<S: Story>(events: &[S::Event]) -> Vec<S::Event> {
    let is_rollback = |event: &S::Event| {
        let event: &dyn Any = event;
        let event = event.downcast_ref::<Event>();
        matches!(event, Some(Event::RollbackDecided { .. }))
    };
    let mut lowered = events.to_vec();
    if events.iter().any(is_rollback) {
        for event in &mut lowered {
            let event: &mut dyn Any = event;
            if let Some(Event::Intended { generation, .. }) = event.downcast_mut() {
                generation.0 = generation.0.saturating_sub(1);
            }
        }
    }
    lowered
}

impl ReleaseLog for Run<'_> {
    async fn load<S: Story>(&self, id: &ReleaseId) -> Result<Head<S>, PortError> {
        self.at(Call::Load, |world| {
            let mut head: Head<S> = world.load(id)?;
            let state: &mut dyn Any = &mut head.state;
            if let Some(Some(release)) = state.downcast_mut::<Option<Release>>()
                && self.is(Mutant::HoldIgnored)
            {
                release.held = None;
            }
            Ok(head)
        })
        .await
    }

    async fn load_at<S: Story>(&self, id: &ReleaseId, seq: u64) -> Result<Head<S>, PortError> {
        self.at(Call::Load, |world| world.load_at(id, seq)).await
    }

    fn fact(&self, record: &Value) -> Result<Option<Fact>, PortError> {
        World::fact(record)
    }

    async fn events<S: Story>(&self, id: &ReleaseId) -> Result<Vec<S::Event>, PortError> {
        self.at(Call::Load, |world| world.events::<S>(id)).await
    }

    async fn append<S: Story>(
        &self,
        id: &ReleaseId,
        head: &Head<S>,
        events: &[S::Event],
    ) -> Result<Head<S>, AppendError> {
        self.at(Call::Append, |world| self.store(world, id, head, events))
            .await
    }

    async fn append_and_fence<S: Story>(
        &self,
        id: &ReleaseId,
        head: &Head<S>,
        events: &[S::Event],
        target: &TargetId,
        generation: Generation,
        call: &Invocation,
    ) -> Result<(Head<S>, bool), AppendError> {
        self.at(Call::AppendAndFence, |world| {
            let head = self.store(world, id, head, events)?;
            let fenced = self.take_fence(world, target, id, generation, call);
            Ok((head, fenced.is_ok()))
        })
        .await
    }

    async fn watching(&self, name: &str) -> Result<Vec<ReleaseId>, PortError> {
        self.at(Call::Watching, |world| {
            let ids = world.look().watches.get(name).cloned();
            Ok(ids.unwrap_or_default().into_iter().collect())
        })
        .await
    }

    async fn holder(&self, target: &TargetId) -> Result<Option<ReleaseId>, PortError> {
        self.at(Call::Other, |world| {
            Ok(world.look().held.get(target).map(|held| held.by.clone()))
        })
        .await
    }

    async fn beat(&self, id: &ReleaseId, at: Timestamp, until: Timestamp) -> Result<(), PortError> {
        self.at(Call::Beat, |world| {
            if !self.is(Mutant::NoBeat) {
                world.beat(id, at, until, self.mutant);
            }
            Ok(())
        })
        .await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, PortError> {
        self.at(Call::Due, |world| match self.is(Mutant::NoSweep) {
            true => Ok(Vec::new()),
            false => Ok(world.due(now, limit)),
        })
        .await
    }

    async fn take_due(&self, due: &Due, until: Timestamp) -> Result<Option<Timestamp>, PortError> {
        self.at(Call::TakeDue, |world| Ok(world.take_due(due, until)))
            .await
    }

    async fn fence(
        &self,
        target: &TargetId,
        release: &ReleaseId,
        generation: Generation,
        call: &Invocation,
    ) -> Result<(), PortError> {
        self.at(Call::Fence, |world| {
            self.take_fence(world, target, release, generation, call)
        })
        .await
    }

    async fn unfence(&self, target: &TargetId, call: &Invocation) -> Result<(), PortError> {
        self.at(Call::Unfence, |world| {
            world.unfence(target, call);
            Ok(())
        })
        .await
    }
}

impl TrafficTarget for Run<'_> {
    /// A weight is simply set.
    type Reading = ();

    async fn reading(&self, _target: &TargetSpec) -> Result<(), PortError> {
        Ok(()) // nothing is asked, so nothing happens to it
    }

    async fn arms(&self, target: &TargetSpec) -> Result<Arms, PortError> {
        self.through(|world| world.arms(&target.id())).await
    }

    async fn images(&self, _target: &TargetSpec) -> Result<BTreeSet<String>, PortError> {
        self.through(|world| Ok(world.look().images.clone())).await
    }

    async fn warnings(&self, _target: &TargetSpec) -> Result<Vec<String>, PortError> {
        self.through(|world| Ok(world.look().warnings.clone()))
            .await
    }

    async fn set_weight(
        &self,
        target: &TargetSpec,
        arms: &Arms,
        weight: Weight,
        _read: Option<()>,
    ) -> Result<(), PortError> {
        self.at(Call::SetWeight, |world| {
            self.last_set.set(Some(weight));
            if self.is(Mutant::EffectsSkipped) {
                return Ok(());
            }
            let until = self.call.deadline;
            let set = world.set_weight(&target.id(), &arms.candidate, weight, until);
            self.is_in_doubt.set(self.is_in_doubt.get() || set.is_err());
            if set.is_err() && self.is(Mutant::FenceGivenBackInDoubt) {
                world.unfence(&target.id(), &self.call);
            }
            set
        })
        .await
    }

    async fn deploy(&self, _target: &TargetSpec, arms: &Arms) -> Result<(), PortError> {
        self.at(Call::Act, |world| {
            world.change().up.insert(arms.candidate.clone());
            Ok(())
        })
        .await
    }

    async fn retire(
        &self,
        _target: &TargetSpec,
        _arms: &Arms,
        idle: &str,
    ) -> Result<(), PortError> {
        self.at(Call::Act, |world| {
            world.change().up.remove(idle);
            Ok(())
        })
        .await
    }

    async fn route(
        &self,
        _target: &TargetSpec,
        _arms: &Arms,
        test: Option<&TestTraffic>,
    ) -> Result<(), PortError> {
        self.at(Call::Act, |world| {
            let mut state = world.change();
            if test.is_none() && state.refuses_test_traffic_to_end {
                let doing = "end the test traffic";
                return Err(PortError::new(Class::Denied, doing, "AccessDenied"));
            }
            state.test_traffic = test.cloned();
            Ok(())
        })
        .await
    }

    async fn weight(&self, target: &TargetSpec, arms: &Arms) -> Result<Weight, PortError> {
        self.at(Call::Weight, |world| {
            if self.is_in_doubt.get() && self.is(Mutant::DoubtForgotten) {
                world.unfence(&target.id(), &self.call);
            }
            let believed = self.last_set.get().filter(|_| self.is(Mutant::NoReadBack));
            Ok(believed.unwrap_or_else(|| world.live_weight(&target.id(), &arms.candidate)))
        })
        .await
    }

    async fn live(&self, target: &TargetSpec, arms: &Arms) -> Result<Live, PortError> {
        self.at(Call::Live, |world| {
            Ok(world.live(&target.id(), &arms.candidate))
        })
        .await
    }
}

impl Company for Run<'_> {
    async fn find(&self, alongside: &Alongside) -> Result<(), PortError> {
        self.through(|world| world.find(alongside.arn())).await
    }

    async fn stop(&self, alongside: &Alongside) -> Result<(), PortError> {
        self.through(|world| world.stop(alongside.arn())).await
    }

    async fn close_stage(&self, _stage: &StageArn, reason: &str) -> Result<(), PortError> {
        self.through(|world| {
            world.change().stage_closed = Some(reason.to_owned());
            Ok(())
        })
        .await
    }

    async fn in_stage(&self, _stage: &StageArn, _execution: &str) -> Result<bool, PortError> {
        self.through(|world| Ok(world.look().in_stage)).await
    }

    async fn roll_back_stage(&self, _stage: &StageArn, _execution: &str) -> Result<(), PortError> {
        self.through(World::roll_back_stage).await
    }
}

impl MetricSource for Run<'_> {
    async fn windows(
        &self,
        started: &Started,
        query: WindowQuery,
    ) -> Result<Vec<Window>, PortError> {
        self.at(Call::Look, |world| Ok(world.windows(started, query)))
            .await
    }

    async fn percentiles(
        &self,
        _target: &TargetSpec,
        _version: &str,
        percentiles: &BTreeMap<String, f64>,
        _until: Timestamp,
    ) -> Result<BTreeMap<String, SignedDuration>, PortError> {
        let known = |name: &String| (name.clone(), SignedDuration::from_millis(100));
        self.through(|_| Ok(percentiles.keys().map(known).collect()))
            .await
    }
}

impl HealthProbe for Run<'_> {
    async fn probe(&self, _probe: &ProbeSpec) -> Result<Probed, PortError> {
        self.through(|world| Ok(world.probe())).await
    }

    async fn run_check(&self, _check: &RunCheck, _context: &Value) -> Result<Checked, PortError> {
        self.through(|world| Ok(world.run_check())).await
    }

    async fn firing(&self, alarms: &[String]) -> Result<BTreeSet<String>, PortError> {
        self.at(Call::Look, |world| {
            let firing = &world.look().alarms;
            Ok(alarms
                .iter()
                .filter(|a| firing.contains(*a))
                .cloned()
                .collect())
        })
        .await
    }
}

impl ReportSource for Run<'_> {
    async fn build_reports(&self, group: &str, _build: &str) -> Result<Sourced, PortError> {
        self.through(|world| world.source(group)).await
    }

    async fn image_findings(&self, image: &ImageRef) -> Result<Sourced, PortError> {
        self.through(|world| world.source(&image.to_string())).await
    }
}

impl ArtifactStore for Run<'_> {
    type Bytes = Throttled;

    async fn read<T: Send + 'static>(
        &self,
        job: &Job,
        work: impl FnOnce(Vec<Throttled>) -> T + Send + 'static,
    ) -> Result<T, PortError> {
        let opened = self.through(|world| {
            let state = world.look();
            let open = |artifact: &Artifact| {
                let key = (artifact.bucket.clone(), artifact.key.clone());
                let bytes = state.artifacts.get(&key).cloned().ok_or_else(|| {
                    let doing = format!("fetch artifact {}", artifact.name);
                    PortError::new(Class::Misconfigured, doing, "there is none at its key")
                })?;
                Ok(Throttled::new(bytes, state.artifact_requests))
            };
            job.inputs.iter().map(open).collect()
        });
        opened.await.map(work)
    }

    async fn store(&self, _job: &Job, artifact: &Artifact, zip: Vec<u8>) -> Result<(), PortError> {
        let key = (artifact.bucket.clone(), artifact.key.clone());
        self.through(|world| {
            if world.look().refuses_artifacts {
                let doing = format!("store artifact {}", artifact.name);
                return Err(PortError::new(Class::Denied, doing, "AccessDenied"));
            }
            world.change().artifacts.insert(key, zip);
            Ok(())
        })
        .await
    }
}

impl GateHistory for Run<'_> {
    async fn recall(&self, stream: &Stream) -> Result<Recalled, PortError> {
        self.through(|world| Ok(world.recall(stream))).await
    }

    async fn remember(
        &self,
        stream: &Stream,
        seen: &Recalled,
        memory: &Memory,
    ) -> Result<(), PortError> {
        self.through(|world| world.remember(stream, seen, memory))
            .await
    }
}

impl Executions for Run<'_> {
    async fn began(&self, pipeline: &str, execution: &str) -> Result<Option<Timestamp>, PortError> {
        let key = (pipeline.to_owned(), execution.to_owned());
        self.through(|world| Ok(world.look().executions.get(&key).copied()))
            .await
    }

    async fn approval(
        &self,
        _pipeline: &str,
        _execution: &str,
        _action: &str,
    ) -> Result<Option<Approved>, PortError> {
        self.through(|world| Ok(world.look().approval.clone()))
            .await
    }
}

impl JobReporter for Run<'_> {
    async fn answer(&self, job: &str, reply: &JobReply) -> Result<(), PortError> {
        self.at(Call::Answer, |world| {
            world.answer(job, reply);
            Ok(())
        })
        .await
    }
}

impl EventBus for Run<'_> {
    async fn put(&self, announcements: &[Announcement]) -> Result<usize, PortError> {
        self.through(|world| world.put(announcements)).await
    }
}

impl Telemetry for Run<'_> {
    fn measure(&self, line: &str) {
        self.world.change().measured.push(line.to_owned());
    }
}

impl Clock for Run<'_> {
    fn now(&self) -> Timestamp {
        self.world.look().now + self.skew
    }

    fn machine_time(&self) -> Timestamp {
        self.world.look().now
    }

    async fn sleep(&self, time: SignedDuration) {
        if self.cue.is_none() {
            return self.world.pass(time); // no port call, so nothing happens to it
        }
        let slept = self.at(Call::Sleep, |world| {
            world.pass(time);
            Ok::<(), PortError>(())
        });
        _ = slept.await;
    }
}
