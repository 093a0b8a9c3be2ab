//! Every order in which a few runs can make their port calls, with every fault at each of them.
//!
//! A run's future cannot be copied, so each history is played from its beginning; what has been
//! reached before is not followed again. Calls that one run makes side by side are made in their
//! order in the code; all that others do may come between them.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use engine::fakes::{Call, Choices, FENCE_SLACK, Fault, Mutant, World};
use jiff::SignedDuration;
use release::{Effect, Order, Phase, Release, ReleaseId, Weight};

use crate::cast::{LIFE, Role, alone, id};
use crate::laws::{Broken, Witness};
use crate::stage::{Pipeline, SKEW, SKEW_BACK, Stage};

/// The variable that says how many faults each history may have at most, instead of as many as each
/// scenario says.
const FAULTS_VARIABLE: &str = "PENSTOCK_EXPLORE_FAULTS";

/// Histories of each scenario that are drawn by lot.
const DRAWS: u64 = 60;
/// One call in so many meets a fault, where that is drawn by lot.
const FAULT_ODDS: u32 = 8;
/// Faults in a history that is drawn by lot.
const FAULTS_DRAWN: u32 = 2;

/// A few runs at once on a release that is somewhere.
pub struct Scenario {
    pub name: &'static str,
    /// What the release has come to when they begin.
    from: Begins,
    cast: fn(&World) -> Vec<Role>,
    /// The most faults in one history where the exploration has to be quick; None: it takes too long
    /// even without any.
    faults: Option<u32>,
    /// Whether what ends the lives of all who have begun may happen between two calls.
    is_long: bool,
    then: Pipeline,
    /// States below which the exploration has not explored.
    states_min: usize,
}

/// Where a release is when the exploration begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Begins {
    /// It has not begun.
    Nothing,
    /// The second weight has been intended, and whoever intended it died.
    Intended,
    /// It waits at its first weight.
    Waiting,
    /// The last weight is due.
    LastStep,
    /// Its rollback has been decided, and whoever decided it died.
    Decided,
    /// It waits at its first weight, and its pipeline has not asked for long.
    Quiet,
}

fn web() -> ReleaseId {
    id("web-1")
}

fn now(world: &World) -> jiff::Timestamp {
    world.look().now
}

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "two deliveries of the first job",
        from: Begins::Nothing,
        cast: |_| vec![Role::Tick(web()), Role::Tick(web())],
        faults: Some(0),
        is_long: false,
        then: Pipeline::Asks,
        states_min: 500,
    },
    Scenario {
        name: "two deliveries of a job, an effect is due",
        from: Begins::Intended,
        cast: |_| vec![Role::Tick(web()), Role::Tick(web())],
        faults: Some(0),
        is_long: true,
        then: Pipeline::Asks,
        states_min: 500,
    },
    Scenario {
        name: "a job and an alarm, an effect is due",
        from: Begins::Intended,
        cast: |world| vec![Role::Tick(web()), Role::Alarm(now(world))],
        faults: Some(0),
        is_long: true,
        then: Pipeline::Asks,
        states_min: 500,
    },
    Scenario {
        name: "a job and an alarm, the last weight is due",
        from: Begins::LastStep,
        cast: |world| vec![Role::Tick(web()), Role::Alarm(now(world))],
        faults: Some(0),
        is_long: false,
        then: Pipeline::Quiet,
        states_min: 500,
    },
    Scenario {
        name: "a job and an abort",
        from: Begins::LastStep,
        cast: |_| vec![Role::Tick(web()), Role::Abort(web())],
        faults: Some(0),
        is_long: true,
        then: Pipeline::Asks,
        states_min: 300,
    },
    Scenario {
        name: "a job and a promotion by hand",
        from: Begins::Waiting,
        cast: |_| vec![Role::Tick(web()), Role::Order(web(), Order::Promote)],
        faults: Some(1),
        is_long: true,
        then: Pipeline::Asks,
        states_min: 100,
    },
    Scenario {
        name: "a job and a hold",
        from: Begins::LastStep,
        cast: |_| vec![Role::Tick(web()), Role::Order(web(), Order::Hold)],
        faults: Some(1),
        is_long: true,
        then: Pipeline::Asks,
        states_min: 100,
    },
    Scenario {
        name: "a job and the sweep, after long silence",
        from: Begins::Quiet,
        cast: |_| vec![Role::Tick(web()), Role::Sweep],
        faults: Some(0),
        is_long: true,
        then: Pipeline::Quiet,
        states_min: 300,
    },
    Scenario {
        name: "an alarm, the sweep and a job, a rollback has been decided",
        from: Begins::Decided,
        cast: |world| vec![Role::Alarm(now(world)), Role::Sweep, Role::Tick(web())],
        faults: None,
        is_long: false,
        then: Pipeline::Quiet,
        states_min: 1_000,
    },
    Scenario {
        name: "a late job of a release that is aborted, and the first job of the next",
        from: Begins::Intended,
        cast: |_| {
            let next = Role::Tick(id("web-2"));
            vec![Role::Tick(web()), Role::Abort(web()), next]
        },
        faults: None,
        is_long: false,
        then: Pipeline::Asks,
        states_min: 1_000,
    },
    Scenario {
        name: "an alarm from before, and the first job",
        from: Begins::Nothing,
        cast: |world| {
            let before = now(world) - SignedDuration::from_mins(1);
            vec![Role::Tick(web()), Role::Alarm(before)]
        },
        faults: Some(1),
        is_long: true,
        then: Pipeline::Asks,
        states_min: 100,
    },
];

/// What an exploration came to.
#[derive(Debug, Default)]
pub struct Explored {
    pub states: usize,
    pub runs: usize,
    pub ends: BTreeMap<String, usize>,
    pub broken: Option<(Broken, Vec<String>)>,
}

impl Scenario {
    /// A world in which the release has come to where the scenario begins.
    fn world(&self) -> World {
        let world = World::default();
        let tick = |world: &World, number: usize| {
            alone(world, &Role::Tick(web()), &format!("before-{number}"), None).unwrap();
        };
        let pause = SignedDuration::from_secs(10);
        match self.from {
            Begins::Nothing => {}
            Begins::Waiting | Begins::Quiet | Begins::Decided => tick(&world, 0),
            Begins::Intended | Begins::LastStep => {
                let last = match self.from {
                    Begins::Intended => weight(5_000),
                    _ => Weight::FULL,
                };
                for number in 0.. {
                    // Played up to the moment in which the weight is due, or intended.
                    let next = world.clone();
                    tick(&next, number);
                    if next.weight() == last {
                        break;
                    }
                    tick(&world, number);
                    world.pass(pause);
                }
            }
        }
        match self.from {
            Begins::Intended => dies_after(&world, Role::Tick(web()), is_intended),
            Begins::Decided => dies_after(&world, Role::Abort(web()), is_turned),
            Begins::Quiet => world.pass(SignedDuration::from_mins(11)),
            Begins::Nothing | Begins::Waiting | Begins::LastStep => {}
        }
        world
    }

    /// Every history of at most so many faults, or up to the first that breaks a law.
    pub fn explore(&self, mutant: Option<Mutant>, faults: u32) -> Explored {
        let world = self.world();
        let mut explored = Explored::default();
        let (mut seen, mut ends) = (HashSet::new(), HashSet::new());
        let mut given = Some(Vec::new());
        while let Some(choices) = given {
            let world = world.clone();
            let mut stage = Stage::new(&world, Choices::given(choices), mutant, false);
            explored.runs += 1;
            let played = self.play(&mut stage, faults, &mut seen, &mut ends);
            if let Err(broken) = played {
                let choices = stage.choices.taken();
                explored.broken = Some((broken, self.trace(&choices, mutant, faults)));
                break;
            }
            if played == Ok(true) {
                let phase = stage.witness.release(&web()).map(|release| release.phase);
                let phase = phase.map_or("never begun".to_owned(), |phase| format!("{phase:?}"));
                *explored.ends.entry(phase).or_default() += 1;
            }
            given = stage.choices.next();
        }
        explored.states = seen.len();
        explored
    }

    /// One history; whether it was followed to its end, because nothing like it was before.
    fn play(
        &self,
        stage: &mut Stage<'_>,
        faults: u32,
        seen: &mut HashSet<u64>,
        ends: &mut HashSet<u64>,
    ) -> Result<bool, Broken> {
        stage.was_quiet = self.from == Begins::Quiet;
        let cast = (self.cast)(stage.world);
        let mut seats: Vec<Option<usize>> = vec![None; cast.len()];
        let (mut faults, mut is_long, mut last) = (faults, self.is_long, 0);
        loop {
            let mut able: Vec<_> = (0..cast.len())
                .filter(|role| seats[*role].is_none_or(|at| stage.seats[at].is_playing()))
                .collect();
            // Choice 0 is that the same one goes on.
            able.sort_by_key(|role| *role != last);
            if able.is_empty() {
                break;
            }
            if stage.choices.is_on_its_own() {
                let mut hasher = DefaultHasher::new();
                (stage.digest(&seats), faults, is_long).hash(&mut hasher);
                if !seen.insert(hasher.finish()) {
                    return Ok(false);
                }
            }
            let late = stage.world.look().late.len();
            let next = stage.choices.any(able.len() + late + usize::from(is_long));
            if let Some(role) = able.get(next) {
                last = *role;
                let at = match seats[last] {
                    Some(at) => at,
                    None => Self::enters(stage, &cast[last], &mut faults),
                };
                seats[last] = Some(at);
                let happens = Self::happens(stage, at, faults);
                faults -= u32::from(happens.is_some());
                stage.go_on(at, happens)?;
            } else if next < able.len() + late {
                stage.world.arrive(next - able.len());
                stage.seen(|| "what was sent off arrives".to_owned())?;
            } else {
                is_long = false;
                stage.pass(LIFE + FENCE_SLACK + SignedDuration::from_secs(1))?;
            }
        }
        if !ends.insert(stage.world.digest()) {
            return Ok(false);
        }
        stage.quiesce(self.then).map(|()| true)
    }

    /// Somebody begins, with a clock that may be wrong; where.
    fn enters(stage: &mut Stage<'_>, role: &Role, faults: &mut u32) -> usize {
        let skews: &[SignedDuration] = match *faults > 0 {
            true => &[SignedDuration::ZERO, SKEW, SKEW_BACK],
            false => &[SignedDuration::ZERO],
        };
        let skew = skews[stage.choices.any(skews.len())];
        *faults -= u32::from(!skew.is_zero());
        stage.enter(role.clone(), skew);
        stage.seats.len() - 1
    }

    /// What happens to the next call of this one.
    fn happens(stage: &mut Stage<'_>, at: usize, faults: u32) -> Option<Fault> {
        let call = stage.seats[at].actor.next_call().unwrap_or(Call::Other);
        let may_happen = match faults {
            0 => &[],
            _ => call.faults(),
        };
        // Drawn by lot, they are spread over the history.
        let chosen = stage.choices.rarely(may_happen.len() + 1, FAULT_ODDS);
        chosen
            .checked_sub(1)
            .and_then(|fault| may_happen.get(fault).copied())
    }

    /// One history drawn by lot: the law that it breaks, and what happened.
    pub fn draw(&self, seed: u64, mutant: Option<Mutant>) -> Option<(Broken, Vec<String>)> {
        let world = self.world();
        let mut stage = Stage::new(&world, Choices::random(seed), mutant, false);
        let (mut seen, mut ends) = (HashSet::new(), HashSet::new());
        let played = self.play(&mut stage, FAULTS_DRAWN, &mut seen, &mut ends);
        let broken = played.err()?;
        let trace = self.trace(&stage.choices.taken(), mutant, FAULTS_DRAWN);
        Some((broken, trace))
    }

    /// What happened, in lines, with as little of it as breaks a law.
    fn trace(&self, choices: &[u32], mutant: Option<Mutant>, faults: u32) -> Vec<String> {
        let world = self.world();
        let replay = |choices: &[u32], is_told: bool| {
            let world = world.clone();
            let mut stage = Stage::new(&world, Choices::given(choices.to_vec()), mutant, is_told);
            let none = (&mut HashSet::new(), &mut HashSet::new());
            let played = self.play(&mut stage, faults, none.0, none.1);
            (played.is_err(), stage.trace.take().unwrap_or_default())
        };
        let fails = |choices: &[u32]| replay(choices, false).0;
        let shortest = engine::fakes::shrink(choices.to_vec(), 2_000, fails);
        replay(&shortest, true).1
    }
}

fn weight(points: u16) -> Weight {
    Weight::from_basis_points(points).unwrap()
}

fn is_intended(release: &Release) -> bool {
    matches!(release.intended, Some(Effect::SetWeight(_)))
}

fn is_turned(release: &Release) -> bool {
    release.phase == Phase::RollingBack
}

/// Somebody goes on until the release is so, and dies; long ago.
fn dies_after(world: &World, role: Role, is_so: fn(&Release) -> bool) {
    let mut stage = Stage::new(world, Choices::given(Vec::new()), None, false);
    stage.enter(role, SignedDuration::ZERO);
    while !stage.witness.release(&web()).is_some_and(is_so) {
        stage.go_on(0, None).unwrap();
    }
    drop(stage);
    world.pass(LIFE * 2);
    assert!(Witness::new(world).release(&web()).is_some_and(is_so));
}

/// As many faults as asked for, or as the scenario says.
fn faults_of(scenario: &Scenario) -> Option<u32> {
    let asked = std::env::var(FAULTS_VARIABLE).ok();
    let asked = asked.and_then(|faults| faults.parse().ok());
    asked.or(scenario.faults)
}

fn explore_and_tell(scenario: &Scenario, faults: u32) -> Explored {
    let explored = scenario.explore(None, faults);
    let (states, runs, ends) = (explored.states, explored.runs, &explored.ends);
    println!(
        "{}: at most {faults} faults, {states} states, {runs} histories; ends {ends:?}",
        scenario.name
    );
    explored
}

#[test]
fn every_order_of_calls_keeps_every_law() {
    let explored: Vec<_> = std::thread::scope(|scope| {
        let quick = SCENARIOS.iter().filter_map(|s| Some((s, faults_of(s)?)));
        let explore = |(scenario, faults): (&'static Scenario, u32)| {
            (
                scenario,
                scope.spawn(move || explore_and_tell(scenario, faults)),
            )
        };
        let threads: Vec<_> = quick.map(explore).collect();
        let ended = threads.into_iter();
        ended
            .map(|(scenario, thread)| (scenario, thread.join().unwrap()))
            .collect()
    });
    for (scenario, explored) in explored {
        if let Some((broken, trace)) = explored.broken {
            panic!("{}: {broken}\n{}", scenario.name, trace.join("\n"));
        }
        let (states, min) = (explored.states, scenario.states_min);
        assert!(states >= min, "{}: only {states} states", scenario.name);
    }
}

#[test]
fn orders_of_calls_drawn_by_lot_with_two_faults_keep_every_law() {
    for scenario in SCENARIOS {
        for seed in 0..DRAWS {
            if let Some((broken, trace)) = scenario.draw(seed, None) {
                panic!("{}, {seed}: {broken}\n{}", scenario.name, trace.join("\n"));
            }
        }
    }
}
