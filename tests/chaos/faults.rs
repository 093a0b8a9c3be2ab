//! Releases of which one AWS call fails, or two: each call that a clean release makes, in each way.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use fastrand::Rng;
use futures::{StreamExt, stream};

use crate::fault::{Fault, InForce, Kind, rules};
use crate::lane::{Lane, Scenario};
use crate::{Chaos, clean};

/// Each call in each way.
pub fn single(chaos: &Chaos) -> anyhow::Result<()> {
    chaos.world.runtime.block_on(async {
        let mut all = every(chaos).await?;
        let of = all.len();
        let mut rng = Rng::with_seed(chaos.seed);
        rng.shuffle(&mut all);
        all.truncate(chaos.extent.single_faults.unwrap_or(of));
        println!("{} of {of} single faults", all.len());
        let cases = all
            .into_iter()
            .map(|(scenario, fault)| (scenario, vec![fault]));
        let Met { met, of } = try_all(chaos, cases.collect()).await?;
        ensure!(
            met > 0 && met * 2 >= of,
            "only {met} of {of} faults came to pass"
        );
        Ok(())
    })
}

/// Two of the calls of one release, each in some way, chosen by the seed.
pub fn pairs(chaos: &Chaos) -> anyhow::Result<()> {
    chaos.world.runtime.block_on(async {
        let all = every(chaos).await?;
        let mut rng = Rng::with_seed(chaos.seed.wrapping_add(1));
        let mut chosen = BTreeSet::new();
        let scenarios = chaos.scenarios().into_iter();
        let of: usize = scenarios
            .map(|scenario| all.iter().filter(|(of, _)| *of == scenario).count())
            .map(|faults| faults * faults.saturating_sub(1) / 2)
            .sum();
        while chosen.len() < chaos.extent.fault_pairs.min(of) {
            let (scenario, first) = rng.choice(&all).context("there are faults")?;
            let (other, second) = rng.choice(&all).context("there are faults")?;
            if scenario == other && first.call < second.call {
                chosen.insert((*scenario, vec![first.clone(), second.clone()]));
            }
        }
        println!("{} of {of} pairs of faults", chosen.len());
        try_all(chaos, chosen.into_iter().collect()).await?;
        Ok(())
    })
}

/// All faults of all calls that clean releases make.
async fn every(chaos: &Chaos) -> anyhow::Result<Vec<(Scenario, Fault)>> {
    let calls = clean::calls(chaos).await?;
    let mut faults = Vec::new();
    for scenario in chaos.scenarios() {
        for call in &calls[&scenario] {
            for (kind, outlasts) in Kind::ALL
                .into_iter()
                .flat_map(|kind| [(kind, false), (kind, true)])
            {
                let call = call.clone();
                let fault = Fault {
                    call,
                    kind,
                    outlasts,
                };
                faults.push((scenario, fault));
            }
        }
    }
    Ok(faults)
}

/// What became of a release whose calls were made to fail.
struct Tried {
    faults: Vec<Fault>,
    /// Whether all of them came to pass.
    met: bool,
    broken: Vec<String>,
}

/// Of how many releases all faults came to pass.
struct Met {
    met: usize,
    of: usize,
}

async fn try_all(chaos: &Chaos, cases: Vec<(Scenario, Vec<Fault>)>) -> anyhow::Result<Met> {
    let tries = cases
        .into_iter()
        .map(|(scenario, faults)| try_one(chaos, scenario, faults));
    let tried: Vec<_> = stream::iter(tries)
        .buffer_unordered(chaos.extent.lanes)
        .collect()
        .await;
    print!("{}", table(&tried));
    let broken: Vec<_> = tried
        .iter()
        .filter(|tried| !tried.broken.is_empty())
        .collect();
    for tried in &broken {
        let faults: Vec<_> = tried.faults.iter().map(ToString::to_string).collect();
        println!("{}: {}", faults.join(" and "), tried.broken.join("; "));
    }
    ensure!(
        broken.is_empty(),
        "{} did not end as they should",
        broken.len()
    );
    Ok(Met {
        met: tried.iter().filter(|tried| tried.met).count(),
        of: tried.len(),
    })
}

async fn try_one(chaos: &Chaos, scenario: Scenario, faults: Vec<Fault>) -> Tried {
    let result = with_faults(chaos, scenario, &faults).await;
    let (met, broken) = result.unwrap_or_else(|error| (true, vec![format!("{error:#}")]));
    Tried {
        faults,
        met,
        broken,
    }
}

async fn with_faults(
    chaos: &Chaos,
    scenario: Scenario,
    faults: &[Fault],
) -> anyhow::Result<(bool, Vec<String>)> {
    let world = &chaos.world;
    let lane = Lane::make(world, &chaos.fleet, scenario).await?;
    let set = rules(&faults.iter().collect::<Vec<_>>(), &lane.digits);
    let proxies = world.stack.faults();
    let failing = InForce::begin(&proxies, &set).await?;
    let ended = lane.run(world).await?;
    let met = failing.met(&proxies).await?;
    clean::remove_rules(&proxies, &lane).await?;
    if ended.broken.is_empty() {
        chaos.fleet.take_back(lane);
    }
    Ok((met == faults.len(), ended.broken))
}

/// The faults of one operation of one function.
#[derive(Default)]
struct Row {
    kinds: BTreeMap<Kind, u32>,
    runs: u32,
    met: u32,
    converged: u32,
}

/// For each function and operation: how many faults of each kind, how many came to pass, and how many
/// of these releases ended as they should.
fn table(tried: &[Tried]) -> String {
    let mut rows: BTreeMap<(&str, &str), Row> = BTreeMap::new();
    for one in tried {
        for fault in &one.faults {
            let call = &fault.call;
            let row = rows.entry((&call.function, &call.operation)).or_default();
            *row.kinds.entry(fault.kind).or_default() += 1;
            row.runs += 1;
            row.met += u32::from(one.met);
            row.converged += u32::from(one.broken.is_empty());
        }
    }
    let mut text = format!("{:<17} {:<26}", "function", "operation");
    for kind in Kind::ALL {
        text += &format!(" {kind:>11}");
    }
    text += &format!(" {:>6} {:>6} {:>9}\n", "runs", "met", "converged");
    for ((function, operation), row) in rows {
        text += &format!("{function:<17} {operation:<26}");
        for kind in Kind::ALL {
            text += &format!(" {:>11}", row.kinds.get(&kind).copied().unwrap_or_default());
        }
        text += &format!(" {:>6} {:>6} {:>9}\n", row.runs, row.met, row.converged);
    }
    text
}
