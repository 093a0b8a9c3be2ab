//! What holds for every release, whatever the world shows it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use release::config::{Approval, Config, ERRORS, Step};
use release::{
    ArmCounts, Arms, By, EXTRA_WINDOWS_MAX, Effect, Event, Head, Live, Observation, Order, Phase,
    Reason, Release, ReleaseId, Started, Weight, Window, decide, take_order,
};
use stats::{Counts, Verdict};

fn begin(now: Timestamp) -> Head<Option<Release>> {
    begin_under(now, include_str!("good.yaml"))
}

fn begin_under(now: Timestamp, config: &str) -> Head<Option<Release>> {
    Head::default().after(&[Event::Started(Box::new(started(now, config)))])
}

fn started(now: Timestamp, config: &str) -> Started {
    let config = Config::parse(config).unwrap();
    let plan = config.release(Some("web")).unwrap().1.clone();
    Started {
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
        plan,
    }
}

/// One look: what the metrics, the alarms and the target show.
#[derive(Debug, Clone)]
struct Shown {
    wait_s: i64,
    windows: Option<Vec<(i64, u64, u64, u64)>>,
    alarm: Option<bool>,
    live_lags: bool,
}

fn shown() -> impl Strategy<Value = Shown> {
    let window = (-3_i64..3, 0_u64..200, 0_u64..200, 0_u64..5000);
    let windows = prop::option::weighted(0.9, prop::collection::vec(window, 0..4));
    let alarm = prop::option::weighted(0.9, prop::bool::weighted(0.02));
    (0_i64..300, windows, alarm, any::<bool>()).prop_map(|(wait_s, windows, alarm, live_lags)| {
        Shown {
            wait_s,
            windows,
            alarm,
            live_lags,
        }
    })
}

impl Shown {
    fn look(&self, now: Timestamp, live: Weight) -> Observation {
        let minute = now.as_second() / 60;
        let windows = self.windows.as_ref().map(|windows| {
            let mut windows: Vec<_> = windows.clone();
            windows.sort_unstable();
            let window = |(offset, canary, bad, baseline): &(i64, u64, u64, u64)| Window {
                start: Timestamp::from_second((minute + offset) * 60).unwrap(),
                metrics: BTreeMap::from([(
                    ERRORS.to_owned(),
                    ArmCounts {
                        canary: Counts::new(*canary, *bad.min(canary)).unwrap(),
                        baseline: Counts::new(*baseline, 0).unwrap(),
                    },
                )]),
            };
            windows.iter().map(window).collect()
        });
        Observation {
            now,
            windows,
            alarms: self.alarm.map(|firing| {
                firing
                    .then(|| "shop-latency".to_owned())
                    .into_iter()
                    .collect()
            }),
            live: (!self.live_lags).then_some(Live {
                weight: live,
                stable_healthy: 1,
                candidate_healthy: 1,
                candidate_ready: true,
            }),
            ..Observation::at(now)
        }
    }
}

/// Performs whatever is intended; the live weight.
fn perform(head: &mut Head<Option<Release>>, now: Timestamp, live: &mut Weight) {
    let release = head.state.as_ref().unwrap();
    if let Some(effect) = release.intended {
        if let Effect::SetWeight(weight) = effect {
            *live = weight;
        }
        *head = head.after(&[Event::Performed {
            at: now,
            generation: release.generation,
            effect,
        }]);
    }
}

/// A look a minute for `minutes`, each as `look` makes it; how the release ended up.
fn live_through(minutes: i64, look: impl Fn(&mut Observation, Timestamp)) -> Release {
    let mut now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut head = begin(now);
    let mut live = Weight::ZERO;
    for _ in 0..minutes {
        now += SignedDuration::from_mins(1);
        let mut seen = Observation {
            now,
            windows: Some(Vec::new()),
            alarms: Some(BTreeSet::new()),
            live: Some(Live {
                weight: live,
                stable_healthy: 1,
                candidate_healthy: 1,
                candidate_ready: true,
            }),
            ..Observation::at(now)
        };
        look(&mut seen, now);
        let decision = decide(head.state.as_ref().unwrap(), &seen);
        head = head.after(&decision.events);
        perform(&mut head, now, &mut live);
    }
    head.state.unwrap()
}

#[test]
fn what_ecs_itself_has_put_back_is_not_deployed_once_more() {
    let config = "version: 1
releases:
  web:
    target:
      ecs-rolling:
        service: arn:aws:ecs:eu-west-1:123456789012:service/prod/web
        task-definition: web:7
    steps: [{set-weight: 100%}]
";
    let mut now = Timestamp::from_second(1_800_000_000).unwrap();
    let mut head = begin_under(now, config);
    let mut live = Weight::ZERO;
    let look = |now, live, rolled_out: u32| Observation {
        live: Some(Live {
            weight: live,
            stable_healthy: 2,
            candidate_healthy: rolled_out,
            candidate_ready: live == Weight::ZERO || rolled_out > 0,
        }),
        windows: Some(Vec::new()),
        alarms: Some(BTreeSet::new()),
        ..Observation::at(now)
    };
    let decision = decide(head.state.as_ref().unwrap(), &look(now, live, 0));
    head = head.after(&decision.events);
    perform(&mut head, now, &mut live);
    assert_eq!(live, Weight::FULL, "{:?}", decision.because);
    now += SignedDuration::from_secs(1);
    let decision = decide(head.state.as_ref().unwrap(), &look(now, live, 0));
    assert!(decision.events.is_empty(), "not rolled out: {decision:?}");
    let late = decide(head.state.as_ref().unwrap(), &look(now, Weight::ZERO, 0));
    assert!(late.events.is_empty(), "a late answer is none: {late:?}");
    now += SignedDuration::from_secs(31);
    let decision = decide(head.state.as_ref().unwrap(), &look(now, Weight::ZERO, 0));
    assert_eq!(decision.because, Reason::TurnedBack);
    let head = head.after(&decision.events);
    assert_eq!(head.state.unwrap().phase, Phase::RollingBack);
}

fn window(now: Timestamp, canary: u64, baseline: u64) -> Window {
    let count = |count| Counts::new(count, 0).unwrap();
    let counts = ArmCounts {
        canary: count(canary),
        baseline: count(baseline),
    };
    Window {
        start: Timestamp::from_second((now.as_second() / 60 - 3) * 60).unwrap(),
        metrics: BTreeMap::from([(ERRORS.to_owned(), counts)]),
    }
}

/// The windows of the first minutes of a release, each with other counts.
fn minutes(began: Timestamp, bad: u64) -> Vec<Window> {
    let minute = |minute: u64| {
        let counts = ArmCounts {
            canary: Counts::new(600, bad + minute % 3).unwrap(),
            baseline: Counts::new(11_400, 11).unwrap(),
        };
        Window {
            start: began + SignedDuration::from_mins(minute.cast_signed()),
            metrics: BTreeMap::from([(ERRORS.to_owned(), counts)]),
        }
    };
    (0..6).map(minute).collect()
}

#[test]
fn a_window_used_twice_late_or_out_of_order_changes_nothing() {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    let observed = |windows: &[Window]| Event::Observed {
        at,
        windows: windows.to_vec(),
    };
    let windows = minutes(at, 0);
    let others = minutes(at, 40);
    let begun = begin(at);
    let in_order = begun.after(&[observed(&windows)]).state;
    for late in 0..windows.len() {
        let again = [observed(&windows), observed(&others[late..=late])];
        assert_eq!(begun.after(&again).state, in_order, "window {late}, again");
        let mut within = windows.clone();
        within.push(others[late].clone());
        let within = begun.after(&[observed(&within)]).state;
        assert_eq!(within, in_order, "window {late}, twice in one look");
        let mut overlapping = others[late].clone();
        overlapping.start += SignedDuration::from_secs(59);
        if late + 1 < windows.len() {
            let overlapping = [observed(&windows), observed(&[overlapping])];
            assert_eq!(begun.after(&overlapping).state, in_order, "part of {late}");
        }
        // What comes too late is left out, and nothing else.
        let skipped = [&windows[late..], &others[..late]].concat();
        assert_eq!(
            begun.after(&[observed(&skipped)]).state,
            begun.after(&[observed(&windows[late..])]).state,
            "windows before {late}, out of order"
        );
    }
    let new = begun.after(&[observed(&windows[..5]), observed(&others[5..])]);
    assert_ne!(new.state, in_order, "a new window does change something");
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn mixed(seed: u64) -> u64 {
    let z = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A look at one window of a release that is a little better or worse than the stable version, as
/// `seed` has it; 12 and 108 bad requests would be equal rates.
fn doubtful(now: Timestamp, live: Weight, seed: u64, minute: u64) -> Observation {
    let mut window = window(now, 12_000, 108_000);
    if let Some(counts) = window.metrics.get_mut(ERRORS) {
        counts.canary.bad = 8 + mixed(seed) % 5 + mixed(1000 * seed + minute) % 8;
        counts.baseline.bad = 108;
    }
    Observation {
        now,
        windows: Some(vec![window]),
        alarms: Some(BTreeSet::new()),
        live: Some(Live {
            weight: live,
            stable_healthy: 1,
            candidate_healthy: 1,
            candidate_ready: true,
        }),
        ..Observation::at(now)
    }
}

#[test]
fn the_weight_is_never_raised_while_holding_before_the_extra_windows_are_over() {
    let (mut held, mut promoted_early, mut went_on) = (0, 0, 0);
    let holds = [1.0_f64, 2.0, 5.0].into_iter();
    for (hold, seed) in holds.flat_map(|hold| (0..60).map(move |seed| (hold, seed))) {
        let config = include_str!("good.yaml")
            .replace("alpha: 0.02", &format!("alpha: 0.001\n      hold: {hold}"));
        let mut now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut head = begin_under(now, &config);
        let mut live = Weight::ZERO;
        for minute in 0..60 {
            now += SignedDuration::from_mins(1);
            let before = head.state.clone().unwrap();
            let decision = decide(&before, &doubtful(now, live, seed, minute));
            head = head.after(&decision.events);
            let after = head.state.as_ref().unwrap();
            let mut events = decision.events.iter();
            let done = events.any(|event| matches!(event, Event::StepDone { .. }));
            let suspicious = after.judge.log_e(&after.judge_config()) >= hold.ln();
            if let Some(Step::Judge { windows }) = before.current_step()
                && after.verdict() != Verdict::Rollback
                && suspicious
            {
                let seen = before.step_windows + 1; // with the window of this look
                assert!(
                    !done || seen >= windows + EXTRA_WINDOWS_MAX,
                    "hold {hold}, seed {seed}: {:?} after {seen} windows",
                    decision.because
                );
                held += 1;
                went_on += u32::from(done);
            }
            promoted_early += u32::from(done && after.verdict() == Verdict::Promote);
            perform(&mut head, now, &mut live);
        }
    }
    let seen = [held, promoted_early];
    assert!(seen.iter().all(|&times| times > 100), "{seen:?}");
    assert!(went_on > 0, "holding has an end");
}

#[test]
fn nothing_is_waited_for_without_an_end() {
    let hours_3 = 180;
    let promoted = live_through(hours_3, |seen, now| {
        seen.windows = Some(vec![window(now, 1_000, 1_000)]);
    });
    assert_eq!(
        promoted.phase,
        Phase::Promoted,
        "the same release, when all can be seen"
    );
    let too_few = live_through(hours_3, |seen, now| {
        seen.windows = Some(vec![window(now, 1, 2)]);
    });
    assert_eq!(too_few.phase, Phase::RolledBack, "{:?}", too_few.because);
    let no_metrics = live_through(hours_3, |seen, _| seen.windows = None);
    assert_eq!(
        no_metrics.phase,
        Phase::RolledBack,
        "{:?}",
        no_metrics.because
    );
    let no_alarms = live_through(hours_3, |seen, now| {
        seen.windows = Some(vec![window(now, 1_000, 1_000)]);
        seen.alarms = None;
    });
    assert_eq!(
        no_alarms.phase,
        Phase::RolledBack,
        "{:?}",
        no_alarms.because
    );
    let no_host = live_through(hours_3, |seen, now| {
        seen.windows = Some(vec![window(now, 1_000, 1_000)]);
        if let Some(live) = &mut seen.live {
            live.candidate_healthy = 0;
        }
    });
    assert_eq!(no_host.phase, Phase::RolledBack, "{:?}", no_host.because);
}

/// A release of these steps that orders are given to, a look a minute.
struct ByHand {
    head: Head<Option<Release>>,
    now: Timestamp,
    live: Weight,
}

impl ByHand {
    fn begin(steps: &[Step]) -> Self {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut started = started(now, include_str!("good.yaml"));
        started.plan.steps = steps.to_vec();
        let head = Head::default().after(&[Event::Started(Box::new(started))]);
        let live = Weight::ZERO;
        Self { head, now, live }
    }

    fn order(&mut self, order: Order) -> Result<(), String> {
        let by = By::new("arn:aws:iam::1:user/ann", "lunch", self.now);
        let event = take_order(self.head.state.as_ref().unwrap(), order, by)?;
        self.head = self.head.after(&[event]);
        Ok(())
    }

    /// So many minutes with these windows; the last reason.
    fn looks(&mut self, minutes: i64, window: impl Fn(Timestamp) -> Window) -> Reason {
        let mut because = Reason::Over;
        for _ in 0..minutes {
            self.now += SignedDuration::from_mins(1);
            // A step that is done is followed by the next one at once.
            for _ in 0..4 {
                let seen = Observation {
                    windows: Some(vec![window(self.now)]),
                    alarms: Some(BTreeSet::new()),
                    live: Some(Live {
                        weight: self.live,
                        stable_healthy: 1,
                        candidate_healthy: 1,
                        candidate_ready: true,
                    }),
                    ..Observation::at(self.now)
                };
                let decision = decide(self.head.state.as_ref().unwrap(), &seen);
                self.head = self.head.after(&decision.events);
                perform(&mut self.head, self.now, &mut self.live);
                because = decision.because;
            }
        }
        because
    }

    fn release(&self) -> &Release {
        self.head.state.as_ref().unwrap()
    }
}

fn good(now: Timestamp) -> Window {
    window(now, 1_000, 1_000)
}

fn approve(hours: i64) -> Step {
    Step::Approve(Approval {
        within: SignedDuration::from_hours(hours),
        action: None,
    })
}

fn percent(points: u16) -> Step {
    Step::SetWeight(Weight::from_basis_points(points * 100).unwrap())
}

#[test]
fn a_wait_lasts_its_time_and_may_be_skipped() {
    let steps = [
        percent(5),
        Step::Wait(SignedDuration::from_mins(30)),
        percent(100),
    ];
    let mut waits = ByHand::begin(&steps);
    let because = waits.looks(20, good);
    assert!(matches!(because, Reason::Waiting { .. }), "{because}");
    waits.looks(15, good);
    assert_eq!(waits.release().phase, Phase::Promoted);
    let mut skips = ByHand::begin(&steps);
    skips.looks(3, good);
    skips.order(Order::SkipWait).unwrap();
    skips.looks(2, good);
    assert_eq!(skips.release().phase, Phase::Promoted);
}

#[test]
fn what_a_wait_did_not_see_is_not_healthy() {
    let steps = [
        percent(5),
        Step::Wait(SignedDuration::from_mins(5)),
        percent(100),
    ];
    let mut unseen = ByHand::begin(&steps);
    let because = unseen.looks(6, |now| window(now, 0, 1_000));
    assert_ne!(because, Reason::Waited);
    assert_eq!(unseen.live, Weight::from_basis_points(500).unwrap());
    unseen.looks(30, |now| window(now, 0, 1_000));
    assert_eq!(unseen.release().phase, Phase::RolledBack);
}

#[test]
fn a_window_counts_for_a_step_by_the_metrics_that_must_be_seen() {
    let both = window(Timestamp::from_second(1_800_000_000).unwrap(), 5, 5);
    let named = |name: &str| BTreeSet::from([name.to_owned()]);
    assert!(both.compares(&BTreeSet::new()));
    assert!(both.compares(&named(ERRORS)));
    assert!(!both.compares(&named("payments")));
}

#[test]
fn no_release_outlives_its_action_however_it_is_held() {
    let steps = [percent(5), approve(20), percent(100)];
    let mut kept = ByHand::begin(&steps);
    kept.looks(11 * 60, good);
    kept.order(Order::Hold).unwrap();
    kept.looks(11 * 60, good);
    kept.order(Order::Resume).unwrap();
    kept.looks(3 * 60, good);
    assert_eq!(kept.release().phase, Phase::RolledBack);
    let mut moving = ByHand::begin(&steps);
    moving.order(Order::Hold).unwrap();
    moving.looks(5, good);
    assert_eq!(
        moving.release().weight,
        Weight::ZERO,
        "it is held before its first weight"
    );
    moving.order(Order::Resume).unwrap();
    moving.looks(1, good);
    assert_eq!(
        moving.release().weight,
        Weight::from_basis_points(500).unwrap()
    );
}

#[test]
fn a_release_waits_for_approval_and_goes_back_when_nobody_comes() {
    let steps = [percent(5), approve(1), percent(100)];
    let mut approved = ByHand::begin(&steps);
    let because = approved.looks(50, good);
    assert!(
        matches!(because, Reason::AwaitingApproval { .. }),
        "{because}"
    );
    assert!(
        approved
            .order(Order::SkipWait)
            .unwrap_err()
            .contains("use approve")
    );
    approved.order(Order::Approve).unwrap();
    assert!(approved.order(Order::Approve).is_err(), "once is enough");
    approved.looks(2, good);
    assert_eq!(approved.release().phase, Phase::Promoted);
    let mut forgotten = ByHand::begin(&steps);
    forgotten.looks(70, good);
    assert_eq!(forgotten.release().phase, Phase::RolledBack);
    let refused = forgotten.order(Order::Approve).unwrap_err();
    assert!(refused.contains("has been rolled back"), "{refused}");
}

#[test]
fn who_holds_a_release_keeps_its_weight_and_not_its_judge() {
    let steps = [percent(5), Step::Judge { windows: 3 }, percent(100)];
    let mut held = ByHand::begin(&steps);
    held.looks(1, good);
    held.order(Order::Hold).unwrap();
    assert!(held.order(Order::Hold).is_err());
    let because = held.looks(60, good);
    assert_eq!(
        because.to_string(),
        "held by arn:aws:iam::1:user/ann: lunch"
    );
    assert_eq!(held.live, Weight::from_basis_points(500).unwrap());
    assert!(
        held.release().step_windows > 50,
        "it is judged all the time"
    );
    held.order(Order::Resume).unwrap();
    assert!(held.order(Order::Resume).is_err());
    held.looks(8, good);
    assert_eq!(held.release().phase, Phase::Promoted);

    let bad = |now| {
        let mut window = window(now, 1_000, 1_000);
        for counts in window.metrics.values_mut() {
            counts.canary = Counts::new(1_000, 500).unwrap();
        }
        window
    };
    let mut fails = ByHand::begin(&steps);
    fails.looks(1, good);
    fails.order(Order::Hold).unwrap();
    fails.looks(12, bad);
    assert_eq!(fails.release().phase, Phase::RolledBack);

    let mut forgotten = ByHand::begin(&steps);
    forgotten.looks(1, good);
    forgotten.order(Order::Hold).unwrap();
    forgotten.looks(13 * 60, good);
    assert_eq!(forgotten.release().phase, Phase::RolledBack);
}

#[test]
fn promoting_by_hand_skips_to_the_last_step() {
    let steps = [
        percent(5),
        approve(1),
        percent(50),
        Step::Judge { windows: 3 },
        percent(100),
    ];
    let mut promoted = ByHand::begin(&steps);
    promoted.looks(1, good);
    promoted.order(Order::Hold).unwrap();
    promoted.order(Order::Promote).unwrap();
    promoted.looks(2, good);
    assert_eq!(promoted.release().phase, Phase::Promoted);
    let refused = promoted.order(Order::Hold).unwrap_err();
    assert!(refused.contains("is promoted already"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_release_keeps_to_its_plan_and_never_comes_back_up(
        looks in prop::collection::vec(shown(), 1..60),
    ) {
        let mut now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut head = begin(now);
        let mut live = Weight::ZERO;
        let planned: BTreeSet<Weight> = {
            let release = head.state.as_ref().unwrap();
            let steps = release.plan().steps.iter();
            steps.filter_map(|s| match s { Step::SetWeight(w) => Some(*w), _ => None }).collect()
        };
        let mut judged_until = head.state.as_ref().unwrap().judged_until;
        for look in looks {
            now += SignedDuration::from_secs(look.wait_s);
            let before = head.state.clone().unwrap();
            let decision = decide(&before, &look.look(now, live));
            prop_assert_eq!(&decision, &decide(&before, &look.look(now, live)), "decide is pure");
            head = head.after(&decision.events);
            let after = head.state.clone().unwrap();
            for event in &decision.events {
                if let Event::Intended { effect: Effect::SetWeight(weight), generation, .. } = event {
                    prop_assert!(*generation > before.generation, "a generation is never used twice");
                    prop_assert!(*weight == Weight::ZERO || planned.contains(weight));
                    if after.phase == Phase::RollingBack {
                        prop_assert_eq!(*weight, Weight::ZERO);
                    } else {
                        prop_assert!(*weight > before.weight, "a release going up only goes up");
                    }
                }
            }
            if before.phase == Phase::RollingBack {
                prop_assert!(matches!(after.phase, Phase::RollingBack | Phase::RolledBack));
            }
            if !before.is_active() {
                prop_assert!(decision.events.is_empty(), "what is over stays over");
            }
            prop_assert!(after.judged_until >= judged_until, "no window is used twice");
            judged_until = after.judged_until;
            perform(&mut head, now, &mut live);
        }
    }

    #[test]
    fn a_snapshot_goes_on_exactly_like_the_log_it_stands_for(
        looks in prop::collection::vec(shown(), 1..30),
    ) {
        let mut now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut head = begin(now);
        let mut live = Weight::ZERO;
        for look in looks {
            now += SignedDuration::from_secs(look.wait_s);
            let stored = serde_json::to_string(&head.state).unwrap();
            let read: Option<Release> = serde_json::from_str(&stored).unwrap();
            prop_assert_eq!(&read, &head.state);
            let decision = decide(head.state.as_ref().unwrap(), &look.look(now, live));
            for event in &decision.events {
                let stored = serde_json::to_string(event).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Event>(&stored).unwrap(), event);
            }
            head = head.after(&decision.events);
            perform(&mut head, now, &mut live);
        }
    }

    #[test]
    fn due_windows_are_aligned_settled_and_not_used_yet(seconds in 0_i64..100_000) {
        let began = Timestamp::from_second(1_800_000_007).unwrap();
        let release = begin(began).state.unwrap();
        let now = began + SignedDuration::from_secs(seconds);
        if let Some(query) = release.due_windows(now) {
            prop_assert_eq!(query.from.as_second() % 60, 0);
            prop_assert_eq!(query.until.as_second() % 60, 0);
            prop_assert!(query.from >= began && query.from < query.until);
            prop_assert!(query.until + release.plan().settle <= now);
        } else {
            prop_assert!(seconds < 60 + 60 + 120, "a settled window was not seen");
        }
    }
}
