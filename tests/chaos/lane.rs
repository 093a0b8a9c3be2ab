//! One release among many, with a target of its own. Everything of it carries the lane's name, which
//! each of its AWS requests has at the end of its trace.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use aws::local::cloudwatch::types::StateValue;
use aws::local::lambda;
use aws::local::lambda::primitives::Blob;
use aws::local::lambda::types::InvocationType;
use cli::load::{self, Load};
use cli::pipeline::event::Event;
use cli::stack::STACK;
use release::{Phase, ReleaseId};
use serde_json::Value;

use crate::accompanied::Company;
use crate::fleet::Fleet;
use crate::laws::{self, Ending};
use crate::subject::Subject;
use crate::world::{Action, Ran, World, sweep_event};

/// Requests a second that a release gets where it is judged by them, and where it is only watched.
const JUDGED_RPS: u32 = 8;
const WATCHED_RPS: u32 = 2;
/// How long a release stays at its first weight, if its scenario says so.
const STAYS: Duration = Duration::from_secs(15);
/// How long after its first weight a release's alarm fires.
const ALARM_AFTER: Duration = Duration::from_millis(1_500);
/// A watch that outlasts every test, once the candidate has everything.
const WATCHED: &str = "    watch: {for: 30m, tail: 0%}";
/// How often a lane that nobody looks after is swept.
const SWEEP_EVERY: Duration = Duration::from_secs(4);
/// How long it may take until a release is over that its pipeline abandoned: the sweep comes every
/// minute, and a run that was killed keeps its target for 35 s.
const ABANDONED_TIME_MAX: Duration = Duration::from_secs(360);

/// What happens to a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// The candidate is good: tested, promoted, and checked.
    Promoted,
    /// The candidate is good, and there are few requests by which to see that.
    Quiet,
    /// The candidate fails requests.
    Judged,
    /// An alarm fires in the middle.
    Alarmed,
    /// Its pipeline is abandoned, and then an alarm fires: only rollback-trigger looks.
    Abandoned,
    /// Its pipeline is abandoned, and nothing happens: only the sweep looks.
    Forgotten,
    /// As `Forgotten`, but for longer than a test takes.
    Left,
    /// Of a Lambda alias, which an alarm meets when the candidate has everything.
    Aliased,
    /// As `Alarmed`, with deployments alongside that go back with it, and a stage that is closed.
    Accompanied,
    /// Of a rolling ECS service, which an alarm meets when it runs the candidate.
    Rolling,
    /// As `Alarmed`, of two ECS services that take turns.
    Turns,
    /// As `Alarmed`, of a task set that is made for it.
    TaskSets,
}

impl Scenario {
    /// Where such a release ends.
    pub fn ends(self) -> Phase {
        match self {
            Self::Promoted | Self::Quiet => Phase::Promoted,
            Self::Judged
            | Self::Alarmed
            | Self::Abandoned
            | Self::Forgotten
            | Self::Left
            | Self::Aliased
            | Self::Accompanied
            | Self::Rolling
            | Self::Turns
            | Self::TaskSets => Phase::RolledBack,
        }
    }

    /// Its steps, and what is watched after them.
    fn steps(self, stays: Duration) -> String {
        let step = match self {
            Self::Promoted | Self::Judged => "{judge: {windows: 1}}".to_owned(),
            Self::Quiet => format!("{{wait: {}s}}", stays.as_secs()),
            Self::Alarmed
            | Self::Abandoned
            | Self::Forgotten
            | Self::Left
            | Self::Accompanied
            | Self::Turns
            | Self::TaskSets => "{wait: 30m}".to_owned(),
            Self::Rolling => return format!("[{{set-weight: 100%}}]\n{WATCHED}"),
            Self::Aliased => {
                return format!("[{{set-weight: 50%}}, {{set-weight: 100%}}]\n{WATCHED}");
            }
        };
        format!("[{{set-weight: 50%}}, {step}, {{set-weight: 100%}}]")
    }

    fn abandon_after(self) -> &'static str {
        match self {
            // Longer than a job that meets faults takes to its first weight.
            Self::Forgotten => "45s",
            _ => "20m",
        }
    }

    /// Requests a second.
    fn rps(self) -> Option<u32> {
        match self {
            Self::Promoted | Self::Judged => Some(JUDGED_RPS),
            Self::Quiet => Some(WATCHED_RPS),
            Self::Alarmed
            | Self::Abandoned
            | Self::Forgotten
            | Self::Left
            | Self::Aliased
            | Self::Accompanied
            | Self::Rolling
            | Self::Turns
            | Self::TaskSets => None,
        }
    }

    /// Whether its pipeline is abandoned when it has its first weight.
    pub fn is_abandoned(self) -> bool {
        matches!(self, Self::Abandoned | Self::Forgotten | Self::Left)
    }

    fn has_alarm(self) -> bool {
        match self {
            Self::Alarmed
            | Self::Abandoned
            | Self::Aliased
            | Self::Accompanied
            | Self::Rolling
            | Self::Turns
            | Self::TaskSets => true,
            Self::Promoted | Self::Quiet | Self::Judged | Self::Forgotten | Self::Left => false,
        }
    }

    /// What its action says when its pipeline is to be abandoned, or its alarm to fire.
    fn is_there(self) -> &'static str {
        match self {
            Self::Aliased | Self::Rolling => "candidate at 100%",
            _ => "candidate at",
        }
    }
}

/// A target and the release that moves it.
pub struct Lane {
    /// 16 hexadecimal digits, with which the traces of its requests end.
    pub digits: String,
    pub scenario: Scenario,
    pub subject: Subject,
    /// What goes along with its release.
    pub company: Option<Company>,
    pub alarm: String,
    /// How long it stays at its first weight, if nothing happens, and when its alarm fires.
    stays: (Duration, Duration),
}

/// What a release of a lane came to.
pub struct Ended {
    pub id: ReleaseId,
    pub ending: Ending,
    /// The laws that do not hold, in words; none, when all do.
    pub broken: Vec<String>,
}

/// Gives rollback-trigger this event.
pub async fn trigger(world: &World, event: &Value) -> anyhow::Result<()> {
    let lambda = lambda::Client::new(world.stack.sdk());
    let invoke = lambda
        .invoke()
        .function_name(format!("{STACK}-rollback-trigger"))
        .invocation_type(InvocationType::Event)
        .payload(Blob::new(event.to_string()));
    invoke.send().await?;
    Ok(())
}

static NUMBER: AtomicU64 = AtomicU64::new(1);

impl Lane {
    pub async fn make(world: &World, fleet: &Fleet, scenario: Scenario) -> anyhow::Result<Self> {
        let digits = format!("{:016x}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let name = format!("lane-{digits}");
        let subject = fleet.subject(world, scenario).await?;
        let company = fleet.company(world, scenario, &name).await?;
        let alarm = format!("{name}-alarm");
        world.make_alarm(&alarm).await?;
        Ok(Self {
            digits,
            scenario,
            subject,
            company,
            alarm,
            stays: (STAYS, ALARM_AFTER),
        })
    }

    /// It stays so long at its first weight, and then goes on or meets its alarm.
    pub fn stay(&mut self, time: Duration) {
        self.stays = (time, time);
    }

    /// As its alarm, its sections and its release are named.
    pub fn name(&self) -> String {
        format!("lane-{}", self.digits)
    }

    fn config(&self) -> String {
        let (name, alarm) = (self.name(), &self.alarm);
        let target = self.subject.config();
        let steps = self.scenario.steps(self.stays.0);
        let abandon_after = self.scenario.abandon_after();
        let probe = self
            .subject
            .url()
            .map(|url| format!("      - http: {{url: \"{url}/health\", allow-private: true}}\n"));
        let probe = probe.unwrap_or_default();
        let company = self.company.as_ref().map(Company::config);
        let rollback = company.map(|company| format!("    rollback: {company}\n"));
        let rollback = rollback.unwrap_or_default();
        format!(
            "version: 1\n\
             gates:\n  {name}:\n    reports: [junit.xml]\n\
             releases:\n  {name}:\n    target:\n      {target}\n\
             \x20   steps: {steps}\n    window: 1s\n    settle: 2s\n    patience: 5m\n    retire-after: 3s\n    abandon-after: {abandon_after}\n    alarms: [{alarm}]\n{rollback}\
             health-checks:\n  {name}:\n    probes:\n{probe}      - alarm: {{names: [{alarm}]}}\n\
             \x20   interval: 1s\n    in-a-row: 2\n    within: 5m\n"
        )
    }

    fn actions(&self) -> Vec<Action> {
        let action = |function| Action::new(function, &self.name());
        let mut shift = action("canary-shift");
        shift.output = true;
        match self.scenario {
            Scenario::Promoted => vec![action("test-gate"), shift, action("health-check")],
            _ => vec![shift],
        }
    }

    /// Releases, to the end, and checks the laws.
    pub async fn run(&self, world: &World) -> anyhow::Result<Ended> {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let load = self.scenario.rps().zip(self.subject.url());
        let load = load.map(|(rps, url)| {
            let load = Load {
                url: format!("{url}/buy").parse()?,
                rps: rps.try_into()?,
                duration: Duration::from_secs(3_600),
            };
            anyhow::Ok(tokio::spawn(load::run(load, async {
                let _told_or_dropped = stopped.await;
            })))
        });
        let load = load.transpose()?;
        let released = self.release(world).await;
        let _load_is_over = stop.send(());
        if let Some(load) = load {
            load.await??;
        }
        self.over(world, released?).await
    }

    /// Waits for the end of a release whose pipeline has ended, and checks the laws.
    pub async fn over(&self, world: &World, ran: Ran) -> anyhow::Result<Ended> {
        // The action's own word first: a health check has an id as well.
        let id = ran.variables.get("release").cloned();
        let id = id.and_then(|id| id.try_into().ok()).or(ran.release.clone());
        let id = id.with_context(|| format!("nobody knows its release: {ran:?}"))?;
        if self.scenario.is_abandoned() {
            let over = async {
                while world.release(&id).await?.is_active() {
                    self.sweep(world).await?;
                    tokio::time::sleep(SWEEP_EVERY).await;
                }
                anyhow::Ok(())
            };
            let over = tokio::time::timeout(ABANDONED_TIME_MAX, over).await;
            over.with_context(|| format!("{id} was not rolled back"))??;
        }
        let ending = self.ending(&ran);
        let broken = laws::broken(world, self, &id, &ending).await?;
        if let Some(company) = &self.company {
            company.end().await?;
        }
        Ok(Ended { id, ending, broken })
    }

    /// The schedule's event, with the lane in it: the calls of this sweep are this lane's.
    async fn sweep(&self, world: &World) -> anyhow::Result<()> {
        trigger(world, &sweep_event(&self.name())).await
    }

    fn ending(&self, ran: &Ran) -> Ending {
        let failure = ran.failure.clone();
        Ending {
            scenario: self.scenario,
            phase: self.scenario.ends(),
            status: ran.ending.as_ref().map(|ending| ending.status),
            failure: failure.map(|(code, message)| format!("{code}: {message}")),
        }
    }

    /// Releases until its pipeline ends.
    pub async fn release(&self, world: &World) -> anyhow::Result<Ran> {
        let config = self.config();
        let report = r#"<testsuite><testcase name="a"/></testsuite>"#;
        let files = [("penstock.yaml", config.as_str()), ("junit.xml", report)];
        let scenario = self.scenario;
        let mut due = scenario.is_abandoned() || scenario.has_alarm();
        let see = async |event: &Event| {
            if let Event::ActionProgress {
                external_execution_id: Some(id),
                summary: Some(summary),
                ..
            } = event
                && due
                && summary.starts_with(scenario.is_there())
            {
                due = false;
                if scenario.is_abandoned() {
                    let release = world.release(&ReleaseId::try_from(id.clone())?).await?;
                    let execution = release.started.execution.context("it is known")?;
                    world.stack.player().engine().stop(&execution, true)?;
                }
                if scenario.has_alarm() {
                    // The emulator tells an alarm's time in whole seconds: not before the beginning.
                    tokio::time::sleep(self.stays.1).await;
                    world.set_alarm(&self.alarm, StateValue::Alarm).await?;
                }
            }
            Ok(())
        };
        let ran = world.run(&files, &self.actions(), see).await?;
        ensure!(!due, "it never had a weight: {ran:?}");
        Ok(ran)
    }
}
