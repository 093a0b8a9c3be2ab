use proptest::prelude::*;

use super::*;
use crate::config::{Check as _, Config};

fn plan(in_a_row: u32, stable_for_s: Option<i64>, within_s: i64) -> CheckPlan {
    CheckPlan {
        probes: Vec::new(),
        interval: SignedDuration::from_secs(1),
        in_a_row,
        stable_for: stable_for_s.map(SignedDuration::from_secs),
        within: SignedDuration::from_secs(within_s),
    }
}

fn begun(plan: CheckPlan) -> Option<Check> {
    let mut check = None;
    let at = Timestamp::UNIX_EPOCH;
    check.apply(&CheckEvent::Started { at, plan });
    check
}

fn check(in_a_row: u32, within_s: i64) -> Option<Check> {
    begun(plan(in_a_row, None, within_s))
}

fn seen(healthy: bool) -> Probed {
    match healthy {
        true => Probed::healthy("seen"),
        false => Probed::unhealthy("seen"),
    }
}

/// Plays rounds a second apart; the number of rounds it took, and how it ended.
fn play(mut check: Option<Check>, rounds: impl IntoIterator<Item = bool>) -> Option<(usize, bool)> {
    for (number, healthy) in rounds.into_iter().enumerate() {
        let now = check.as_ref().unwrap().next_round();
        for event in check.clone().unwrap().after_round(now, vec![seen(healthy)]) {
            check.apply(&event);
        }
        if let Some((healthy, _)) = check.as_ref().unwrap().ended {
            return Some((number + 1, healthy));
        }
    }
    None
}

#[test]
fn one_bad_round_starts_the_row_again() {
    let rounds = [true, true, false, true, true, true];
    assert_eq!(play(check(3, 100), rounds), Some((6, true)));
}

#[test]
fn one_bad_round_starts_the_time_again() {
    let stable = || begun(plan(1, Some(3), 100));
    assert_eq!(play(stable(), [true; 9]), Some((4, true)));
    let rounds = [true, true, true, false, true, true, true, true];
    assert_eq!(play(stable(), rounds), Some((8, true)));
    // Both are asked for: the row of 6 is complete after the time is.
    assert_eq!(
        play(begun(plan(6, Some(3), 100)), [true; 9]),
        Some((6, true))
    );
}

#[test]
fn a_target_that_does_not_get_healthy_in_time_fails() {
    assert_eq!(play(check(3, 5), [false; 50]), Some((6, false)));
    let flapping = (0..50).map(|round| round % 3 != 2);
    assert_eq!(
        play(begun(plan(1, Some(3), 10)), flapping),
        Some((11, false))
    );
}

#[test]
fn a_time_in_which_nobody_looked_counts_in_part() {
    let mut check = begun(plan(1, Some(600), 3_600));
    let round = |minutes| CheckEvent::Round {
        at: Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes),
        probed: vec![seen(true)],
    };
    for minutes in [0, 1, 50] {
        check.apply(&round(minutes));
    }
    assert_eq!(
        check.unwrap().healthy_for,
        SignedDuration::from_mins(1) + UNSEEN_MAX
    );
}

#[test]
fn what_only_the_configuration_can_mend_is_not_waited_for() {
    let mut check = check(3, 100);
    let at = Timestamp::UNIX_EPOCH;
    let probed = vec![seen(true), Probed::hopeless("there is no alarm 'slwo'")];
    for event in check.clone().unwrap().after_round(at, probed) {
        check.apply(&event);
    }
    let story = ReleaseId::for_job("web", "1").unwrap();
    let JobReply::Fail { kind, message } = check.unwrap().reply(&story) else {
        panic!("it goes on");
    };
    assert_eq!(kind, FailureKind::ConfigurationError);
    assert_eq!(
        message,
        "looking again is in vain: there is no alarm 'slwo'"
    );
}

#[test]
fn the_reply_says_what_was_seen() {
    let mut healthy = begun(plan(1, Some(60), 120));
    let probed = vec![
        Probed::healthy("fine"),
        Probed::unhealthy("http://x answered 500, not 200"),
    ];
    let at = Timestamp::UNIX_EPOCH;
    healthy.apply(&CheckEvent::Round { at, probed });
    let story = ReleaseId::for_job("web", "1").unwrap();
    let JobReply::Continue { summary, token, .. } = healthy.unwrap().reply(&story) else {
        panic!("it is not over yet");
    };
    assert_eq!(token, Token::of(story));
    assert_eq!(
        summary,
        "healthy 0 of 1 times in a row and for 0s of 1m: http://x answered 500, not 200"
    );
}

#[test]
fn a_check_in_flight_survives_a_new_version() {
    let stored = r#"[
        {"event":"started","at":"2026-01-01T00:00:00Z","plan":{"probes":[
            {"http":{"url":"http://shop/health","status":200,"body-contains":null,"timeout":"PT5S"}},
            {"alarm":{"names":["slow"]}},
            {"ecs-service":{"cluster":"prod","service":"web","task-definition":null}}
        ],"interval":"PT10S","in-a-row":3,"within":"PT5M"}},
        {"event":"round","at":"2026-01-01T00:00:01Z","probed":[{"healthy":true,"detail":"fine"}]}
    ]"#;
    let events: Vec<CheckEvent> = serde_json::from_str(stored).unwrap();
    let mut check: Option<Check> = None;
    events.iter().for_each(|event| check.apply(event));
    let mut as_it_was = serde_json::to_value(check.as_ref().unwrap()).unwrap();
    assert_eq!(check.as_ref().unwrap().in_a_row, 1);
    as_it_was.as_object_mut().unwrap().remove("healthy_for");
    assert_eq!(
        serde_json::from_value::<Option<Check>>(as_it_was).unwrap(),
        check
    );
}

/// A check with these probes and keys, as a file would have it.
fn config(probe: &str, keys: &str) -> Result<CheckPlan, String> {
    let text = format!("version: 1\nhealth-checks:\n  web:\n    probes:\n      - {probe}\n{keys}");
    let config = Config::parse(&text).map_err(|e| e.to_string())?;
    Ok(config.health_check(None).unwrap().1.clone())
}

const ARN: &str = "arn:aws:lambda:eu-west-1:123456789012:function:smoke";
const GROUP: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/blue/1f";

#[test]
fn every_probe_is_read_and_survives_the_log() {
    for probe in [
        "http: {url: https://shop.example.com/health}".to_owned(),
        "http: {urls: [https://a.example.com, 'http://b.example.com/x?y=z'], status: [200-299, 304], \
         method: GET, request-headers: {Accept: application/json}, headers: {content-type: json}, \
         body-contains: ok, body-matches: '^.ok', body-json: {/status: up, /n: 1}, timeout: 9s, \
         slower-than: 800ms, redirects: 5}"
            .to_owned(),
        "http: {url: http://10.0.0.7/health, method: HEAD, allow-private: true}".to_owned(),
        "alarm: {names: [slow, down]}".to_owned(),
        "metric: {namespace: Shop, metric: Queue, dimensions: {Queue: buy}, stat: p99, period: 5m, \
         datapoints: 2, settle: 2m, over: 0.5, under: 100, missing: healthy}"
            .to_owned(),
        "metric: {expression: 'SUM(SEARCH(...))', under: 1}".to_owned(),
        format!("target-group: {{arn: {GROUP}, at-least: 2}}"),
        format!("target-group: {{arn: {GROUP}, at-least: 50%}}"),
        "ecs-service: {cluster: prod, service: web, task-definition: web:7}".to_owned(),
        format!(
            "lambda: {{function: {ARN}:live, payload: {{deep: true}}, timeout: 30s, \
             answer-contains: ok, answer-matches: o, answer-json: {{/ok: true}}}}"
        ),
        "canary: {name: shop_buy-1, max-age: 30m}".to_owned(),
    ] {
        let plan = config(&probe, "    stable-for: 2m\n").unwrap();
        let stored = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<CheckPlan>(&stored).unwrap(), plan, "{stored}");
        assert!(plan.check().is_ok());
    }
}

#[test]
fn each_mistake_in_a_probe_has_its_message() {
    let many = |count: usize| vec!["http://a.example.com"; count].join(", ");
    for (probe, message) in [
        ("http: {}".to_owned(), "the probe has no `url`"),
        (
            "http: {url: 'http://a', urls: ['http://b']}".to_owned(),
            "`url` and `urls`",
        ),
        (
            format!("http: {{urls: [{}]}}", many(21)),
            "`urls` has 21 entries: at most 20",
        ),
        (
            "http: {url: shop/health}".to_owned(),
            "write http://... or https://",
        ),
        (
            "http: {url: 'ftp://shop'}".to_owned(),
            "write http://... or https://",
        ),
        (
            format!("http: {{url: 'http://a/{}'}}", "x".repeat(2_048)),
            "at most 2048 bytes",
        ),
        (
            "http: {url: 'http://u:p@shop/'}".to_owned(),
            "leave out the user and the password",
        ),
        (
            "http: {url: 'http://169.254.169.254/'}".to_owned(),
            "no probe is ever sent there",
        ),
        (
            "http: {url: 'http://10.0.0.1/'}".to_owned(),
            "allow-private: true",
        ),
        (
            "http: {url: 'http://a', status: 99}".to_owned(),
            "a range such as 200-299",
        ),
        ("http: {url: 'http://a', method: POST}".to_owned(), "POST"),
        (
            "http: {url: 'http://a', method: HEAD, body-contains: x}".to_owned(),
            "have no body",
        ),
        (
            "http: {url: 'http://a', request-headers: {Authorization: x}}".to_owned(),
            "secrets do not belong into penstock.yaml",
        ),
        (
            "http: {url: 'http://a', request-headers: {X-Api-Key: x}}".to_owned(),
            "secrets do not belong into penstock.yaml",
        ),
        (
            "http: {url: 'http://a', request-headers: {Transfer-Encoding: chunked}}".to_owned(),
            "not for a probe to set",
        ),
        (
            "http: {url: 'http://a', request-headers: {'a b': x}}".to_owned(),
            "a header's name",
        ),
        (
            "http: {url: 'http://a', request-headers: {a: \"x\\ny\"}}".to_owned(),
            "visible ASCII characters",
        ),
        (
            "http: {url: 'http://a', headers: {'': x}}".to_owned(),
            "`headers` has ''",
        ),
        (
            "http: {url: 'http://a', body-matches: '['}".to_owned(),
            "`body-matches` is no regular",
        ),
        (
            "http: {url: 'http://a', body-json: {a: 1}}".to_owned(),
            "write a JSON pointer",
        ),
        (
            "http: {url: 'http://a', timeout: 31s}".to_owned(),
            "1ms to 30s is allowed",
        ),
        (
            "http: {url: 'http://a', timeout: 1s, slower-than: 2s}".to_owned(),
            "to the `timeout`, 1s",
        ),
        (
            "http: {url: 'http://a', redirects: 6}".to_owned(),
            "0 to 5 is allowed",
        ),
        (
            "http: {url: 'http://a', redirect: 1}".to_owned(),
            "did you mean `redirects`?",
        ),
        ("alarm: {names: []}".to_owned(), "name at least one alarm"),
        (
            "metric: {namespace: A, metric: B}".to_owned(),
            "write `under`, `over`",
        ),
        (
            "target-group: {arn: blue}".to_owned(),
            "write a target group's ARN",
        ),
        (
            format!("target-group: {{arn: {GROUP}, at-least: 0}}"),
            "a number of hosts, 1 to 1000",
        ),
        (
            format!("target-group: {{arn: {GROUP}, at-least: 0%}}"),
            "a share above 0%",
        ),
        (
            format!("target-group: {{arn: {GROUP}, at-least: 101%}}"),
            "a share above 0%",
        ),
        (
            "ecs-service: {cluster: '', service: web}".to_owned(),
            "`cluster` is ''",
        ),
        (
            "ecs-service: {cluster: a, service: b, task-definition: web}".to_owned(),
            "family:revision",
        ),
        ("lambda: {function: smoke}".to_owned(), "write its ARN"),
        (
            format!("lambda: {{function: {ARN}, timeout: 31s}}"),
            "1s to 30s is allowed",
        ),
        (
            format!("lambda: {{function: {ARN}, answer-json: {{a: 1}}}}"),
            "write a JSON pointer",
        ),
        (
            format!(
                "lambda: {{function: {ARN}, payload: {}}}",
                "x".repeat(16 * 1024)
            ),
            "at most 16384 are allowed",
        ),
        ("canary: {name: Shop}".to_owned(), "lower-case letters"),
        ("canary: {name: shop, max-age: 59s}".to_owned(), "`max-age`"),
        ("canarie: {name: shop}".to_owned(), "did you mean `canary`?"),
    ] {
        let error = config(&probe, "").unwrap_err();
        assert!(error.contains(message), "{probe}: {error}");
    }
}

#[test]
fn each_mistake_in_a_plan_has_its_message() {
    let probe = "alarm: {names: [slow]}";
    for (keys, message) in [
        ("    interval: 0s\n", "`interval` is 0s"),
        ("    in-a-row: 0\n", "1 to 1000 is allowed"),
        ("    stable-for: 0s\n", "`stable-for` is 0s"),
        ("    stable-for: soon\n", "is not a duration"),
        ("    stable-for: 6m\n", "take 6m at least"),
        ("    in-a-row: 40\n", "40 healthy rounds 10s apart"),
        ("    within: 5s\n", "`within` is 5s: 10s to 24h is allowed"),
        ("    stable: 1m\n", "did you mean `stable-for`?"),
    ] {
        let error = config(probe, keys).unwrap_err();
        assert!(error.contains(message), "{keys}: {error}");
    }
    let urls = vec!["http://a.example.com"; 20].join(", ");
    let probe = format!("http: {{urls: [{urls}]}}");
    let three = format!("{probe}\n      - {probe}\n      - {probe}");
    let error = config(&three, "").unwrap_err();
    assert!(error.contains("60 URLs together: at most 50"), "{error}");
}

proptest! {
    #[test]
    fn it_ends_healthy_exactly_when_a_row_is_complete_in_time(
        rounds in prop::collection::vec(any::<bool>(), 1..40),
        in_a_row in 1_u32..6,
        within in 1_i64..30,
    ) {
        let row = rounds.windows(in_a_row as usize).position(|w| w.iter().all(|h| *h));
        let row_at = row.map(|start| start + in_a_row as usize);
        let late_at = usize::try_from(within).unwrap() + 1;
        let expected = match row_at {
            Some(at) if at <= late_at => Some((at, true)),
            _ if rounds.len() >= late_at => Some((late_at, false)),
            _ => None,
        };
        prop_assert_eq!(play(check(in_a_row, within), rounds), expected);
    }

    /// Jobs come whenever CodePipeline likes, also twice, also long after they are due.
    #[test]
    fn whenever_jobs_come_rounds_keep_their_distance_and_the_check_ends(
        jobs in prop::collection::vec((0_i64..400, any::<bool>()), 1..80),
        interval in 1_i64..120,
        in_a_row in 1_u32..5,
        stable_for in prop::option::of(1_i64..600),
        within in 1_i64..2_000,
    ) {
        let mut plan = plan(in_a_row, stable_for, within);
        plan.interval = SignedDuration::from_secs(interval);
        let mut check = begun(plan.clone());
        let mut now = Timestamp::UNIX_EPOCH;
        let mut rounds: Vec<(Timestamp, bool)> = Vec::new();
        for (gap, healthy) in jobs {
            now += SignedDuration::from_secs(gap);
            let at = check.clone().unwrap();
            if at.ended.is_some() || now < at.next_round() {
                continue; // a job that comes early just continues
            }
            rounds.push((now, healthy));
            let events = at.after_round(now, vec![seen(healthy)]);
            events.iter().for_each(|event| check.apply(event));
        }
        for pair in rounds.windows(2) {
            prop_assert!(pair[1].0.duration_since(pair[0].0) >= plan.interval);
        }
        let check = check.unwrap();
        let row = rounds.iter().rev().take_while(|(_, healthy)| *healthy).count();
        prop_assert_eq!(check.in_a_row as usize, row);
        let Some((last, _)) = rounds.last().copied() else { return Ok(()) };
        let lasted = last.duration_since(Timestamp::UNIX_EPOCH);
        let since = rounds[rounds.len() - row.min(rounds.len())..].first();
        let span = since.map_or(SignedDuration::ZERO, |(at, _)| last.duration_since(*at));
        prop_assert!(check.healthy_for <= span);
        match &check.ended {
            Some((true, _)) => {
                prop_assert!(row >= in_a_row as usize);
                prop_assert!(plan.stable_for.is_none_or(|time| span >= time));
            }
            Some((false, _)) => prop_assert!(lasted >= plan.within),
            None => prop_assert!(lasted < plan.within),
        }
    }
}
