//! What releases move, made once and used again: the player and the emulator hold only so many.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::aliased::Alias;
use crate::lane::{Lane, Scenario};
use crate::ruled::Rule;
use crate::subject::Subject;
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
            made: AtomicU64::new(0),
        };
        fleet.bad.fails(FAILING_PERCENT);
        Ok(fleet)
    }

    /// What a release of this scenario moves; its stable version has all the traffic.
    pub async fn subject(&self, world: &World, scenario: Scenario) -> anyhow::Result<Subject> {
        match scenario {
            Scenario::Aliased => self.alias(world).await.map(Subject::Alias),
            Scenario::Judged => self.rule(world, &self.bad).await.map(Subject::Rule),
            Scenario::Promoted
            | Scenario::Quiet
            | Scenario::Alarmed
            | Scenario::Abandoned
            | Scenario::Forgotten
            | Scenario::Left => self.rule(world, &self.good).await.map(Subject::Rule),
        }
    }

    async fn rule(&self, world: &World, candidate: &Version) -> anyhow::Result<Rule> {
        if let Some(rule) = self.rules.take(|rule| rule.ports.1 == candidate.port) {
            rule.balancer.reset(&world.stack.elbv2()).await?;
            return Ok(rule);
        }
        let name = format!("shop-{}", self.made.fetch_add(1, Ordering::Relaxed));
        Rule::make(world, &name, (&self.stable, candidate)).await
    }

    async fn alias(&self, world: &World) -> anyhow::Result<Alias> {
        let Some(alias) = self.aliases.take(|_| true) else {
            return Alias::make(world);
        };
        alias.reset(world).await?;
        Ok(alias)
    }

    /// What a lane that is over has moved serves the next one.
    pub fn take_back(&self, lane: Lane) {
        match lane.subject {
            Subject::Rule(rule) => self.rules.put(rule),
            Subject::Alias(alias) => self.aliases.put(alias),
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
