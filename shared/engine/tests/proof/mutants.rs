//! Each rule of the protocol is broken by name, and a law must notice.

use std::rc::Rc;

use engine::fakes::{Call, Mutant, World};
use jiff::SignedDuration;

use crate::cast::{Role, alone, id};
use crate::explore::SCENARIOS;
use crate::sim;
use crate::stage::Stage;
use crate::sweep;

/// Histories of each scenario that are drawn by lot before the long ones are.
const DRAWS_MAX: u64 = 100;
/// Long histories that are drawn.
const SEEDS_MAX: u64 = 25;

/// A run that was about to act goes on only when its release is over and the next one has begun.
fn late_run(mutant: Mutant) -> Option<String> {
    let world = World::default();
    let (first, next) = (id("web-1"), id("web-2"));
    let mut stage = Stage::new(&world, Some(mutant), false);
    stage.enter(
        Role::Tick(first.clone()),
        "run-1".to_owned(),
        SignedDuration::ZERO,
    );
    let world = Rc::clone(&stage.world);
    while stage.seats[0].next_call()? != Call::Fence {
        stage.go_on(0, None).ok()?;
    }
    alone(&world, &Role::Abort(first.clone()), "abort", Some(mutant)).ok()?;
    for look in 0.. {
        stage.seen(|_| String::new()).ok()?;
        if !stage.witness.release(&first)?.is_active() {
            break;
        }
        world.pass(SignedDuration::from_secs(2));
        alone(
            &world,
            &Role::Tick(first.clone()),
            &format!("look-{look}"),
            Some(mutant),
        )
        .ok()?;
    }
    alone(&world, &Role::Tick(next), "next", Some(mutant)).ok()?;
    stage.seen(|_| String::new()).ok()?;
    while stage.seats[0].is_playing() {
        if let Err(broken) = stage.go_on(0, None) {
            return Some(format!("{} (a late run)", broken.law));
        }
    }
    None
}

/// The law that breaks first, where, and how long the shortest history that was found is.
fn killer(mutant: Mutant) -> Option<String> {
    if let Some(law) = late_run(mutant) {
        return Some(law);
    }
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
        let threads: Vec<_> = Mutant::ALL
            .into_iter()
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
