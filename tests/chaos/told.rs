//! What everybody is told of releases, while the function that tells it meets every fault and is killed.

use anyhow::ensure;
use cli::deaths::Death;
use cli::stack::STACK;
use fastrand::Rng;
use futures::future::join_all;

use crate::Chaos;
use crate::fault::{ANY, Fault, InForce, each_way, rules};
use crate::inbox::{Inbox, assert_told, due};
use crate::kills::MOMENTS;
use crate::lane::{Lane, Scenario};

const FUNCTION: &str = "announce";
/// What it asks for: the release's log, and that the bus takes what is told.
const CALLS: [(&str, &str); 2] = [("dynamodb", "Query"), ("events", "PutEvents")];
/// So many of its requests pass from one death to the next.
const BETWEEN: std::ops::Range<u64> = 0..3;
/// It dies so often in each way.
const DEATHS_EACH: usize = 2;
const SCENARIOS: [Scenario; 3] = [Scenario::Promoted, Scenario::Judged, Scenario::Alarmed];

pub fn told(chaos: &Chaos) -> anyhow::Result<()> {
    let world = &chaos.world;
    let scenarios = SCENARIOS.iter().cycle().take(chaos.extent.told);
    let make = scenarios.map(|scenario| Lane::make(world, &chaos.fleet, *scenario));
    let lanes = world.runtime.block_on(join_all(make));
    let lanes = lanes.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let targets: Vec<_> = lanes.iter().map(|lane| lane.subject.target()).collect();
    let targets: Vec<_> = targets.iter().map(String::as_str).collect();
    let inbox = Inbox::of_targets(world, &targets)?;
    let (faults, deaths) = draw(chaos.seed);
    let proxies = world.stack.faults();
    // Its batches are of several releases, so its requests are nobody's in particular.
    let rules = rules(&faults.iter().collect::<Vec<_>>(), ANY);
    let failing = world.runtime.block_on(InForce::begin(&proxies, &rules))?;
    for death in &deaths {
        world.stack.deaths().plan(death.clone());
    }
    let (due, broken) = world.runtime.block_on(async {
        let ended = join_all(lanes.iter().map(|lane| lane.run(world))).await;
        let ended = ended.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let due = due(world, ended.iter().map(|ended| &ended.id)).await?;
        let broken: Vec<_> = ended.into_iter().flat_map(|ended| ended.broken).collect();
        anyhow::Ok((due, broken))
    })?;
    let came = assert_told(world, &inbox, &due)?;
    let died = world.stack.deaths().end("").len();
    let met = failing.end(&proxies, FUNCTION, ANY);
    let met = world.runtime.block_on(met)?;
    println!(
        "{} changes of {} releases, told {came} times; {met} of {} faults met, {died} of {} deaths died",
        due.len(),
        lanes.len(),
        faults.len(),
        deaths.len(),
    );
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    ensure!(met > 0 && died > 0, "nothing happened to {FUNCTION}");
    for lane in lanes {
        chaos.fleet.take_back(lane);
    }
    Ok(())
}

/// Its calls fail, each in each way, and it dies.
fn draw(seed: u64) -> (Vec<Fault>, Vec<Death>) {
    let mut rng = Rng::with_seed(seed.wrapping_add(3));
    let faults = each_way(FUNCTION, &CALLS, &mut rng);
    let mut deaths = Vec::new();
    let mut request = 0;
    for moment in [MOMENTS; DEATHS_EACH].concat() {
        request += 1 + rng.u64(BETWEEN);
        deaths.push(Death {
            function: format!("{STACK}-{FUNCTION}"),
            lane: String::new(),
            request,
            moment,
        });
    }
    (faults, deaths)
}
