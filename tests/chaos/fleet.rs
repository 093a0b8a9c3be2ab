//! What releases move, made once and used again: the player and the emulator hold only so many.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::accompanied::Company;
use crate::aliased::Alias;
use crate::lane::{Lane, Scenario};
use crate::rolling::Rolling;
use crate::ruled::Rule;
use crate::services::{Quiet, idle};
use crate::subject::Subject;
use crate::task_sets::TaskSets;
use crate::turns::Turns;
use crate::world::{Version, World};

/// So many percent of a bad version's purchases fail.
const FAILING_PERCENT: u32 = 60;

/// The versions that all rules share, each a real HTTP server, and what no lane has any more.
pub struct Fleet {
    stable: Version,
    good: Version,
    bad: Version,
    rules: Pool<Rule>,
    aliases: Pool<Alias>,
    services: Pool<Rolling>,
    turns: Pool<Turns>,
    task_sets: Pool<TaskSets>,
    /// What the services that go along with releases run.
    mailers: OnceCell<[String; 2]>,
    made: AtomicU64,
}

impl Fleet {
    pub async fn start() -> anyhow::Result<Self> {
        let fleet = Self {
            stable: Version::start().await?,
            good: Version::start().await?,
            bad: Version::start().await?,
            rules: Pool::default(),
            aliases: Pool::default(),
            services: Pool::default(),
            turns: Pool::default(),
            task_sets: Pool::default(),
            mailers: OnceCell::new(),
            made: AtomicU64::new(0),
        };
        fleet.bad.fails(FAILING_PERCENT);
        Ok(fleet)
    }

    /// What a release of this scenario moves; its stable version has all the traffic.
    pub async fn subject(&self, world: &World, scenario: Scenario) -> anyhow::Result<Subject> {
        match scenario {
            Scenario::Aliased => self.alias(world).await.map(Subject::Alias),
            Scenario::Rolling => self.service(world).await.map(Subject::Service),
            Scenario::TaskSets => self.task_sets(world).await.map(Subject::TaskSets),
            Scenario::Turns => self.services(world).await.map(Subject::Services),
            Scenario::Judged => self.rule(world, &self.bad).await.map(Subject::Rule),
            Scenario::Promoted
            | Scenario::Quiet
            | Scenario::Alarmed
            | Scenario::Abandoned
            | Scenario::Forgotten
            | Scenario::Left
            | Scenario::Accompanied => self.rule(world, &self.good).await.map(Subject::Rule),
        }
    }

    async fn rule(&self, world: &World, candidate: &Version) -> anyhow::Result<Rule> {
        if let Some(rule) = self.rules.take(|rule| rule.ports.1 == candidate.port) {
            rule.balancer.reset(&world.stack.elbv2()).await?;
            return Ok(rule);
        }
        Rule::make(world, &self.name("shop"), (&self.stable, candidate)).await
    }

    async fn alias(&self, world: &World) -> anyhow::Result<Alias> {
        let Some(alias) = self.aliases.take(|_| true) else {
            return Alias::make(world);
        };
        alias.reset(world).await?;
        Ok(alias)
    }

    async fn service(&self, world: &World) -> anyhow::Result<Rolling> {
        let Some(service) = self.services.take(|_| true) else {
            return Rolling::make(world, &self.name("rolling")).await;
        };
        service.live().await?.must_be_stable()?;
        Ok(service)
    }

    async fn services(&self, world: &World) -> anyhow::Result<Turns> {
        let Some(services) = self.turns.take(|_| true) else {
            return Turns::make(world, &self.name("turns")).await;
        };
        services.live(world).await?.must_be_stable()?;
        Ok(services)
    }

    async fn task_sets(&self, world: &World) -> anyhow::Result<TaskSets> {
        let Some(sets) = self.task_sets.take(|_| true) else {
            return TaskSets::make(world, &self.name("sets")).await;
        };
        sets.live(world).await?.must_be_stable()?;
        Ok(sets)
    }

    /// What goes along with a release of this scenario that has this name.
    pub async fn company(
        &self,
        world: &World,
        scenario: Scenario,
        name: &str,
    ) -> anyhow::Result<Option<Company>> {
        if scenario != Scenario::Accompanied {
            return Ok(None);
        }
        let ecs = world.stack.ecs();
        let define = || idle(&ecs, "mailer");
        let definitions = self.mailers.get_or_try_init(define).await?.clone();
        let mailer = Quiet::make_stuck(&ecs, &self.name("mailer"), definitions).await?;
        Company::begin(world, name, mailer).await.map(Some)
    }

    /// One that nothing else here has. No lane is in it, since it is of several lanes.
    fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.made.fetch_add(1, Ordering::Relaxed))
    }

    /// What a lane that is over has moved serves the next one.
    pub fn take_back(&self, lane: Lane) {
        match lane.subject {
            Subject::Rule(rule) => self.rules.put(rule),
            Subject::Alias(alias) => self.aliases.put(alias),
            Subject::Service(service) => self.services.put(service),
            Subject::Services(services) => self.turns.put(services),
            Subject::TaskSets(sets) => self.task_sets.put(sets),
        }
    }
}

struct Pool<T>(Mutex<Vec<T>>);

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Pool<T> {
    fn put(&self, one: T) {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(one);
    }

    fn take(&self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = free.iter().position(fits)?;
        Some(free.swap_remove(at))
    }
}
