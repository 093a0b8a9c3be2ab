//! What holds for outside events, in whatever order and however often they come.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use release::config::{Config, FindingPolicy, Plan};
use release::sources::{OutsideEvent, RollbackRequest, read};
use release::{
    Arms, Effect, Event, Generation, Head, Outcome, Phase, Proof, Release, ReleaseId, Started,
    Story, Weight, ask_rollback,
};
use serde_json::{Value, json};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn noon() -> Timestamp {
    "2026-03-01T12:00:00.400Z".parse().unwrap()
}

fn plan() -> Plan {
    let config = Config::parse(include_str!("good.yaml")).unwrap();
    let mut plan = config.release(Some("web")).unwrap().1.clone();
    plan.alarms = vec!["slow".to_owned()];
    plan
}

/// A release that began at noon, and has given its candidate a share.
fn begun(plan: Plan) -> Head<Option<Release>> {
    let started = Started {
        at: noon(),
        release: ReleaseId::for_job("web", "1").unwrap(),
        execution: Some("6b1d".to_owned()),
        pipeline: Some("shop".to_owned()),
        arms: Arms {
            stable: "blue".to_owned(),
            candidate: "green".to_owned(),
        },
        alarms_firing: BTreeSet::new(),
        images: [DIGEST.to_owned()].into(),
        warnings: Vec::new(),
        slower_than: BTreeMap::new(),
        judge: None,
        plan,
    };
    let effect = Effect::SetWeight(Weight::from_basis_points(500).unwrap());
    let (at, generation) = (noon(), Generation(1));
    let events = [
        Event::Started(Box::new(started)),
        Event::Intended {
            at,
            generation,
            effect,
        },
        Event::Performed {
            at,
            generation,
            effect,
        },
    ];
    Head::default().after(&events)
}

fn of(head: &Head<Option<Release>>) -> &Release {
    head.state.as_ref().unwrap()
}

/// What can come from outside.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Alarm(&'static str, &'static str),
    Execution(&'static str, &'static str),
    Action(&'static str),
    Scan(&'static str, &'static str),
    Request(&'static str),
}

const KINDS: [Kind; 14] = [
    Kind::Alarm("slow", "ALARM"),
    Kind::Alarm("slow", "OK"),
    Kind::Alarm("another", "ALARM"),
    Kind::Execution("6b1d", "FAILED"),
    Kind::Execution("6b1d", "STOPPED"),
    Kind::Execution("6b1d", "STOPPING"),
    Kind::Execution("6b1d", "SUCCEEDED"),
    Kind::Execution("7777", "FAILED"),
    Kind::Action("ABANDONED"),
    Kind::Action("STARTED"),
    Kind::Scan(DIGEST, "CRITICAL"),
    Kind::Scan(DIGEST, "HIGH"),
    Kind::Request("web-1"),
    Kind::Request("web-2"),
];

impl Kind {
    /// Whether it is about the release and speaks against it, if it comes in its time.
    fn speaks(self) -> bool {
        matches!(
            self,
            Self::Alarm("slow", "ALARM")
                | Self::Execution("6b1d", "FAILED" | "STOPPED")
                | Self::Action("ABANDONED")
                | Self::Scan(DIGEST, "CRITICAL")
                | Self::Request("web-1")
        )
    }

    fn detail(self, at: Timestamp) -> (&'static str, Value) {
        let execution = |id, state| json!({"pipeline": "shop", "execution-id": id, "state": state});
        match self {
            Self::Alarm(name, state) => {
                let at = at.strftime("%Y-%m-%dT%H:%M:%S.%3f+0000").to_string();
                let state = json!({"value": state, "timestamp": at});
                (
                    "CloudWatch Alarm State Change",
                    json!({"alarmName": name, "state": state}),
                )
            }
            Self::Execution(id, state) => (
                "CodePipeline Pipeline Execution State Change",
                execution(id, state),
            ),
            Self::Action(state) => {
                let mut detail = execution("6b1d", state);
                detail["stage"] = json!("Deploy");
                detail["action"] = json!("Shift");
                ("CodePipeline Action Execution State Change", detail)
            }
            Self::Scan(digest, severity) => (
                "ECR Image Scan",
                json!({"scan-status": "COMPLETE", "repository-name": "web", "image-digest": digest,
                       "finding-severity-counts": {severity: 1}}),
            ),
            Self::Request(release) => (
                "penstock.rollback-requested",
                json!({"release": release, "reason": "orders fell"}),
            ),
        }
    }

    /// What it asks for; EventBridge's clock has whole seconds.
    fn asks(self, at: Timestamp) -> Option<RollbackRequest> {
        let (detail_type, detail) = self.detail(at);
        let event = OutsideEvent {
            id: "1",
            source: "a.tool",
            account: "123456789012",
            region: "eu-west-1",
            at: Timestamp::from_second(at.as_second()).unwrap(),
            resources: &[],
            detail_type,
            detail: &detail,
        };
        read(&event).unwrap()
    }
}

/// Delivers an event as rollback-trigger does: to a release that registered one of its names.
fn deliver(head: &Head<Option<Release>>, kind: Kind, at: Timestamp) -> Head<Option<Release>> {
    let release = of(head);
    let Some(request) = kind.asks(at) else {
        return head.clone();
    };
    let names = release.started.watches();
    let is_found = release.is_active() && request.watches.iter().any(|name| names.contains(name));
    let events = match is_found && request.concerns(release) {
        true => ask_rollback(release, noon() + MINUTE, request.because),
        false => Vec::new(),
    };
    head.after(&events)
}

fn ended(head: &Head<Option<Release>>, outcome: Outcome) -> Head<Option<Release>> {
    let weight = match outcome {
        Outcome::Promoted => Weight::FULL,
        Outcome::RolledBack => Weight::ZERO,
    };
    let proof: Proof =
        serde_json::from_value(json!({"weight": weight, "healthy_hosts": 1})).unwrap();
    let at = noon() + MINUTE * 2;
    head.after(&[Event::Ended { at, outcome, proof }])
}

/// What comes, and how many seconds after the beginning it happened.
type Deliveries = Vec<(Kind, i64)>;

fn events() -> impl Strategy<Value = Deliveries> {
    let event = (prop::sample::select(&KINDS), -600_i64..600);
    prop::collection::vec(event, 0..8)
}

/// The events in another order, some of them more than once.
fn shuffled() -> impl Strategy<Value = (Deliveries, Deliveries)> {
    events().prop_flat_map(|events| {
        let again = prop::collection::vec(any::<prop::sample::Index>(), 0..8);
        let more = again.prop_map({
            let events = events.clone();
            move |again| match events.is_empty() {
                true => Vec::new(),
                false => again.iter().map(|index| *index.get(&events)).collect(),
            }
        });
        let all = more.prop_flat_map({
            let events = events.clone();
            move |more| Just([events.clone(), more].concat()).prop_shuffle()
        });
        (Just(events), all)
    })
}

proptest! {
    #[test]
    fn any_order_and_any_number_of_deliveries_ends_alike((events, shuffled) in shuffled()) {
        let when = |seconds: i64| noon() + SignedDuration::from_secs(seconds);
        let run = |events: &[(Kind, i64)]| {
            let begun = begun(plan());
            events.iter().fold(begun, |head, (kind, s)| deliver(&head, *kind, when(*s)))
        };
        let (first, second) = (run(&events), run(&shuffled));
        let (a, b) = (of(&first), of(&second));
        // Which of them is told as the reason may differ, but nothing else does.
        prop_assert_eq!((a.phase, a.intended, a.generation), (b.phase, b.intended, b.generation));
        let speaks = events.iter().any(|(kind, s)| *s >= 0 && kind.speaks());
        let turned = a.phase == Phase::RollingBack;
        prop_assert_eq!(turned, speaks, "{:?}", events);
    }

    #[test]
    fn nothing_that_comes_after_the_end_changes_it(events in events(), promoted in any::<bool>()) {
        let outcome = if promoted { Outcome::Promoted } else { Outcome::RolledBack };
        let end = ended(&begun(plan()), outcome);
        for (kind, seconds) in events {
            let head = deliver(&end, kind, noon() + SignedDuration::from_secs(seconds));
            prop_assert_eq!(&head, &end);
        }
    }

    #[test]
    fn no_detail_however_odd_makes_a_source_panic(
        type_of in prop::sample::select(&KINDS),
        key in "[a-zA-Z-]{1,20}|state|alarmName|execution-id|finding-severity-counts|reason|release",
        value in prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(|n| json!(n)),
            "\\PC{0,40}".prop_map(|text| json!(text)),
            Just(json!({"value": "ALARM", "timestamp": "9999-99-99"})),
            Just(json!([[[[]]]])),
        ],
    ) {
        let (detail_type, mut detail) = type_of.detail(noon());
        detail[&key] = value;
        let event = OutsideEvent {
            id: "", source: "", account: "", region: "", at: Timestamp::MAX, resources: &[],
            detail_type, detail: &detail,
        };
        let _read_or_refused = read(&event);
    }
}

#[test]
fn an_old_alarm_does_not_undo_a_newer_release_of_the_same_target() {
    let alarm = Kind::Alarm("slow", "ALARM");
    let newer = begun(plan());
    for age_s in [1, 60, 3_600] {
        let at = noon() - SignedDuration::from_secs(age_s);
        assert_eq!(deliver(&newer, alarm, at), newer);
    }
    // In its watch it is still on its way up, and goes back by what fires then.
    let turned = deliver(&newer, alarm, noon() + MINUTE);
    assert_eq!(of(&turned).phase, Phase::RollingBack);
    let promoted = ended(&newer, Outcome::Promoted);
    assert_eq!(deliver(&promoted, alarm, noon() + MINUTE), promoted);
}

#[test]
fn what_happens_in_the_second_of_the_beginning_is_not_taken_for_older() {
    // Began at .400; EventBridge says the second only, CloudWatch the millisecond.
    let release = begun(plan());
    let at = noon() + SignedDuration::from_millis(300);
    let turned = deliver(&release, Kind::Execution("6b1d", "STOPPED"), at);
    assert_eq!(of(&turned).phase, Phase::RollingBack);
    let before = noon() - SignedDuration::from_millis(300);
    let alarm = Kind::Alarm("slow", "ALARM");
    assert_eq!(deliver(&release, alarm, before), release);
}

#[test]
fn the_plan_says_which_findings_count() {
    for (policy, high, critical) in [
        (FindingPolicy::Critical, false, true),
        (FindingPolicy::High, true, true),
        (FindingPolicy::Never, false, false),
    ] {
        let mut plan = plan();
        plan.rollback_on_finding = policy;
        let release = begun(plan);
        for (severity, turns) in [
            ("HIGH", high),
            ("CRITICAL", critical),
            ("MEDIUM", false),
            ("UNDEFINED", false),
        ] {
            let after = deliver(&release, Kind::Scan(DIGEST, severity), noon() + MINUTE);
            let turned = of(&after).phase == Phase::RollingBack;
            assert_eq!(turned, turns, "{severity} under {policy:?}");
        }
    }
}

/// At the last step but the watch, or in it.
fn watching() -> Head<Option<Release>> {
    let config = include_str!("good.yaml");
    let config = config.replacen("    steps:", "    watch: {for: 10m}\n    steps:", 1);
    let config = Config::parse(&config).unwrap();
    let plan = config.release(Some("web")).unwrap().1.clone();
    let last = plan.steps.len() - 2;
    let done = (0..=last).map(|step| Event::StepDone {
        at: noon(),
        step,
        because: release::Reason::Waited,
    });
    begun(plan).after(&done.collect::<Vec<_>>())
}

#[test]
fn a_release_that_only_watches_on_comes_to_its_end_without_its_pipeline() {
    let watching = watching();
    for gone in [
        Kind::Execution("6b1d", "STOPPED"),
        Kind::Action("ABANDONED"),
    ] {
        assert_eq!(deliver(&watching, gone, noon() + MINUTE), watching);
    }
    // That something of it failed speaks against it all the same.
    let failed = deliver(
        &watching,
        Kind::Execution("6b1d", "FAILED"),
        noon() + MINUTE,
    );
    assert_eq!(of(&failed).phase, Phase::RollingBack);
}

#[test]
fn what_an_approval_says_is_left_to_the_release_that_waits_for_it() {
    let config = include_str!("good.yaml");
    let config = config.replacen(
        "steps:",
        "steps:\n      - approve: {within: 1h, action: Shift}",
        1,
    );
    let config = Config::parse(&config).unwrap();
    let asks = begun(config.release(Some("web")).unwrap().1.clone());
    let failed = Kind::Action("FAILED");
    assert_eq!(deliver(&asks, failed, noon() + MINUTE), asks);
    let turned = deliver(&begun(plan()), failed, noon() + MINUTE);
    assert_eq!(of(&turned).phase, Phase::RollingBack);
}

#[test]
fn a_release_gives_back_exactly_the_names_that_it_took() {
    let head = begun(plan());
    let started = Event::Started(Box::new(of(&head).started.clone()));
    let taken = Option::<Release>::None.claim(&started);
    let (at, outcome) = (noon(), Outcome::RolledBack);
    let proof: Proof = serde_json::from_value(json!({"weight": "0%", "healthy_hosts": 1})).unwrap();
    let given = head.state.claim(&Event::Ended { at, outcome, proof });
    let names = |claim| match claim {
        Some(release::Claim::Take { watches, .. } | release::Claim::GiveBack { watches, .. }) => {
            watches
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(names(taken), names(given));
}
