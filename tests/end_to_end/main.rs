//! Whole pipelines through the compiled functions, against the emulator and the player, under the
//! functions' own roles. Every event is delivered twice, as AWS may do.
//!
//! `cargo test` runs them after `make bootstraps` and `make setup`; `make test` does all three.

mod abandoned;
mod alb;
mod announced;
mod bad_input;
mod by_hand;
mod company;
mod ecs;
mod function;
mod history;
mod inbox;
mod judged;
mod kept;
mod lambda_alias;
mod probes;
mod releases;
mod reports;
mod requests;
#[expect(dead_code, reason = "the chaos tests use more of it")]
mod services;
mod sources;
mod stage_rollback;
mod steps;
mod sweep_cost;
mod tools;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

use world::World;

/// A test, by the law it holds.
type Test = (&'static str, fn(&World) -> anyhow::Result<()>);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let tests = [
        alb::TESTS,
        releases::TESTS,
        reports::TESTS,
        abandoned::TESTS,
        announced::TESTS,
        bad_input::TESTS,
        by_hand::TESTS,
        company::TESTS,
        ecs::TESTS,
        history::TESTS,
        judged::TESTS,
        kept::TESTS,
        lambda_alias::TESTS,
        probes::TESTS,
        requests::TESTS,
        sources::TESTS,
        steps::TESTS,
        sweep_cost::TESTS,
        tools::TESTS,
    ];
    let tests: Vec<Test> = tests.concat();
    if arguments.list {
        let idle = tests.iter().map(|(name, _)| Trial::test(*name, || Ok(())));
        return libtest_mimic::run(&arguments, idle.collect()).exit_code();
    }
    let world = match World::start() {
        Ok(world) => Arc::new(world),
        Err(error) => {
            eprintln!("could not start the local stack: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trials = tests.iter().map(|(name, test)| {
        let (world, test) = (world.clone(), *test);
        Trial::test(*name, move || {
            test(&world).map_err(|error| Failed::from(format!("{error:#}")))
        })
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    let whole = conclusion.num_passed as usize == tests.len();
    let requests = requests::check(&world, whole);
    if let Some(world) = Arc::into_inner(world) {
        world.stop();
    }
    match requests {
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
        Ok(()) => conclusion.exit_code(),
    }
}
