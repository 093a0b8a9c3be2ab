//! The compiled functions while everything fails around them: AWS requests that are throttled, broken
//! off or lost, functions that are killed, releases that crowd, events that come often and late. The
//! laws are checked from outside, in the log, at what was released, in the pipeline, and by requests.
//!
//! `make test` runs a small part of it, `make chaos` the whole; `SEED=n` chooses what is random, and
//! `SCENARIO=..`, a part of a name, whose releases meet faults and deaths, and nothing else is done.

mod accompanied;
mod aliased;
mod clean;
mod crowd;
mod deliveries;
mod fault;
mod faults;
mod fleet;
#[path = "../end_to_end/function.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod function;
#[path = "../end_to_end/inbox.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod inbox;
mod kills;
mod lane;
mod latency;
mod laws;
mod rolling;
mod ruled;
#[path = "../end_to_end/services.rs"]
mod services;
#[path = "../end_to_end/stage_rollback.rs"]
mod stage_rollback;
mod stages;
mod subject;
mod task_sets;
mod told;
mod turns;
#[path = "../end_to_end/world.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod world;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use tokio::sync::OnceCell;

use fault::Call;
use fleet::Fleet;
use lane::Scenario;
use world::World;

/// A share of everything in percent; or `timed`, for the time from an alarm to the stable weight and
/// nothing else.
const EXTENT: &str = "PENSTOCK_CHAOS";
/// A part of the names of the only scenarios whose releases meet faults and deaths.
const ONLY: &str = "PENSTOCK_CHAOS_SCENARIO";
/// Chooses what is random.
const SEED: &str = "PENSTOCK_SEED";
/// Unless the environment says otherwise.
const USUAL_SEED: u64 = 20_261_123;
/// A run that was killed keeps its target until its time is over, and may be killed again.
const PIPELINE_TIME_MAX: Duration = Duration::from_secs(600);

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// The releases whose calls are made to fail.
    pub scenarios: &'static [Scenario],
    /// Single faults; each of them, when absent.
    pub single_faults: Option<usize>,
    /// Pairs of faults.
    pub fault_pairs: usize,
    /// Releases during which functions are killed; as many as it takes to kill each function at each
    /// request, when absent.
    pub killed: Option<usize>,
    /// Up to so many deaths in each of these.
    pub deaths_each: usize,
    /// What these releases are.
    pub killed_scenarios: &'static [Scenario],
    /// Releases at once.
    pub crowd: usize,
    /// Releases of which everybody is told while the function that tells it meets faults and dies.
    pub told: usize,
    /// Pipelines whose stage is rolled back while the calls that do so fail: none where it has to be
    /// quick, for only the schedule does it, once a minute.
    pub stages: usize,
    /// Targets on which one release follows the other while events come late.
    pub late: usize,
    /// Rollbacks that are timed, with nothing failing.
    pub timed: usize,
    /// So many releases at a time.
    pub lanes: usize,
    /// The tests run at the same time: each mostly waits.
    pub side_by_side: bool,
    /// From one job of an action to the next. An action may try 20 times, and has to outlast a dead run
    /// that has its target.
    pub continuation_delay: Duration,
}

impl Extent {
    /// So many percent of it; but the crowd stays whole.
    fn share(self, percent: usize) -> Self {
        let share = |of: usize| (of * percent).div_ceil(100);
        Self {
            single_faults: Some(share(SINGLE_FAULTS)),
            fault_pairs: share(self.fault_pairs),
            killed: Some(share(KILLED)),
            late: share(self.late),
            ..self
        }
    }
}

/// About as many single faults are possible.
const SINGLE_FAULTS: usize = 5_200;
/// About as many releases are needed to kill each function at each request.
const KILLED: usize = 850;

const SMALL: Extent = Extent {
    // Those that only rollback-trigger and the sweep look after take minutes.
    scenarios: &[Scenario::Promoted, Scenario::Judged],
    single_faults: Some(16),
    fault_pairs: 4,
    killed: Some(6),
    deaths_each: 1,
    killed_scenarios: &[Scenario::Promoted, Scenario::Judged],
    crowd: 20,
    told: 3,
    stages: 0,
    late: 2,
    timed: 0,
    lanes: 16,
    side_by_side: true,
    // A run of canary-shift that is killed keeps its target for 35 s.
    continuation_delay: Duration::from_millis(2_500),
};

const WHOLE: Extent = Extent {
    scenarios: &[
        Scenario::Promoted,
        Scenario::Judged,
        Scenario::Abandoned,
        Scenario::Forgotten,
        Scenario::Aliased,
        Scenario::Accompanied,
        Scenario::Rolling,
        Scenario::Turns,
        Scenario::TaskSets,
    ],
    single_faults: None,
    fault_pairs: 200,
    killed: None,
    deaths_each: 3,
    killed_scenarios: &[
        Scenario::Promoted,
        Scenario::Judged,
        Scenario::Alarmed,
        Scenario::Abandoned,
        Scenario::Forgotten,
        Scenario::Aliased,
        Scenario::Accompanied,
        Scenario::Rolling,
        Scenario::Turns,
        Scenario::TaskSets,
    ],
    crowd: 200,
    told: 12,
    stages: 6,
    late: 24,
    timed: 0,
    lanes: 40,
    side_by_side: false,
    // One of rollback-trigger keeps it for 125 s.
    continuation_delay: Duration::from_millis(7_500),
};

const TIMED: Extent = Extent {
    scenarios: &[],
    single_faults: Some(0),
    fault_pairs: 0,
    killed: Some(0),
    deaths_each: 0,
    killed_scenarios: &[],
    crowd: 0,
    told: 0,
    stages: 0,
    late: 0,
    timed: 200,
    lanes: 0,
    side_by_side: false,
    continuation_delay: Duration::from_millis(2_500),
};

/// The stack, what releases are of, and what to do with them.
pub struct Chaos {
    /// Emulator, player, functions, and what makes their requests fail.
    pub world: World,
    /// The versions.
    pub fleet: Fleet,
    /// How much is done.
    pub extent: Extent,
    /// The calls of clean releases, once these are recorded.
    pub calls: OnceCell<BTreeMap<Scenario, Vec<Call>>>,
    /// Held while events come late.
    pub late: RwLock<()>,
    /// Chooses what is random.
    pub seed: u64,
    /// A part of the names of the only scenarios that meet faults and deaths; of all, when empty.
    only: String,
}

impl Chaos {
    fn start() -> anyhow::Result<Self> {
        let seed = match std::env::var(SEED) {
            Ok(text) => text.parse().with_context(|| format!("{SEED}={text}"))?,
            Err(_) => USUAL_SEED,
        };
        let extent = match std::env::var(EXTENT).as_deref() {
            Ok("timed") => TIMED,
            Ok(text) => match text.parse().with_context(|| format!("{EXTENT}={text}"))? {
                100 => WHOLE,
                percent => WHOLE.share(percent),
            },
            Err(_) => SMALL,
        };
        let only = std::env::var(ONLY).unwrap_or_default();
        ensure!(
            only.is_empty() || !chosen(extent.scenarios, &only).is_empty(),
            "{ONLY}={only}: there is no such scenario in {:?}",
            extent.scenarios
        );
        println!("seed {seed}, {extent:?}");
        let world = World::start_with(PIPELINE_TIME_MAX, |config| {
            config.faults = extent.timed == 0;
            config.deliver_twice = false;
            config.continuation_delay = extent.continuation_delay;
        })?;
        let fleet = world.runtime.block_on(Fleet::start())?;
        Ok(Self {
            world,
            fleet,
            extent,
            calls: OnceCell::new(),
            late: RwLock::default(),
            seed,
            only,
        })
    }

    /// The releases whose calls are made to fail.
    pub fn scenarios(&self) -> Vec<Scenario> {
        chosen(self.extent.scenarios, &self.only)
    }

    /// Those whose functions are killed.
    pub fn killed_scenarios(&self) -> Vec<Scenario> {
        chosen(self.extent.killed_scenarios, &self.only)
    }

    /// After a whole run, prints which AWS operations the functions may use and have not: nothing is
    /// known of what becomes of a release when these fail.
    fn tell_untried(&self) -> anyhow::Result<()> {
        if self.extent.side_by_side || self.extent.timed > 0 || !self.only.is_empty() {
            return Ok(());
        }
        let recording = self.world.stack.requests();
        let output = self
            .world
            .checked(recording, &["--untried", "template.yaml"])?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "could not tell what was not tried");
        Ok(())
    }

    fn tests(&self) -> Vec<Test> {
        let slow = match self.extent.stages {
            0 => &[],
            _ => SLOW,
        };
        match (self.extent.timed, self.only.as_str()) {
            (0, "") => [BY_SCENARIO, TESTS, slow].concat(),
            (0, _) => BY_SCENARIO.to_vec(),
            (_, _) => TIMED_TESTS.to_vec(),
        }
    }
}

/// Those whose names contain this.
fn chosen(of: &[Scenario], only: &str) -> Vec<Scenario> {
    let is_chosen = |scenario: &Scenario| format!("{scenario:?}").contains(only);
    of.iter().copied().filter(is_chosen).collect()
}

type Test = (&'static str, fn(&Chaos) -> anyhow::Result<()>);

const TIMED_TESTS: &[Test] = &[(
    "every_alarm_has_a_rollback_whose_time_is_known",
    latency::timed,
)];

/// What can be done of some scenarios only.
const BY_SCENARIO: &[Test] = &[
    (
        "no_fault_of_a_single_call_changes_where_a_release_ends",
        faults::single,
    ),
    (
        "no_faults_of_two_calls_change_where_a_release_ends",
        faults::pairs,
    ),
    (
        "releases_end_as_they_should_though_functions_are_killed",
        kills::killed,
    ),
];

const TESTS: &[Test] = &[
    ("many_releases_at_once_all_end_as_they_should", crowd::crowd),
    (
        "everybody_is_told_of_each_change_though_who_tells_them_meets_faults_and_dies",
        told::told,
    ),
    (LATE, deliveries::late),
];

/// What takes minutes however little of it is done.
const SLOW: &[Test] = &[(
    "a_stage_is_rolled_back_exactly_once_though_the_calls_that_do_so_fail",
    stages::rolled_back_once,
)];

/// What must not be beside others: their events come late, too.
const LATE: &str = "events_that_come_late_and_again_change_nothing";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if arguments.list {
        let idle = BY_SCENARIO.iter().chain(TESTS).chain(SLOW);
        let idle = idle.map(|(name, _)| Trial::test(*name, || Ok(())));
        return libtest_mimic::run(&arguments, idle.collect()).exit_code();
    }
    let chaos = match Chaos::start() {
        Ok(chaos) => Arc::new(chaos),
        Err(error) => {
            eprintln!("could not start the local stack: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let tests = chaos.tests();
    arguments.test_threads = Some(match chaos.extent.side_by_side {
        true => tests.len(),
        false => 1, // each fills the machine
    });
    let trials = tests.into_iter().map(|(name, test)| {
        let chaos = chaos.clone();
        Trial::test(name, move || {
            let (_alone, _beside_others);
            match name {
                LATE => _alone = chaos.late.write().unwrap_or_else(PoisonError::into_inner),
                _ => _beside_others = chaos.late.read().unwrap_or_else(PoisonError::into_inner),
            }
            test(&chaos).map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if let Err(error) = chaos.tell_untried() {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    if let Some(chaos) = Arc::into_inner(chaos) {
        chaos.world.stop();
    }
    conclusion.exit_code()
}
