//! Releases whose functions are killed in the middle of their work: at each request that a clean
//! release makes of AWS, before it arrives, while it is on its way, and after it was carried out.

use std::collections::BTreeMap;

use anyhow::ensure;
use cli::deaths::{Death, Died, Moment};
use cli::stack::STACK;
use fastrand::Rng;
use futures::{StreamExt, stream};

use crate::lane::{Lane, Scenario};
use crate::{Chaos, clean};

/// Lambda tries an event three times, so an event of which all three die is lost, on AWS as well.
const OF_ONE_FUNCTION_MAX: usize = 2;
pub const MOMENTS: [Moment; 3] = [Moment::Before, Moment::Meanwhile, Moment::After];
/// What the emulator says of a function that went away without an answer.
const GONE: &str = "Runtime exited before returning a response";

pub fn killed(chaos: &Chaos) -> anyhow::Result<()> {
    chaos.world.runtime.block_on(async {
        let before = gone(chaos)?;
        let (cases, of) = draw(chaos).await?;
        let planned: usize = cases.iter().map(|(_, deaths)| deaths.len()).sum();
        println!("{planned} of {of} deaths, in {} releases", cases.len());
        let releases = cases
            .into_iter()
            .map(|(scenario, deaths)| release(chaos, scenario, deaths));
        let lanes = chaos.extent.lanes;
        let killed: Vec<_> = stream::iter(releases)
            .buffer_unordered(lanes)
            .collect()
            .await;
        print!("{}", table(&killed));
        let died: usize = killed.iter().map(|killed| killed.died.len()).sum();
        let gone = gone(chaos)? - before;
        println!("{died} functions died at work; the emulator missed {gone} answers");
        let broken: Vec<_> = killed
            .into_iter()
            .flat_map(|killed| killed.broken)
            .collect();
        ensure!(broken.is_empty(), "{}", broken.join("\n"));
        ensure!(died * 2 > planned, "too few of them died");
        ensure!(gone * 10 > died * 9, "the emulator has not noticed them");
        Ok(())
    })
}

/// All deaths of all functions in all scenarios, each in one release, which has some more; as many
/// of these releases as are wanted, chosen by the seed. And how many deaths there are.
async fn draw(chaos: &Chaos) -> anyhow::Result<(Vec<(Scenario, Vec<Death>)>, usize)> {
    let calls = clean::calls(chaos).await?;
    let mut rng = Rng::with_seed(chaos.seed.wrapping_add(2));
    let (mut cases, mut of) = (Vec::new(), 0);
    for scenario in chaos.killed_scenarios() {
        let mut deaths = Vec::new();
        for function in clean::FUNCTIONS {
            let made = calls[&scenario]
                .iter()
                .filter(|call| call.function == function);
            for (request, _) in (0..).zip(made) {
                deaths.extend(MOMENTS.map(|moment| Death {
                    function: format!("{STACK}-{function}"),
                    lane: String::new(),
                    request,
                    moment,
                }));
            }
        }
        of += deaths.len();
        rng.shuffle(&mut deaths);
        let dealt = dealt(deaths, &mut rng, chaos.extent.deaths_each);
        cases.extend(dealt.into_iter().map(|deaths| (scenario, deaths)));
    }
    rng.shuffle(&mut cases);
    cases.truncate(chaos.extent.killed.unwrap_or(cases.len()));
    Ok((cases, of))
}

/// Divides deaths among releases, so that each has up to so many.
fn dealt(deaths: Vec<Death>, rng: &mut Rng, each: usize) -> Vec<Vec<Death>> {
    let mut releases: Vec<(usize, Vec<Death>)> = Vec::new();
    for death in deaths {
        let has_room = |(most, dying): &&mut (usize, Vec<Death>)| {
            let of_it = dying.iter().filter(|one| one.function == death.function);
            let is_free = dying.iter().all(|one| one.request != death.request);
            dying.len() < *most && of_it.count() < OF_ONE_FUNCTION_MAX && is_free
        };
        match releases.iter_mut().find(has_room) {
            Some((_, dying)) => dying.push(death),
            None => releases.push((rng.usize(1..=each), vec![death])),
        }
    }
    releases.into_iter().map(|(_, dying)| dying).collect()
}

/// What became of a release whose functions were killed.
struct Killed {
    died: Vec<Died>,
    broken: Vec<String>,
}

async fn release(chaos: &Chaos, scenario: Scenario, deaths: Vec<Death>) -> Killed {
    let world = &chaos.world;
    let all = world.stack.deaths();
    let released = async {
        let lane = Lane::make(world, &chaos.fleet, scenario).await?;
        for death in &deaths {
            let lane = lane.digits.clone();
            all.plan(Death {
                lane,
                ..death.clone()
            });
        }
        let ended = lane.run(world).await;
        let died = all.end(&lane.digits);
        let broken = match ended {
            Ok(ended) => ended.broken,
            Err(error) => vec![format!("{error:#}")],
        };
        if broken.is_empty() {
            chaos.fleet.take_back(lane);
        }
        anyhow::Ok(Killed { died, broken })
    };
    let mut killed = released.await.unwrap_or_else(|error| Killed {
        died: Vec::new(),
        broken: vec![format!("{error:#}")],
    });
    for broken in &mut killed.broken {
        *broken = format!("{scenario:?}, {}: {broken}", told(&deaths));
    }
    killed
}

fn told(deaths: &[Death]) -> String {
    let told = deaths.iter().map(|death| {
        let Death {
            function,
            request,
            moment,
            ..
        } = death;
        format!("{function} killed {moment:?} request {}", request + 1)
    });
    told.collect::<Vec<_>>().join(" and ")
}

/// For each function and service: how many died at their requests, and how many of their releases
/// ended as they should.
fn table(killed: &[Killed]) -> String {
    let mut rows: BTreeMap<(&str, &str), ([u32; 3], u32)> = BTreeMap::new();
    for release in killed {
        for Died { death, service } in &release.died {
            let (moments, converged) = rows.entry((&death.function, service)).or_default();
            let moment = MOMENTS
                .iter()
                .zip(moments)
                .find(|(it, _)| **it == death.moment);
            if let Some((_, count)) = moment {
                *count += 1;
            }
            *converged += u32::from(release.broken.is_empty());
        }
    }
    let heading = [
        "function",
        "died at a request to",
        "before",
        "meanwhile",
        "after",
        "converged",
    ];
    let line = |cells: [&str; 6]| {
        let [function, service, before, meanwhile, after, converged] = cells;
        format!(
            "{function:<26} {service:<22} {before:>7} {meanwhile:>9} {after:>7} {converged:>9}\n"
        )
    };
    let mut text = line(heading);
    for ((function, service), (moments, converged)) in rows {
        let [before, meanwhile, after] = moments.map(|count| count.to_string());
        text += &line([
            function,
            service,
            &before,
            &meanwhile,
            &after,
            &converged.to_string(),
        ]);
    }
    text
}

/// How many runs of functions ended without an answer.
fn gone(chaos: &Chaos) -> anyhow::Result<usize> {
    let log = std::fs::read_to_string(chaos.world.stack.emulator_log())?;
    Ok(log.lines().filter(|line| line.contains(GONE)).count())
}
