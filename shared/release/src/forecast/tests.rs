//! What was foretold comes to pass: not before its time, and not after it.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stats::Counts;

use super::*;
use crate::config::{Config, ERRORS};
use crate::{
    ArmCounts, Arms, By, Event, Head, Live, Observation, Order, Reason, ReleaseId, Started, Window,
    ask_rollback, decide, take_order,
};

const STEPS: &str = "[{set-weight: 5%}, {judge: {windows: 3}}, {set-weight: 25%}, {wait: 10m}, \
                     {approve: 1h}, {set-weight: 100%}]";

fn begin() -> Head<Option<Release>> {
    let good = include_str!("../../tests/good.yaml");
    let from = good.find("    steps:").unwrap();
    let to = good.find("    window:").unwrap();
    let text = format!("{}    steps: {STEPS}\n{}", &good[..from], &good[to..]);
    let config = Config::parse(&text).unwrap();
    let started = Started {
        at: Timestamp::from_second(1_800_000_000).unwrap(),
        release: ReleaseId::for_job("web", "1").unwrap(),
        execution: None,
        pipeline: None,
        plan: config.release(Some("web")).unwrap().1.clone(),
        arms: Arms {
            stable: "blue".to_owned(),
            candidate: "green".to_owned(),
        },
        alarms_firing: BTreeSet::new(),
        images: Default::default(),
        slower_than: BTreeMap::new(),
        judge: None,
        warnings: Vec::new(),
    };
    Head::default().after(&[Event::Started(Box::new(started))])
}

/// A look that sees everything, and these windows.
fn look(release: &Release, now: Timestamp, windows: Vec<Window>) -> Observation {
    Observation {
        windows: Some(windows),
        alarms: Some(BTreeSet::new()),
        live: Some(Live {
            weight: release.weight,
            stable_healthy: 1,
            candidate_healthy: 1,
            candidate_ready: true,
        }),
        ..Observation::at(now)
    }
}

fn window(start: i64, canary: u64, baseline: u64) -> Window {
    let counts = ArmCounts {
        canary: Counts::new(canary, 0).unwrap(),
        baseline: Counts::new(baseline, baseline / 50).unwrap(),
    };
    Window {
        start: Timestamp::from_second(start).unwrap(),
        metrics: BTreeMap::from([(ERRORS.to_owned(), counts)]),
    }
}

/// Takes the release as far as this look takes it.
fn take(head: &mut Head<Option<Release>>, now: Timestamp, mut windows: Vec<Window>) {
    for _ in 0..10 {
        let release = head.state.as_ref().unwrap();
        let events = match release.intended {
            Some(effect) => vec![Event::Performed {
                at: now,
                generation: release.generation,
                effect,
            }],
            None => decide(release, &look(release, now, std::mem::take(&mut windows))).events,
        };
        if events.is_empty() {
            return;
        }
        *head = head.after(&events);
    }
}

/// Whether anything but more to know would follow from a look without windows.
fn moves(release: &Release, now: Timestamp) -> bool {
    let events = decide(release, &look(release, now, Vec::new())).events;
    events.iter().any(|event| match event {
        Event::Intended { .. }
        | Event::StepDone { .. }
        | Event::RollbackDecided { .. }
        | Event::Ended { .. } => true,
        Event::Started(_)
        | Event::Performed { .. }
        | Event::Observed { .. }
        | Event::AlarmsChanged { .. }
        | Event::CandidateReady { .. }
        | Event::Checked { .. }
        | Event::Frozen { .. }
        | Event::CleanupFailed { .. }
        | Event::RollbackStuck { .. }
        | Event::Ordered { .. } => false,
    })
}

proptest! {
    #[test]
    fn what_is_due_comes_not_before_its_time_and_not_after_it(
        looks in prop::collection::vec((1_i64..900, 0_u64..300, 0_u64..900, 0..12_u8), 0..30),
    ) {
        let mut head = begin();
        let mut now = head.state.as_ref().unwrap().started.at;
        take(&mut head, now, Vec::new());
        for (seconds, canary, baseline, order) in looks {
            now += SignedDuration::from_secs(seconds);
            let order = [Order::Hold, Order::Resume, Order::Approve].get(usize::from(order)).copied();
            let by = By::new("arn:aws:iam::1:user/ann", "a test", now);
            let release = head.state.clone().unwrap();
            if let Some(Ok(event)) = order.map(|order| take_order(&release, order, by)) {
                head = head.after(&[event]);
            }
            let minute = (now.as_second() / 60 - 3) * 60;
            take(&mut head, now, vec![window(minute, canary, baseline)]);
            let release = head.state.as_ref().unwrap();
            let coming = next(release, now);
            let second = SignedDuration::from_secs(1);
            if let Some(from) = coming.from.filter(|from| *from - second > now) {
                prop_assert!(!moves(release, from - second), "{coming:?} {release:?}");
            }
            if let Some(until) = coming.until {
                prop_assert!(moves(release, until.max(now) + second), "{coming:?} {release:?}");
                // What nobody can foretell is waited for that long.
                let unknown = coming.from.is_none() && coming.awaits != Awaited::Look;
                if unknown && until - second > now {
                    prop_assert!(!moves(release, until - second), "{coming:?} {release:?}");
                }
            }
            let over = coming.awaits == Awaited::Nothing;
            prop_assert_eq!(over, !release.is_active());
            prop_assert_eq!(over, coming.then.is_none());
        }
    }
}

/// What is said in each situation, in words.
fn said(head: &Head<Option<Release>>, now: Timestamp) -> String {
    let coming = next(head.state.as_ref().unwrap(), now);
    let then = coming
        .then
        .map_or_else(String::new, |then| then.to_string());
    format!("{} -> {then}", coming.awaits)
}

#[test]
fn every_situation_has_its_words() {
    let mut head = begin();
    let began = head.state.as_ref().unwrap().started.at;
    assert_eq!(said(&head, began), "the next look -> 5%");
    let events = decide(
        head.state.as_ref().unwrap(),
        &look(head.state.as_ref().unwrap(), began, Vec::new()),
    )
    .events;
    head = head.after(&events);
    assert_eq!(said(&head, began), "5% being set -> judge 3 windows");
    take(&mut head, began, Vec::new());
    assert_eq!(said(&head, began), "windows: 0 of 3 judged -> 25%");
    let by = By::new("ann", "a ticket", began);
    let order = take_order(head.state.as_ref().unwrap(), Order::Hold, by.clone()).unwrap();
    let held = head.after(&[order]);
    assert_eq!(
        said(&held, began),
        "penstock resume: held by ann: a ticket -> judge 3 windows"
    );
    let coming = next(held.state.as_ref().unwrap(), began);
    assert_eq!(coming.until, Some(began + HOLD_MAX));

    let skip = |head: &Head<Option<Release>>, order| {
        let event = take_order(head.state.as_ref().unwrap(), order, by.clone()).unwrap();
        let mut head = head.after(&[event]);
        take(&mut head, began, Vec::new());
        head
    };
    let head = skip(&head, Order::SkipWait);
    assert_eq!(said(&head, began), "time to pass -> approval within 1h");
    let coming = next(head.state.as_ref().unwrap(), began);
    assert_eq!(coming.from, Some(began + SignedDuration::from_mins(10)));
    let head = skip(&head, Order::SkipWait);
    assert_eq!(said(&head, began), "approval: penstock approve -> 100%");
    let because = Reason::Stuck {
        why: "it fell".to_owned(),
    };
    let mut back = head.after(&ask_rollback(head.state.as_ref().unwrap(), began, because));
    assert_eq!(said(&back, began), "0% being set -> rolled back");
    take(&mut back, began, Vec::new());
    assert_eq!(said(&back, began), "metrics that show it -> rolled back");
    let coming = next(back.state.as_ref().unwrap(), began);
    let unseen = coming.until.unwrap() + SignedDuration::from_secs(1);
    take(&mut back, unseen, Vec::new());
    assert_eq!(said(&back, unseen), "nothing: it is over -> ");
}

#[test]
fn no_step_outlives_the_release() {
    let mut head = begin();
    let began = head.state.as_ref().unwrap().started.at;
    take(&mut head, began, Vec::new());
    let late = began + LIFE_MAX - SignedDuration::from_mins(1);
    let by = By::new("ann", "a ticket", late);
    let order = take_order(head.state.as_ref().unwrap(), Order::Hold, by).unwrap();
    let held = head.after(&[order]);
    let coming = next(held.state.as_ref().unwrap(), late);
    assert_eq!(coming.until, Some(began + LIFE_MAX));
}
