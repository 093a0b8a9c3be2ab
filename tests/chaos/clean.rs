//! The AWS calls of releases in which nothing fails: what can be made to fail.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use cli::faults::{Faults, Rule, Seen};
use futures::future::try_join_all;
use serde_json::Map;

use crate::Chaos;
use crate::fault::{Call, headers};
use crate::lane::{Lane, Scenario};

/// What the functions' names end with.
pub const FUNCTIONS: [&str; 4] = [
    "test-gate",
    "canary-shift",
    "health-check",
    "rollback-trigger",
];

/// The calls of each scenario, in order, recorded once.
pub async fn calls(chaos: &Chaos) -> anyhow::Result<&BTreeMap<Scenario, Vec<Call>>> {
    let record = async || {
        // The first release warms everything up; its retries are nobody's calls.
        recorded(chaos, Scenario::Promoted).await?;
        let (failing, dying) = (chaos.scenarios(), chaos.killed_scenarios());
        let scenarios: BTreeSet<_> = failing.into_iter().chain(dying).collect();
        let clean = scenarios
            .into_iter()
            .map(async |scenario| anyhow::Ok((scenario, recorded(chaos, scenario).await?)));
        Ok(try_join_all(clean).await?.into_iter().collect())
    };
    chaos.calls.get_or_try_init(record).await
}

/// The calls of a clean release, as microburst names them.
async fn recorded(chaos: &Chaos, scenario: Scenario) -> anyhow::Result<Vec<Call>> {
    let world = &chaos.world;
    let lane = Lane::make(world, &chaos.fleet, scenario).await?;
    let watching = FUNCTIONS.map(|function| Rule {
        service: None,
        operation: None,
        headers: headers(function, &lane.digits),
        times: None,
        fault: Map::new(),
    });
    let proxies = world.stack.faults();
    let mut functions = Vec::new();
    for proxy in &proxies {
        functions.push(proxy.add(&watching).await?);
    }
    let ended = lane.run(world).await?;
    ensure!(
        ended.broken.is_empty(),
        "without any fault: {:?}",
        ended.broken
    );
    let mut seen: Vec<(Seen, &str)> = Vec::new();
    for (proxy, rules) in proxies.iter().zip(functions) {
        for one in proxy.seen().await? {
            if let Some(rule) = rules.iter().position(|rule| rule.id == one.rule_id) {
                seen.push((one, FUNCTIONS[rule]));
            }
        }
    }
    seen.sort_by(|(a, _), (b, _)| a.ts.total_cmp(&b.ts));
    remove_rules(&proxies, &lane).await?;
    chaos.fleet.take_back(lane);
    Ok(numbered(seen))
}

fn numbered(seen: Vec<(Seen, &str)>) -> Vec<Call> {
    let mut made: BTreeMap<Call, u64> = BTreeMap::new();
    let mut calls = Vec::new();
    for (seen, function) in seen {
        let (Some(service), Some(operation)) = (seen.service, seen.operation) else {
            continue;
        };
        let call = Call {
            function: function.to_owned(),
            service,
            operation,
            occurrence: 0,
        };
        let occurrence = made.entry(call.clone()).or_default();
        calls.push(Call {
            occurrence: *occurrence,
            ..call
        });
        *occurrence += 1;
    }
    calls
}

/// Ends all that was set for this lane.
pub async fn remove_rules(proxies: &[&Faults], lane: &Lane) -> anyhow::Result<()> {
    for proxy in proxies {
        for function in FUNCTIONS {
            proxy.remove(&headers(function, &lane.digits)).await?;
        }
    }
    Ok(())
}
