//! What a gate remembers survives every single fault, every duplicate and every rival.

use std::collections::BTreeMap;

use engine::fakes::{Fault, Run, World};
use engine::{
    Asking, Class, GateHistory, Invocation, Memory, Past, PortError, REMEMBER_TRIES_MAX, Recalled,
    Stream, recall_history, remember_run,
};
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use release::ReleaseId;
use release::gate::{History, Point, Run as GateRun};
use serde_json::json;

fn stream() -> Stream {
    Stream::try_from("shop/Test".to_owned()).unwrap()
}

fn story(name: &str) -> ReleaseId {
    ReleaseId::for_job("unit", name).unwrap()
}

fn run(name: &str, second: i64) -> GateRun {
    GateRun {
        point: Point {
            run: name.to_owned(),
            at: Timestamp::from_second(second).unwrap(),
            commit: None,
            totals: Default::default(),
            duration_seconds: 0.1,
            lines: None,
            branches: None,
            findings: BTreeMap::new(),
        },
        suites: BTreeMap::from([(name.to_owned(), 3)]),
        failing: BTreeMap::new(),
        findings: BTreeMap::new(),
    }
}

fn ports(world: &World) -> Run<'_> {
    let deadline = world.look().now + SignedDuration::from_secs(20);
    let owner = "owner".to_owned();
    Run::new(world, Invocation::new(owner, deadline))
}

/// `None` when the run died.
fn remember(ports: &Run<'_>, run: &GateRun) -> Option<Result<(), PortError>> {
    remember_run(ports, &stream(), run).now_or_never()
}

/// How often this stream was stored, and what it holds.
fn stored(world: &World) -> (u64, History) {
    let (times, memory) = world.look().histories[&stream()].clone();
    match serde_json::from_value(memory).unwrap() {
        Memory::Kept(history) => (times, history),
        Memory::Lost(lost) => panic!("it was lost: {lost:?}"),
    }
}

fn of(runs: &[GateRun]) -> History {
    runs.iter()
        .cloned()
        .fold(History::default(), History::after)
}

/// A run that meets a fault is delivered again, as Lambda or a further job does; the rival ends in
/// between, the later of the two first or last.
#[test]
fn no_single_fault_and_no_rival_loses_a_run_or_counts_it_twice() {
    for (mine, other) in [(run("a", 1), run("b", 2)), (run("a", 2), run("b", 1))] {
        let rival = |world: &World| remember(&ports(world), &other).unwrap().unwrap();
        let before = run("z", 0);
        for fault in Fault::ALL {
            for at in 0.. {
                let world = World::default();
                remember(&ports(&world), &before).unwrap().unwrap();
                let broken = ports(&world).with_fault(at, fault, &rival);
                let ended = remember(&broken, &mine);
                if broken.calls() <= at {
                    assert!(at >= 2, "recall and remember were broken");
                    break;
                }
                if !matches!(ended, Some(Ok(()))) {
                    remember(&ports(&world), &mine).unwrap().unwrap();
                }
                let runs = [before.clone(), mine.clone(), other.clone()];
                let count = if fault == Fault::Rival { 3 } else { 2 };
                let (times, history) = stored(&world);
                assert_eq!(history, of(&runs[..count]), "{fault:?} at call {at}");
                assert_eq!(times, count as u64, "{fault:?} at call {at}");
            }
        }
    }
}

#[test]
fn a_run_that_is_told_again_is_not_stored_again() {
    let world = World::default();
    for name in ["a", "b", "a", "b", "b"] {
        let second = if name == "a" { 1 } else { 2 };
        remember(&ports(&world), &run(name, second))
            .unwrap()
            .unwrap();
    }
    assert_eq!(stored(&world), (2, of(&[run("a", 1), run("b", 2)])));
}

#[test]
fn what_was_seen_before_somebody_else_stored_is_refused() {
    let world = World::default();
    let ports = ports(&world);
    let stale = ports.recall(&stream()).now_or_never().unwrap().unwrap();
    assert_eq!(stale, Recalled::default());
    remember(&ports, &run("a", 1)).unwrap().unwrap();
    let memory = Memory::Kept(of(&[run("b", 2)]));
    let refused = ports.remember(&stream(), &stale, &memory).now_or_never();
    assert_eq!(refused.unwrap().unwrap_err().class, Class::Conflict);
    assert_eq!(stored(&world).1, of(&[run("a", 1)]));
}

/// Always a step behind.
struct Overtaken<'w>(Run<'w>);

impl GateHistory for Overtaken<'_> {
    async fn recall(&self, stream: &Stream) -> Result<Recalled, PortError> {
        let mut seen = self.0.recall(stream).await?;
        seen.version = None;
        Ok(seen)
    }

    async fn remember(
        &self,
        stream: &Stream,
        seen: &Recalled,
        memory: &Memory,
    ) -> Result<(), PortError> {
        self.0.remember(stream, seen, memory).await
    }
}

#[test]
fn whoever_is_overtaken_too_often_is_told_to_come_again() {
    let world = World::default();
    remember(&ports(&world), &run("a", 1)).unwrap().unwrap();
    let overtaken = Overtaken(ports(&world));
    let ended = remember_run(&overtaken, &stream(), &run("b", 2)).now_or_never();
    assert_eq!(ended.unwrap().unwrap_err().class, Class::Conflict);
    assert_eq!(overtaken.0.calls(), 2 * REMEMBER_TRIES_MAX);
}

fn recall(world: &World, job: &str) -> Result<Past, PortError> {
    let story = story(job);
    recall_history(&ports(world), &stream(), Asking::ToCompare(&story))
        .now_or_never()
        .unwrap()
}

fn lose(world: &World) {
    let broken = (7, json!({"kept": "of another version"}));
    world.change().histories.insert(stream(), broken);
}

#[test]
fn a_lost_history_fails_one_run_and_every_duplicate_of_it_and_then_begins_anew() {
    let world = World::default();
    lose(&world);
    for _ in 0..3 {
        let error = recall(&world, "first").unwrap_err();
        assert_eq!(error.class, Class::Permanent);
        assert!(error.to_string().contains("Retry the stage"), "{error}");
    }
    for job in ["retried", "retried", "next"] {
        let past = recall(&world, job).unwrap();
        assert_eq!(past.history, History::default());
        assert!(past.lost.is_some(), "nobody tells {job}");
    }
    remember(&ports(&world), &run("a", 1)).unwrap().unwrap();
    let (history, lost) = (of(&[run("a", 1)]), None);
    assert_eq!(recall(&world, "later").unwrap(), Past { history, lost });
}

#[test]
fn no_single_fault_lets_the_one_who_finds_a_lost_history_pass() {
    for fault in Fault::ALL {
        for at in 0..2 {
            let world = World::default();
            lose(&world);
            let rival = |world: &World| drop(recall(world, "first"));
            let broken = ports(&world).with_fault(at, fault, &rival);
            let story = story("first");
            let asking = Asking::ToCompare(&story);
            let ended = recall_history(&broken, &stream(), asking).now_or_never();
            assert!(!matches!(ended, Some(Ok(_))), "{fault:?} at call {at}");
            let again = recall(&world, "first");
            assert_eq!(
                again.unwrap_err().class,
                Class::Permanent,
                "{fault:?} at call {at}"
            );
        }
    }
}

#[test]
fn a_gate_that_compares_nothing_is_not_kept_by_a_lost_history() {
    let world = World::default();
    lose(&world);
    let past = recall_history(&ports(&world), &stream(), Asking::ToShow).now_or_never();
    let past = past.unwrap().unwrap();
    assert_eq!(past.history, History::default());
    assert!(
        past.lost.is_some(),
        "it does not say that there was a history"
    );
    remember(&ports(&world), &run("a", 1)).unwrap().unwrap();
    assert_eq!(stored(&world), (8, of(&[run("a", 1)])));
}
