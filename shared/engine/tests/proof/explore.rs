//! Every order in which a few runs can make their port calls, with every fault at each of them.
//!
//! Whoever plays waits at a port call, which can be made in any number of worlds; and what it does
//! next follows from what it has been told. So a history is forked wherever it can go on in more than
//! one way, and a state that has been reached before is not followed again. Calls that one run makes
//! side by side are made in their order in the code; all that others do may come between them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use engine::fakes::{Choices, FENCE_SLACK, Fault, Mutant, World};
use jiff::SignedDuration;
use release::{Effect, Order, Phase, Release, ReleaseId, Weight};

use crate::cast::{LIFE, Role, alone, id};
use crate::laws::Broken;
use crate::stage::{Pipeline, SKEW, SKEW_BACK, Seat, Stage};

/// The variable that says how many faults each history may have at most, instead of as many as each
/// scenario says.
const FAULTS_VARIABLE: &str = "PENSTOCK_EXPLORE_FAULTS";

/// One call in so many meets a fault in a history that is drawn by lot, as long as one may.
const FAULT_ODDS: u32 = 8;
/// Histories of each scenario that are drawn by lot.
const DRAWS: u64 = 60;
/// The most faults in one history, and those in one that is drawn by lot.
const FAULTS_MAX: u32 = 2;

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
    /// Moves that were made, and led to a state that was known or to a new one.
    pub moves: usize,
    pub ends: BTreeMap<String, usize>,
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
        let seat = self.seats[role].map(|at| &self.stage.seats[at]);
        let call = match seat {
            Some(seat) => match seat.next_call() {
                Some(call) => call,
                None => return moves,
            },
            None => self.cast[role].first_call(),
        };
        let skews = match seat {
            None if self.faults > 0 => &[SignedDuration::ZERO, SKEW, SKEW_BACK][..],
            Some(_) | None => &[SignedDuration::ZERO],
        };
        for skew in skews {
            let left = self.faults - u32::from(!skew.is_zero());
            moves.push(Move::Call(role, *skew, None));
            let faults = call.faults().iter().filter(|_| left > 0);
            let is_due = |fault: &&Fault| **fault != Fault::DieBefore || Self::dies_before(seat);
            let faults = faults.filter(is_due);
            moves.extend(faults.map(|fault| Move::Call(role, *skew, Some(*fault))));
        }
        moves
    }

    /// Whether this one need be seen to die before its next call. Its death changes nothing for the
    /// others, whatever they do before it: so it is the same whether it comes now or right after the
    /// last call that changed the world ([`Fault::DieAfter`]), or instead of the first call.
    fn dies_before(seat: Option<&Seat<'_>>) -> bool {
        seat.is_none_or(|seat| seat.met == Some(Fault::Arrives))
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
        let mut stage = history.stage.fork();
        stage.quiesce(self.scenario.then)?;
        let phase = stage.witness.release(&web()).map(|release| release.phase);
        let phase = phase.map_or("never begun".to_owned(), |phase| format!("{phase:?}"));
        *self.explored.ends.entry(phase).or_default() += 1;
        Ok(())
    }
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
            Begins::Intended => return dies_after(&world, Role::Tick(web()), is_intended),
            Begins::Decided => return dies_after(&world, Role::Abort(web()), is_turned),
            Begins::Quiet => world.pass(SignedDuration::from_mins(11)),
            Begins::Nothing | Begins::Waiting | Begins::LastStep => {}
        }
        world
    }

    /// Every history of at most so many faults, or up to the first that breaks a law.
    pub fn explore(&self, mutant: Option<Mutant>, faults: u32) -> Explored {
        let home = self.world();
        let mut search = Search {
            scenario: self,
            seen: HashMap::new(),
            ends: HashSet::new(),
            explored: Explored::default(),
            path: Vec::new(),
        };
        let faults = faults.min(FAULTS_MAX);
        let met = search.go_on(&History::new(self, &home, mutant, faults, false));
        let mut explored = search.explored;
        explored.states = search.seen.len();
        explored.broken = met.err().map(|broken| {
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
    stage.pass(LIFE * 2).unwrap();
    World::clone(&stage.world)
}

/// As many faults as asked for, or as the scenario says.
fn faults_of(scenario: &Scenario) -> Option<u32> {
    let asked = std::env::var(FAULTS_VARIABLE).ok();
    let asked = asked.and_then(|faults| faults.parse().ok());
    asked.or(scenario.faults)
}

fn explore_and_tell(scenario: &Scenario, faults: u32) -> Explored {
    let explored = scenario.explore(None, faults);
    let (states, moves, ends) = (explored.states, explored.moves, &explored.ends);
    println!(
        "{}: at most {faults} faults, {states} states, {moves} moves; ends {ends:?}",
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
