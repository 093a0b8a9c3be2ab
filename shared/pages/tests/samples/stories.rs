//! Releases to make pages of: what `decide` does of a made-up service.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use pages::ReleasePage;
use release::account::Account;
use release::config::Plan;
use release::{
    ArmCounts, Arms, By, Effect, Event, Live, Observation, Order, Reason, Release, ReleaseId,
    Started, Story, Weight, Window, ask_rollback, decide,
};
use serde_json::json;
use stats::Counts;

/// A release, and the pipeline it belongs to.
pub struct Tale {
    pub name: &'static str,
    pub account: Account,
}

impl Tale {
    pub fn page(&self) -> ReleasePage<'_> {
        ReleasePage {
            account: &self.account,
            pipeline: Some("shop-release"),
            made: super::made(),
        }
    }
}

/// One of each kind.
pub fn all() -> Vec<Tale> {
    vec![
        promoted(),
        rolled_back(),
        shifting(),
        alarmed(),
        stuck(),
        begun(),
        hostile(),
        day(),
        of_many_metrics(),
    ]
}

/// A made-up service.
struct Service {
    plan: Plan,
    requests: u64,
    /// Bad requests a request: of the stable version, and of the candidate in the nth minute.
    stable: f64,
    candidate: fn(u32) -> f64,
    metric: String,
    arms: Arms,
    seed: u64,
}

fn plan(more: &serde_json::Value) -> Plan {
    let mut plan = json!({
        "target": {"alb-rule": {
            "rule": "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/shop/50dc6c495c0c9188/f2f7dc8efc522ab2/9683b2d02a6cabee",
            "target-groups": [
                "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-blue/73e2d6bc24d8a067",
                "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-green/943f017f100becff",
            ],
        }},
        "steps": [
            {"set-weight": "1%"}, {"judge": {"windows": 5}},
            {"set-weight": "5%"}, {"judge": {"windows": 5}},
            {"set-weight": "25%"}, {"judge": {"windows": 10}},
            {"set-weight": "50%"}, {"judge": {"windows": 10}},
            {"set-weight": "100%"},
        ],
        "alarms": ["shop-latency"],
    });
    for (key, value) in more.as_object().unwrap() {
        plan[key] = value.clone();
    }
    serde_json::from_value(plan).unwrap()
}

fn shop(more: &serde_json::Value, candidate: fn(u32) -> f64) -> Service {
    let group = |name| {
        format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/shop-{name}")
    };
    Service {
        plan: plan(more),
        requests: 9_000,
        stable: 0.001,
        candidate,
        metric: "errors".to_owned(),
        arms: Arms {
            stable: group("blue/73e2d6bc24d8a067"),
            candidate: group("green/943f017f100becff"),
        },
        seed: 7,
    }
}

impl Service {
    fn chance(&mut self) -> f64 {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.seed >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn counts(&mut self, count: u64, rate: f64) -> Counts {
        let bad = (0..count).filter(|_| self.chance() < rate).count();
        Counts::new(count, bad as u64).unwrap()
    }

    fn window(&mut self, start: Timestamp, weight: Weight, minute: u32) -> Window {
        let busy = 0.85 + 0.3 * self.chance();
        let all = (self.requests as f64 * busy) as u64;
        let canary = all * u64::from(weight.basis_points()) / 10_000;
        let (bad, usual) = ((self.candidate)(minute), self.stable);
        let counts = ArmCounts {
            canary: self.counts(canary, bad),
            baseline: self.counts(all - canary, usual),
        };
        Window {
            start,
            metrics: BTreeMap::from([(self.metric.clone(), counts)]),
        }
    }

    /// What the log has after so many minutes.
    fn log(mut self, minutes: u32, see: impl Fn(u32, &mut Observation)) -> Vec<Event> {
        let began: Timestamp = "2026-11-23T09:00:12Z".parse().unwrap();
        let started = Started {
            at: began,
            release: ReleaseId::for_job("web", "0f0e0d0c-1111-4222-8333-444455556666").unwrap(),
            execution: Some("3137f7cb-8d49-4c31-9b1c-2f1f0d2a7e10".to_owned()),
            pipeline: None,
            plan: self.plan.clone(),
            arms: self.arms.clone(),
            alarms_firing: BTreeSet::new(),
            images: Default::default(),
            warnings: Vec::new(),
            slower_than: BTreeMap::new(),
            judge: None,
        };
        let mut events = vec![Event::Started(Box::new(started))];
        let mut release: Option<Release> = None;
        release.apply(&events[0]);
        let mut weights = vec![(began, Weight::ZERO)];
        for minute in 0..minutes {
            let mut now = began + SignedDuration::from_mins(minute.into());
            let due = release.as_ref().unwrap().due_windows(now);
            let windows = due.map(|due| {
                let starts = (due.from.as_second()..due.until.as_second()).step_by(60);
                let windows = starts.map(|second| {
                    let start = Timestamp::from_second(second).unwrap();
                    let since = weights.iter().rev().find(|(at, _)| *at <= start);
                    self.window(start, since.unwrap().1, minute)
                });
                windows.collect()
            });
            let mut look = Observation {
                now,
                windows: Some(windows.unwrap_or_default()),
                alarms: Some(BTreeSet::new()),
                ..Observation::at(now)
            };
            see(minute, &mut look);
            for _ in 0..20 {
                let state = release.as_ref().unwrap();
                if let Some(effect) = state.intended {
                    now += SignedDuration::from_secs(1);
                    if let Effect::SetWeight(weight) = effect {
                        weights.push((now, weight));
                    }
                    let generation = state.generation;
                    let done = Event::Performed {
                        at: now,
                        generation,
                        effect,
                    };
                    release.apply(&done);
                    events.push(done);
                    look.now = now;
                    continue;
                }
                look.live = Some(Live {
                    weight: weights.last().unwrap().1,
                    stable_healthy: 4,
                    candidate_healthy: 4,
                    candidate_ready: true,
                });
                let decided = decide(state, &look);
                if decided.events.is_empty() {
                    break;
                }
                decided.events.iter().for_each(|event| release.apply(event));
                events.extend(decided.events);
            }
        }
        events
    }

    fn tale(self, name: &'static str, minutes: u32) -> Tale {
        tale(name, &self.log(minutes, |_, _| {}))
    }
}

fn tale(name: &'static str, events: &[Event]) -> Tale {
    Tale {
        name,
        account: Account::of(events).unwrap(),
    }
}

pub fn promoted() -> Tale {
    shop(&json!({}), |_| 0.001).tale("release-promoted", 90)
}

/// Twice as many errors from the 22nd minute on.
pub fn rolled_back() -> Tale {
    let late = |minute| if minute < 22 { 0.001 } else { 0.006 };
    let patient = json!({"judge": {"alpha": 0.01, "hold": 5.0}});
    shop(&patient, late).tale("release-rolled-back", 90)
}

pub fn shifting() -> Tale {
    shop(&json!({}), |_| 0.001).tale("release-shifting", 16)
}

/// An alarm fires, and clears while the release goes back.
pub fn alarmed() -> Tale {
    let service = shop(&json!({}), |_| 0.001);
    let events = service.log(60, |minute, look| {
        if minute > 13 {
            look.alarms = Some(BTreeSet::from(["shop-latency".to_owned()]));
        }
    });
    tale("release-alarmed", &events)
}

/// The rollback cannot be completed, twice found to be so.
pub fn stuck() -> Tale {
    let mut events = shop(&json!({}), |_| 0.001).log(14, |_, _| {});
    let mut release: Option<Release> = None;
    events.iter().for_each(|event| release.apply(event));
    let at = events.last().unwrap().at();
    let because = Reason::Asked {
        why: "wrong prices".to_owned(),
        by: None,
    };
    events.extend(ask_rollback(release.as_ref().unwrap(), at, because));
    events.extend([3, 6].map(|minute| Event::RollbackStuck {
        at: at + SignedDuration::from_mins(minute),
        why: "could not move the traffic: access denied".to_owned(),
    }));
    tale("release-stuck", &events)
}

/// Nothing has been observed yet.
pub fn begun() -> Tale {
    shop(&json!({}), |_| 0.001).tale("release-begun", 1)
}

/// Every text that an outsider can choose.
pub fn with_texts(texts: &[&str]) -> Tale {
    let text = |n: usize| {
        texts
            .get(n % texts.len().max(1))
            .copied()
            .unwrap_or("text")
            .to_owned()
    };
    let mut service = shop(
        &json!({"alarms": [text(0)], "target": {"alb-rule": {"rule": text(1), "target-groups": [text(2), text(3)]}}}),
        |_| 0.001,
    );
    service.metric = text(4);
    service.arms = Arms {
        stable: text(5),
        candidate: text(6),
    };
    let mut events = service.log(9, |_, _| {});
    let Some(Event::Started(started)) = events.first_mut() else {
        panic!("it has begun")
    };
    started.execution = Some(text(7));
    started.alarms_firing = BTreeSet::from([text(8)]);
    let mut release: Option<Release> = None;
    events.iter().for_each(|event| release.apply(event));
    let at = events.last().unwrap().at();
    let firing = texts.iter().map(|text| (*text).to_owned());
    events.push(Event::AlarmsChanged {
        at,
        firing: firing.collect(),
    });
    for text in texts.iter().rev() {
        let because = Reason::StepJudged {
            evidence: (*text).to_owned(),
        };
        events.push(Event::StepDone {
            at,
            step: 0,
            because,
        });
    }
    events.push(Event::Ordered {
        order: Order::Hold,
        by: By::new(&text(1), &text(2), at),
    });
    let because = Reason::Asked {
        why: text(0),
        by: Some(text(3)),
    };
    events.extend(ask_rollback(release.as_ref().unwrap(), at, because));
    events.push(Event::RollbackStuck { at, why: text(1) });
    tale("release-hostile", &events)
}

pub fn hostile() -> Tale {
    with_texts(&super::HOSTILE)
}

/// A service with a candidate that is too bad to be promoted early, under a judge who is too kind
/// to roll it back.
fn undecided() -> Service {
    let mut service = shop(
        &json!({
            "steps": [{"set-weight": "5%"}, {"judge": {"windows": 1_400}}, {"set-weight": "100%"}],
            "judge": {"alpha": 1e-15, "hold": 0.0},
        }),
        |_| 0.0262,
    );
    (service.requests, service.stable) = (300, 0.02);
    service
}

/// The log of that service, each window with what was counted by further metrics.
fn measured(minutes: u32, metrics: &[String]) -> Vec<Event> {
    undecided().log(minutes, |_, look| {
        for window in look.windows.iter_mut().flatten() {
            let errors = window.metrics["errors"];
            let more = metrics.iter().map(|name| (name.clone(), errors));
            window.metrics.extend(more);
        }
    })
}

/// A day of minutes, with three metrics.
pub fn day() -> Tale {
    let metrics = ["slow:p90", "slow:p99"].map(str::to_owned);
    tale("release-day", &measured(1_440, &metrics))
}

/// As many metrics as a window may have, with long names.
pub fn of_many_metrics() -> Tale {
    let metrics = (0..15).map(|n| format!("{n}{}", "<&>'".repeat(15)));
    let metrics: Vec<_> = metrics.collect();
    tale("release-huge", &measured(150, &metrics))
}
