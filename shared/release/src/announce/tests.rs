//! What is announced is what happened, once, bounded, and fit for people.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::Config;
use crate::{Arms, By, Effect, Generation, Proof, ReleaseId, Started, Weight};

const CONFIG: &str = "version: 1
releases:
  web:
    target:
      alb-rule:
        rule: arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/shop/1/2/3
        target-groups:
          - arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/blue/1
          - arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/green/2
    steps: [{set-weight: 5%}, {judge: {windows: 5}}, {approve: 4h}, {set-weight: 100%}]
";

const ANN: &str = "arn:aws:sts::123456789012:assumed-role/operator/ann";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn by(why: &str, second: i64) -> By {
    By::new(ANN, why, at(second))
}

fn set(points: u16, generation: u64, second: i64) -> [Event; 2] {
    let effect = Effect::SetWeight(Weight::from_basis_points(points).unwrap());
    let generation = Generation(generation);
    let at = at(second);
    [
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
    ]
}

fn started() -> Event {
    let group =
        |name| format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}");
    let config = Config::parse(CONFIG).unwrap_or_else(|e| panic!("{}", e.message));
    Event::Started(Box::new(Started {
        at: at(0),
        release: ReleaseId::for_job("web", "0f0e0d0c-1111-4222-8333-444455556666").unwrap(),
        execution: Some("3137f7cb-8d49-4c31-9b1c-2f1f0d2a7e10".to_owned()),
        pipeline: Some("shop".to_owned()),
        plan: config.release(None).unwrap().1.clone(),
        arms: Arms {
            stable: group("blue/1"),
            candidate: group("green/2"),
        },
        alarms_firing: BTreeSet::new(),
        images: BTreeSet::new(),
        slower_than: BTreeMap::new(),
        judge: None,
        warnings: Vec::new(),
    }))
}

fn order(order: Order, why: &str, second: i64) -> Event {
    let by = by(why, second);
    Event::Ordered { order, by }
}

fn ended(outcome: Outcome, weight: Weight, second: i64) -> Event {
    let proof = Proof {
        weight,
        healthy_hosts: 2,
        candidate_requests: None,
    };
    Event::Ended {
        at: at(second),
        outcome,
        proof,
    }
}

/// Up to the step that waits for approval.
fn up() -> Vec<Event> {
    let judged = Event::StepDone {
        at: at(400),
        step: 1,
        because: Reason::StepJudged {
            evidence: "errors 0.1 % against 0.1 %".to_owned(),
        },
    };
    let mut log = vec![started()];
    log.extend(set(500, 1, 1));
    log.push(judged);
    log
}

fn promoted() -> Vec<Event> {
    let mut log = up();
    log.push(order(Order::Hold, "waiting for the support team", 450));
    log.push(order(Order::Resume, "they are ready", 500));
    log.push(order(Order::Approve, "looks good", 510));
    log.extend(set(10_000, 2, 511));
    log.push(ended(Outcome::Promoted, Weight::FULL, 512));
    log
}

fn rolled_back() -> Vec<Event> {
    let mut log = up();
    log.push(Event::RollbackDecided {
        at: at(450),
        because: Reason::AlarmFired {
            alarm: "shop-5xx".to_owned(),
            detail: Some("Threshold Crossed: 1 datapoint [7.0] was greater than 5.0".to_owned()),
        },
    });
    log.push(Event::RollbackStuck {
        at: at(750),
        why: "could not set the weight: AccessDenied: not authorized".to_owned(),
    });
    log.extend(set(0, 2, 800));
    log.push(ended(Outcome::RolledBack, Weight::ZERO, 801));
    log
}

fn announced(log: &[Event]) -> Vec<Announcement> {
    let mut head = Head::default();
    let mut all = Vec::new();
    for event in log {
        all.extend(announce(&head, event));
        head = head.after(std::slice::from_ref(event));
    }
    all
}

/// As EventBridge delivers it; the ids and the account are of the sample.
fn delivered(announcement: &Announcement) -> Value {
    json!({
        "version": "0",
        "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
        "detail-type": announcement.kind.detail_type(),
        "source": SOURCE,
        "account": "123456789012",
        "time": announcement.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "region": "eu-west-1",
        "resources": [announcement.detail.target],
        "detail": announcement.detail,
    })
}

#[test]
fn every_sample_is_what_a_release_announces() {
    let logs = [promoted(), rolled_back()];
    let all: Vec<_> = logs.iter().flat_map(|log| announced(log)).collect();
    for kind in Kind::ALL {
        let announcement = all.iter().find(|a| a.kind == kind);
        let announcement = announcement.unwrap_or_else(|| panic!("no {kind:?}"));
        let name = kind.detail_type().to_lowercase().replace(' ', "-");
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../../events/announced/{name}.json"));
        let sample = std::fs::read_to_string(&path).unwrap_or_default();
        let sample: Option<Value> = serde_json::from_str(&sample).ok();
        let made = delivered(announcement);
        assert_eq!(
            sample,
            Some(made.clone()),
            "{} is to be {made:#}",
            path.display()
        );
    }
}

#[test]
fn each_step_is_announced_once_when_the_release_comes_to_stay_in_it() {
    let told = |log: &[Event]| -> Vec<_> {
        let all = announced(log).into_iter();
        all.map(|a| (a.kind, a.detail.weight, a.detail.step))
            .collect()
    };
    assert_eq!(
        told(&promoted()),
        [
            (Kind::ReleaseStarted, 0, 1),
            (Kind::StepReached, 500, 2),
            (Kind::StepReached, 500, 3), // approval; its end shows as the weight it leads to
            (Kind::Held, 500, 3),
            (Kind::Resumed, 500, 3),
            (Kind::StepReached, 10_000, 5),
            (Kind::Promoted, 10_000, 5),
        ]
    );
    assert_eq!(
        told(&rolled_back())[3..],
        [
            (Kind::RollingBack, 500, 3),
            (Kind::RollbackStuck, 500, 3),
            (Kind::RolledBack, 0, 3),
        ]
    );
}

#[test]
fn an_announcement_has_the_id_of_its_fact_and_no_other_has_it() {
    for log in [promoted(), rolled_back()] {
        let all = announced(&log);
        let ids: BTreeSet<_> = all.iter().map(|a| &a.detail.id).collect();
        assert_eq!(ids.len(), all.len());
        for announcement in &all {
            let detail = &announcement.detail;
            assert_eq!(detail.id, format!("{}/{}", detail.release, detail.seq));
            let fact = &log[usize::try_from(detail.seq).unwrap() - 1];
            assert_eq!(fact.at(), announcement.at);
            assert!(may_matter(fact), "{fact:?}");
        }
    }
}

#[test]
fn nothing_is_announced_of_a_log_without_its_beginning() {
    let log = rolled_back();
    assert_eq!(announced(&log[1..]), []);
    assert_eq!(announced(&[]), []);
}

#[test]
fn a_rollback_that_is_stuck_is_counted_and_nothing_else_is() {
    for announcement in announced(&rolled_back()) {
        let line = announcement.metric_line();
        assert_eq!(line.is_some(), announcement.kind == Kind::RollbackStuck);
        let Some(line) = line else { continue };
        let root: Value = serde_json::from_str(&line).unwrap();
        let directive = &root["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Metrics"][0]["Name"], "RollbackStuck");
        assert_eq!(root["RollbackStuck"], 1);
        for dimension in directive["Dimensions"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|set| set.as_array().unwrap())
        {
            assert!(root[dimension.as_str().unwrap()].is_string(), "{dimension}");
        }
    }
}

/// A log in which every text that an outsider can choose is this one.
fn with_text(text: &str) -> Vec<Event> {
    let Event::Started(mut begun) = started() else {
        panic!("it has begun")
    };
    begun.execution = Some(text.to_owned());
    begun.pipeline = Some(text.to_owned());
    begun.arms.stable = text.to_owned();
    begun.arms.candidate = text.to_owned();
    let by = By {
        who: text.to_owned(),
        why: text.to_owned(),
        at: at(2),
    };
    let mut log = vec![Event::Started(begun)];
    log.extend(set(500, 1, 1));
    log.extend(
        [Order::Hold, Order::Resume, Order::SkipWait].map(|order| Event::Ordered {
            order,
            by: by.clone(),
        }),
    );
    log.push(Event::RollbackDecided {
        at: at(3),
        because: Reason::Rejected { by },
    });
    log.push(Event::RollbackStuck {
        at: at(4),
        why: text.to_owned(),
    });
    log.push(ended(Outcome::RolledBack, Weight::ZERO, 5));
    log
}

fn assert_fit(text: &str) {
    let all = announced(&with_text(text));
    assert_eq!(all.len(), 8);
    for announcement in all {
        let json = announcement.detail_json();
        assert!(json.len() <= DETAIL_BYTES_MAX, "{} bytes", json.len());
        let back: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back["id"], announcement.detail.id);
        let text = &announcement.detail.text;
        let is_unfit = |c: char| c.is_control() || "\"\\<>".contains(c);
        assert!(!text.contains(is_unfit), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        // What an input transformer makes of it is JSON.
        let transformed = format!("{{\"description\": \"{text}\"}}");
        let read: Value = serde_json::from_str(&transformed).unwrap();
        assert_eq!(read["description"], *text);
    }
}

#[test]
fn the_longest_texts_of_the_widest_characters_fit_into_an_event() {
    for text in ["𝄞", "\"", "\\", "\u{1}", "<!channel> ", "\u{1b}[2J", "\r\n"] {
        assert_fit(&text.repeat(5_000));
    }
}

proptest! {
    #[test]
    fn no_text_makes_an_announcement_unfit(text in any::<String>()) {
        assert_fit(&text);
    }
}
