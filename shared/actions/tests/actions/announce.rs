//! What is on the bus is what is in the log, each fact at least once and in order.

use std::collections::BTreeSet;

use actions::Announce;
use engine::{Heard, Listener, ReleaseLog, give_order};
use release::announce::{Announcement, Kind, announce};
use release::{By, Head, Order, Release, ReleaseId};
use serde_json::Value;

use super::*;

fn id() -> ReleaseId {
    "web-1".to_owned().try_into().unwrap()
}

/// A release that was held, resumed and promoted.
fn promoted() -> World {
    let world = release_world();
    run(&CanaryShift::new(ALLOWED), &world, &job("1", "web")).unwrap();
    for order in [Order::Hold, Order::Resume] {
        let by = By::new("ann", "a ticket", world.look().now);
        let ports = Run::new(&world, call(&world));
        let id = id();
        let given = give_order(&ports, &id, order, &by);
        given.now_or_never().unwrap().unwrap();
    }
    let mut job = job("2", "web");
    job.token = Some(id());
    finish(&world, &job);
    world
}

/// One that an alarm took back.
fn rolled_back() -> World {
    let world = release_world();
    run(&CanaryShift::new(ALLOWED), &world, &job("1", "web")).unwrap();
    world.pass(SignedDuration::from_secs(1));
    alarm(&world, "slow", SignedDuration::ZERO);
    let mut job = job("2", "web");
    job.token = Some(id());
    finish(&world, &job);
    world
}

fn listen(world: &World, records: &[Value]) -> Heard {
    let call = call(world);
    let ports = Run::new(world, call.clone());
    let heard = Announce.run(&ports, &call, records);
    heard.now_or_never().unwrap()
}

/// What follows from the whole log.
fn due(world: &World) -> Vec<Announcement> {
    let ports = Run::new(world, call(world));
    let id = id();
    let events = ports.events::<Option<Release>>(&id).now_or_never().unwrap();
    let mut head = Head::default();
    let mut due = Vec::new();
    for event in events.unwrap() {
        due.extend(announce(&head, &event));
        head = head.after(&[event]);
    }
    due
}

fn on_the_bus(world: &World) -> Vec<Announcement> {
    std::mem::take(&mut world.change().announced)
}

#[test]
fn what_matters_of_a_log_is_announced_in_order_however_it_is_cut_into_batches() {
    for (world, kinds) in [
        (
            promoted(),
            vec![
                Kind::ReleaseStarted,
                Kind::StepReached,
                Kind::Held,
                Kind::Resumed,
                Kind::StepReached,
                Kind::Promoted,
            ],
        ),
        (
            rolled_back(),
            vec![
                Kind::ReleaseStarted,
                Kind::StepReached,
                Kind::RollingBack,
                Kind::RolledBack,
            ],
        ),
    ] {
        let (records, due) = (world.records(&id()), due(&world));
        let told: Vec<_> = due.iter().map(|told| told.kind).collect();
        assert_eq!(told, kinds);
        for size in [1, 2, 3, records.len()] {
            for batch in records.chunks(size) {
                let heard = listen(&world, batch);
                assert_eq!(heard.done, batch.len());
                assert!(heard.stopped_by.is_none(), "{heard:?}");
            }
            assert_eq!(on_the_bus(&world), due, "in batches of {size}");
        }
    }
}

#[test]
fn however_much_the_bus_takes_at_once_all_of_it_arrives_in_order() {
    let world = promoted();
    let (records, due) = (world.records(&id()), due(&world));
    for takes in [vec![1; 6], vec![0, 1, 0, 0, 2], vec![5], vec![0; 30]] {
        world.change().bus_takes = takes.clone();
        assert!(listen(&world, &records).stopped_by.is_none());
        assert_eq!(on_the_bus(&world), due, "{takes:?}");
    }
}

#[test]
fn what_the_bus_does_not_take_in_time_is_handed_over_again() {
    let world = promoted();
    let (records, due) = (world.records(&id()), due(&world));
    // For longer than a run lasts, which puts one at a second.
    world.change().bus_takes = [vec![2], vec![0; 100]].concat();
    let heard = listen(&world, &records);
    assert!(heard.stopped_by.is_some());
    let third = usize::try_from(due[2].detail.seq).unwrap() - 1;
    assert_eq!(heard.done, third, "the record of the third announcement");
    world.change().bus_takes.clear();
    assert!(listen(&world, &records[heard.done..]).stopped_by.is_none());
    assert_eq!(on_the_bus(&world), due);
}

#[test]
fn a_record_that_cannot_be_read_stops_neither_those_before_it_nor_for_good_those_after() {
    let world = promoted();
    let (mut records, due) = (world.records(&id()), due(&world));
    let broken = usize::try_from(due[3].detail.seq).unwrap() - 1;
    records[broken]["event"] = json!({"event": "of the next version"});
    let heard = listen(&world, &records);
    assert_eq!(heard.done, broken);
    assert_eq!(heard.stopped_by.unwrap().class, Class::Permanent);
    assert_eq!(on_the_bus(&world), due[..3]);
    assert!(listen(&world, &records[broken + 1..]).stopped_by.is_none());
    assert_eq!(on_the_bus(&world), due[4..]);
}

#[test]
fn no_single_fault_loses_an_announcement_or_makes_one_up() {
    for world in [promoted(), rolled_back()] {
        let (records, due) = (world.records(&id()), due(&world));
        let ids = |told: &[Announcement]| -> BTreeSet<String> {
            told.iter().map(|told| told.detail.id.clone()).collect()
        };
        let calls = {
            let ports = Run::new(&world, call(&world));
            let heard = Announce.run(&ports, &call(&world), &records).now_or_never();
            assert!(heard.is_some_and(|heard| heard.stopped_by.is_none()));
            on_the_bus(&world);
            ports.calls()
        };
        for (at, fault) in (0..calls).flat_map(|at| Fault::ALL.map(|fault| (at, fault))) {
            let call = call(&world);
            let ports = Run::new(&world, call.clone()).with_fault(at, fault, &|_| {});
            let heard = Announce.run(&ports, &call, &records).now_or_never();
            let done = heard.map_or(0, |heard| heard.done); // a run that died did nothing
            listen(&world, &records[done..]);
            let told = on_the_bus(&world);
            assert_eq!(ids(&told), ids(&due), "{fault:?} at call {at}");
            assert!(told.iter().all(|told| due.contains(told)));
        }
    }
}

#[test]
fn what_is_no_fact_of_a_release_is_passed_over() {
    let world = promoted();
    let heard = listen(&world, &[json!({}), json!(null), json!({"release": null})]);
    assert_eq!(heard.done, 3);
    assert!(heard.stopped_by.is_none());
    assert_eq!(on_the_bus(&world), []);
}
