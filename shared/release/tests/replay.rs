//! What holds of every replay, whatever the world showed the release.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use release::config::{Config, ERRORS, Plan, Step};
use release::replay::{Move, Replay};
use release::{
    ArmCounts, Arms, By, Effect, Event, Live, Observation, Order, Outcome, Phase, Reason, Release,
    ReleaseId, Started, Story, Weight, Window, ask_rollback, decide, take_order,
};
use stats::Counts;

fn plan() -> Plan {
    let config = Config::parse(include_str!("good.yaml")).unwrap();
    config.release(Some("web")).unwrap().1.clone()
}

/// One look at the world, and what becomes of what it led to.
#[derive(Debug, Clone)]
struct Look {
    wait_s: i64,
    sees_metrics: bool,
    /// Of 1 000 requests of either version.
    bad: [u64; 2],
    alarm: Option<bool>,
    target: u8,
    /// Whether the run is cut off after its first decision.
    is_cut_off: bool,
    /// How long until what is intended is performed; none: the run has died before.
    performed_s: Option<i64>,
    asked: bool,
    order: Option<Order>,
}

fn look() -> impl Strategy<Value = Look> {
    let seen = (
        prop::bool::weighted(0.9),
        [0_u64..12, 0_u64..6],
        prop::option::weighted(0.9, prop::bool::weighted(0.03)),
        0_u8..6,
    );
    let done = (
        prop::bool::weighted(0.1),
        prop::option::weighted(0.9, 0_i64..20),
        prop::bool::weighted(0.01),
        prop::option::weighted(
            0.1,
            prop::sample::select(vec![
                Order::Hold,
                Order::Resume,
                Order::Resume,
                Order::SkipWait,
                Order::Approve,
                Order::Promote,
            ]),
        ),
    );
    (1_i64..200, seen, done).prop_map(|(wait_s, seen, done)| Look {
        wait_s,
        sees_metrics: seen.0,
        bad: seen.1,
        alarm: seen.2,
        target: seen.3,
        is_cut_off: done.0,
        performed_s: done.1,
        asked: done.2,
        order: done.3,
    })
}

impl Look {
    fn observation(&self, release: &Release, now: Timestamp) -> Observation {
        let windows = release.due_windows(now).map(|due| {
            let starts = (due.from.as_second()..due.until.as_second()).step_by(60);
            let windows = starts.map(|second| Window {
                start: Timestamp::from_second(second).unwrap(),
                metrics: BTreeMap::from([(
                    ERRORS.to_owned(),
                    ArmCounts {
                        canary: Counts::new(1_000, self.bad[0]).unwrap(),
                        baseline: Counts::new(1_000, self.bad[1]).unwrap(),
                    },
                )]),
            });
            windows.collect()
        });
        let firing = |alarm: bool| {
            alarm
                .then(|| "shop-latency".to_owned())
                .into_iter()
                .collect()
        };
        let live = |weight, healthy| {
            Some(Live {
                weight,
                stable_healthy: healthy,
                candidate_healthy: healthy,
                candidate_ready: healthy > 0,
            })
        };
        Observation {
            now,
            windows: self.sees_metrics.then(|| windows.unwrap_or_default()),
            alarms: self.alarm.map(firing),
            live: match self.target {
                0 => None,
                1 => live(release.weight, 0),
                2 => live(Weight::from_basis_points(1_234).unwrap(), 2),
                healthy => live(release.weight, healthy.into()),
            },
            ..Observation::at(now)
        }
    }
}

/// What the log has after these looks.
fn log(plan: &Plan, looks: &[Look]) -> Vec<Event> {
    let mut now = Timestamp::from_second(1_800_000_007).unwrap();
    let mut events = vec![Event::Started(Box::new(Started {
        at: now,
        release: ReleaseId::for_job("web", "1").unwrap(),
        execution: None,
        pipeline: None,
        arms: Arms {
            stable: "blue".to_owned(),
            candidate: "green".to_owned(),
        },
        alarms_firing: BTreeSet::new(),
        images: Default::default(),
        warnings: Vec::new(),
        slower_than: BTreeMap::new(),
        judge: None,
        plan: plan.clone(),
    }))];
    let mut story: Option<Release> = None;
    story.apply(&events[0]);
    let mut store = |story: &mut Option<Release>, new: Vec<Event>| {
        new.iter().for_each(|event| story.apply(event));
        events.extend(new);
    };
    for look in looks {
        now += SignedDuration::from_secs(look.wait_s);
        let observed = look.observation(story.as_ref().unwrap(), now);
        for _ in 0..if look.is_cut_off { 1 } else { 24 } {
            let decided = decide(story.as_ref().unwrap(), &observed).events;
            if decided.is_empty() {
                break;
            }
            store(&mut story, decided);
        }
        if let Some(order) = look.order {
            now += SignedDuration::from_secs(1);
            let by = By::new("arn:aws:iam::1:user/eve", "because", now);
            let ordered = take_order(story.as_ref().unwrap(), order, by);
            store(&mut story, ordered.into_iter().collect());
        }
        if look.asked {
            now += SignedDuration::from_secs(1);
            let why = "it looks wrong".to_owned();
            let by = Some("arn:aws:iam::1:user/eve".to_owned());
            let asked = ask_rollback(story.as_ref().unwrap(), now, Reason::Asked { why, by });
            store(&mut story, asked);
        }
        let release = story.as_ref().unwrap();
        if let (Some(effect), Some(wait_s)) = (release.intended, look.performed_s) {
            now += SignedDuration::from_secs(wait_s);
            let (at, generation) = (now, release.generation);
            store(
                &mut story,
                vec![Event::Performed {
                    at,
                    generation,
                    effect,
                }],
            );
        }
    }
    events
}

/// A look a minute at a candidate with so many bad requests of 1 000 in the nth.
fn steady(minutes: usize, bad: impl Fn(usize) -> u64) -> Vec<Look> {
    let look = |n| Look {
        wait_s: 60,
        sees_metrics: true,
        bad: [bad(n), 1],
        alarm: Some(false),
        target: 3,
        is_cut_off: false,
        performed_s: Some(0),
        asked: false,
        order: None,
    };
    (0..minutes).map(look).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn under_its_own_plan_a_replay_differs_nowhere(
        looks in prop::collection::vec(look(), 1..60),
        hold in prop::sample::select(vec![0.0, 1.2, 5.0]),
    ) {
        let mut plan = plan();
        plan.judge.hold = hold;
        let events = log(&plan, &looks);
        let replay = Replay::of(&events, &plan).unwrap();
        prop_assert_eq!(&replay.parted, &None);
        prop_assert_eq!(replay.verdicts_apart(), 0);
        for window in &replay.windows {
            prop_assert_eq!(&window.recorded, &window.other);
        }
        prop_assert_eq!(&replay.recorded, &replay.other);
        let mut folded: Option<Release> = None;
        events.iter().for_each(|event| folded.apply(event));
        prop_assert_eq!(replay.recorded.phase, folded.unwrap().phase);
        prop_assert!(replay.summary()[0].starts_with("The other plan decides the same: "));
    }

    #[test]
    fn a_replay_is_pure_and_its_release_keeps_to_the_other_plan(
        looks in prop::collection::vec(look(), 1..60),
        windows in 1_u32..8,
        alpha in 0.001..0.4_f64,
    ) {
        let events = log(&plan(), &looks);
        let mut other = plan();
        other.judge.alpha = alpha;
        other.steps = vec![
            Step::SetWeight(Weight::from_basis_points(1_000).unwrap()),
            Step::Judge { windows },
            Step::SetWeight(Weight::FULL),
        ];
        let replay = Replay::of(&events, &other).unwrap();
        prop_assert_eq!(&replay, &Replay::of(&events, &other).unwrap());
        for view in replay.windows.iter().filter_map(|window| window.other) {
            let points = view.weight.basis_points();
            prop_assert!([0, 1_000, 10_000].contains(&points), "{points}");
        }
        // The first weights differ, unless somebody promotes both, so they part there at the latest.
        let first = events.iter().find_map(|event| match event {
            Event::Intended { at, effect: Effect::SetWeight(weight), .. } => {
                (*weight != Weight::ZERO).then_some((*at, *weight))
            }
            _ => None,
        });
        let first = first.filter(|(_, weight)| *weight != Weight::FULL);
        let first = first.map(|(at, _)| at);
        let parted = replay.parted.map(|parted| parted.at);
        prop_assert!(first.is_none_or(|first| parted.is_some_and(|at| at <= first)));
    }
}

#[test]
fn a_stricter_plan_goes_back_earlier_and_the_replay_says_by_how_much() {
    let mut lenient = plan();
    lenient.judge.alpha = 1e-6;
    let events = log(&lenient, &steady(40, |n| if n < 6 { 1 } else { 9 }));
    let replay = Replay::of(&events, &plan()).unwrap();
    for course in [&replay.recorded, &replay.other] {
        assert_eq!(course.phase, Phase::RolledBack);
        assert!(matches!(course.because, Some(Reason::Regression { .. })));
    }
    assert!(replay.other.decided < replay.recorded.decided);
    assert!(replay.other.candidate_requests < replay.recorded.candidate_requests);
    let parted = replay.parted.as_ref().unwrap();
    assert_eq!(Some(parted.at), replay.other.decided);
    assert_eq!(parted.other.moves[0], Move::RollBack);
    assert!(!parted.recorded.moves.contains(&Move::RollBack));
    let told = replay.summary().join("\n");
    for part in [
        "decides otherwise",
        "candidate requests earlier",
        "the recorded release waits (",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_plan_that_asks_for_fewer_windows_goes_on_sooner() {
    let events = log(&plan(), &steady(40, |_| 1));
    let mut quick = plan();
    quick.steps[1] = Step::Judge { windows: 2 };
    let replay = Replay::of(&events, &quick).unwrap();
    let parted = replay.parted.as_ref().unwrap();
    assert!(parted.recorded.moves.is_empty(), "{parted:?}");
    assert_eq!(parted.other.moves[0], Move::StepDone(1));
    assert_eq!(replay.other.phase, Phase::Promoted);
    assert!(replay.other.decided < replay.recorded.decided);
}

#[test]
fn an_alarm_that_the_other_plan_does_not_watch_turns_nothing_round() {
    let mut looks = steady(5, |_| 1);
    looks[4].alarm = Some(true);
    let events = log(&plan(), &looks);
    let mut deaf = plan();
    deaf.alarms.clear();
    let replay = Replay::of(&events, &deaf).unwrap();
    assert_ne!(replay.recorded.phase, Phase::Shifting);
    assert_eq!(
        (replay.other.phase, replay.other.decided),
        (Phase::Shifting, None)
    );
    let told = replay.summary().join("\n");
    assert!(
        told.contains("what would have come next is not known"),
        "{told}"
    );
}

#[test]
fn what_somebody_asked_for_is_asked_of_the_other_plan_too() {
    let mut looks = steady(5, |_| 1);
    looks[4].asked = true;
    let events = log(&plan(), &looks);
    let mut slow = plan();
    slow.steps[1] = Step::Judge { windows: 9 };
    let replay = Replay::of(&events, &slow).unwrap();
    assert_eq!(replay.other.because, replay.recorded.because);
    assert!(matches!(replay.other.because, Some(Reason::Asked { .. })));
    assert_eq!(replay.parted, None);
}

#[test]
fn a_log_without_a_beginning_cannot_be_replayed() {
    assert!(Replay::of(&[], &plan()).is_err());
    let events = log(&plan(), &steady(3, |_| 1));
    assert!(Replay::of(&events[1..], &plan()).is_err());
}

#[test]
fn the_recorded_side_is_what_the_log_says() {
    let events = log(&plan(), &steady(40, |_| 1));
    let replay = Replay::of(&events, &plan()).unwrap();
    assert_eq!(replay.recorded.phase, Phase::Promoted);
    let ended = events.iter().find_map(|event| match event {
        Event::Ended { at, outcome, .. } => Some((*at, *outcome)),
        _ => None,
    });
    assert_eq!(ended.map(|(at, _)| at), replay.recorded.decided);
    assert_eq!(ended.map(|(_, outcome)| outcome), Some(Outcome::Promoted));
    let seen: u64 = replay
        .windows
        .iter()
        .filter(|w| w.recorded.is_some())
        .count() as u64;
    assert_eq!(replay.recorded.candidate_requests, 1_000 * seen);
    assert!(matches!(
        events.last(),
        Some(
            Event::Ended { .. }
                | Event::Performed {
                    effect: Effect::SetWeight(_),
                    ..
                }
        )
    ));
}
