//! The actions against the in-memory world: what a job is answered, and what happens to traffic.

use std::io::{Cursor, Read, Write};

mod announce;
mod company;
mod gate;
mod lambda_alias;
mod sources;

use actions::{CanaryShift, HealthCheck, RollbackTrigger, TestGate};
use engine::fakes::{Fault, Run, World};
use engine::{
    Action, ActionError, AppendError, Artifact, Class, Credentials, Invocation, Job, Trigger,
    UserParameters,
};
use futures::FutureExt;
use jiff::SignedDuration;
use release::check::Probed;
use release::sources::OutsideEvent;
use release::{Arms, FailureKind, JobReply, Weight};
use serde_json::json;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const CONFIG: &str = r#"
version: 1
gates:
  unit:
    reports: ["reports/junit.xml", "reports/coverage.xml"]
    rules: {min-tests: 2, min-line-coverage: 50%}
releases:
  web:
    target:
      alb-rule:
        rule: arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/shop/1/2/3
        target-groups:
          - arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/blue/1
          - arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/green/2
    steps: [{set-weight: 10%}, {judge: {windows: 2}}, {set-weight: 100%}]
    window: 1s
    settle: 0s
    alarms: [slow]
health-checks:
  web:
    probes: [{http: {url: "http://shop/health"}}]
    interval: 5s
    in-a-row: 2
    within: 20s
"#;
const JUNIT: &str = r#"<testsuite><testcase name="a"/><testcase name="b"/></testsuite>"#;
const FAILING: &str = r#"<testsuite><testcase name="a"/><testcase name="pays"><failure message="no money"/></testcase></testsuite>"#;
const COVERAGE: &str = r#"<coverage line-rate="0.5" lines-covered="5" lines-valid="10" branches-covered="0" branches-valid="0"><packages/></coverage>"#;
const ALLOWED: &str = "arn:aws:elasticloadbalancing:*:listener-rule/app/shop/*";

fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, stored).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn artifact(name: &str) -> Artifact {
    Artifact {
        name: name.to_owned(),
        bucket: "artifacts".to_owned(),
        key: name.to_owned(),
    }
}

fn world(files: &[(&str, &str)]) -> World {
    let world = World::default();
    let key = ("artifacts".to_owned(), "BuildOut".to_owned());
    world.change().artifacts.insert(key, zip(files));
    world
}

fn job(id: &str, section: &str) -> Job {
    Job {
        id: id.to_owned(),
        token: None,
        parameters: UserParameters {
            section: Some(section.to_owned()),
            ..UserParameters::default()
        },
        inputs: vec![artifact("BuildOut")],
        outputs: Vec::new(),
        credentials: Credentials {
            access_key_id: String::new(),
            secret_access_key: String::new(),
            session_token: String::new(),
        },
        encryption_key: None,
    }
}

fn call(world: &World) -> Invocation {
    Invocation::new("run", world.look().now + SignedDuration::from_secs(60))
}

fn run(action: &impl Action, world: &World, job: &Job) -> Result<JobReply, ActionError> {
    let call = call(world);
    let ports = Run::new(world, call.clone());
    action.run(&ports, &call, job).now_or_never().unwrap()
}

fn failure(reply: Result<JobReply, ActionError>) -> (FailureKind, String) {
    match reply {
        Ok(JobReply::Fail { kind, message }) => (kind, message),
        other => panic!("no failure: {other:?}"),
    }
}

fn refusal(reply: Result<JobReply, ActionError>) -> String {
    match reply {
        Err(error) => error.to_string(),
        Ok(reply) => panic!("not refused: {reply:?}"),
    }
}

// ---------------------------------------------------------------- test-gate

#[test]
fn a_gate_passes_good_reports_and_hands_its_numbers_on() {
    let files = [
        ("penstock.yaml", CONFIG),
        ("reports/junit.xml", JUNIT),
        ("reports/coverage.xml", COVERAGE),
    ];
    let world = world(&files);
    let mut job = job("1", "unit");
    job.outputs.push(artifact("GateReport"));
    let Ok(JobReply::Succeed { outputs, summary }) = run(&TestGate, &world, &job) else {
        panic!("it failed");
    };
    assert_eq!(
        (outputs["tests"].as_str(), outputs["coverage"].as_str()),
        ("2", "50.0")
    );
    assert!(
        summary.starts_with("test gate passed: 2 tests"),
        "{summary}"
    );
    let key = ("artifacts".to_owned(), "GateReport".to_owned());
    let stored = world.look().artifacts[&key].clone();
    let mut report = zip::ZipArchive::new(Cursor::new(stored)).unwrap();
    let result: serde_json::Value =
        serde_json::from_reader(report.by_name("result.json").unwrap()).unwrap();
    assert_eq!(result["verdict"], json!("pass"));
    for (name, part) in [("report.html", "<html"), ("report.md", "unit")] {
        let mut page = String::new();
        report
            .by_name(name)
            .unwrap()
            .read_to_string(&mut page)
            .unwrap();
        assert!(page.contains(part), "{name}");
    }
    let measured = world.look().measured.clone();
    assert_eq!(measured.len(), 1);
    assert!(measured[0].contains(r#""Gate":"unit""#), "{measured:?}");
}

#[test]
fn a_gate_fails_with_the_reason_whatever_is_wrong_with_the_reports() {
    for (junit, part) in [
        (Some(FAILING), "1 failed, 0 allowed; pays: no money"),
        (Some("<testsuite><testcase name='a'/>"), "reports/junit.xml"),
        (Some(""), "empty"),
        (Some("<testsuite/>"), "the report has no tests"),
        (Some("{}"), "set `format` to one of"),
        (None, "matches 'reports/junit.xml'"),
    ] {
        let mut files = vec![
            ("penstock.yaml", CONFIG),
            ("reports/coverage.xml", COVERAGE),
        ];
        files.extend(junit.map(|text| ("reports/junit.xml", text)));
        let (kind, message) = failure(run(&TestGate, &world(&files), &job("1", "unit")));
        assert_eq!(kind, FailureKind::JobFailed);
        assert!(message.contains(part), "{junit:?}: {message}");
    }
}

#[test]
fn an_artifact_that_cannot_be_fetched_for_now_is_no_verdict() {
    let world = world(&[
        ("penstock.yaml", CONFIG),
        ("reports/junit.xml", JUNIT),
        ("reports/coverage.xml", COVERAGE),
        ("large.bin", &" ".repeat(1_000_000)),
    ]);
    // Its end with the list of files, the configuration, and each report.
    let requests = 4;
    for artifact_requests in 0..requests {
        world.change().artifact_requests = artifact_requests;
        let reply = run(&TestGate, &world, &job("1", "unit"));
        let Err(ActionError::Port(error)) = reply else {
            panic!("answered after {artifact_requests} requests: {reply:?}");
        };
        assert_eq!(error.class, Class::Retryable);
    }
    world.change().artifact_requests = requests;
    let reply = run(&TestGate, &world, &job("1", "unit"));
    assert!(matches!(reply, Ok(JobReply::Succeed { .. })), "{reply:?}");
}

#[test]
fn a_job_that_cannot_be_done_says_what_to_change() {
    let good = world(&[("penstock.yaml", CONFIG)]);
    let mut no_artifact = job("1", "unit");
    no_artifact.inputs.clear();
    assert!(refusal(run(&TestGate, &good, &no_artifact)).contains("InputArtifacts"));
    let no_config = refusal(run(&TestGate, &world(&[("x", "y")]), &job("1", "unit")));
    assert!(
        no_config.contains("no penstock.yaml in the input artifacts (BuildOut)"),
        "{no_config}"
    );
    let unknown = refusal(run(&TestGate, &good, &job("1", "unti")));
    assert!(unknown.contains("`gates` has unit"), "{unknown}");
    let broken = CONFIG.replace("rules:", "ruels:");
    let typo = refusal(run(
        &TestGate,
        &world(&[("penstock.yaml", &broken)]),
        &job("1", "unit"),
    ));
    assert!(
        typo.contains("line 6") && typo.contains("did you mean `rules`?"),
        "{typo}"
    );
    let mut absent = job("1", "unit");
    absent.inputs[0].key = "elsewhere".to_owned();
    assert!(refusal(run(&TestGate, &good, &absent)).contains("fetch artifact BuildOut"));
    let not_a_zip = World::default();
    let key = ("artifacts".to_owned(), "BuildOut".to_owned());
    not_a_zip.change().artifacts.insert(key, b"no zip".to_vec());
    assert!(refusal(run(&TestGate, &not_a_zip, &job("1", "unit"))).contains("artifact BuildOut"));
}

// ---------------------------------------------------------------- canary-shift

fn release_world() -> World {
    world(&[("penstock.yaml", CONFIG)])
}

/// Continues a release until it ends; the last reply.
fn finish(world: &World, first: &Job) -> JobReply {
    let action = CanaryShift::new("*");
    let mut job = first.clone();
    for number in 0..100 {
        match run(&action, world, &job).unwrap() {
            JobReply::Continue { token, .. } => {
                job.id = format!("{}-{number}", first.id);
                job.token = Some(token.story);
            }
            end => return end,
        }
        world.pass(SignedDuration::from_secs(2));
    }
    panic!("it did not end");
}

#[test]
fn a_good_release_is_promoted_and_says_so_with_the_numbers() {
    let world = release_world();
    let JobReply::Succeed { summary, outputs } = finish(&world, &job("1", "web")) else {
        panic!("not promoted");
    };
    assert!(
        summary.starts_with("promoted: the candidate serves 100%"),
        "{summary}"
    );
    assert_eq!(outputs["release"], "web-1");
    assert_eq!(world.weight(), Weight::FULL);
}

#[test]
fn a_bad_release_goes_back_and_says_why_with_the_numbers() {
    let world = release_world();
    world.change().candidate_fails = 0.3;
    let (kind, message) = failure(Ok(finish(&world, &job("1", "web"))));
    assert_eq!(kind, FailureKind::JobFailed);
    assert!(
        message.contains("errors 30 %") && message.contains("evidence"),
        "{message}"
    );
    assert_eq!(world.weight(), Weight::ZERO);
}

/// A file of the output artifact; None when nothing has been stored.
fn stored(world: &World, name: &str) -> Option<String> {
    let key = ("artifacts".to_owned(), "Report".to_owned());
    let bytes = world.look().artifacts.get(&key).cloned()?;
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut text = String::new();
    let mut file = zip.by_name(name).unwrap();
    file.read_to_string(&mut text).unwrap();
    Some(text)
}

#[test]
fn a_release_stores_its_report_once_it_is_over_however_it_ends() {
    for (fails, phase, heading) in [
        (0.0, "promoted", "Promoted"),
        (0.3, "rolled-back", "Rolled back"),
    ] {
        let world = release_world();
        world.change().candidate_fails = fails;
        let mut job = job("1", "web");
        job.outputs.push(artifact("Report"));
        run(&CanaryShift::new(ALLOWED), &world, &job).unwrap();
        assert_eq!(stored(&world, "result.json"), None, "it is not over yet");
        let told = finish(&world, &job);
        let html = stored(&world, "report.html").unwrap();
        assert!(html.contains(&format!("<title>{heading}: web-1</title>")));
        let result: serde_json::Value =
            serde_json::from_str(&stored(&world, "result.json").unwrap()).unwrap();
        assert_eq!(result["end"]["phase"], phase);
        let counted = result["windows"][0]["metrics"]["errors"]["baseline"]["count"].as_u64();
        assert_eq!(counted, Some(1_800));
        assert_eq!(
            finish(&world, &job),
            told,
            "whoever comes again is told the same"
        );
    }
}

#[test]
fn a_release_whose_report_cannot_be_stored_fails_and_says_how_it_ended() {
    let world = release_world();
    world.change().refuses_artifacts = true;
    let mut job = job("1", "web");
    job.outputs.push(artifact("Report"));
    let (_, message) = failure(Ok(finish(&world, &job)));
    for part in [
        "promoted: the candidate serves 100%",
        "its report is not in the output artifact: could not store artifact Report: AccessDenied",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(
        world.weight(),
        Weight::FULL,
        "the release itself is as it ended"
    );
}

#[test]
fn a_report_that_cannot_be_stored_for_now_is_stored_by_a_further_job() {
    let world = release_world();
    let mut job = job("1", "web");
    let told = finish(&world, &job);
    job.outputs.push(artifact("Report"));
    let call = call(&world);
    let one = |number| {
        let ports = Run::new(&world, call.clone()).with_fault(number, Fault::Throttled, &|_| {});
        let action = CanaryShift::new(ALLOWED);
        let reply = action.run(&ports, &call, &job).now_or_never().unwrap();
        (reply, ports.calls())
    };
    let (reply, calls) = one(usize::MAX);
    assert_eq!(reply.unwrap(), told);
    world
        .change()
        .artifacts
        .remove(&("artifacts".to_owned(), "Report".to_owned()));
    let (reply, _) = one(calls - 1);
    let Err(ActionError::Port(error)) = reply else {
        panic!("answered: {reply:?}");
    };
    assert_eq!(error.class, Class::Retryable);
    assert!(
        error
            .to_string()
            .contains("for a release that is over: promoted"),
        "{error}"
    );
    assert_eq!(one(usize::MAX).0.unwrap(), told);
    assert!(stored(&world, "report.html").is_some());
}

#[test]
fn a_target_that_the_stack_does_not_allow_is_not_touched() {
    let world = release_world();
    let action = CanaryShift::new("arn:aws:elasticloadbalancing:*:listener-rule/app/other/*");
    let message = refusal(run(&action, &world, &job("1", "web")));
    assert!(message.contains("AllowedTargets"), "{message}");
    assert!(world.look().weights.is_empty());
}

#[test]
fn test_traffic_where_no_rule_may_be_made_begins_no_release() {
    let route = "steps: [{header-route: {query: {key: test, value: canary}}}, ";
    let config = CONFIG.replace("steps: [", route);
    let world = world(&[("penstock.yaml", &config)]);
    let message = refusal(run(&CanaryShift::new(ALLOWED), &world, &job("1", "web")));
    assert!(message.contains(":listener/app/shop/1/2 in"), "{message}");
    assert!(world.look().logs.is_empty());
    let both = format!("{ALLOWED},arn:aws:elasticloadbalancing:*:listener/app/shop/*");
    run(&CanaryShift::new(&both), &world, &job("1", "web")).unwrap();
    assert!(world.look().test_traffic.is_some());
}

#[test]
fn what_there_is_to_know_of_a_target_is_said_at_the_beginning_and_at_the_end() {
    let world = release_world();
    let warning = "clients are sticky".to_owned();
    world.change().warnings = vec![warning.clone()];
    let mut job = job("1", "web");
    job.outputs.push(artifact("Report"));
    let Ok(JobReply::Continue { summary, token, .. }) = run(&CanaryShift::new("*"), &world, &job)
    else {
        panic!("it does not go on");
    };
    assert!(
        summary.ends_with("; warning: clients are sticky"),
        "{summary}"
    );
    job.token = Some(token.story);
    let JobReply::Succeed { summary, .. } = finish(&world, &job) else {
        panic!("not promoted");
    };
    assert!(
        summary.ends_with("; warning: clients are sticky"),
        "{summary}"
    );
    let page = stored(&world, "report.html").unwrap();
    assert!(page.contains(&warning), "{page}");
}

#[test]
fn a_second_release_on_a_busy_target_is_told_who_holds_it() {
    let world = release_world();
    let action = CanaryShift::new(ALLOWED);
    run(&action, &world, &job("1", "web")).unwrap();
    let refused = || match run(&action, &world, &job("2", "web")) {
        Err(ActionError::Append(AppendError::Busy { holder, .. })) => {
            assert_eq!(holder.as_str(), "web-1");
        }
        other => panic!("not refused: {other:?}"),
    };
    refused();
    // As if the rule had been set by hand meanwhile: the claim refuses all the same.
    world.drift(Weight::ZERO);
    refused();
}

#[test]
fn the_same_job_twice_is_one_release() {
    let world = release_world();
    let action = CanaryShift::new(ALLOWED);
    let first = run(&action, &world, &job("1", "web")).unwrap();
    let again = run(&action, &world, &job("1", "web")).unwrap();
    assert_eq!(first, again);
    let logs = &world.look().logs;
    assert_eq!(logs.len(), 1);
}

#[test]
fn a_first_job_that_met_a_fault_begins_its_release_at_the_next_one() {
    let world = release_world();
    let mut next = job("9", "web");
    next.token = Some("web-8".to_owned().try_into().unwrap());
    let JobReply::Continue { token, .. } = run(&CanaryShift::new(ALLOWED), &world, &next).unwrap()
    else {
        panic!("it did not begin");
    };
    assert_eq!(token.story.as_str(), "web-8");
}

#[test]
fn a_file_that_two_globs_match_is_read_once() {
    let config = CONFIG.replace(
        r#""reports/junit.xml", "#,
        r#""reports/junit.xml", "**/junit.xml", "#,
    );
    let files = [
        ("penstock.yaml", config.as_str()),
        ("reports/junit.xml", JUNIT),
        ("reports/coverage.xml", COVERAGE),
    ];
    let Ok(JobReply::Succeed { outputs, .. }) = run(&TestGate, &world(&files), &job("1", "unit"))
    else {
        panic!("it failed");
    };
    assert_eq!(outputs["tests"], "2");
}

#[test]
fn a_release_that_cannot_go_on_goes_back_and_says_what_stopped_it() {
    let world = release_world();
    let action = CanaryShift::new(ALLOWED);
    run(&action, &world, &job("1", "web")).unwrap();
    world.change().refuses_weight = Some(Weight::FULL);
    let (_, message) = failure(Ok(finish(&world, &job("1", "web"))));
    assert!(
        message.contains("rolled back: could not set the weight: AccessDenied"),
        "{message}"
    );
    assert_eq!(world.weight(), Weight::ZERO);
}

// ---------------------------------------------------------------- rollback-trigger

/// Delivers an alarm that fired `age` ago.
fn alarm(world: &World, name: &str, age: SignedDuration) {
    let at = (world.look().now - age)
        .strftime("%Y-%m-%dT%H:%M:%S.000+0000")
        .to_string();
    let detail = json!({"alarmName": name, "state": {"value": "ALARM", "reason": "too slow", "timestamp": at}});
    let event = OutsideEvent {
        id: "1",
        source: "aws.cloudwatch",
        account: "123456789012",
        region: "eu-west-1",
        at: world.look().now,
        resources: &[],
        detail_type: "CloudWatch Alarm State Change",
        detail: &detail,
    };
    let call = call(world);
    let ports = Run::new(world, call.clone());
    RollbackTrigger
        .run(&ports, &call, &event)
        .now_or_never()
        .unwrap()
        .unwrap();
}

#[test]
fn an_alarm_takes_the_traffic_back_at_once_and_the_waiting_job_is_told() {
    let world = release_world();
    run(&CanaryShift::new(ALLOWED), &world, &job("1", "web")).unwrap();
    assert_ne!(world.weight(), Weight::ZERO);
    world.pass(SignedDuration::from_secs(1));
    alarm(&world, "slow", SignedDuration::ZERO);
    assert_eq!(world.weight(), Weight::ZERO);
    let (_, message) = failure(Ok(finish(&world, &job("1", "web"))));
    assert!(
        message.contains("alarm 'slow' fired: too slow"),
        "{message}"
    );
}

#[test]
fn an_alarm_that_is_late_unknown_or_after_the_end_changes_nothing() {
    let world = release_world();
    run(&CanaryShift::new(ALLOWED), &world, &job("1", "web")).unwrap();
    let weight = world.weight();
    alarm(&world, "slow", SignedDuration::from_hours(1));
    alarm(&world, "another", SignedDuration::ZERO);
    assert_eq!(world.weight(), weight);
    assert!(matches!(
        finish(&world, &job("1", "web")),
        JobReply::Succeed { .. }
    ));
    alarm(&world, "slow", SignedDuration::ZERO);
    assert_eq!(world.weight(), Weight::FULL);
}

#[test]
fn an_alarm_that_fired_before_the_release_is_ignored_until_it_clears() {
    let world = release_world();
    world.change().alarms.insert("slow".to_owned());
    assert!(matches!(
        finish(&world, &job("1", "web")),
        JobReply::Succeed { .. }
    ));
    let world = release_world();
    world.change().alarms.insert("slow".to_owned());
    let action = CanaryShift::new(ALLOWED);
    let mut job = job("1", "web");
    run(&action, &world, &job).unwrap();
    job.token = Some("web-1".to_owned().try_into().unwrap());
    for firing in [false, true] {
        let mut state = world.change();
        state.alarms.clear();
        state.alarms.extend(firing.then(|| "slow".to_owned()));
        drop(state);
        let reply = run(&action, &world, &job).unwrap();
        let told = format!("{reply:?}");
        assert_eq!(told.contains("rolled back: alarm 'slow'"), firing, "{told}");
    }
    assert!(matches!(finish(&world, &job), JobReply::Fail { .. }));
    assert_eq!(world.weight(), Weight::ZERO);
}

// ---------------------------------------------------------------- health-check

fn probed(healthy: bool) -> Probed {
    match healthy {
        true => Probed::healthy("http://shop/health answered 200"),
        false => Probed::unhealthy("http://shop/health answered 500"),
    }
}

#[test]
fn a_target_is_healthy_after_enough_healthy_rounds_in_a_row() {
    let world = release_world();
    world.change().probes = vec![probed(true), probed(false), probed(true)];
    let Ok(JobReply::Succeed { summary, .. }) =
        run(&HealthCheck::default(), &world, &job("1", "web"))
    else {
        panic!("not healthy");
    };
    assert!(summary.starts_with("healthy 2 times in a row"), "{summary}");
}

#[test]
fn a_target_that_stays_unhealthy_fails_with_what_was_seen() {
    let world = release_world();
    world.change().probes = vec![probed(false)];
    let (_, message) = failure(run(&HealthCheck::default(), &world, &job("1", "web")));
    assert!(
        message.contains("within 20s: http://shop/health answered 500"),
        "{message}"
    );
}

#[test]
fn a_function_that_the_stack_does_not_allow_begins_no_health_check() {
    let function = "arn:aws:lambda:eu-west-1:123456789012:function:orders";
    let probe = format!("{{lambda: {{function: {function}}}}}");
    let config = CONFIG.replace("{http: {url: \"http://shop/health\"}}", &probe);
    let world = world(&[("penstock.yaml", &config)]);
    let check = HealthCheck::new("arn:aws:lambda:*:*:function:check-*");
    let message = refusal(run(&check, &world, &job("1", "web")));
    assert!(message.contains("AllowedChecks has"), "{message}");
    assert!(world.look().logs.is_empty());
    let check = HealthCheck::new("arn:aws:lambda:*:*:function:orders");
    assert!(matches!(
        run(&check, &world, &job("1", "web")),
        Ok(JobReply::Succeed { .. })
    ));
}

#[test]
fn what_only_the_configuration_can_mend_ends_a_health_check_at_once() {
    let world = release_world();
    world.change().probes = vec![Probed::hopeless("there is no alarm 'slwo'")];
    let (kind, message) = failure(run(&HealthCheck::default(), &world, &job("1", "web")));
    assert_eq!(kind, FailureKind::ConfigurationError);
    assert!(message.contains("no alarm 'slwo'"), "{message}");
}
