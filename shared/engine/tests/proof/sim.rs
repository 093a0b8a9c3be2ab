//! Long histories drawn by lot: releases one after the other on two targets, good and bad ones, with
//! alarms, orders by hand, pipelines that go quiet, runs that die, and every fault.

use std::collections::BTreeMap;

use engine::fakes::{Call, Choices, Mutant, World, shrink};
use jiff::SignedDuration;
use release::{JobReply, Order, Outcome, ReleaseId};

use crate::cast::{ALARM, Role, id};
use crate::laws::Broken;
use crate::stage::{Pipeline, SKEWS, Stage};

/// Which history to begin with; a fresh one unless it is set.
const SEED_VARIABLE: &str = "PENSTOCK_SIM_SEED";
/// How many to draw.
const SCENARIOS_VARIABLE: &str = "PENSTOCK_SIM_SCENARIOS";
/// How many are drawn unless it is said.
const SCENARIOS: u64 = 40;
/// The same ones on every run.
const FIXED_SEED: u64 = 20_261_123;
/// Things that happen in one history before nothing more goes wrong.
const TURNS: usize = 500;
/// Runs at work at once.
const AT_ONCE_MAX: usize = 4;
/// One call in so many meets a fault.
const FAULT_ODDS: u32 = 40;
/// One run in so many has a clock that is wrong.
const SKEW_ODDS: u32 = 20;
/// Histories that are tried to find a shorter one that breaks a law as well.
const SHRINK_TRIES_MAX: usize = 1_500;
const TARGETS: [&str; 2] = ["web", "api"];

/// What one history came to.
#[derive(Debug, Default)]
pub struct Simulated {
    pub events: usize,
    pub faults: BTreeMap<String, usize>,
    pub ends: BTreeMap<String, usize>,
    pub broken: Option<(Broken, Vec<String>)>,
}

/// The history of this seed.
pub fn simulate(seed: u64, mutant: Option<Mutant>) -> Simulated {
    let (simulated, choices) = play(Choices::random(seed), mutant, false);
    if simulated.broken.is_none() {
        return simulated;
    }
    let fails = |choices: &[u32]| {
        let (simulated, _) = play(Choices::given(choices.to_vec()), mutant, false);
        simulated.broken.is_some()
    };
    let shortest = shrink(choices, SHRINK_TRIES_MAX, fails);
    play(Choices::given(shortest), mutant, true).0
}

fn play(choices: Choices, mutant: Option<Mutant>, is_told: bool) -> (Simulated, Vec<u32>) {
    let world = World::default();
    let mut sim = Sim {
        stage: Stage::new(&world, mutant, is_told),
        choices,
        entered: 0,
        numbers: [1; TARGETS.len()],
        is_quiet: [false; TARGETS.len()],
    };
    // Any pipeline may be quiet for long here, because nobody happens to come.
    sim.stage.was_quiet = true;
    let played = (0..TURNS).try_for_each(|_| sim.turn());
    let played = played.and_then(|()| sim.stage.quiesce(Pipeline::Asks));
    let (stage, choices) = (sim.stage, sim.choices);
    let mut ends = BTreeMap::new();
    for release in stage.witness.releases() {
        *ends.entry(format!("{:?}", release.phase)).or_default() += 1;
    }
    let mut faults = BTreeMap::new();
    for fault in &stage.faults {
        *faults.entry(format!("{fault:?}")).or_default() += 1;
    }
    faults.insert("ClockWrong".to_owned(), stage.skewed);
    let simulated = Simulated {
        events: stage.witness.events(),
        faults,
        ends,
        broken: played
            .err()
            .map(|broken| (broken, stage.trace.unwrap_or_default())),
    };
    (simulated, choices.taken())
}

struct Sim<'w> {
    stage: Stage<'w>,
    choices: Choices,
    entered: usize,
    /// Of each target's release.
    numbers: [usize; TARGETS.len()],
    /// Pipelines that do not ask any more for their release.
    is_quiet: [bool; TARGETS.len()],
}

impl Sim<'_> {
    fn release(&self, target: usize) -> ReleaseId {
        id(&format!("{}-{}", TARGETS[target], self.numbers[target]))
    }

    /// One thing happens.
    fn turn(&mut self) -> Result<(), Broken> {
        let playing = self.stage.playing();
        let is_full = playing.len() >= AT_ONCE_MAX;
        if !playing.is_empty() && (is_full || self.choices.any(8) != 7) {
            let at = playing[self.choices.any(playing.len())];
            let call = self.stage.seats[at].next_call().unwrap_or(Call::Other);
            let faults = call.faults();
            let chosen = self.choices.rarely(faults.len() + 1, FAULT_ODDS);
            let fault = chosen.checked_sub(1).and_then(|n| faults.get(n).copied());
            return self.stage.go_on(at, fault);
        }
        if !self.stage.world.look().late.is_empty() && self.choices.any(2) == 1 {
            self.stage.world.arrive(0);
            return self.stage.seen(|_| "what was sent off arrives".to_owned());
        }
        self.something_else()
    }

    /// Time passes, or somebody comes.
    fn something_else(&mut self) -> Result<(), Broken> {
        let target = self.choices.any(TARGETS.len());
        let now = self.stage.world.look().now;
        let release = self.release(target);
        let role = match self.choices.any(16) {
            0..4 => {
                let times = [2, 10, 20, 61, 700];
                // The longest only seldom: it ends every run, and is a long silence.
                let time = match self.choices.seldom(20) {
                    true => 4,
                    false => self.choices.any(4),
                };
                return self.stage.pass(SignedDuration::from_secs(times[time]));
            }
            4..10 => match self.next_job(target) {
                Some(job) => job,
                None => return Ok(()),
            },
            10 => {
                let late = [0, 30, 600][self.choices.any(3)];
                Role::Alarm(now - SignedDuration::from_secs(late))
            }
            11 => {
                use Order::{Approve, Hold, Promote, Resume, SkipWait};
                let orders = [Resume, Hold, Promote, SkipWait, Approve, Resume];
                Role::Order(release, orders[self.choices.any(orders.len())])
            }
            12 => match self.choices.seldom(3) {
                true => Role::Abort(release),
                false => return Ok(()),
            },
            13 => Role::Sweep,
            14 => {
                self.is_quiet[target] |= self.choices.seldom(4);
                return Ok(());
            }
            _ => {
                let alarms = &mut self.stage.world.change().alarms;
                if !alarms.remove(ALARM) && self.choices.seldom(4) {
                    alarms.insert(ALARM.to_owned());
                }
                return Ok(());
            }
        };
        self.entered += 1;
        let owner = format!("run-{}", self.entered);
        let skew = match self.choices.seldom(SKEW_ODDS) {
            true => SKEWS[self.choices.any(SKEWS.len())],
            false => SignedDuration::ZERO,
        };
        self.stage.enter(role, owner, skew);
        Ok(())
    }

    /// The next job of a target's pipeline: of its release, of the next one once that is over, or
    /// late one of the release before.
    fn next_job(&mut self, target: usize) -> Option<Role> {
        let release = self.release(target);
        if self.numbers[target] > 1 && self.choices.seldom(10) {
            let before = self.numbers[target] - 1;
            return Some(Role::Tick(id(&format!("{}-{before}", TARGETS[target]))));
        }
        let known = self.stage.witness.release(&release);
        let is_over = known.is_some_and(|release| !release.is_active()) || self.failed(&release);
        if is_over {
            self.numbers[target] += 1;
            self.is_quiet[target] = false;
            let fails = [0.0, 0.0, 0.3][self.choices.any(3)];
            let next = self.release(target);
            self.stage.world.change().fails.insert(next, fails);
        }
        match self.is_quiet[target] {
            true => None,
            false => Some(Role::Tick(self.release(target))),
        }
    }

    /// Whether its pipeline was told that it failed.
    fn failed(&self, release: &ReleaseId) -> bool {
        let state = self.stage.world.look();
        let of = |job: &str| job.split('/').next() == Some(release.as_str());
        let mut answers = state.answers.iter().filter(|(job, _)| of(job));
        answers.any(|(_, reply)| matches!(reply, JobReply::Fail { .. }))
    }
}

/// Draws so many histories from this seed on, or up to the first that breaks a law.
fn draw(seed: u64, scenarios: u64) {
    let mut all = Simulated::default();
    for seed in seed..seed.saturating_add(scenarios) {
        let simulated = simulate(seed, None);
        if let Some((broken, trace)) = simulated.broken {
            panic!(
                "make sim SEED={seed} breaks a law: {broken}\n{}",
                trace.join("\n")
            );
        }
        all.events += simulated.events;
        for (sum, part) in [
            (&mut all.faults, simulated.faults),
            (&mut all.ends, simulated.ends),
        ] {
            for (name, times) in part {
                *sum.entry(name).or_default() += times;
            }
        }
    }
    println!(
        "seed {seed}: {scenarios} histories, {} events, ends {:?}, faults {:?}",
        all.events, all.ends, all.faults
    );
    for outcome in [Outcome::Promoted, Outcome::RolledBack] {
        let outcome = format!("{outcome:?}");
        assert!(all.ends.contains_key(&outcome), "none was {outcome}");
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn histories_that_are_known_keep_every_law() {
    draw(FIXED_SEED, SCENARIOS);
}

#[test]
fn histories_that_nobody_has_seen_keep_every_law() {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let seed = number(SEED_VARIABLE).unwrap_or(since.as_secs());
    println!("SEED={seed}");
    draw(seed, number(SCENARIOS_VARIABLE).unwrap_or(SCENARIOS));
}
