//! Every order in which a few runs can make their port calls, with every fault at each of them.
//!
//! Whoever plays waits at a port call, which can be made in any number of worlds; and what it does
//! next follows from what it has been told. So a history is forked wherever it can go on in more than
//! one way, and a state that has been reached before is not followed again. Calls that one run makes
//! side by side are made in their order in the code; all that others do may come between them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use engine::fakes::{Choices, FENCE_SLACK, Fault, Mutant, World};
use jiff::SignedDuration;
use release::{Effect, Order, Phase, Release, ReleaseId, SWEEP_PAUSE, Weight};

use crate::cast::{ALONGSIDE, LIFE, Role, alone, id};
use crate::laws::Broken;
use crate::stage::{Pipeline, SKEWS, Seat, Stage};

/// The variable that says how many faults each history may have at most, instead of as many as each
/// scenario says.
const FAULTS_VARIABLE: &str = "PENSTOCK_EXPLORE_FAULTS";

/// States below which nothing has been explored.
const STATES_MIN: usize = 90;

/// The variable with a part of the names of the scenarios that are to be explored; all of them unless
/// it is set.
const SCENARIO_VARIABLE: &str = "PENSTOCK_EXPLORE_SCENARIO";

/// One call in so many meets a fault in a history that is drawn by lot, as long as one may.
const FAULT_ODDS: u32 = 8;
/// Histories of each scenario that are drawn by lot.
const DRAWS: u64 = 60;
/// The most faults in one history, and those in one that is drawn by lot.
const FAULTS_MAX: u32 = 2;

/// A few runs at once on a release that is somewhere.
pub struct Scenario {
    pub name: &'static str,
    /// Which release it is about.
    release: &'static str,
    /// What the release has come to when they begin.
    from: Begins,
    cast: fn(&World) -> Vec<Role>,
    /// The most faults in one history where the exploration has to be quick.
    faults_quick: u32,
    /// Whether it is played with and without what comes to the same.
    is_small: bool,
    /// Whether what ends the lives of all who have begun may happen between two calls.
    is_long: bool,
    then: Pipeline,
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

/// What most of them have in common.
const BOUNDS: Scenario = Scenario {
    name: "",
    release: "web-1",
    from: Begins::Nothing,
    cast: |_| Vec::new(),
    faults_quick: 1,
    is_small: false,
    is_long: true,
    then: Pipeline::Asks,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "two deliveries of the first job",
        from: Begins::Nothing,
        cast: |_| vec![Role::Tick(web()), Role::Tick(web())],
        is_long: false,
        ..BOUNDS
    },
    Scenario {
        name: "two deliveries of a job, an effect is due",
        from: Begins::Intended,
        cast: |_| vec![Role::Tick(web()), Role::Tick(web())],
        ..BOUNDS
    },
    Scenario {
        name: "a job and an alarm, an effect is due",
        from: Begins::Intended,
        cast: |world| vec![Role::Tick(web()), Role::Alarm(now(world))],
        ..BOUNDS
    },
    Scenario {
        name: "a job and an alarm, the last weight is due",
        from: Begins::LastStep,
        cast: |world| vec![Role::Tick(web()), Role::Alarm(now(world))],
        is_long: false,
        then: Pipeline::Quiet,
        ..BOUNDS
    },
    Scenario {
        name: "a job and an abort",
        from: Begins::LastStep,
        cast: |_| vec![Role::Tick(web()), Role::Abort(web())],
        ..BOUNDS
    },
    Scenario {
        name: "a job and a promotion by hand",
        is_small: true,
        from: Begins::Waiting,
        cast: |_| vec![Role::Tick(web()), Role::Order(web(), Order::Promote)],
        ..BOUNDS
    },
    Scenario {
        name: "a job and a hold",
        is_small: true,
        from: Begins::LastStep,
        cast: |_| vec![Role::Tick(web()), Role::Order(web(), Order::Hold)],
        ..BOUNDS
    },
    Scenario {
        name: "a job and the sweep, after long silence",
        from: Begins::Quiet,
        cast: |_| vec![Role::Tick(web()), Role::Sweep],
        is_long: true,
        then: Pipeline::Quiet,
        ..BOUNDS
    },
    Scenario {
        name: "an alarm, the sweep and a job, a rollback has been decided",
        from: Begins::Decided,
        cast: |world| vec![Role::Alarm(now(world)), Role::Sweep, Role::Tick(web())],
        faults_quick: 0,
        is_long: false,
        then: Pipeline::Quiet,
        ..BOUNDS
    },
    Scenario {
        name: "a late job of a release that is aborted, and the first job of the next",
        from: Begins::Intended,
        cast: |_| {
            let next = Role::Tick(id("web-2"));
            vec![Role::Tick(web()), Role::Abort(web()), next]
        },
        faults_quick: 0,
        is_long: false,
        ..BOUNDS
    },
    Scenario {
        name: "an alarm from before, and the first job",
        is_small: true,
        from: Begins::Nothing,
        cast: |world| {
            let before = now(world) - SignedDuration::from_mins(1);
            vec![Role::Tick(web()), Role::Alarm(before)]
        },
        ..BOUNDS
    },
    Scenario {
        name: "a job and an alarm, a release that puts its version up begins",
        release: "shop-1",
        cast: |world| vec![Role::Tick(id("shop-1")), Role::Alarm(now(world))],
        faults_quick: 0,
        ..BOUNDS
    },
    Scenario {
        name: "a job and an alarm, a release takes the old version down",
        release: "shop-1",
        from: Begins::LastStep,
        cast: |world| vec![Role::Tick(id("shop-1")), Role::Alarm(now(world))],
        faults_quick: 0,
        ..BOUNDS
    },
    Scenario {
        name: "a job and an alarm, with deployments alongside and a stage to close",
        release: "closes-1",
        from: Begins::LastStep,
        cast: |world| vec![Role::Tick(id("closes-1")), Role::Alarm(now(world))],
        faults_quick: 0,
        ..BOUNDS
    },
    Scenario {
        name: "a job and an alarm, with deployments alongside and a stage to roll back",
        release: "rolls-1",
        from: Begins::LastStep,
        cast: |world| vec![Role::Tick(id("rolls-1")), Role::Alarm(now(world))],
        faults_quick: 0,
        ..BOUNDS
    },
];

/// What an exploration came to.
#[derive(Debug, Default)]
pub struct Explored {
    pub states: usize,
    /// Moves that were made, and led to a state that was known or to a new one.
    pub moves: usize,
    pub ends: BTreeMap<String, usize>,
    /// What the logs and the targets had come to in them.
    worlds: BTreeSet<u64>,
    pub broken: Option<(Broken, Vec<String>)>,
}

/// What can happen next.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// The one with this role, who begins now with such a clock if it has not, makes its next call,
    /// to which this happens.
    Call(usize, SignedDuration, Option<Fault>),
    /// What was sent off arrives.
    Arrives(usize),
    /// So much time passes that everybody who has begun is over.
    Long,
}

/// A history so far. A fork of it goes on from the same state.
struct History<'w> {
    stage: Stage<'w>,
    cast: Rc<[Role]>,
    /// Where each role sits, once it has begun.
    seats: Vec<Option<usize>>,
    /// How many faults may still happen.
    faults: u32,
    /// Whether long time may still pass.
    is_long: bool,
    /// Who made the last call.
    last: usize,
}

impl<'w> History<'w> {
    fn new(
        scenario: &Scenario,
        home: &'w World,
        mutant: Option<Mutant>,
        faults: u32,
        is_told: bool,
    ) -> Self {
        let mut stage = Stage::new(home, mutant, is_told);
        stage.was_quiet = scenario.from == Begins::Quiet;
        let cast: Rc<[Role]> = (scenario.cast)(home).into();
        Self {
            stage,
            seats: vec![None; cast.len()],
            cast,
            faults,
            is_long: scenario.is_long,
            last: 0,
        }
    }

    fn fork(&self) -> Self {
        Self {
            stage: self.stage.fork(),
            cast: Rc::clone(&self.cast),
            seats: self.seats.clone(),
            ..*self
        }
    }

    fn digest(&self) -> u64 {
        self.stage.digest(&self.seats)
    }

    /// All that can happen next, by who does it: who went on last comes first, and of what one can
    /// do, what is harmless. Empty when everybody is over.
    fn moves(&self) -> Vec<Vec<Move>> {
        let others = (0..self.cast.len()).filter(|role| *role != self.last);
        let roles = std::iter::once(self.last).chain(others);
        let mut moves: Vec<_> = roles.map(|role| self.calls(role)).collect();
        moves.retain(|calls| !calls.is_empty());
        if !moves.is_empty() {
            let late = self.stage.world.look().late.len();
            moves.extend((0..late).map(|number| vec![Move::Arrives(number)]));
            moves.extend(self.is_long.then(|| vec![Move::Long]));
        }
        moves
    }

    /// What this role can do next.
    fn calls(&self, role: usize) -> Vec<Move> {
        let mut moves = Vec::new();
        if self.waits_for_twin(role) {
            return moves;
        }
        let seat = self.seats[role].map(|at| &self.stage.seats[at]);
        let call = match seat {
            Some(seat) => match seat.next_call() {
                Some(call) => call,
                None => return moves,
            },
            None => self.cast[role].first_call(),
        };
        let may_be_wrong = seat.is_none() && self.faults > 0;
        let wrong = SKEWS.iter().filter(|_| may_be_wrong);
        for skew in std::iter::once(&SignedDuration::ZERO).chain(wrong) {
            let left = self.faults - u32::from(!skew.is_zero());
            moves.push(Move::Call(role, *skew, None));
            let faults = call.faults().iter().filter(|_| left > 0);
            let is_due = |fault: &&Fault| **fault != Fault::DieBefore || self.dies_before(seat);
            let faults = faults.filter(is_due);
            moves.extend(faults.map(|fault| Move::Call(role, *skew, Some(*fault))));
        }
        moves
    }

    /// Whether this one need be seen to die before its next call. Its death changes nothing for the
    /// others, whatever they do before it: so it is the same whether it comes now or right after the
    /// last call that changed the world ([`Fault::DieAfter`]), or instead of the first call. Only what
    /// was sent off, and arrives or not, is no call after which one can die.
    fn dies_before(&self, seat: Option<&Seat<'_>>) -> bool {
        self.stage.is_plain || seat.is_none_or(|seat| seat.met == Some(Fault::Arrives))
    }

    /// Whether somebody who does the same in every way is to begin first: who of two comes first is
    /// but a matter of their names.
    fn waits_for_twin(&self, role: usize) -> bool {
        let mut earlier = self.cast[..role].iter().zip(&self.seats);
        let is_twin =
            |(other, seat): (&Role, &Option<usize>)| seat.is_none() && *other == self.cast[role];
        !self.stage.is_plain && self.seats[role].is_none() && earlier.any(is_twin)
    }

    fn go_on(&mut self, next: Move) -> Result<(), Broken> {
        match next {
            Move::Call(role, skew, fault) => {
                let at = match self.seats[role] {
                    Some(at) => at,
                    None => self.enters(role, skew),
                };
                self.last = role;
                self.faults -= u32::from(!skew.is_zero()) + u32::from(fault.is_some());
                self.stage.go_on(at, fault)
            }
            Move::Arrives(number) => {
                self.stage.world.arrive(number);
                self.stage.seen(|_| "what was sent off arrives".to_owned())
            }
            Move::Long => {
                self.is_long = false;
                let time = LIFE + FENCE_SLACK + SignedDuration::from_secs(1);
                self.stage.pass(time)
            }
        }
    }

    fn enters(&mut self, role: usize, skew: SignedDuration) -> usize {
        let at = self.stage.seats.len();
        let owner = format!("run-{}", role + 1);
        self.stage.enter(self.cast[role].clone(), owner, skew);
        self.seats[role] = Some(at);
        at
    }
}

/// All histories, depth first.
struct Search<'s> {
    scenario: &'s Scenario,
    /// States that have been seen, and with which of [`Search::left`].
    seen: HashMap<u64, u8>,
    /// Worlds in which everybody was over.
    ends: HashSet<u64>,
    explored: Explored,
    /// Which moves led to where the search is.
    path: Vec<(usize, usize)>,
}

impl Search<'_> {
    /// What may still go wrong: whoever may meet more, or as much, has met all that is to be met
    /// with less. A bit for each case, and the bits of those that say as much.
    fn left(history: &History<'_>) -> (u8, u8) {
        let bit = |faults: u32, is_long: bool| 1_u8 << (2 * faults + u32::from(is_long));
        let (faults, is_long) = (history.faults, history.is_long);
        let more = (faults..FAULTS_MAX + 1)
            .flat_map(|faults| [bit(faults, true), bit(faults, is_long)])
            .fold(0, |all, bit| all | bit);
        (bit(faults, is_long), more)
    }

    fn is_new(&mut self, history: &History<'_>) -> bool {
        let (this, more) = Self::left(history);
        let seen = self.seen.entry(history.digest()).or_default();
        let is_new = *seen & more == 0;
        *seen |= this;
        is_new
    }

    fn go_on(&mut self, history: &History<'_>) -> Result<(), Broken> {
        let moves = history.moves();
        if moves.is_empty() {
            return self.end(history);
        }
        // What is harmless comes first: what it leads to need not be followed with fewer faults left.
        for what in 0..moves.iter().map(Vec::len).max().unwrap_or_default() {
            for (who, next) in moves.iter().enumerate() {
                let Some(next) = next.get(what) else {
                    continue;
                };
                self.path.push((who, what));
                let mut history = history.fork();
                self.explored.moves += 1;
                history.go_on(*next)?;
                if self.is_new(&history) {
                    self.go_on(&history)?;
                }
                self.path.pop();
            }
        }
        Ok(())
    }

    fn end(&mut self, history: &History<'_>) -> Result<(), Broken> {
        if !self.ends.insert(history.stage.world.digest()) {
            return Ok(());
        }
        self.explored.worlds.insert(told(&history.stage.world));
        let mut stage = history.stage.fork();
        stage.quiesce(self.scenario.then)?;
        let release = stage.witness.release(&id(self.scenario.release));
        let phase = release.map(|release| release.phase);
        let phase = phase.map_or("never begun".to_owned(), |phase| format!("{phase:?}"));
        *self.explored.ends.entry(phase).or_default() += 1;
        Ok(())
    }
}

impl Scenario {
    /// A world in which the release has come to where the scenario begins.
    fn world(&self) -> World {
        let world = World::default();
        world.change().alongside.insert(ALONGSIDE.to_owned(), true);
        let tick = |world: &World, number: usize| {
            alone(
                world,
                &Role::Tick(id(self.release)),
                &format!("before-{number}"),
                None,
            )
            .unwrap();
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
            Begins::Intended => return dies_after(&world, Role::Tick(web()), is_intended),
            Begins::Decided => return dies_after(&world, Role::Abort(web()), is_turned),
            Begins::Quiet => world.pass(SignedDuration::from_mins(11)),
            Begins::Nothing | Begins::Waiting | Begins::LastStep => {}
        }
        world
    }

    /// Every history of at most so many faults, or up to the first that breaks a law.
    pub fn explore(&self, mutant: Option<Mutant>, faults: u32) -> Explored {
        self.search(mutant, faults, false)
    }

    fn search(&self, mutant: Option<Mutant>, faults: u32, is_plain: bool) -> Explored {
        let home = self.world();
        let mut search = Search {
            scenario: self,
            seen: HashMap::new(),
            ends: HashSet::new(),
            explored: Explored::default(),
            path: Vec::new(),
        };
        let mut history = History::new(self, &home, mutant, faults, false);
        history.stage.is_plain = is_plain;
        let met = search.go_on(&history);
        let mut explored = search.explored;
        explored.states = search.seen.len();
        explored.broken = met.err().map(|broken| {
            if is_plain {
                return (broken, Vec::new()); // nobody plays this again
            }
            let path = search.path.iter().flat_map(|(who, what)| [*who, *what]);
            let path: Vec<_> = path.filter_map(|n| u32::try_from(n).ok()).collect();
            (broken, self.trace(&path, mutant, faults))
        });
        explored
    }

    /// The history of these choices: what it came to, in lines if they are asked for.
    fn play(
        &self,
        choices: &mut Choices,
        mutant: Option<Mutant>,
        faults: u32,
        is_told: bool,
    ) -> (Result<(), Broken>, Vec<String>) {
        let home = self.world();
        let mut history = History::new(self, &home, mutant, faults, is_told);
        let mut played = Ok(());
        while played.is_ok() {
            let moves = history.moves();
            if moves.is_empty() {
                played = history.stage.quiesce(self.then);
                break;
            }
            let who = &moves[choices.any(moves.len())];
            played = history.go_on(who[choices.rarely(who.len(), FAULT_ODDS)]);
        }
        (played, history.stage.trace.take().unwrap_or_default())
    }

    /// One history drawn by lot: the law that it breaks, and what happened.
    pub fn draw(&self, seed: u64, mutant: Option<Mutant>) -> Option<(Broken, Vec<String>)> {
        let mut choices = Choices::random(seed);
        let played = self.play(&mut choices, mutant, FAULTS_MAX, false).0;
        let broken = played.err()?;
        Some((broken, self.trace(&choices.taken(), mutant, FAULTS_MAX)))
    }

    /// What happened, in lines, with as little of it as breaks a law.
    fn trace(&self, choices: &[u32], mutant: Option<Mutant>, faults: u32) -> Vec<String> {
        let replay = |choices: &[u32], is_told: bool| {
            let mut choices = Choices::given(choices.to_vec());
            self.play(&mut choices, mutant, faults, is_told)
        };
        let fails = |choices: &[u32]| replay(choices, false).0.is_err();
        let shortest = engine::fakes::shrink(choices.to_vec(), 2_000, fails);
        replay(&shortest, true).1
    }
}

/// Stands for what the logs tell and what the targets were given.
fn told(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    let state = world.look();
    let logs: Vec<_> = state
        .logs
        .values()
        .map(engine::fakes::Log::digest)
        .collect();
    (logs, &state.weights, &state.up).hash(&mut hasher);
    hasher.finish()
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

/// The world after somebody went on until the release was so, and died; long ago.
fn dies_after(world: &World, role: Role, is_so: fn(&Release) -> bool) -> World {
    let mut stage = Stage::new(world, None, false);
    stage.enter(role, "before".to_owned(), SignedDuration::ZERO);
    while !stage.witness.release(&web()).is_some_and(is_so) {
        stage.go_on(0, None).unwrap();
    }
    stage
        .pass(SWEEP_PAUSE + SignedDuration::from_secs(1))
        .unwrap();
    World::clone(&stage.world)
}

/// As many faults as asked for, or as few as are quick.
fn faults_of(scenario: &Scenario) -> u32 {
    let asked = std::env::var(FAULTS_VARIABLE).ok();
    let asked = asked.and_then(|faults| faults.parse().ok());
    asked.unwrap_or(scenario.faults_quick).min(FAULTS_MAX)
}

/// Explores all scenarios, as many at once as there are processors.
fn explore_all() -> Vec<(&'static Scenario, Explored)> {
    let next = AtomicUsize::new(0);
    let part = std::env::var(SCENARIO_VARIABLE).unwrap_or_default();
    let scenarios = SCENARIOS.iter().filter(|s| s.name.contains(&part));
    let scenarios: Vec<_> = scenarios.collect();
    let explore = || {
        let mut explored = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(&scenario) = scenarios.get(number) else {
                break;
            };
            let begun = Instant::now();
            let came = scenario.explore(None, faults_of(scenario));
            let (seconds, states) = (begun.elapsed().as_secs(), came.states);
            println!("{seconds:>5} s, {states:>9} states: {}", scenario.name);
            explored.push((number, scenario, came));
        }
        explored
    };
    let at_once = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..at_once).map(|_| scope.spawn(explore)).collect();
        let ended = threads.into_iter();
        let mut all: Vec<_> = ended.flat_map(|thread| thread.join().unwrap()).collect();
        all.sort_by_key(|(number, ..)| *number);
        let all = all.into_iter();
        all.map(|(_, scenario, explored)| (scenario, explored))
            .collect()
    })
}

#[test]
fn every_order_of_calls_keeps_every_law() {
    let all = explore_all();
    println!("faults     states      moves    ends  scenario");
    for (scenario, explored) in &all {
        let (faults, states, moves) = (faults_of(scenario), explored.states, explored.moves);
        let (ends, name) = (&explored.ends, scenario.name);
        let number: usize = ends.values().sum();
        println!("{faults:>6} {states:>10} {moves:>10} {number:>7}  {name} {ends:?}");
    }
    for (scenario, explored) in all {
        if let Some((broken, trace)) = explored.broken {
            panic!("{}: {broken}\n{}", scenario.name, trace.join("\n"));
        }
        let states = explored.states;
        assert!(states >= STATES_MIN, "{}: {states} states", scenario.name);
    }
}

#[test]
fn what_need_not_be_played_breaks_no_law_and_comes_to_no_other_end() {
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.is_small) {
        let [fewer, all] = [false, true].map(|is_plain| scenario.search(None, 1, is_plain));
        let (name, less) = (scenario.name, fewer.moves < all.moves);
        assert_eq!(fewer.worlds, all.worlds, "{name}");
        assert!(
            less && !all.worlds.is_empty(),
            "{name} is not played with less"
        );
        for mutant in Mutant::ALL {
            let broken = [false, true].map(|is_plain| {
                let explored = scenario.search(Some(mutant), 1, is_plain);
                explored.broken.is_some()
            });
            assert_eq!(broken[0], broken[1], "{mutant:?} in {name}");
        }
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
