//! The compiled functions while everything fails around them: AWS requests that are throttled, broken
//! off or lost, functions that are killed, releases that crowd, events that come often and late. The
//! laws are checked from outside, in the log, at the load balancer, in the pipeline, and by requests.
//!
//! `make test` runs a small part of it, `make chaos` the whole; `SEED=n` chooses what is random.

mod crowd;
mod deliveries;
mod fault;
mod faults;
mod kills;
mod lane;
mod laws;
#[path = "../end_to_end/world.rs"]
#[expect(dead_code, reason = "the end-to-end tests use more of it")]
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use libtest_mimic::{Arguments, Failed, Trial};

use lane::Fleet;
use world::World;

/// Set to `whole` for everything.
const EXTENT: &str = "PENSTOCK_CHAOS";
/// Chooses what is random.
const SEED: &str = "PENSTOCK_SEED";
/// Unless the environment says otherwise.
const USUAL_SEED: u64 = 20_261_123;
/// A run that was killed keeps its target for 35 s, and may be killed again.
const PIPELINE_TIME_MAX: Duration = Duration::from_secs(420);
/// Jobs that come again at once would use up their 20 tries while a dead run still has the target.
const CONTINUATION_DELAY: Duration = Duration::from_millis(2_500);

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Single faults; each of them, when absent.
    pub single_faults: Option<usize>,
    /// Pairs of faults.
    pub fault_pairs: usize,
    /// Releases during which functions are killed.
    pub killed: usize,
    /// Releases at once.
    pub crowd: usize,
    /// Targets on which one release follows the other while events come late.
    pub late: usize,
}

const SMALL: Extent = Extent {
    single_faults: Some(16),
    fault_pairs: 4,
    killed: 8,
    crowd: 20,
    late: 4,
};

const WHOLE: Extent = Extent {
    single_faults: None,
    fault_pairs: 200,
    killed: 120,
    crowd: 200,
    late: 24,
};

/// The stack, what releases are of, and what to do with them.
pub struct Chaos {
    /// Emulator, player, functions, and what makes their requests fail.
    pub world: World,
    /// The versions.
    pub fleet: Fleet,
    /// How much is done.
    pub extent: Extent,
    /// Chooses what is random.
    pub seed: u64,
}

impl Chaos {
    fn start() -> anyhow::Result<Self> {
        let seed = match std::env::var(SEED) {
            Ok(text) => text.parse().with_context(|| format!("{SEED}={text}"))?,
            Err(_) => USUAL_SEED,
        };
        let extent = match std::env::var(EXTENT).as_deref() {
            Ok("whole") => WHOLE,
            Ok(_) | Err(_) => SMALL,
        };
        println!("seed {seed}, {extent:?}");
        let world = World::start_with(PIPELINE_TIME_MAX, |config| {
            config.faults = true;
            config.deliver_twice = false;
            config.continuation_delay = CONTINUATION_DELAY;
        })?;
        let fleet = world.runtime.block_on(Fleet::start())?;
        Ok(Self {
            world,
            fleet,
            extent,
            seed,
        })
    }
}

type Test = (&'static str, fn(&Chaos) -> anyhow::Result<()>);

const TESTS: [Test; 5] = [
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
    ("many_releases_at_once_all_end_as_they_should", crowd::crowd),
    (
        "events_that_come_late_and_again_change_nothing",
        deliveries::late,
    ),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = Some(1); // each test fills the machine
    if arguments.list {
        let idle = TESTS.iter().map(|(name, _)| Trial::test(*name, || Ok(())));
        return libtest_mimic::run(&arguments, idle.collect()).exit_code();
    }
    let chaos = match Chaos::start() {
        Ok(chaos) => Arc::new(chaos),
        Err(error) => {
            eprintln!("could not start the local stack: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trials = TESTS.iter().map(|(name, test)| {
        let (chaos, test) = (chaos.clone(), *test);
        Trial::test(*name, move || {
            test(&chaos).map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if let Some(chaos) = Arc::into_inner(chaos) {
        chaos.world.stop();
    }
    conclusion.exit_code()
}
