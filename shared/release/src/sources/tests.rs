use serde_json::{Value, json};

use super::*;
use crate::watches;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SERVICE: &str = "arn:aws:ecs:eu-west-1:123456789012:service/prod/web";
const GROUP: &str = "arn:aws:codedeploy:eu-west-1:123456789012:deploymentgroup:shop/web";
const EXECUTION: &str = "6b1d7c1e-3f0e-4d0f-9f4e-6a0f3c1b2a90";

fn at() -> Timestamp {
    "2026-03-01T10:00:00Z".parse().unwrap()
}

fn read_as(
    detail_type: &str,
    resources: &[&str],
    detail: &Value,
) -> Result<Option<RollbackRequest>, SourceError> {
    let resources: Vec<_> = resources.iter().map(ToString::to_string).collect();
    read(&OutsideEvent {
        id: "1",
        source: "my.tool",
        account: "123456789012",
        region: "eu-west-1",
        at: at(),
        resources: &resources,
        detail_type,
        detail,
    })
}

/// The name and the reason of what an event asks for; None when it asks for nothing.
fn asked(detail_type: &str, resources: &[&str], detail: &Value) -> Option<(String, String)> {
    let request = read_as(detail_type, resources, detail).unwrap()?;
    let [watch] = request.watches.as_slice() else {
        panic!("not one name: {:?}", request.watches);
    };
    Some((watch.clone(), request.because.to_string()))
}

fn refused(detail_type: &str, resources: &[&str], detail: &Value) -> String {
    read_as(detail_type, resources, detail)
        .unwrap_err()
        .to_string()
}

const ALARM: &str = "CloudWatch Alarm State Change";

#[test]
fn an_alarm_that_fires_asks_for_a_rollback_under_its_name_and_its_own_time() {
    let state = json!({"value": "ALARM", "reason": "too slow", "timestamp": "2026-01-02T03:04:05.678+0000"});
    let detail = json!({"alarmName": "slow", "state": state, "configuration": {}});
    let request = read_as(ALARM, &[], &detail).unwrap().unwrap();
    assert_eq!(request.watches, ["alarm:slow"]);
    assert_eq!(request.at, "2026-01-02T03:04:05.678Z".parse().unwrap());
    assert_eq!(request.because.to_string(), "alarm 'slow' fired: too slow");
}

#[test]
fn an_alarm_that_clears_asks_for_nothing() {
    for value in ["OK", "INSUFFICIENT_DATA"] {
        let state = json!({"value": value, "timestamp": "2026-01-02T03:04:05.678+0000"});
        let detail = json!({"alarmName": "slow", "state": state});
        assert_eq!(asked(ALARM, &[], &detail), None);
    }
}

#[test]
fn an_execution_that_ends_badly_asks_under_its_pipeline_and_id() {
    for (level, place, words) in [
        ("Pipeline", json!({}), "the pipeline's execution"),
        ("Stage", json!({"stage": "Deploy"}), "stage Deploy"),
        (
            "Action",
            json!({"stage": "Deploy", "action": "Smoke"}),
            "action Smoke in stage Deploy",
        ),
    ] {
        let detail_type = format!("CodePipeline {level} Execution State Change");
        let say = |state: &str| {
            let mut detail = json!({"pipeline": "shop", "execution-id": EXECUTION, "state": state});
            let fields = detail.as_object_mut().unwrap();
            fields.extend(place.as_object().unwrap().clone());
            asked(&detail_type, &[], &detail)
        };
        for (state, how) in [
            ("FAILED", "failed"),
            ("STOPPED", "was stopped"),
            ("ABANDONED", "was abandoned"),
            ("CANCELED", "was cancelled"),
            ("SUPERSEDED", "was superseded by a newer one"),
        ] {
            let (watch, why) = say(state).unwrap();
            assert_eq!(watch, watches::execution("shop", EXECUTION));
            assert_eq!(why, format!("{words} {how}"));
        }
        // One that is stopping is still served to its end.
        for state in ["STARTED", "SUCCEEDED", "RESUMED", "STOPPING", "NEW"] {
            assert_eq!(say(state), None, "{level} {state}");
        }
    }
}

#[test]
fn a_pipelines_event_is_read_whatever_its_version_is() {
    let detail_type = "CodePipeline Action Execution State Change";
    let mut detail = json!({
        "pipeline": "shop", "execution-id": EXECUTION, "state": "FAILED",
        "stage": "Deploy", "action": "Smoke",
        "type": {"owner": "AWS", "provider": "CodeBuild", "category": "Test", "version": "1"},
        "execution-result": {"external-execution-summary": "3 tests failed", "error-code": "JobFailed"},
    });
    let told = "action Smoke in stage Deploy failed (JobFailed): 3 tests failed";
    assert_eq!(asked(detail_type, &[], &detail).unwrap().1, told);
    for version in [json!(1), json!(4.0), json!("1"), Value::Null] {
        detail["version"] = version;
        assert_eq!(asked(detail_type, &[], &detail).unwrap().1, told);
    }
}

#[test]
fn a_deployment_that_fails_or_is_stopped_asks_under_its_group() {
    let detail_type = "CodeDeploy Deployment State-change Notification";
    let say = |state: &str| {
        let detail = json!({
            "region": "eu-west-1", "application": "shop", "deploymentGroup": "web",
            "deploymentId": "d-ABC", "instanceGroupId": "i", "state": state,
        });
        asked(detail_type, &[GROUP], &detail)
    };
    for (state, how) in [("FAILURE", "failed"), ("STOP", "was stopped")] {
        let (watch, why) = say(state).unwrap();
        assert_eq!(watch, watches::deployment_group(GROUP));
        assert_eq!(why, format!("deployment d-ABC of shop/web {how}"));
    }
    for state in ["START", "QUEUED", "READY", "SUCCESS"] {
        assert_eq!(say(state), None, "{state}");
    }
}

#[test]
fn a_deployment_that_ecs_gives_up_or_takes_back_asks_under_its_service() {
    let detail_type = "ECS Deployment State Change";
    let say = |name: &str, reason: &str| {
        let detail = json!({
            "eventType": "INFO", "eventName": name, "deploymentId": "ecs-svc/1",
            "updatedAt": "2026-03-01T10:00:00Z", "reason": reason,
        });
        asked(detail_type, &[SERVICE], &detail)
    };
    for (name, reason) in [
        (
            "SERVICE_DEPLOYMENT_FAILED",
            "ECS deployment circuit breaker: task failed to start.",
        ),
        (
            "SERVICE_DEPLOYMENT_IN_PROGRESS",
            "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/0.",
        ),
        (
            "SERVICE_DEPLOYMENT_IN_PROGRESS",
            "ECS deployment alarms: rolling back to deploymentId ecs-svc/0.",
        ),
    ] {
        let (watch, why) = say(name, reason).unwrap();
        assert_eq!(watch, watches::service(SERVICE));
        assert!(
            why.starts_with("the deployment of service prod/web "),
            "{why}"
        );
        assert!(why.contains(reason), "{why}");
    }
    for (name, reason) in [
        (
            "SERVICE_DEPLOYMENT_IN_PROGRESS",
            "ECS deployment ecs-svc/1 in progress.",
        ),
        (
            "SERVICE_DEPLOYMENT_COMPLETED",
            "ECS deployment ecs-svc/1 completed.",
        ),
    ] {
        assert_eq!(say(name, reason), None);
    }
}

#[test]
fn of_a_services_events_only_those_ask_that_waiting_cannot_help() {
    let say = |name: &str| {
        let detail = json!({"eventType": "WARN", "eventName": name, "clusterArn": "arn:aws:ecs:x"});
        asked("ECS Service Action", &[SERVICE], &detail)
    };
    for name in [
        "SERVICE_TASK_START_IMPAIRED",
        "SERVICE_TASK_CONFIGURATION_FAILURE",
    ] {
        let (watch, why) = say(name).unwrap();
        assert_eq!(watch, watches::service(SERVICE));
        assert!(why.starts_with("service prod/web "), "{why}");
    }
    for name in [
        "SERVICE_STEADY_STATE",
        "TASKSET_STEADY_STATE",
        "SERVICE_DESIRED_COUNT_UPDATED",
        "SERVICE_TASK_PLACEMENT_FAILURE",
        "ECS_OPERATION_THROTTLED",
    ] {
        assert_eq!(say(name), None, "{name}");
    }
}

#[test]
fn a_scan_asks_under_the_digest_with_the_worst_that_it_found() {
    let scan = |status: &str, counts: Value| {
        let detail = json!({
            "scan-status": status, "repository-name": "shop/web", "image-digest": DIGEST,
            "image-tags": ["v1"], "finding-severity-counts": counts,
        });
        read_as("ECR Image Scan", &[], &detail).unwrap()
    };
    let found = scan("COMPLETE", json!({"HIGH": 7, "CRITICAL": 2, "LOW": 900})).unwrap();
    assert_eq!(found.watches, [watches::image(DIGEST)]);
    assert_eq!(found.heeded_by, HeededBy::PlansAgainst(Severity::Critical));
    assert_eq!(
        found.because.to_string(),
        format!("ECR's scan found vulnerabilities in shop/web@{DIGEST}, 2 of them critical")
    );
    let found = scan("COMPLETE", json!({"HIGH": 7, "CRITICAL": 0})).unwrap();
    assert_eq!(found.heeded_by, HeededBy::PlansAgainst(Severity::High));
    assert_eq!(scan("COMPLETE", json!({})), None);
    assert_eq!(scan("FAILED", json!({"CRITICAL": 2})), None);
    let without = json!({"scan-status": "FAILED", "repository-name": "w", "image-digest": DIGEST});
    assert_eq!(asked("ECR Image Scan", &[], &without), None);
}

fn finding(status: &str, severity: &str, digests: &[&str]) -> Value {
    let resource = |digest: &&str| {
        json!({
            "type": "AWS_ECR_CONTAINER_IMAGE",
            "id": "arn:aws:ecr:eu-west-1:123456789012:repository/shop/web/sha256:0",
            "details": {"awsEcrContainerImage": {"repositoryName": "shop/web", "imageHash": digest}},
        })
    };
    json!({
        "status": status, "severity": severity, "title": "CVE-2026-1 - openssl",
        "firstObservedAt": "Sun Mar 01 09:59:38.411 UTC 2026",
        "resources": digests.iter().map(resource).collect::<Vec<_>>(),
    })
}

#[test]
fn a_finding_asks_under_the_digests_of_its_images_while_it_is_active() {
    let other = DIGEST.replace('0', "f");
    let detail = finding("ACTIVE", "CRITICAL", &[DIGEST, &other]);
    let found = read_as("Inspector2 Finding", &[], &detail)
        .unwrap()
        .unwrap();
    assert_eq!(
        found.watches,
        [watches::image(DIGEST), watches::image(&other)]
    );
    assert_eq!(found.heeded_by, HeededBy::PlansAgainst(Severity::Critical));
    let why = found.because.to_string();
    assert!(
        why.contains("critical finding in shop/web@sha256:0123"),
        "{why}"
    );
    assert!(why.ends_with("CVE-2026-1 - openssl"), "{why}");
    for nothing in [
        finding("SUPPRESSED", "CRITICAL", &[DIGEST]),
        finding("CLOSED", "CRITICAL", &[DIGEST]),
        finding("ACTIVE", "CRITICAL", &[]),
        finding("ACTIVE", "CRITICAL", &["sha256:12"]),
        json!({"status": "ACTIVE", "severity": "HIGH", "resources": [{"type": "AWS_EC2_INSTANCE"}]}),
    ] {
        assert_eq!(read_as("Inspector2 Finding", &[], &nothing).unwrap(), None);
    }
    let many = vec![DIGEST; 1_000];
    let detail = finding("ACTIVE", "HIGH", &many);
    let found = read_as("Inspector2 Finding", &[], &detail)
        .unwrap()
        .unwrap();
    assert_eq!(found.watches.len(), 10);
}

const REQUEST: &str = "penstock.rollback-requested";

#[test]
fn a_request_finds_the_release_by_its_id_its_target_or_its_execution() {
    let target = "arn:aws:lambda:eu-west-1:123456789012:function:shop:live";
    for (named, watch) in [
        (json!({"release": "web-1"}), "release:web-1".to_owned()),
        (json!({"target": target}), watches::target(target)),
        (
            json!({"pipeline": "shop", "execution": EXECUTION}),
            watches::execution("shop", EXECUTION),
        ),
    ] {
        let mut detail = named;
        detail["reason"] = json!("orders fell by half");
        let why = "my.tool asked for it: orders fell by half".to_owned();
        assert_eq!(asked(REQUEST, &[], &detail), Some((watch.clone(), why)));
        detail["by"] = json!("ada");
        detail["ticket"] = json!("SHOP-7");
        let why = "ada (my.tool) asked for it: orders fell by half".to_owned();
        assert_eq!(asked(REQUEST, &[], &detail), Some((watch, why)));
    }
}

#[test]
fn a_request_that_names_no_release_or_says_no_reason_says_what_to_write() {
    for (detail, part) in [
        (
            json!({"reason": "slow"}),
            "it names none; name the release as {\"release\": ID}",
        ),
        (json!({"reason": "slow", "pipeline": "shop"}), "half of one"),
        (
            json!({"reason": "slow", "release": "a", "target": "b"}),
            "it names several",
        ),
        (
            json!({"reason": "slow", "release": "a b"}),
            "'a b' is not a release id",
        ),
        (
            json!({"reason": " ", "release": "a"}),
            "its reason is empty",
        ),
        (json!({"release": "a"}), "missing field `reason`"),
    ] {
        let why = refused(REQUEST, &[], &detail);
        assert!(why.contains(part), "{why}");
    }
}

#[test]
fn a_detail_that_is_not_as_its_type_promises_is_an_error_that_says_what_is_wrong() {
    for (detail_type, detail, part) in [
        (ALARM, json!({}), "alarmName"),
        (
            ALARM,
            json!({"alarmName": "a", "state": {"value": "ALARM", "timestamp": "noon"}}),
            "noon",
        ),
        (
            ALARM,
            json!({"alarmName": "a".repeat(NAME_BYTES_MAX), "state":
                {"value": "ALARM", "timestamp": "2026-03-01T10:00:00.000+0000"}}),
            "more than 1024 bytes",
        ),
        (
            "CodePipeline Stage Execution State Change",
            json!({"pipeline": "shop", "state": "FAILED"}),
            "execution-id",
        ),
        (
            "ECS Service Action",
            json!({"eventName": "SERVICE_TASK_START_IMPAIRED"}),
            "name no service",
        ),
        (
            "CodeDeploy Deployment State-change Notification",
            json!({"application": "shop", "deploymentGroup": "web", "state": "STOP"}),
            "name no deployment group",
        ),
        (
            "ECR Image Scan",
            json!({"scan-status": "COMPLETE", "repository-name": "w", "image-digest": "latest",
                   "finding-severity-counts": {"HIGH": 1}}),
            "image-digest",
        ),
        ("Something Else", json!({}), "no source reads it"),
    ] {
        let error = refused(detail_type, &[], &detail);
        assert!(error.contains(part), "{error}");
    }
    for kind in SOURCES.iter().filter(|kind| kind.detail_type != SWEEP) {
        for detail in [json!([]), json!(null), json!("x"), json!(7), json!({})] {
            refused(kind.detail_type, &[SERVICE], &detail);
        }
    }
}

#[test]
fn what_is_repeated_of_an_event_is_short_and_steers_no_terminal() {
    let long = "\u{1b}[2J\n".repeat(100_000);
    let mut texts = vec![refused(&long, &[], &json!({}))];
    let state = json!({"value": "ALARM", "timestamp": long, "reason": long});
    texts.push(refused(
        ALARM,
        &[],
        &json!({"alarmName": "a", "state": state}),
    ));
    texts.push(refused(ALARM, &[], &json!(long)));
    for (detail_type, detail) in [
        (
            "CodePipeline Action Execution State Change",
            json!({"pipeline": "shop", "execution-id": "1", "state": "FAILED", "stage": long, "action": long,
                   "execution-result": {"external-execution-summary": long, "error-code": long}}),
        ),
        (
            "ECS Deployment State Change",
            json!({"eventName": "SERVICE_DEPLOYMENT_FAILED", "reason": long}),
        ),
        (
            "CodeDeploy Deployment State-change Notification",
            json!({"application": "a", "deploymentGroup": "b", "state": "STOP", "deploymentId": long}),
        ),
        (
            REQUEST,
            json!({"release": "a", "reason": format!("x{long}"), "by": long}),
        ),
    ] {
        texts.push(asked(detail_type, &[GROUP, SERVICE], &detail).unwrap().1);
    }
    for text in texts {
        assert!(text.len() < 1_000, "{} bytes: {text:.80}", text.len());
        assert!(!text.contains(char::is_control), "{text:?}");
    }
}

#[test]
fn each_kind_is_believed_of_its_own_sender_only() {
    let home = Home::of_function("arn:aws:lambda:eu-west-1:123456789012:function:trigger:live");
    let home = home.unwrap();
    let stand_ins = StandIns::parse("local.cloudwatch, local.codepipeline,local.ecs,a.tool");
    let detail = json!({});
    for kind in SOURCES {
        let event = |source| OutsideEvent {
            id: "1",
            source,
            account: "123456789012",
            region: "eu-west-1",
            at: at(),
            resources: &[],
            detail_type: kind.detail_type,
            detail: &detail,
        };
        let trusted = |source| event(source).trusted(&home, &stand_ins).is_ok();
        let for_request = matches!(kind.sender, Sender::Anybody);
        assert_eq!(trusted("a.tool"), for_request, "{}", kind.detail_type);
        assert!(!trusted(""), "{}", kind.detail_type);
        assert!(!trusted("aws.s3"), "{}", kind.detail_type);
        if let Sender::Aws(service) = kind.sender {
            assert!(trusted(service));
            let stand_in = service.replacen("aws", "local", 1);
            let named = ["local.cloudwatch", "local.codepipeline", "local.ecs"];
            assert_eq!(trusted(&stand_in), named.contains(&stand_in.as_str()));
            let nobody = event(&stand_in).trusted(&home, &StandIns::default());
            assert!(nobody.unwrap_err().to_string().contains(service));
        }
    }
}

#[test]
fn only_a_functions_arn_tells_where_it_runs() {
    let home = Home::of_function("arn:aws-cn:lambda:cn-north-1:123456789012:function:trigger");
    assert_eq!(home.unwrap().region, "cn-north-1");
    for arn in [
        "",
        "function-arn",
        "arn:aws:lambda:eu-west-1:123456789012:layer:x",
        "arn:aws:lambda::123456789012:function:x",
        "arn:aws:lambda:eu-west-1::function:x",
        "arn:aws:s3:eu-west-1:123456789012:function:x",
    ] {
        assert_eq!(Home::of_function(arn), None, "{arn}");
    }
}
