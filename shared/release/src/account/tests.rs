//! What holds of the story of a release.

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::Reason;

/// A release of two judged steps: 20 windows of 1 000 requests, of which `bad(n)` of the
/// candidate's fail in the nth, then the end as `outcome` says.
fn log(bad: impl Fn(u64) -> u64) -> Vec<Event> {
    let plan = json!({
        "target": {"alb-rule": {"rule": "r", "target-groups": ["a", "b"]}},
        "steps": [{"set-weight": "5%"}, {"judge": {"windows": 10}}, {"set-weight": "100%"}],
        "alarms": ["slow"],
    });
    let mut lines = vec![
        json!({"event": "started", "at": "2026-11-23T09:00:07Z", "release": "web-1", "plan": plan,
               "arms": {"stable": "a", "candidate": "b"}, "alarms_firing": []}),
        json!({"event": "intended", "at": "2026-11-23T09:00:07Z", "generation": 1,
               "effect": {"set-weight": "5%"}}),
        json!({"event": "performed", "at": "2026-11-23T09:00:08Z", "generation": 1,
               "effect": {"set-weight": "5%"}}),
    ];
    for n in 0..20 {
        let at = format!("2026-11-23T09:{:02}:10Z", n + 4);
        let start = format!("2026-11-23T09:{:02}:00Z", n + 1);
        let counts = json!({"canary": {"count": 1_000, "bad": bad(n)},
                            "baseline": {"count": 9_000, "bad": 9}});
        lines.push(json!({"event": "observed", "at": at,
                          "windows": [{"start": start, "metrics": {"errors": counts}}]}));
    }
    let lines = lines.iter().map(serde_json::Value::to_string);
    read_log(&lines.collect::<Vec<_>>().join("\n")).unwrap()
}

fn rolled_back(because: Reason) -> Vec<Event> {
    let mut events = log(|_| 1);
    let mut release: Option<Release> = None;
    events.iter().for_each(|event| release.apply(event));
    let at = events.last().unwrap().at() + SignedDuration::from_secs(3);
    events.extend(crate::ask_rollback(&release.unwrap(), at, because));
    events
}

#[test]
fn an_account_ends_where_the_log_ends() {
    for events in [log(|_| 1), log(|n| n * 10)] {
        let account = Account::of(&events).unwrap();
        let mut folded: Option<Release> = None;
        events.iter().for_each(|event| folded.apply(event));
        assert_eq!(Some(&account.end), folded.as_ref());
        let last = account.windows.last().unwrap();
        assert_eq!(
            (last.verdict, &last.evidence),
            (account.verdict, &account.evidence)
        );
    }
}

#[test]
fn every_window_is_told_with_its_weight_its_counts_and_its_verdict() {
    let account = Account::of(&log(|n| n * 10)).unwrap();
    assert_eq!((account.windows.len(), account.windows_judged), (20, 20));
    assert_eq!(
        account.requests,
        Requests {
            candidate: 20_000,
            stable: 180_000
        }
    );
    assert!(
        account.cluster_sizes["errors"] > 1.0,
        "the arms are not alike"
    );
    for (n, window) in account.windows.iter().enumerate() {
        let errors = window.metrics["errors"];
        assert_eq!(errors.canary.bad, 10 * n as u64);
        assert_eq!(errors.baseline_rate, Some(0.001));
        assert_eq!(window.weight.basis_points(), 500);
        // It is a part of the whole, and no other part takes anything away.
        let share = account.end.judge_config().weights["errors"];
        assert!(window.log_e >= errors.log_e.unwrap() + share.ln());
    }
    let first = account
        .windows
        .iter()
        .find(|w| w.verdict == Verdict::Rollback);
    assert!(first.unwrap().log_e >= account.log_e_rollback);
    assert!(account.windows[0].log_e < account.log_e_rollback);
}

#[test]
fn a_window_that_was_used_before_is_not_told_again() {
    let mut events = log(|_| 1);
    let again = events[3].clone();
    events.push(again);
    assert_eq!(Account::of(&events).unwrap().windows.len(), 20);
}

#[test]
fn a_decision_is_told_with_its_reason_and_with_who_took_it() {
    for (because, who) in [
        (
            Reason::Asked {
                by: None,
                why: "it is wrong".into(),
            },
            Who::Somebody,
        ),
        (
            Reason::Regression {
                evidence: String::new(),
            },
            Who::Judge,
        ),
        (
            Reason::Stuck {
                why: "denied".into(),
            },
            Who::Penstock,
        ),
        (
            Reason::AlarmFired {
                alarm: "slow".into(),
                detail: None,
            },
            Who::Alarm,
        ),
    ] {
        let account = Account::of(&rolled_back(because.clone())).unwrap();
        let [.., decided, back] = account.moments.as_slice() else {
            panic!("{:?}", account.moments)
        };
        assert_eq!(decided.what, What::RollbackDecided);
        for moment in [decided, back] {
            assert_eq!((moment.who, moment.because.as_ref()), (who, Some(&because)));
        }
        assert!(matches!(
            back.what,
            What::Weight {
                weight: Weight::ZERO,
                performed: None,
                ..
            }
        ));
    }
}

#[test]
fn a_weight_is_told_with_when_the_target_had_it() {
    let account = Account::of(&log(|_| 1)).unwrap();
    let What::Weight { performed, .. } = &account.moments[1].what else {
        panic!("{:?}", account.moments)
    };
    assert_eq!(performed.unwrap().to_string(), "2026-11-23T09:00:08Z");
    assert_eq!(account.moments[1].who, Who::Plan);
}

#[test]
fn events_without_a_beginning_have_no_story() {
    assert_eq!(Account::of(&[]), None);
    assert_eq!(Account::of(&log(|_| 1)[1..]), None);
}

#[test]
fn a_written_log_is_read_as_it_was() {
    let events = rolled_back(Reason::EveryStepDone);
    assert_eq!(read_log(&write_log(&events).unwrap()), Ok(events));
}

#[test]
fn a_line_that_no_release_has_is_named_with_the_fix() {
    let good = write_log(&log(|_| 1)).unwrap();
    let second = good.lines().nth(1).unwrap();
    let first = good.lines().next().unwrap();
    for (text, part) in [
        (String::new(), "it has no events"),
        ("\n{]".to_owned(), "line 2"),
        (second.to_owned(), "a log begins with \"event\":\"started\""),
        (
            format!("{first}\n{first}"),
            "line 2 of the log: the release began before",
        ),
        (first.replace("PT1M", "PT99999H"), "`window`"),
        (
            first.replace(
                "{\"set-weight\":\"5%\"},",
                "{\"set-weight\":\"5%\"},{\"wait\":\"PT99999H\"},",
            ),
            "`wait`",
        ),
        (first.replace("2026", "9999"), "is no time of a release"),
        (first.replace("\"alpha\":0.01", "\"alpha\":0.0"), "alpha"),
        (
            format!(
                "{first}\n{}",
                second.replace("\"generation\":1", "\"generation\":18446744073709551615")
            ),
            "line 2 of the log: generation 18446744073709551615",
        ),
        (
            format!(
                "{first}\n{}",
                json!({"event": "step-done", "at": "2026-11-23T09:00:07Z", "step": usize::MAX,
                       "because": {"reason": "over"}})
            ),
            "the plan has 3 steps",
        ),
        (
            good.replace("\"count\":1000,\"bad\":1", "\"count\":1,\"bad\":1000"),
            "could not count 1000 bad requests among 1",
        ),
    ] {
        let error = read_log(&text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let error = read_log(&"\n".repeat(LOG_BYTES_MAX + 1))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "could not read the log: it has more than 67108864 bytes"
    );
}

#[test]
fn of_very_many_windows_some_are_told_and_all_are_counted() {
    let mut events = log(|_| 1);
    let Some(Event::Observed { at, windows }) = events.pop() else {
        panic!("the last one is a window")
    };
    let many = 3 * ACCOUNT_WINDOWS_MAX as i64;
    let windows = (0..many).map(|n| Window {
        start: at + SignedDuration::from_mins(n),
        ..windows[0].clone()
    });
    let windows = windows.collect();
    events.push(Event::Observed { at, windows });
    let account = Account::of(&events).unwrap();
    assert_eq!(account.windows_judged, 19 + many as u64);
    let told = account.windows.len();
    assert!(
        (ACCOUNT_WINDOWS_MAX / 2..=ACCOUNT_WINDOWS_MAX + 10).contains(&told),
        "{told}"
    );
}
