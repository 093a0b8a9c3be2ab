//! Verdicts to make pages of: what a gate says of made-up reports.

pub mod stories;

use jiff::{SignedDuration, Timestamp};
use pages::GatePage;
use release::gate::{Context, Evidence, Found, Gate, GateVerdict, History};
use reports::{
    Content, Finding, FindingsReport, Format, Outcome, Provenance, Ratio, Report, Severity,
    TestCase, TestReport,
};

/// A verdict, and the runs before it.
pub struct Sample {
    pub name: &'static str,
    pub verdict: GateVerdict,
    pub history: History,
}

impl Sample {
    pub fn page(&self) -> GatePage<'_> {
        GatePage {
            gate: "unit",
            verdict: &self.verdict,
            history: &self.history,
            execution: Some("3137f7cb-8d49-4c31-9b1c-2f1f0d2a7e10"),
            commit: Some("9f2c1de8b04a"),
            pipeline: Some("shop-release"),
            made: made(),
        }
    }
}

/// When all of them were judged.
pub fn made() -> Timestamp {
    "2026-11-23T09:41:00Z".parse().unwrap()
}

/// One of each kind.
pub fn all() -> Vec<Sample> {
    vec![
        pass(),
        warned(),
        fail(),
        findings_only(),
        coverage_only(),
        hostile(),
        first(),
        huge(),
    ]
}

const RULES: &str = r#""rules": {
    "max-skipped": "5%", "min-tests": 400, "max-test-drop": "2%",
    "max-flaky": {"limit": 2, "level": "warn"}, "max-duration": "10m",
    "min-line-coverage": "80%", "min-branch-coverage": "60%", "max-coverage-drop": "1%",
    "max-findings": {"critical": 0, "high": 1, "fixable-only": true}
  },
  "quarantine": [{"test": "*payment*retries*", "ticket": "SHOP-812", "expires": "2027-01-31"}],
  "allow": [{"id": "CVE-2023-26136", "reason": "only used by the build, see SHOP-640", "expires": "2027-01-31"}]"#;

fn gate(rest: &str) -> Gate {
    let comma = if rest.is_empty() { "" } else { "," };
    serde_json::from_str(&format!(
        r#"{{"reports": ["reports/*.xml"]{comma} {rest}}}"#
    ))
    .unwrap()
}

fn found(path: &str, format: &str, content: Content) -> Found {
    Found::Report {
        place: 0,
        path: path.to_owned(),
        modified: Some(made() - SignedDuration::from_mins(4)),
        report: Report {
            format: format.parse().unwrap(),
            content,
            provenance: Provenance::default(),
        },
    }
}

fn judge(
    gate: &Gate,
    found: Vec<Found>,
    history: &History,
    now: Timestamp,
    run: &str,
) -> GateVerdict {
    let mut evidence = Evidence::default();
    found.into_iter().for_each(|found| evidence.add(found));
    let context = Context {
        by: release::gate::Caller::Pipeline,
        now,
        run,
        since: None,
        commit: Some("9f2c1de8b04a"),
        history,
        lost: None,
    };
    gate.judge(evidence, &context)
}

const RUN: &str = "3137f7cb-8d49-4c31-9b1c-2f1f0d2a7e10";

fn sample(name: &'static str, gate: &Gate, found: Vec<Found>, history: History) -> Sample {
    let verdict = judge(gate, found, &history, made(), RUN);
    Sample {
        name,
        verdict,
        history,
    }
}

/// A report of tests of these outcomes.
pub fn tests(cases: impl IntoIterator<Item = TestCase>) -> Content {
    let mut report = TestReport::default();
    for case in cases {
        let totals = &mut report.totals;
        totals.tests += 1;
        totals.flaky += u64::from(case.flaky);
        match case.outcome {
            Outcome::Passed => totals.passed += 1,
            Outcome::Skipped => totals.skipped += 1,
            Outcome::Failed => totals.failed += 1,
            Outcome::Errored => totals.errors += 1,
        }
        report.duration_seconds += case.seconds.unwrap_or(0.0);
        report.list(case);
    }
    Content::Tests(report)
}

const CLASSES: [&str; 9] = [
    "shop.cart.CartTest",
    "shop.cart.DiscountTest",
    "shop.checkout.PaymentTest",
    "shop.checkout.AddressTest",
    "shop.catalog.SearchTest",
    "shop.catalog.ImageTest",
    "shop.account.LoginTest",
    "shop.account.PasswordResetTest",
    "shop.stock.ReservationTest",
];

const DOES: [&str; 11] = [
    "adds_an_item",
    "removes_the_last_item",
    "rounds_half_to_even",
    "keeps_its_order_after_a_retry",
    "refuses_a_negative_amount",
    "finds_nothing_for_an_empty_query",
    "survives_a_slow_answer_of_the_payment_provider_and_does_not_charge_twice",
    "is_idempotent",
    "rejects_an_expired_token",
    "shows_the_price_in_the_customers_currency",
    "is_sorted",
];

const MESSAGES: [&str; 6] = [
    "expected 3 but was 4",
    "AssertionError: expected: <PaymentState{status=CAPTURED, attempts=1}> but was: <PaymentState{status=PENDING, attempts=3}>",
    "java.net.SocketTimeoutException: Read timed out",
    "assertion `left == right` failed: totals differ by 0.01",
    "NullPointerException: Cannot invoke \"Customer.currency()\" because \"customer\" is null",
    "element not found: [data-test=\"checkout-button\"]",
];

/// The test of a number.
fn case(number: usize) -> TestCase {
    let (class, does) = (CLASSES[number % CLASSES.len()], DOES[number % DOES.len()]);
    TestCase {
        suite: class.to_owned(),
        classname: class.to_owned(),
        name: format!("{does}_{number}"),
        seconds: Some(
            0.0007
                * (number * 7919 % 997) as f64
                * if number.is_multiple_of(131) { 9.0 } else { 0.1 },
        ),
        ..TestCase::default()
    }
}

fn failing(number: usize) -> TestCase {
    let outcome = if number % 10 == 3 {
        Outcome::Errored
    } else {
        Outcome::Failed
    };
    let message = MESSAGES[number % MESSAGES.len()].to_owned();
    TestCase {
        outcome,
        message,
        ..case(number)
    }
}

fn skipped(number: usize) -> TestCase {
    let message = "needs a database".to_owned();
    let outcome = Outcome::Skipped;
    TestCase {
        outcome,
        message,
        seconds: None,
        ..case(number)
    }
}

fn flaky(number: usize) -> TestCase {
    TestCase {
        flaky: true,
        ..case(number)
    }
}

/// Coverage of made-up files, `percent` of it covered.
fn coverage(percent: u64) -> Content {
    let mut classes = String::new();
    for (index, class) in CLASSES.iter().enumerate() {
        for (nth, part) in ["", "Factory", "Repository", "Controller"]
            .into_iter()
            .enumerate()
        {
            let path = class.replace('.', "/").replace("Test", part);
            let index = 4 * index + nth;
            let count = 40 + (index as u64 * 97) % 310;
            let line = |n: u64| {
                let hits = u64::from(
                    (n / 7 * 61 + index as u64 * 13) % 100 < percent + index as u64 * 7 % 19,
                );
                let ways = match (n % 6, hits) {
                    (0, 1) => r#" branch="true" condition-coverage="50% (1/2)""#,
                    (3, 1) => r#" branch="true" condition-coverage="100% (2/2)""#,
                    _ => "",
                };
                format!(
                    r#"<line number="{}" hits="{hits}"{ways}/>"#,
                    10 + n + n / 9 * 3
                )
            };
            let lines: String = (0..count).map(line).collect();
            classes += &format!(
                r#"<class name="{path}" filename="src/main/java/{path}.java"><lines>{lines}</lines></class>"#
            );
        }
    }
    let xml = format!(
        r#"<coverage line-rate="1"><packages><package><classes>{classes}</classes></package></packages></coverage>"#
    );
    let format: Format = "cobertura".parse().unwrap();
    reports::read("coverage.xml", xml.as_bytes(), Some(format))
        .unwrap()
        .content
}

fn findings() -> Content {
    let mut report = FindingsReport::of("Trivy");
    let finding = |id: &str, severity, package: &str, fixed_in: &str, message: &str| Finding {
        id: id.to_owned(),
        severity,
        package: package.to_owned(),
        fixed_in: fixed_in.to_owned(),
        message: message.to_owned(),
        ..Finding::default()
    };
    let (critical, high, medium) = (Severity::Critical, Severity::High, Severity::Medium);
    for added in [
        finding(
            "CVE-2024-38816",
            high,
            "spring-webmvc@6.1.11",
            "6.1.13",
            "Path traversal in functional web frameworks",
        ),
        finding(
            "CVE-2023-26136",
            critical,
            "tough-cookie@4.1.2",
            "4.1.3",
            "Prototype pollution in cookie memstore",
        ),
        finding(
            "CVE-2024-47554",
            medium,
            "commons-io@2.11.0",
            "2.14.0",
            "Uncontrolled resource consumption in XmlStreamReader",
        ),
        Finding {
            aliases: vec!["GHSA-78wr-2p64-hpwj".to_owned()],
            ..finding(
                "CVE-2016-1000027",
                critical,
                "spring-web@5.3.39",
                "",
                "Java deserialization of untrusted data leads to remote code execution",
            )
        },
        Finding {
            path: "src/main/java/shop/account/Login.java".to_owned(),
            line: Some(118),
            ..finding(
                "java/sql-injection",
                high,
                "",
                "6.1",
                "Query built from a string that the user controls",
            )
        },
        Finding {
            path: "deploy/Dockerfile".to_owned(),
            line: Some(3),
            suppressed: true,
            ..finding("DS002", high, "", "", "Image runs as root")
        },
        Finding {
            path: "src/main/java/shop/cart/Cart.java".to_owned(),
            line: Some(44),
            ..finding(
                "java/unused-local",
                Severity::Low,
                "",
                "1",
                "Local variable is never read",
            )
        },
    ] {
        report.add(added);
    }
    Content::Findings(report)
}

/// What passes at a day some days ago.
fn usual(day: usize) -> Vec<Found> {
    let count = 4_200 + 13 * day;
    let mut cases: Vec<_> = (0..count).map(case).collect();
    cases.extend((0..12 + day % 5).map(|n| skipped(n + 20_000)));
    cases.extend((0..day % 4 / 3).map(|n| flaky(n + 30_000)));
    for case in &mut cases {
        let slower = 1.0 + 0.004 * day as f64 + 0.06 * (day * 37 % 11) as f64;
        case.seconds = case.seconds.map(|seconds| seconds * slower);
    }
    vec![
        found("reports/surefire/TEST-shop.xml", "junit", tests(cases)),
        found(
            "reports/jacoco/cobertura.xml",
            "cobertura",
            coverage(70 + (day as u64 * 29 % 17) / 5 + day as u64 / 12),
        ),
    ]
}

/// So many runs that passed, one a day.
fn history(days: usize) -> History {
    let lenient = gate("");
    (0..days).fold(History::default(), |history, day| {
        let at = made() - SignedDuration::from_hours(24 * (days - day) as i64);
        let run = format!(
            "{:08x}-8d49-4c31-9b1c-2f1f0d2a7e10",
            0x3137_0000 + day * 977
        );
        judge(&lenient, usual(day), &history, at, &run).remembered(history)
    })
}

pub fn pass() -> Sample {
    let mut found = usual(47);
    found.remove(1);
    found.push(self::found(
        "reports/jacoco/cobertura.xml",
        "cobertura",
        coverage(78),
    ));
    let strict = gate(&RULES.replace(
        "\"max-findings\": {",
        "\"max-findings\": {\"level\": \"off\", ",
    ));
    let mut sample = sample("pass", &strict, found, history(46));
    changed(&mut sample, 184, 200);
    sample
}

/// What a diff would say: so many of the changed lines are covered.
fn changed(sample: &mut Sample, covered: u64, valid: u64) {
    if let Some(coverage) = &mut sample.verdict.coverage {
        coverage.changed = Some(Ratio::new(covered, valid));
    }
}

pub fn warned() -> Sample {
    let mut cases: Vec<_> = (0..640).map(case).collect();
    cases.extend((0..4).map(|n| flaky(n + 30_000)));
    let found = vec![found("reports/TEST-shop.xml", "junit", tests(cases))];
    let rules = r#""rules": {"max-flaky": {"limit": 2, "level": "warn"}, "min-tests": 400}"#;
    sample("warned", &gate(rules), found, history(3))
}

/// 30 failures, 5,000 others, and everything else too.
pub fn fail() -> Sample {
    let mut cases: Vec<_> = (0..28).map(|n| failing(n * 13 + 7)).collect();
    cases.extend((0..2).map(|n| TestCase {
        name: format!("payment_retries_after_{n}_timeouts"),
        ..failing(2 + 9 * n)
    }));
    cases.extend((0..4_960).map(|n| case(n + 400)));
    cases.extend((0..37).map(|n| skipped(n + 20_000)));
    cases.extend((0..3).map(|n| flaky(n + 30_000)));
    let found = vec![
        found("reports/surefire/TEST-shop.xml", "junit", tests(cases)),
        found("reports/jacoco/cobertura.xml", "cobertura", coverage(66)),
        found("reports/trivy.json", "junit", findings()),
    ];
    let mut history = history(60);
    if let Some(last) = &mut history.last {
        last.failing = (2..7).map(|n| (failing(n * 13 + 7).id(), 1)).collect();
    }
    let mut sample = sample("fail", &gate(RULES), found, history);
    changed(&mut sample, 121, 190);
    sample
}

pub fn findings_only() -> Sample {
    let found = vec![found("reports/trivy.json", "junit", findings())];
    sample("findings", &gate(""), found, History::default())
}

pub fn coverage_only() -> Sample {
    let found = vec![found("coverage.xml", "cobertura", coverage(74))];
    let rules = r#""rules": {"min-line-coverage": "70%"}"#;
    sample("coverage", &gate(rules), found, History::default())
}

/// Texts that would be markup, somewhere.
pub const HOSTILE: [&str; 16] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "'--></style></script><svg/onload=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](https://example.com/x.png)",
    "a | b | c",
    "`code` ``` **bold** _it_ ~~gone~~ \\",
    "@everyone #1 !2 GH-3 owner/repo#4",
    "https://example.com www.example.com mail@example.com",
    "{{ 7 * 7 }} {% raw %} ${7*7}",
    "&lt;b&gt; &amp; &#60;i&#62;",
    "<!-- --> ]]> <![CDATA[",
    ":bug: :+1: $x$ $$y$$ [^1] [ ] - [x] # h1",
    "ab\u{200b}c\u{fffd}🙂 ünïcödé 漢字 نص",
    "<a href=\"https://example.com\">x</a><base href=//x>",
    "=cmd|' /C calc'!A0",
];

pub fn hostile() -> Sample {
    with_texts(&HOSTILE)
}

/// A page on which each of these texts stands wherever a text can.
pub fn with_texts(texts: &[&str]) -> Sample {
    let outcomes = [
        Outcome::Failed,
        Outcome::Errored,
        Outcome::Skipped,
        Outcome::Passed,
    ];
    let cases = texts.iter().flat_map(|text| {
        let all = outcomes
            .map(|outcome| (outcome, false))
            .into_iter()
            .chain([(Outcome::Passed, true)]);
        all.map(move |(outcome, flaky)| TestCase {
            suite: (*text).to_owned(),
            classname: format!("c{text}"),
            name: (*text).to_owned(),
            message: (*text).to_owned(),
            outcome,
            flaky,
            seconds: Some(0.1),
        })
    });
    let mut findings = FindingsReport::of("scanner");
    for text in texts {
        for path in [(*text).to_owned(), format!("excused/{text}")] {
            findings.add(Finding {
                id: (*text).to_owned(),
                aliases: vec![(*text).to_owned()],
                severity: Severity::High,
                message: (*text).to_owned(),
                path,
                line: Some(1),
                package: (*text).to_owned(),
                fixed_in: (*text).to_owned(),
                ..Finding::default()
            });
        }
    }
    let mut found = vec![
        found("tests.xml", "junit", tests(cases)),
        found("findings.json", "junit", Content::Findings(findings)),
        found("coverage.xml", "cobertura", coverage(70)),
    ];
    for text in texts {
        found.push(self::found(text, "junit", tests([case(1)])));
        found.push(Found::Missing {
            glob: (*text).to_owned(),
        });
        found.push(Found::Unreadable {
            why: (*text).to_owned(),
        });
    }
    let mut history = history(2);
    for (point, text) in history.points.iter_mut().zip(texts) {
        point.run = (*text).to_owned();
        point.commit = Some((*text).to_owned());
    }
    let allow: Vec<_> = texts.iter().take(1).map(|text| {
        serde_json::json!({"id": "*", "at": "excused/*", "reason": text, "expires": "2027-01-31"})
    }).collect();
    let quarantine: Vec<_> = texts.iter().take(1).filter(|text| !text.trim().is_empty()).map(|text| {
        serde_json::json!({"test": format!("*{text}*"), "ticket": text, "expires": "2027-01-31"})
    }).collect();
    let gate = serde_json::json!({"reports": ["*.xml"], "quarantine": quarantine, "allow": allow});
    sample(
        "hostile",
        &serde_json::from_value(gate).unwrap(),
        found,
        history,
    )
}

/// The first run of all.
pub fn first() -> Sample {
    let cases = (0..120).map(case);
    let found = vec![found("reports/TEST-shop.xml", "junit", tests(cases))];
    sample("first", &gate(""), found, History::default())
}

/// As much as can be listed.
pub fn huge() -> Sample {
    let cases = (0..10_050)
        .map(failing)
        .chain((0..10_050).map(|n| case(n + 20_000)));
    let mut findings = FindingsReport::of("scanner");
    for n in 0..20_100 {
        findings.add(Finding {
            id: format!("CVE-2026-{n:05}"),
            package: format!("package-{n}@1.0.{n}"),
            message: "A finding among many".to_owned(),
            severity: Severity::ALL[n % Severity::ALL.len()],
            ..Finding::default()
        });
    }
    let found = vec![
        found("tests.xml", "junit", tests(cases)),
        found("findings.json", "junit", Content::Findings(findings)),
    ];
    sample("huge", &gate(""), found, History::default())
}
