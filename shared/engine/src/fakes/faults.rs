//! One run of a function in the [`World`]: every port call goes through one place, where it can be
//! counted, broken, or preceded by a rival.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;

use jiff::{SignedDuration, Timestamp};
use release::announce::Announcement;
use release::check::{ProbeSpec, Probed, RunCheck};
use release::config::{Alongside, StageArn, TargetSpec, TestTraffic};
use release::gate::ImageRef;
use release::{
    Approved, Arms, Checked, Generation, Head, JobReply, Live, ReleaseId, Started, Story, TargetId,
    Weight, Window, WindowQuery,
};

use serde_json::Value;

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
}

impl Fault {
    /// All of them.
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
    /// The fence admits a generation that has been outranked.
    NoGeneration,
    /// A target may be held by two releases.
    NoClaim,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::EffectsSkipped,
        Self::ActsBeforeIntent,
        Self::UnconditionalAppend,
        Self::NoFence,
        Self::NoGeneration,
        Self::NoClaim,
    ];
}

/// One run of a function. Implements every port.
pub struct Run<'w> {
    world: &'w World,
    call: Invocation,
    calls: Cell<usize>,
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
            calls: Cell::new(0),
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
    async fn through<T, E: From<PortError>>(
        &self,
        call: impl FnOnce(&World) -> Result<T, E>,
    ) -> Result<T, E> {
        let number = self.calls.replace(self.calls.get() + 1);
        let fault = self.fault.filter(|(at, _)| *at == number).map(|(_, f)| f);
        if fault == Some(Fault::Rival)
            && let Some(rival) = self.rival
        {
            rival(self.world);
        }
        if self.world.look().now > self.call.deadline {
            return pending().await; // the platform has ended this run
        }
        match fault {
            None | Some(Fault::Rival) => call(self.world),
            Some(Fault::DieBefore) => pending().await,
            Some(Fault::DieAfter) => {
                let _lost = call(self.world);
                pending().await
            }
            Some(Fault::AnswerLost) => {
                let _lost = call(self.world);
                Err(unreachable_now().into())
            }
            Some(Fault::Throttled) => Err(unreachable_now().into()),
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }
}

fn unreachable_now() -> PortError {
    PortError::new(
        Class::Retryable,
        "reach the service",
        "a fault was injected",
    )
}

/// The weight that one of these events intends.
fn intended<S: Story>(events: &[S::Event]) -> Option<Weight> {
    events.iter().rev().find_map(|event| {
        let json = serde_json::to_value(event).ok()?;
        let weight = json.get("effect")?.get("set-weight")?.as_str()?.to_owned();
        (json["event"] == "intended").then(|| Weight::try_from(weight).ok())?
    })
}

impl ReleaseLog for Run<'_> {
    async fn load<S: Story>(&self, id: &ReleaseId) -> Result<Head<S>, PortError> {
        self.through(|world| world.load(id)).await
    }

    async fn load_at<S: Story>(&self, id: &ReleaseId, seq: u64) -> Result<Head<S>, PortError> {
        self.through(|world| world.load_at(id, seq)).await
    }

    fn fact(&self, record: &Value) -> Result<Option<Fact>, PortError> {
        World::fact(record)
    }

    async fn events<S: Story>(&self, id: &ReleaseId) -> Result<Vec<S::Event>, PortError> {
        self.through(|world| world.events::<S>(id)).await
    }

    async fn append<S: Story>(
        &self,
        id: &ReleaseId,
        head: &Head<S>,
        events: &[S::Event],
    ) -> Result<Head<S>, AppendError> {
        let mut head = head.clone();
        if self.is(Mutant::UnconditionalAppend) {
            head.seq = self.world.load::<S>(id)?.seq;
        }
        if self.is(Mutant::ActsBeforeIntent)
            && let Some(weight) = intended::<S>(events)
        {
            self.world.set_weight(weight)?;
        }
        self.through(|world| {
            if self.is(Mutant::NoClaim) {
                world.change().held.clear();
            }
            world.append(id, &head, events)
        })
        .await
    }

    async fn watching(&self, name: &str) -> Result<Vec<ReleaseId>, PortError> {
        self.through(|world| {
            let ids = world.look().watches.get(name).cloned();
            Ok(ids.unwrap_or_default().into_iter().collect())
        })
        .await
    }

    async fn holder(&self, target: &TargetId) -> Result<Option<ReleaseId>, PortError> {
        self.through(|world| Ok(world.look().held.get(target).map(|held| held.by.clone())))
            .await
    }

    async fn beat(&self, id: &ReleaseId, at: Timestamp, until: Timestamp) -> Result<(), PortError> {
        self.through(|world| {
            world.beat(id, at, until);
            Ok(())
        })
        .await
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, PortError> {
        self.through(|world| Ok(world.due(now, limit))).await
    }

    async fn take_due(&self, due: &Due, until: Timestamp) -> Result<Option<Timestamp>, PortError> {
        self.through(|world| Ok(world.take_due(due, until))).await
    }

    async fn fence(
        &self,
        target: &TargetId,
        release: &ReleaseId,
        generation: Generation,
        call: &Invocation,
    ) -> Result<(), PortError> {
        let generation = match self.is(Mutant::NoGeneration) {
            true => Generation(u64::MAX),
            false => generation,
        };
        self.through(|world| match self.is(Mutant::NoFence) {
            true => Ok(()),
            false => world.fence(target, release, generation, call),
        })
        .await
    }

    async fn unfence(&self, target: &TargetId, call: &Invocation) -> Result<(), PortError> {
        self.through(|world| {
            world.unfence(target, call);
            Ok(())
        })
        .await
    }
}

impl TrafficTarget for Run<'_> {
    async fn arms(&self, _target: &TargetSpec) -> Result<Arms, PortError> {
        self.through(World::arms).await
    }

    async fn warnings(&self, _target: &TargetSpec) -> Result<Vec<String>, PortError> {
        self.through(|world| Ok(world.look().warnings.clone()))
            .await
    }

    async fn set_weight(
        &self,
        _target: &TargetSpec,
        _arms: &Arms,
        weight: Weight,
    ) -> Result<(), PortError> {
        self.through(|world| match self.is(Mutant::EffectsSkipped) {
            true => Ok(()),
            false => world.set_weight(weight),
        })
        .await
    }

    async fn deploy(&self, _target: &TargetSpec, arms: &Arms) -> Result<(), PortError> {
        self.through(|world| {
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
        self.through(|world| {
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
        self.through(|world| {
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

    async fn weight(&self, _target: &TargetSpec, _arms: &Arms) -> Result<Weight, PortError> {
        self.through(|world| Ok(world.weight())).await
    }

    async fn live(&self, _target: &TargetSpec, _arms: &Arms) -> Result<Live, PortError> {
        self.through(|world| Ok(world.live())).await
    }
}

impl Company for Run<'_> {
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
        _started: &Started,
        query: WindowQuery,
    ) -> Result<Vec<Window>, PortError> {
        self.through(|world| Ok(world.windows(query))).await
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
        self.through(|world| {
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
        self.through(|world| {
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
        self.world.look().now
    }

    async fn sleep(&self, time: SignedDuration) {
        self.world.pass(time);
    }
}
