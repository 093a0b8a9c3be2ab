//! Laws of the steps of a release, for arbitrary plans and looks at the world.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use release::config::{Config, Plan, Step};
use release::{
    Approved, ArmCounts, Arms, By, Candidate, CheckVerdict, Checked, Effect, Event, Head, Live,
    Observation, Order, Outcome, Phase, Reason, Release, ReleaseId, Started, Weight, Window,
    decide, take_order,
};
use stats::Counts;

const BEGAN: i64 = 1_800_000_000; // a Friday, 08:00 UTC

/// One look at the world, and what happened just before it.
#[derive(Debug, Clone)]
struct Look {
    wait_s: i64,
    sees_target: bool,
    ready: bool,
    /// The target has this weight, whatever was set.
    moved_to: Option<u16>,
    check: Option<CheckVerdict>,
    approved: Option<bool>,
    order: Option<Order>,
    /// Whether what was intended has been performed.
    performed: bool,
}

fn look() -> impl Strategy<Value = Look> {
    let order = prop_oneof![
        12 => Just(None),
        1 => Just(Some(Order::Hold)),
        2 => Just(Some(Order::Resume)),
        1 => Just(Some(Order::SkipWait)),
        1 => Just(Some(Order::Approve)),
        1 => Just(Some(Order::Promote)),
    ];
    let check = prop_oneof![
        1 => Just(None),
        1 => Just(Some(CheckVerdict::Wait)),
        3 => Just(Some(CheckVerdict::Pass)),
        1 => Just(Some(CheckVerdict::Fail)),
    ];
    (
        1..2_000_i64,
        prop::bool::weighted(0.9),
        prop::bool::weighted(0.8),
        prop::option::weighted(0.03, 0..=10_000_u16),
        check,
        prop::option::weighted(0.2, prop::bool::weighted(0.9)),
        order,
        prop::bool::weighted(0.9),
    )
        .prop_map(
            |(wait_s, sees_target, ready, moved_to, check, approved, order, performed)| Look {
                wait_s,
                sees_target,
                ready,
                moved_to,
                check,
                approved,
                order,
                performed,
            },
        )
}

/// Plans with every kind of step, with and without a freeze at noon.
fn plan() -> impl Strategy<Value = (Plan, bool)> {
    let before = prop::sample::subsequence(
        vec![
            "{header-route: {query: {key: canary, value: '1'}}}",
            "{probe: {probes: [{alarm: {names: [a]}}], within: 1h}}",
            "{run-check: {function: 'arn:aws:lambda:eu-west-1:123456789012:function:smoke', within: 1h}}",
            "{approve: {within: 4h, action: Approve}}",
            "{wait: 10m}",
        ],
        0..=5,
    );
    let after = prop::sample::subsequence(
        vec![
            "{wait: 5m}",
            "{approve: 2h}",
            "{probe: {probes: [{alarm: {names: [a]}}], in-a-row: 2, within: 2h}}",
        ],
        0..=3,
    );
    let deploys = any::<bool>();
    let watch = prop_oneof![
        Just(""),
        Just("watch: {for: 20m}"),
        Just("watch: {for: 20m, tail: 0%}")
    ];
    let freeze = any::<bool>();
    (before, after, deploys, watch, freeze).prop_map(|(before, after, deploys, watch, freeze)| {
        let steps = [&before[..], &["{set-weight: 5%}"], &after[..], &["{set-weight: 100%}"]];
        let group = |name| format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/1");
        let rule = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/a/1/2/3";
        let service = |name| format!("{{service: 'arn:aws:ecs:eu-west-1:123456789012:service/shop/{name}', target-group: '{}'}}", group(name));
        let target = match deploys {
            true => format!("ecs-services: {{rule: '{rule}', services: [{}, {}], task-definition: 'shop:7'}}", service("blue"), service("green")),
            false => format!("alb-rule: {{rule: '{rule}', target-groups: ['{}', '{}']}}", group("blue"), group("green")),
        };
        let freeze_text = match freeze {
            true => "freeze: [{cron: '0 12 * * *', for: 3h, because: lunch}]",
            false => "",
        };
        let text = format!(
            "version: 1\nreleases:\n  web:\n    target: {{{target}}}\n    steps: [{}]\n    inconclusive: go-on\n    could-not-observe: go-on\n    {watch}\n    {freeze_text}\n",
            steps.concat().join(", ")
        );
        let config = Config::parse(&text).unwrap_or_else(|e| panic!("{}\n{text}", e.message));
        let (_, plan) = config.release(None).unwrap();
        (plan.clone(), freeze)
    })
}

fn begin(plan: Plan) -> Head<Option<Release>> {
    Head::default().after(&[Event::Started(Box::new(Started {
        at: Timestamp::from_second(BEGAN).unwrap(),
        release: ReleaseId::try_from("web-1".to_owned()).unwrap(),
        execution: Some("e".to_owned()),
        pipeline: Some("p".to_owned()),
        plan,
        arms: Arms {
            stable: "blue".to_owned(),
            candidate: "green".to_owned(),
        },
        alarms_firing: BTreeSet::new(),
        images: Default::default(),
        slower_than: [].into(),
        judge: None,
        warnings: Vec::new(),
    }))])
}

/// The world as it really is.
#[derive(Debug, Default)]
struct World {
    weight: Weight,
    up: bool,
    /// The stable version has been taken down.
    stable_down: bool,
    test_traffic: bool,
}

impl World {
    fn perform(&mut self, effect: Effect, release: &Release) {
        match effect {
            Effect::SetWeight(weight) => {
                let is_back = weight < self.weight || weight == Weight::ZERO;
                assert!(
                    !(is_back && self.stable_down),
                    "nothing goes to what is down"
                );
                self.weight = weight;
            }
            Effect::Deploy => self.up = true,
            // What is retired serves nothing.
            Effect::Retire if release.weight == Weight::ZERO => {
                assert!(!self.stable_down, "one of the two stays up");
                self.up = false;
            }
            Effect::Retire => self.stable_down = true,
            Effect::TestTraffic(on) => self.test_traffic = on,
            Effect::StopAlongside | Effect::HoldStage => {}
        }
    }

    fn seen(&self, look: &Look, now: Timestamp, alarms: BTreeSet<String>) -> Observation {
        let moved = look
            .moved_to
            .map(|points| Weight::from_basis_points(points).unwrap());
        Observation {
            windows: Some(Vec::new()),
            alarms: Some(alarms),
            live: look.sees_target.then_some(Live {
                weight: moved.unwrap_or(self.weight),
                stable_healthy: 1,
                candidate_healthy: u32::from(look.ready),
                candidate_ready: look.ready,
            }),
            checked: look.check.map(|verdict| Checked {
                verdict,
                said: "so".to_owned(),
            }),
            approval: look.approved.map(|is_approved| Approved {
                is_approved,
                by: By::new("ann", "looks good", now),
            }),
            ..Observation::at(now)
        }
    }
}

fn is_frozen(now: Timestamp) -> bool {
    let minute_of_day = now.as_second().div_euclid(60).rem_euclid(24 * 60);
    (12 * 60..15 * 60).contains(&minute_of_day)
}

/// What an intent must not be, given the release and the look that led to it.
fn assert_allowed(effect: Effect, before: &Release, seen: &Observation, freeze: bool) {
    let Effect::SetWeight(weight) = effect else {
        return;
    };
    if weight <= before.weight {
        return; // down, or once more
    }
    let step = before
        .plan()
        .steps
        .iter()
        .find(|s| **s == Step::SetWeight(weight));
    assert!(step.is_some(), "{weight} is in the plan");
    assert_eq!(before.phase, Phase::Shifting, "up only while shifting");
    assert_eq!(before.held, None, "never raised while somebody holds");
    assert_eq!(before.candidate, Candidate::Ready, "never before it is up");
    let live = seen
        .live
        .expect("never raised without a look at the target");
    assert!(live.candidate_ready, "never raised while it is not all up");
    assert_eq!(
        live.weight, before.weight,
        "never raised from a weight that nobody logged"
    );
    let at = before
        .plan()
        .steps
        .iter()
        .position(|s| *s == Step::SetWeight(weight));
    let watched = at
        .and_then(|at| at.checked_sub(1))
        .map(|at| &before.plan().steps[at]);
    if freeze && is_frozen(seen.now) {
        assert!(
            matches!(watched, Some(Step::Watch(_))),
            "never raised in a freeze"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_seen_weights_keep_to_the_plan_and_nothing_is_left_behind(
        (plan, freeze) in plan(),
        looks in prop::collection::vec(look(), 1..120),
    ) {
        let mut head = begin(plan);
        let mut world = World::default();
        let mut now = Timestamp::from_second(BEGAN).unwrap();
        for look in looks {
            now += SignedDuration::from_secs(look.wait_s);
            let release = head.state.clone().unwrap();
            if let Some(order) = look.order
                && let Ok(event) = take_order(&release, order, By::new("ann", "why", now))
            {
                head = head.after(&[event]);
            }
            for _ in 0..24 {
                let release = head.state.clone().unwrap();
                if let Some(effect) = release.intended {
                    if !look.performed {
                        break;
                    }
                    world.perform(effect, &release);
                    let generation = release.generation;
                    head = head.after(&[Event::Performed { at: now, generation, effect }]);
                    continue;
                }
                let seen = world.seen(&look, now, BTreeSet::new());
                let decision = decide(&release, &seen);
                prop_assert_eq!(&decision, &decide(&release, &seen), "decide is pure");
                if decision.events.is_empty() {
                    break;
                }
                let mut so_far = head.clone();
                for event in &decision.events {
                    let before = so_far.state.clone().unwrap();
                    if let Event::Intended { effect, .. } = event {
                        assert_allowed(*effect, &before, &seen, freeze);
                    }
                    so_far = so_far.after(std::slice::from_ref(event));
                    if let Event::Ended { outcome, .. } = event {
                        prop_assert!(!world.test_traffic, "test traffic ends with the release");
                        let (weight, up) = match outcome {
                            Outcome::Promoted => (Weight::FULL, true),
                            Outcome::RolledBack => (Weight::ZERO, false),
                        };
                        prop_assert!(!before.to_retire, "what it put up is taken down");
                        prop_assert_eq!(world.weight, weight);
                        if before.plan().target.deploys() {
                            prop_assert_eq!(world.up, up, "only what serves is left up");
                        }
                    }
                }
                head = so_far;
            }
        }
        // Nothing is waited for without an end.
        for _ in 0..60 {
            now += SignedDuration::from_mins(30);
            let release = head.state.clone().unwrap();
            if let Some(effect) = release.intended {
                world.perform(effect, &release);
                let generation = release.generation;
                head = head.after(&[Event::Performed { at: now, generation, effect }]);
                continue;
            }
            let calm = Look {
                wait_s: 0, sees_target: true, ready: true, moved_to: None, check: None,
                approved: None, order: None, performed: true,
            };
            head = head.after(&decide(&release, &world.seen(&calm, now, BTreeSet::new())).events);
        }
        let release = head.state.unwrap();
        prop_assert!(!release.is_active(), "{:?} at step {}", release.phase, release.step);
    }
}

#[test]
fn a_release_is_stuck_since_it_was_first_found_so_and_only_on_its_way_back() {
    let at = |second| Timestamp::from_second(BEGAN + second).unwrap();
    let stuck = |second| Event::RollbackStuck {
        at: at(second),
        why: "access denied".to_owned(),
    };
    let text = "version: 1
releases:
  web:
    target:
      lambda-alias:
        function: arn:aws:lambda:eu-west-1:123456789012:function:shop
        alias: live
    steps: canary
";
    let config = Config::parse(text).unwrap_or_else(|e| panic!("{}", e.message));
    let head = begin(config.release(None).unwrap().1.clone()).after(&[stuck(1)]);
    assert_eq!(head.state.as_ref().unwrap().stuck_since, None);
    let because = Reason::TurnedBack;
    let decided = Event::RollbackDecided { at: at(2), because };
    let head = head.after(&[decided, stuck(60), stuck(120)]);
    let release = head.state.unwrap();
    assert_eq!(release.stuck_since, Some(at(60)));
    assert_eq!(release.phase, Phase::RollingBack);
    let reply = format!("{:?}", release.reply(&Reason::ReadingBack));
    assert!(reply.contains("stuck since"), "{reply}");
}

/// A release of a plan, looked at once a minute.
struct Looked {
    head: Head<Option<Release>>,
    world: World,
    now: Timestamp,
}

impl Looked {
    fn begin(plan: &str) -> Self {
        let text = format!(
            "version: 1\nreleases:\n  web:\n    target: {{alb-rule: {{rule: \
             'arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/a/1/2/3', target-groups: \
             ['arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/b/1', \
             'arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/g/1']}}}}\n{plan}"
        );
        let config = Config::parse(&text).unwrap_or_else(|e| panic!("{}", e.message));
        let plan = config.release(None).unwrap().1.clone();
        Self {
            head: begin(plan),
            world: World::default(),
            now: Timestamp::from_second(BEGAN).unwrap(),
        }
    }

    fn release(&self) -> &Release {
        self.head.state.as_ref().unwrap()
    }

    /// Looks for so many minutes; the last reason to do something, or nothing.
    fn minutes(&mut self, minutes: i64, see: impl Fn(&mut Observation)) -> Reason {
        let mut because = Reason::Over;
        for _ in 0..minutes {
            self.now += SignedDuration::from_mins(1);
            for _ in 0..24 {
                if let Some(effect) = self.release().intended {
                    let release = self.release().clone();
                    self.world.perform(effect, &release);
                    let (at, generation) = (self.now, release.generation);
                    self.head = self.head.after(&[Event::Performed {
                        at,
                        generation,
                        effect,
                    }]);
                    continue;
                }
                let calm = Look {
                    wait_s: 0,
                    sees_target: true,
                    ready: true,
                    moved_to: None,
                    check: None,
                    approved: None,
                    order: None,
                    performed: true,
                };
                let mut seen = self.world.seen(&calm, self.now, BTreeSet::new());
                see(&mut seen);
                let decision = decide(self.release(), &seen);
                because = decision.because;
                if decision.events.is_empty() {
                    break;
                }
                self.head = self.head.after(&decision.events);
            }
        }
        because
    }
}

fn moved(points: u16) -> impl Fn(&mut Observation) {
    move |seen| {
        if let Some(live) = &mut seen.live {
            live.weight = Weight::from_basis_points(points).unwrap();
        }
    }
}

#[test]
fn weights_that_somebody_else_wrote_turn_the_release_back() {
    let plan = "    steps: [{set-weight: 5%}, {wait: 1h}, {set-weight: 100%}]\n";
    for points in [0, 499, 501, 10_000] {
        let mut drifted = Looked::begin(plan);
        drifted.minutes(5, |_| {});
        drifted.minutes(1, moved(points));
        let because = drifted.release().because.clone();
        assert!(
            matches!(because, Some(Reason::Drifted { logged, live })
                if logged.basis_points() == 500 && live.basis_points() == points),
            "{because:?}"
        );
        drifted.minutes(6, |_| {});
        assert_eq!(drifted.release().phase, Phase::RolledBack);
    }
    // What a control plane still says right after a change is none.
    let mut stale = Looked::begin(plan);
    stale.now += SignedDuration::from_secs(-59);
    stale.minutes(1, moved(0));
    assert_eq!(stale.release().phase, Phase::Shifting);
}

#[test]
fn a_freeze_holds_the_next_weight_until_it_ends_and_is_logged_once() {
    // It begins at 08:00; frozen from 08:10 to 09:00.
    let plan = "    steps: [{set-weight: 5%}, {wait: 15m}, {set-weight: 50%}, {wait: 15m}, \
                {set-weight: 100%}]\n    inconclusive: go-on\n    could-not-observe: go-on\n    \
                patience: 1m\n    settle: 0s\n    freeze: [{cron: '10 8 * * *', for: 50m, because: \
                standup}]\n";
    let mut frozen = Looked::begin(plan);
    let because = frozen.minutes(45, |_| {});
    assert!(
        matches!(&because, Reason::Frozen { because, .. } if because == "standup"),
        "{because}"
    );
    assert_eq!(
        frozen.release().weight,
        Weight::from_basis_points(500).unwrap()
    );
    let logged = frozen.head.seq;
    frozen.minutes(10, |_| {});
    assert_eq!(
        frozen.head.seq, logged,
        "nothing new happens while it is frozen"
    );
    frozen.minutes(8, |_| {});
    assert_eq!(
        frozen.release().weight,
        Weight::from_basis_points(5_000).unwrap()
    );
    frozen.minutes(30, |_| {});
    assert_eq!(frozen.release().phase, Phase::Promoted);

    let hotfix = format!("{plan}    hotfix: SHOP-12\n");
    let mut hotfix = Looked::begin(&hotfix);
    hotfix.minutes(45, |_| {});
    assert_eq!(hotfix.release().phase, Phase::Promoted);
}

#[test]
fn a_check_ends_its_step_by_what_it_says() {
    let plan = "    steps: [{run-check: {function: \
                'arn:aws:lambda:eu-west-1:123456789012:function:smoke', within: 10m}}, {set-weight: \
                5%}, {wait: 1h}, {set-weight: 100%}]\n";
    let says = |verdict| {
        move |seen: &mut Observation| {
            seen.checked = Some(Checked {
                verdict,
                said: "12 of 12".to_owned(),
            });
        }
    };
    let mut passes = Looked::begin(plan);
    passes.minutes(5, says(CheckVerdict::Wait));
    assert_eq!(passes.release().weight, Weight::ZERO);
    passes.minutes(1, says(CheckVerdict::Pass));
    assert_eq!(
        passes.release().weight,
        Weight::from_basis_points(500).unwrap()
    );
    let mut fails = Looked::begin(plan);
    fails.minutes(2, says(CheckVerdict::Fail));
    assert_eq!(fails.release().phase, Phase::RolledBack);
    let because = fails.release().because.clone().unwrap().to_string();
    assert_eq!(because, "the check failed: 12 of 12");
    let mut late = Looked::begin(plan);
    late.minutes(12, says(CheckVerdict::Wait));
    assert_eq!(late.release().phase, Phase::RolledBack);
    let mut unheard = Looked::begin(plan);
    unheard.minutes(12, |_| {});
    assert_eq!(unheard.release().phase, Phase::RolledBack);
}

#[test]
fn an_approval_in_the_pipeline_counts_like_one_by_hand_and_a_refusal_turns_back() {
    let plan = "    steps: [{set-weight: 5%}, {approve: {within: 1h, action: Approve}}, {set-weight: \
                100%}]\n";
    let says = |is_approved| {
        move |seen: &mut Observation| {
            seen.approval = Some(Approved {
                is_approved,
                by: By::new("ann", "the graphs", seen.now),
            });
        }
    };
    let mut approved = Looked::begin(plan);
    approved.minutes(5, |_| {});
    assert_eq!(
        approved.release().weight,
        Weight::from_basis_points(500).unwrap()
    );
    approved.minutes(1, says(true));
    assert_eq!(approved.release().phase, Phase::Promoted);
    let mut rejected = Looked::begin(plan);
    rejected.minutes(2, |_| {});
    rejected.minutes(8, says(false));
    assert_eq!(rejected.release().phase, Phase::RolledBack);
    let because = rejected.release().because.clone().unwrap().to_string();
    assert_eq!(because, "ann refused to approve: the graphs");
}

#[test]
fn what_cannot_be_observed_waits_goes_back_or_goes_on_as_the_plan_says() {
    let plan = |policy: &str| {
        format!(
            "    steps: [{{set-weight: 5%}}, {{judge: {{windows: 2}}}}, {{set-weight: 100%}}]\n    \
             patience: 10m\n    settle: 1m\n    could-not-observe: {policy}\n"
        )
    };
    let blind = |seen: &mut Observation| seen.windows = None;
    let after = |policy: &str, minutes| {
        let mut looked = Looked::begin(&plan(policy));
        looked.minutes(minutes, blind);
        looked.release().phase
    };
    assert_eq!(after("wait", 6), Phase::Shifting);
    assert_eq!(after("wait", 24), Phase::RolledBack);
    assert_eq!(after("fail", 3), Phase::Shifting);
    assert_eq!(after("fail", 12), Phase::RolledBack);
    assert_eq!(after("go-on", 3), Phase::Shifting);
    assert_eq!(after("go-on", 7), Phase::Promoted);
}

/// A window that settled at this look, in which the candidate had so many requests.
fn settled(seen: &mut Observation, canary: u64) {
    let settled = seen.now - SignedDuration::from_mins(3);
    let start = settled.as_second().div_euclid(60) * 60;
    let counts = |count| Counts { count, bad: 0 };
    let arms = ArmCounts {
        canary: counts(canary),
        baseline: counts(1_000),
    };
    seen.windows = Some(vec![Window {
        start: Timestamp::from_second(start).unwrap(),
        metrics: [("errors".to_owned(), arms)].into(),
    }]);
}

#[test]
fn a_rollback_is_over_once_the_candidates_requests_were_seen_to_fall() {
    let plan = "    steps: [{set-weight: 5%}, {wait: 1h}, {set-weight: 100%}]\n";
    let turned = || {
        let mut release = Looked::begin(plan);
        release.minutes(10, |seen| settled(seen, 50));
        release.minutes(1, |seen| {
            settled(seen, 50);
            moved(0)(seen);
        });
        assert!(release.release().is_back());
        release
    };
    let proof = |release: &Looked| {
        let proof = release.release().proof.unwrap();
        proof.candidate_requests.unwrap()
    };

    // Windows from before the rollback settle first, and do not end it.
    let mut falls = turned();
    let because = falls.minutes(2, |seen| settled(seen, 50));
    assert!(matches!(because, Reason::Proving { .. }), "{because:?}");
    falls.minutes(2, |seen| settled(seen, 3));
    assert_eq!(falls.release().phase, Phase::RolledBack);
    let seen = proof(&falls);
    assert_eq!((seen.before, seen.after), (Some(50), Some(3)));
    let told = format!("{:?}", falls.release().reply(&Reason::Over));
    assert!(told.contains("fell from 50 to 3"), "{told}");

    let mut sticky = turned();
    sticky.minutes(10, |seen| settled(seen, 60));
    assert_eq!(sticky.release().phase, Phase::RolledBack);
    let seen = proof(&sticky);
    assert_eq!((seen.after, seen.fell()), (Some(60), false));
    let told = format!("{:?}", sticky.release().reply(&Reason::Over));
    assert!(told.contains("still had 60 requests"), "{told}");

    // What nobody measures is not waited for without an end.
    let mut dark = turned();
    let because = dark.minutes(4, |seen| seen.windows = None);
    assert!(matches!(because, Reason::Proving { .. }), "{because:?}");
    dark.minutes(2, |seen| seen.windows = None);
    assert_eq!(dark.release().phase, Phase::RolledBack);
    assert_eq!(proof(&dark).after, None);

    // One that never sent anything to its candidate has nothing to prove.
    let mut early =
        Looked::begin("    steps: [{wait: 1h}, {set-weight: 5%}, {set-weight: 100%}]\n");
    early.minutes(2, |_| {});
    early.minutes(1, moved(500));
    early.minutes(1, |_| {});
    assert_eq!(early.release().phase, Phase::RolledBack);
    assert_eq!(early.release().proof.unwrap().candidate_requests, None);
}
