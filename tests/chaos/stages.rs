//! Stages of pipelines that are rolled back with a release, while the calls that do so fail.

use anyhow::{Context, ensure};

use crate::Chaos;
use crate::fault::{ANY, Call, Fault, InForce, Kind, rules};
use crate::stage_rollback::rolled_back;

const FUNCTION: &str = "rollback-trigger";
/// What succeeded last is looked for, and the stage is rolled back to it.
const CALLS: [(&str, &str); 2] = [
    ("codepipeline", "ListPipelineExecutions"),
    ("codepipeline", "RollbackStage"),
];

/// Each stage is rolled back exactly once, whatever becomes of these calls.
pub fn rolled_back_once(chaos: &Chaos) -> anyhow::Result<()> {
    let world = &chaos.world;
    let faults = faults();
    let proxies = world.stack.faults();
    let set = rules(&faults.iter().collect::<Vec<_>>(), ANY);
    let failing = world.runtime.block_on(InForce::begin(&proxies, &set))?;
    let ended: Vec<_> = std::thread::scope(|scope| {
        let begin = |_| scope.spawn(|| rolled_back(world));
        let running: Vec<_> = (0..chaos.extent.stages).map(begin).collect();
        let ended = running.into_iter();
        ended
            .map(|thread| thread.join().ok().context("it panicked")?)
            .collect()
    });
    let met = failing.end(&proxies, FUNCTION, ANY);
    let met = world.runtime.block_on(met)?;
    let broken = ended.into_iter().filter_map(Result::err);
    let broken: Vec<_> = broken.map(|error| format!("{error:#}")).collect();
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    println!(
        "{} stages, each rolled back once; {met} of {} faults met",
        chaos.extent.stages,
        faults.len()
    );
    ensure!(met == faults.len(), "not all of the faults came to pass");
    Ok(())
}

/// The first calls fail, each in another way: whoever is told so thrice gives up, and what it began is
/// taken over when it can no longer be at work.
fn faults() -> Vec<Fault> {
    let of = |(service, operation): (&str, &str)| {
        let (service, operation) = (service.to_owned(), operation.to_owned());
        let call = move |occurrence| Call {
            function: FUNCTION.to_owned(),
            service: service.clone(),
            operation: operation.clone(),
            occurrence,
        };
        (0..).zip(Kind::ALL).map(move |(number, kind)| Fault {
            call: call(number),
            kind,
            outlasts: false,
        })
    };
    CALLS.into_iter().flat_map(of).collect()
}
