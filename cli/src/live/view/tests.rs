//! What is shown says what is so, and fits.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use release::config::Config;
use release::{
    ArmCounts, Arms, By, Effect, Event, Generation, Order, Outcome, Proof, ReleaseId, Started,
    Window,
};

use super::*;

const CONFIG: &str = "version: 1
releases:
  web:
    target:
      alb-rule:
        rule: arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/shop/1/2/3
        target-groups:
          - arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/blue/1
          - arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/green/2
    steps: [{set-weight: 5%}, {judge: {windows: 5}}, {set-weight: 25%}, {wait: 10m}, {set-weight: 100%}]
    alarms: [shop-latency, \"shop\\e[2J\"]
";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn weight(text: &str) -> Weight {
    Weight::try_from(text.to_owned()).unwrap()
}

/// A release that has seen two windows at 5 %.
fn events() -> Vec<Event> {
    let config = Config::parse(CONFIG).unwrap();
    let started = Started {
        at: at(0),
        release: ReleaseId::for_job("web", "0f0e0d0c-1111-4222-8333-444455556666").unwrap(),
        execution: Some("e-1".to_owned()),
        pipeline: None,
        plan: config.release(None).unwrap().1.clone(),
        arms: Arms {
            stable: "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/blue/1".to_owned(),
            candidate: "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/green/2".to_owned(),
        },
        alarms_firing: BTreeSet::new(),
        images: Default::default(),
        slower_than: BTreeMap::new(),
        judge: None,
        warnings: vec!["sticky clients stay".to_owned()],
    };
    let window = |second, bad| Window {
        start: at(second),
        metrics: BTreeMap::from([(
            "errors".to_owned(),
            ArmCounts {
                canary: Counts::new(50, bad).unwrap(),
                baseline: Counts::new(950, 2).unwrap(),
            },
        )]),
    };
    let (generation, effect) = (Generation(1), Effect::SetWeight(weight("5%")));
    vec![
        Event::Started(Box::new(started)),
        Event::Intended {
            at: at(0),
            generation,
            effect,
        },
        Event::Performed {
            at: at(1),
            generation,
            effect,
        },
        Event::Observed {
            at: at(240),
            windows: vec![window(60, 0), window(120, 1)],
        },
        Event::AlarmsChanged {
            at: at(241),
            firing: ["shop\u{1b}[2J".to_owned()].into(),
        },
    ]
}

fn shown(events: &[Event], second: i64, width: usize) -> Vec<String> {
    console::set_colors_enabled(false);
    let account = Account::of(events).unwrap();
    View {
        account: &account,
        now: at(second),
        width,
    }
    .lines()
}

#[test]
fn everything_that_matters_is_on_one_screen_of_80_columns() {
    let lines = shown(&events(), 250, 80);
    let text = lines.join("\n");
    for part in [
        "web-0f0e0d0c-1111-4222-8333-444455556666  shifting  4m 10s",
        "target     listener-rule/app/shop/1/2/3",
        "warning    sticky clients stay",
        "weight     ██░░",
        "░  5%",
        "✓ 5%  ▸ judge 5 windows  · 25%  · wait 10m  · 100%",
        "step       2 of 5, for 4m 9s",
        "waits for  windows: 2 of 5 judged; in 3m 50s at the earliest; given up in 13m",
        "then       25%",
        "errors     1 % of 100            0.21 % of 1 900       1.3 to 1",
        "goes back at 100 to 1",
        "last window 08:02:00: candidate 50, stable 950 requests",
        "alarms     1 firing, 1 quiet: shop",
        "Candidate to 5%, in place 1.0s later",
    ] {
        assert!(text.contains(part), "no '{part}' in:\n{text}");
    }
    assert!(lines.len() <= 24, "{} lines:\n{text}", lines.len());
}

#[test]
fn no_line_is_wider_than_the_terminal_and_none_moves_its_cursor() {
    let mut events = events();
    let who = "arn:aws:sts::123456789012:assumed-role/team/\u{1b}]0;gone\u{7}".repeat(9);
    events.push(Event::Ordered {
        order: Order::Hold,
        by: By::new(&who, "first line\nsecond", at(245)),
    });
    for width in [0, 1, 10, 20, 40, 79, 80, 200] {
        for line in shown(&events, 250, width) {
            assert!(
                console::measure_text_width(&line) <= width,
                "{width}: {line}"
            );
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn what_is_waited_for_changes_with_the_release() {
    let mut events = events();
    events.push(Event::Ordered {
        order: Order::Hold,
        by: By::new("ann", "a ticket", at(245)),
    });
    let text = shown(&events, 305, 80).join("\n");
    assert!(
        text.contains("waits for  penstock resume: held by ann: a ticket; given up in 11h 59m"),
        "{text}"
    );
    events.push(Event::RollbackDecided {
        at: at(310),
        because: release::Reason::AlarmFired {
            alarm: "shop-latency".to_owned(),
            detail: None,
        },
    });
    let text = shown(&events, 311, 80).join("\n");
    assert!(text.contains("✗ judge 5 windows"), "{text}");
    assert!(
        text.contains("because    alarm 'shop-latency' fired"),
        "{text}"
    );
    assert!(text.contains("then       rolled back"), "{text}");
    assert!(!text.contains("stuck"), "{text}");
    for (second, why) in [(312, "the first refusal"), (316, "access\u{1b}[2J denied")] {
        events.push(Event::RollbackStuck {
            at: at(second),
            why: why.to_owned(),
        });
    }
    let text = shown(&events, 318, 80).join("\n");
    assert!(text.contains("  rollback stuck  5m 18s"), "{text}");
    assert!(
        text.contains("stuck      since 6s, and tried again and again: access"),
        "{text}"
    );
    assert!(text.contains("then       rolled back"), "{text}");
    events.push(Event::Ended {
        at: at(320),
        outcome: Outcome::RolledBack,
        proof: Proof {
            weight: Weight::ZERO,
            healthy_hosts: 2,
            candidate_requests: None,
        },
    });
    let text = shown(&events, 9_999, 80).join("\n");
    assert!(text.contains("rolled back  5m 20s"), "{text}");
    assert!(text.contains("serves     2 healthy hosts"), "{text}");
    assert!(!text.contains("waits for"), "{text}");
}

#[test]
fn little_is_not_nothing_and_nearly_all_is_not_all() {
    console::set_colors_enabled(false);
    assert!(bar(weight("0.01%"), 40).starts_with("█░"));
    assert!(bar(weight("99.99%"), 40).contains('░'));
    assert!(!bar(Weight::ZERO, 40).contains('█'));
    assert!(!bar(Weight::FULL, 40).contains('░'));
    let zero = SignedDuration::from_secs(-5);
    assert_eq!(lasting(zero), "0s");
}
