//! Every mistake in a penstock.yaml has its message, with the place and the fix.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::*;

const GOOD: &str = include_str!("../../tests/good.yaml");

fn error(text: &str) -> String {
    match Config::parse(text) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_example_is_read_as_it_is_meant() {
    let config = Config::parse(GOOD).unwrap();
    let (name, plan) = config.release(None).unwrap();
    assert_eq!(name, "web");
    assert_eq!(plan.window, SignedDuration::from_secs(60));
    assert_eq!(plan.steps.len(), 5);
    assert_eq!(plan.judge_config().hold, 5.0);
    assert_eq!(plan.judge_config().alpha, 0.02);
    assert_eq!(
        config.gate(Some("unit")).unwrap().1.rules.min_tests,
        Some(crate::gate::Limit::fail(10))
    );
    assert_eq!(config.health_check(None).unwrap().1.probes.len(), 3);
}

#[test]
fn a_plan_survives_the_release_log() {
    let config = Config::parse(GOOD).unwrap();
    let (_, plan) = config.release(Some("web")).unwrap();
    let stored = serde_json::to_string(plan).unwrap();
    assert_eq!(&serde_json::from_str::<Plan>(&stored).unwrap(), plan);
}

/// A mistake in a release's metrics.
fn metrics(is: &str, message: &'static str) -> (&'static str, Cow<'static, str>, &'static str) {
    let is = format!("    metrics: {is}\n    window: 60s");
    ("    window: 60s", is.into(), message)
}

/// A mistake in a release's freeze windows.
fn freeze(is: &str, message: &'static str) -> (&'static str, Cow<'static, str>, &'static str) {
    let is = format!("    freeze: [{is}]\n    window: 60s");
    ("    window: 60s", is.into(), message)
}

#[test]
fn errors_are_judged_by_default_and_slowness_where_it_is_asked_for() {
    let config = Config::parse(GOOD).unwrap();
    let judge = config.release(None).unwrap().1.judge_config();
    assert_eq!(judge.weights, BTreeMap::from([("errors".to_owned(), 1.0)]));
    assert_eq!(judge.required, BTreeSet::from(["errors".to_owned()]));

    let metrics = "    metrics: {errors: , 'slow:p90': , 'slow:p99': }\n    window: 60s";
    let config = Config::parse(&GOOD.replacen("    window: 60s", metrics, 1)).unwrap();
    let (_, plan) = config.release(None).unwrap();
    let judge = plan.judge_config();
    let shares: Vec<_> = judge
        .weights
        .iter()
        .map(|(n, s)| (n.as_str(), *s))
        .collect();
    assert_eq!(
        shares,
        [("errors", 0.8), ("slow:p90", 0.1), ("slow:p99", 0.1)]
    );
    assert_eq!(judge.r0_of["errors"], 1.0);
    assert_eq!(judge.r0_of["slow:p90"], 1.25);
    assert_eq!(judge.required, BTreeSet::from(["errors".to_owned()]));
    let percentiles = plan.metrics.percentiles();
    assert_eq!(percentiles["slow:p90"], 90.0);
    assert_eq!(percentiles["slow:p99"], 99.0);
}

#[test]
fn what_is_written_about_a_metric_reaches_the_judge() {
    let metrics = "
      errors: {share: 50%, limit: 2%, cluster-size: unknown}
      slow:p99.9: {slower-than: 800ms, tolerated-ratio: 2, required: true}
      payments:
        cluster-size: 4
        total: {namespace: Shop, metric: Payments, dimensions: {Version: '${version}'}}
        bad: {expression: \"SEARCH('{Shop,Version} ${version}', 'Sum')\"}";
    let text = GOOD.replacen(
        "    window: 60s",
        &format!("    metrics:{metrics}\n    window: 60s"),
        1,
    );
    let config = Config::parse(&text).unwrap();
    let (_, plan) = config.release(None).unwrap();
    let judge = plan.judge_config();
    assert_eq!(judge.validate(), Ok(()));
    assert_eq!(judge.slo["errors"], 0.02);
    for (name, share) in [
        ("errors", 0.25),
        ("slo:errors", 0.25),
        ("slow:p99.9", 0.25),
        ("payments", 0.25),
    ] {
        assert_eq!(judge.weights[name], share, "{name}");
    }
    assert!(judge.robust.contains("errors") && judge.eta["payments"] == 0.25);
    assert_eq!(judge.r0_of["slow:p99.9"], 2.0);
    assert!(!judge.required.contains("payments") && judge.required.len() == 2);
    assert!(plan.metrics.percentiles().is_empty());
    let counting = plan.metrics.counting(&BTreeMap::new());
    let slow = Counting::SlowerThan(SignedDuration::from_millis(800));
    assert!(counting.contains(&("slow:p99.9", slow)));
    let stored = serde_json::to_string(plan).unwrap();
    assert_eq!(&serde_json::from_str::<Plan>(&stored).unwrap(), plan);
}

#[test]
fn every_mistake_names_its_place_and_its_fix() {
    let known = |(was, is, message): (&'static str, &'static str, &'static str)| {
        (was, Cow::Borrowed(is), message)
    };
    let keys = [
        (
            "    window: 60s",
            "    windw: 60s",
            "unknown key `windw`: did you mean `window`?",
        ),
        ("version: 1", "version: 2", "version 2 is not known"),
        ("version: 1\n", "", "the key `version` is missing"),
        ("windows: 5", "windows: five", "invalid u32"),
        ("windows: 5", "windows: 0", "1 to 1440 are allowed"),
        (
            "windows: 5",
            "windows: 1430",
            "CodePipeline ends an action after 24h",
        ),
        ("set-weight: 5%", "set-weight: 5", "such as 5% or 0.5%"),
        (
            "set-weight: 5%",
            "set-weight: 0.05%",
            "the nearest possible is 0.1%",
        ),
        (
            "set-weight: 25%",
            "set-weight: 5%",
            "every set-weight must be larger",
        ),
        (
            "set-weight: 100%",
            "set-weight: 99%",
            "the last set-weight of `steps` must be set-weight: 100%",
        ),
        (
            "set-weight: 25%",
            "set-wait: 25%",
            "did you mean `set-weight`?",
        ),
        ("window: 60s", "window: 90s", "multiples of 60"),
        (
            "window: 60s",
            "window: 60 parsecs",
            "is not a duration: write for example 90s",
        ),
        ("settle: 2m", "settle: 48h", "0s to 24h is allowed"),
        (
            "alpha: 0.02",
            "alpha: 2",
            "`alpha` is 2: above 0 and at most 0.5 is allowed",
        ),
        ("alpha: 0.02", "hold: 0.5", "`hold` is 0.5: 0, or 1 to 1e9"),
        (
            "alpha: 0.02",
            "tolerated-ratio: 0.5",
            "`tolerated-ratio` is 0.5: 1 to 10",
        ),
        (
            "alpha: 0.02",
            "cluster-size: 0",
            "`cluster-size` is 0: 1 to 1e6",
        ),
        (
            "alarms: [shop-latency]",
            "alarms: [a, b, a]",
            "alarm 'a' is named twice",
        ),
        (
            "alarms: [shop-latency]",
            "alarms: ['']",
            "an alarm has no name",
        ),
        (
            "names: [shop-latency]",
            "names: []",
            "name at least one alarm",
        ),
        (
            "listener-rule/app/shop/1/2/3",
            "listener/net/shop/1/2",
            "write the ARN of a listener rule",
        ),
        (
            ":targetgroup/green/2",
            ":targetgroup/blue/1",
            "names the same group twice",
        ),
        ("alb-rule:", "albrule:", "did you mean `alb-rule`?"),
        (
            "inconclusive: wait",
            "inconclusive: shrug",
            "unknown value `shrug`",
        ),
        (
            "min-line-coverage: 80%",
            "min-line-coverage: 0.8",
            "such as 80%",
        ),
        (
            "reports: [\"reports/*.xml\"]",
            "reports: []",
            "name at least one glob",
        ),
        ("format: junit", "format: junitt", "set `format` to one of"),
        ("in-a-row: 3", "in-a-row: 0", "1 to 1000"),
        (
            "url: https://shop",
            "url: ftp://shop",
            "http://... or https://...",
        ),
        ("status: 200", "status: 2000", "100 to 599"),
    ];
    let of_metrics = [
        metrics(
            "{}",
            "`metrics` is empty: name what the candidate is judged by",
        ),
        metrics("{errors: {share: 60}}", "such as 80%"),
        metrics(
            "{errors: {share: 60%}, 'slow:p90': {share: 50%}}",
            "the shares of `metrics` sum to 110%",
        ),
        metrics(
            "{errors: {share: 100%}, 'slow:p90': }",
            "metric `slow:p90` has no `share` and the others leave none over",
        ),
        metrics("{errors: {limit: 0%}}", "has `limit` 0%: above 0%"),
        metrics("{errors: {tolerated-ratio: 11}}", "1 to 10 is allowed"),
        metrics(
            "{errors: {cluster-size: some}}",
            "a number from 1 to 1e6, or unknown",
        ),
        metrics("{errors: {slower-than: 1s}}", "only metrics named slow:"),
        metrics("{'slow:checkout': {}}", "needs `slower-than`, a time"),
        metrics("{'slow:p100': {}}", "needs `slower-than`, a time"),
        metrics(
            "{'slow:p90': {slower-than: 3}}",
            "write auto, or a time such as 300ms",
        ),
        metrics("{'slow:p90': {slower-than: 16m}}", "at most 15m"),
        metrics(
            "{payments: {}}",
            "needs `total` and `bad`, two CloudWatch queries",
        ),
        metrics(
            "{errors: {total: {expression: a}}}",
            "is counted by the target itself",
        ),
        metrics(
            "{pay: {total: {namespace: S, metric: A}, bad: {namespace: S, metric: B}}}",
            "metric `pay` has a `total` that reads the same for both versions",
        ),
        metrics(
            "{pay: {total: {expression: 'a ${arm}'}, bad: {namespace: S, dimensions: {V: '${arm}'}}}}",
            "has a `bad` without a metric",
        ),
        metrics(
            "{pay: {total: {expression: 'a ${colour}'}, bad: {expression: 'b ${arm}'}}}",
            "unknown placeholder in 'a ${colour}': ${arm}, ${version}",
        ),
        metrics(
            "{pay: {total: {expression: 'a ${arm}', stat: Sum}, bad: {expression: 'b ${arm}'}}}",
            "both an `expression` and a metric",
        ),
        metrics(
            "{pay: {total: {expression: 'SELECT SUM(a) ${arm}'}, bad: {expression: 'b ${arm}'}}}",
            "has a `total` that is a Metrics Insights query",
        ),
        metrics("{errors: {shar: 60%}}", "did you mean `share`?"),
    ];
    let of_freezes = [
        freeze(
            "{cron: '0 16 * *', for: 1h, because: x}",
            "`cron: 0 16 * *` has 4 fields: write five",
        ),
        freeze(
            "{cron: '@weekly', for: 1h, because: x}",
            "has 1 fields: write five",
        ),
        freeze(
            "{cron: '60 16 * * FRI', for: 1h, because: x}",
            "has '60' as its minute: write 0 to 59",
        ),
        freeze(
            "{cron: '0 16-9 * * FRI', for: 1h, because: x}",
            "has '16-9' as its hour: write 0 to 23",
        ),
        freeze(
            "{cron: '0 16 0 * FRI', for: 1h, because: x}",
            "has '0' as its day of the month: write 1 to 31, or L",
        ),
        freeze(
            "{cron: '0 16 * JULY FRI', for: 1h, because: x}",
            "has 'JULY' as its month: write 1 to 12 or JAN to DEC",
        ),
        freeze(
            "{cron: '0 16 * * FRIDAY', for: 1h, because: x}",
            "has 'FRIDAY' as its day of the week: write 0 to 7 or SUN to SAT",
        ),
        freeze(
            "{cron: '0 16 30 2 *', for: 1h, because: x}",
            "window 1 of `freeze`: `cron: 0 16 30 2 *` never begins",
        ),
        freeze(
            "{cron: '0 16 * * *', for: 24h, because: x}",
            "begins again before its `for: 24h` is over, and so it would never end",
        ),
        freeze(
            "{cron: '*/5 * * * *', for: 5m, because: x}",
            "make `for` shorter than the time from one beginning to the next",
        ),
        freeze(
            "{cron: '0 16 1 * *', for: 768h, because: x}",
            "`for` is 768h: 1m to 744h (31 days) is allowed",
        ),
        freeze(
            "{cron: '0 16 1 * *', for: 30s, because: x}",
            "`for` is 30s: 1m to 744h",
        ),
        freeze(
            "{cron: '0 16 1 * *', for: a while, because: x}",
            "`for` is 'a while', which is not a duration",
        ),
        freeze("{cron: '0 16 1 * *', because: x}", "such as for: 12h"),
        freeze("{for: 1h, because: x}", "such as cron:"),
        freeze("{from: 2026-12-20T00:00, because: x}", "such as until:"),
        freeze("{until: 2026-12-20T00:00, because: x}", "such as from:"),
        freeze("{because: x}", "either `cron` and `for`"),
        freeze(
            "{cron: '0 16 1 * *', for: 1h, until: 2026-12-20T00:00, because: x}",
            "either `cron` and `for`, and comes again, or `from` and `until`",
        ),
        freeze(
            "{from: 2026-12-20T00:00, until: 2026-12-20T00:00, because: x}",
            "it would end before it begins",
        ),
        freeze(
            "{from: 2026-12-20T00:00, until: 2027-12-22T00:00, because: x}",
            "at most 366 days are allowed",
        ),
        freeze(
            "{from: 2026-12-20T00:00Z, until: 2027-01-02T00:00, because: x}",
            "`from` is '2026-12-20T00:00Z': write a date and a time on the clock of `time-zone`",
        ),
        freeze(
            "{from: 2026-12-20T00:00, until: 2027-01-02, because: x}",
            "`until` is '2027-01-02': write a date and a time",
        ),
        freeze(
            "{from: 2026-12-20T00:00, until: 2027-02-29T00:00, because: x}",
            "`until` is '2027-02-29T00:00': write a date and a time",
        ),
        freeze(
            "{cron: '0 16 * * FRI', for: 1h, time-zone: Berlin, because: x}",
            "`time-zone` is 'Berlin', which is not known: did you mean Europe/Berlin?",
        ),
        freeze(
            "{cron: '0 16 * * FRI', for: 1h, time-zone: US/Eastren, because: x}",
            "did you mean US/Eastern?",
        ),
        freeze(
            "{cron: '0 16 * * FRI', for: 1h, time-zone: '+02:00', because: x}",
            "write a name such as Europe/Berlin or UTC",
        ),
        freeze(
            "{cron: '0 16 * * FRI', for: 1h}",
            "the key `because` is missing",
        ),
        freeze(
            "{cron: '0 16 * * FRI', for: 1h, because: ' '}",
            "`because` has 1 characters: say in 1 to 200",
        ),
        freeze(
            "{crn: '0 16 * * FRI', for: 1h, because: x}",
            "did you mean `cron`?",
        ),
        freeze(
            &"{cron: '0 16 * * FRI', for: 1h, because: x},".repeat(51),
            "`freeze` has 51 windows: at most 50",
        ),
        freeze(
            &format!(
                "{{cron: '{} 16 * * FRI', for: 1h, because: x}}",
                "0,".repeat(300)
            ),
            "bytes: at most 500 are read",
        ),
        freeze(
            &format!(
                "{{cron: '0 16 * * FRI', for: 1h, time-zone: {}, because: x}}",
                "a".repeat(99)
            ),
            "`time-zone` has 99 bytes",
        ),
    ];
    let mistakes = keys.map(known).into_iter().chain(of_metrics);
    for (was, is, message) in mistakes.chain(of_freezes) {
        assert!(GOOD.contains(was), "the example has no {was}");
        let said = error(&GOOD.replacen(was, &is, 1));
        assert!(
            said.contains(message),
            "{is}\n  said: {said}\n  not:  {message}"
        );
        let placed = said.starts_with("line ") || said.starts_with("version");
        assert!(placed, "{is} has no place: {said}");
    }
}

const ALIAS: &str = "version: 1
releases:
  shop:
    target:
      lambda-alias:
        function: arn:aws:lambda:eu-west-1:123456789012:function:shop
        alias: live
        version: published
    steps: [{set-weight: 0.05%}, {judge: {windows: 5}}, {set-weight: 100%}]
";

#[test]
fn a_lambda_alias_takes_its_candidate_from_three_places_and_any_weight() {
    for (written, version) in [
        ("        version: published\n", NewVersion::Published),
        ("", NewVersion::Published),
        ("        version: 8\n", NewVersion::Number(8)),
        ("        version: '8'\n", NewVersion::Number(8)),
        (
            "        version: {file: out/version.txt}\n",
            NewVersion::File("out/version.txt".to_owned()),
        ),
    ] {
        let text = ALIAS.replace("        version: published\n", written);
        let config = Config::parse(&text).unwrap();
        let target = &config.release(None).unwrap().1.target;
        let TargetSpec::LambdaAlias(alias) = target else {
            panic!("{target:?}");
        };
        assert_eq!(alias.version, version, "{written}");
        assert_eq!(
            target.id().0,
            "arn:aws:lambda:eu-west-1:123456789012:function:shop:live"
        );
    }
}

#[test]
fn every_mistake_in_a_lambda_alias_names_its_place_and_its_fix() {
    for (was, is, message) in [
        (
            "arn:aws:lambda:eu-west-1:123456789012:function:shop",
            "shop",
            "`function` is 'shop': write the function's ARN",
        ),
        (
            ":123456789012:",
            ":account:",
            "write the function's ARN, arn:aws:lambda:REGION:ACCOUNT:function:NAME",
        ),
        (
            "function:shop",
            "function:shop:live",
            "leave out ':live' and name the alias under `alias`",
        ),
        ("function:shop", "function:shöp", "write the function's ARN"),
        (
            "alias: live",
            "alias: $LATEST",
            "`alias` is '$LATEST': write an alias' name",
        ),
        ("alias: live", "alias: '8'", "no bare number"),
        ("alias: live", "alias: ''", "1 to 128"),
        ("        alias: live\n", "", "the key `alias` is missing"),
        (
            "version: published",
            "version: latest",
            "write published, a version's number such as 8, or {file: version.txt}",
        ),
        (
            "version: published",
            "version: 0",
            "the first version of a function is 1",
        ),
        (
            "version: published",
            "version: -1",
            "the first version of a function is 1",
        ),
        (
            "version: published",
            "version: '99999999999999999999'",
            "no version is so high",
        ),
        (
            "version: published",
            "version: [8]",
            "published, a version's number such as 8, or {file: version.txt}",
        ),
        (
            "version: published",
            "version: {fil: version.txt}",
            "did you mean `file`?",
        ),
        (
            "version: published",
            "version: {file: ' '}",
            "write {file: version.txt}",
        ),
        ("        alias:", "        alas:", "did you mean `alias`?"),
        (
            "lambda-alias:",
            "lambda-alas:",
            "did you mean `lambda-alias`?",
        ),
        (
            "    steps:",
            "    metrics: {own: {total: {expression: '${arm}'}, bad: {expression: '${target-group}'}}}\n    steps:",
            "a query with ${target-group}: an alias has none; write ${version}",
        ),
    ] {
        assert!(ALIAS.contains(was), "the example has no {was}");
        let said = error(&ALIAS.replacen(was, is, 1));
        assert!(
            said.contains(message),
            "{is}\n  said: {said}\n  not:  {message}"
        );
        assert!(said.starts_with("line "), "{is} has no place: {said}");
    }
}

#[test]
fn a_section_that_is_not_there_is_told_which_are() {
    let config = Config::parse(GOOD).unwrap();
    let said = config.gate(Some("untt")).unwrap_err().to_string();
    assert!(
        said.contains("no section 'untt': `gates` has e2e, unit"),
        "{said}"
    );
    let said = config.gate(None).unwrap_err().to_string();
    assert!(said.contains("name one as \"section\""), "{said}");
    let empty = Config::parse("version: 1").unwrap();
    let said = empty.release(None).unwrap_err().to_string();
    assert!(said.contains("the file has no `releases`"), "{said}");
}

#[test]
fn hostile_yaml_is_refused_in_bounded_time() {
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for i in 1..30 {
        let refs = vec![format!("*a{}", i - 1); 10].join(",");
        bomb += &format!("a{i}: &a{i} [{refs}]\n");
    }
    error(&bomb);
    error(&"[".repeat(100_000));
    error(&format!("version: 1\n#{}", "x".repeat(CONFIG_BYTES_MAX)));
    error("version: 1\n\u{0}");
}
