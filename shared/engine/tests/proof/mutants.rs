//! Each rule of the protocol is broken by name, and a law must notice.

use engine::fakes::Mutant;

use crate::explore::SCENARIOS;
use crate::sim;
use crate::sweep;

/// Histories of each scenario that are drawn by lot before the long ones are.
const DRAWS_MAX: u64 = 100;
/// Long histories that are drawn.
const SEEDS_MAX: u64 = 25;

/// Broken rules that no law notices yet in so few draws.
const UNNOTICED: [Mutant; 4] = [
    Mutant::FenceForAnyRelease,
    Mutant::EndsBesideOthers,
    Mutant::NoReadBack,
    Mutant::FenceGivenBackInDoubt,
];

/// The law that breaks first, where, and how long the shortest history that was found is.
fn killer(mutant: Mutant) -> Option<String> {
    for seed in 0..DRAWS_MAX {
        for scenario in SCENARIOS {
            if let Some((broken, trace)) = scenario.draw(seed, Some(mutant)) {
                let (law, lines) = (broken.law, trace.len());
                return Some(format!("{law} ({}, {lines} lines)", scenario.name));
            }
        }
    }
    for seed in 0..SEEDS_MAX {
        if let Some((broken, trace)) = sim::simulate(seed, Some(mutant)).broken {
            return Some(format!(
                "{} (simulation, {} lines)",
                broken.law,
                trace.len()
            ));
        }
    }
    sweep::notices(mutant).map(|law| format!("{law} (sweep)"))
}

#[test]
fn every_broken_rule_of_the_protocol_breaks_a_law() {
    let killers: Vec<_> = std::thread::scope(|scope| {
        let tell = |mutant| {
            let killer = killer(mutant);
            println!("{mutant:?}: {}", killer.as_deref().unwrap_or("SURVIVES"));
            killer
        };
        let noticed = Mutant::ALL.into_iter().filter(|m| !UNNOTICED.contains(m));
        let threads: Vec<_> = noticed
            .map(|mutant| (mutant, scope.spawn(move || tell(mutant))))
            .collect();
        threads
            .into_iter()
            .map(|(mutant, thread)| (mutant, thread.join().unwrap()))
            .collect()
    });
    for (mutant, killer) in killers {
        assert!(killer.is_some(), "nothing notices {mutant:?}");
    }
}
