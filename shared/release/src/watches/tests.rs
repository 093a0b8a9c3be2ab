use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::Arms;
use crate::config::Plan;

fn plan(target: serde_json::Value, alarms: usize) -> Plan {
    let alarms: Vec<_> = (0..alarms).map(|n| format!("alarm-{n}")).collect();
    let steps = json!([{"set-weight": "100%"}]);
    let plan = json!({"target": target, "steps": steps, "alarms": alarms, "hotfix": "a test"});
    serde_json::from_value(plan).unwrap()
}

fn started(plan: Plan) -> Started {
    Started {
        at: "2026-03-01T10:00:00Z".parse().unwrap(),
        release: ReleaseId::try_from("web-1".to_owned()).unwrap(),
        execution: None,
        pipeline: None,
        judge: None,
        plan,
        arms: Arms {
            stable: "blue".to_owned(),
            candidate: "green".to_owned(),
        },
        alarms_firing: BTreeSet::new(),
        images: BTreeSet::new(),
        warnings: Vec::new(),
        slower_than: Default::default(),
    }
}

#[test]
fn a_release_hears_of_what_is_alongside() {
    let mut release = started(plan(alb(), 0));
    release.plan.rollback = serde_json::from_value(json!({"alongside": [
        {"codedeploy": "arn:aws:codedeploy:eu-west-1:123456789012:deploymentgroup:shop/workers"},
        {"ecs-service": "arn:aws:ecs:eu-west-1:123456789012:service/prod/mailer"},
    ]}))
    .unwrap();
    let names = release.watches();
    let workers = "arn:aws:codedeploy:eu-west-1:123456789012:deploymentgroup:shop/workers";
    assert!(names.contains(&deployment_group(workers)));
    let mailer = "arn:aws:ecs:eu-west-1:123456789012:service/prod/mailer";
    assert!(names.contains(&service(mailer)));
}

fn alb() -> serde_json::Value {
    json!({"alb-rule": {"rule": "RULE", "target-groups": ["blue", "green"]}})
}

#[test]
fn a_release_registers_itself_its_target_its_alarms_its_execution_and_its_images() {
    let mut release = started(plan(alb(), 2));
    assert_eq!(
        release.watches(),
        [
            "alarm:alarm-0",
            "alarm:alarm-1",
            "release:web-1",
            "target:RULE"
        ]
    );
    release.pipeline = Some("shop".to_owned());
    assert_eq!(release.watches().len(), 4, "half a name is none");
    release.execution = Some("6b1d".to_owned());
    release.images.insert("sha256:ab".to_owned());
    let names = release.watches();
    assert!(names.contains(&execution("shop", "6b1d")));
    assert!(names.contains(&image("sha256:ab")));
    assert_eq!(names.len(), 6);
}

#[test]
fn of_two_services_the_candidates_is_registered() {
    let arn = |name: &str| format!("arn:aws:ecs:eu-west-1:123456789012:service/prod/{name}");
    let services = json!([
        {"service": arn("web-blue"), "target-group": "blue"},
        {"service": arn("web-green"), "target-group": "green"},
    ]);
    let target = json!({"ecs-services": {
        "rule": "RULE", "services": services, "task-definition": "shop:7",
    }});
    let names = started(plan(target, 0)).watches();
    assert!(names.contains(&service(&arn("web-green"))), "{names:?}");
    assert!(!names.contains(&service(&arn("web-blue"))), "{names:?}");
    let rolling = json!({"ecs-rolling": {"service": arn("web"), "task-definition": "shop:7"}});
    let names = started(plan(rolling, 0)).watches();
    assert!(names.contains(&service(&arn("web"))), "{names:?}");
}

#[test]
fn no_release_begins_with_more_names_than_one_transaction_takes() {
    let mut release = started(plan(alb(), 50));
    release.pipeline = Some("shop".to_owned());
    release.execution = Some("6b1d".to_owned());
    let room = NAMES_MAX - release.watches().len();
    release.images = (0..room).map(|n| format!("sha256:{n}")).collect();
    assert_eq!(release.check_watches(), Ok(()));
    release.images.insert("sha256:more".to_owned());
    let why = release.check_watches().unwrap_err();
    assert!(why.contains("86 names, at most 85"), "{why}");
    assert!(why.contains("composite alarm"), "{why}");
}

#[test]
fn no_release_registers_a_name_that_no_key_can_hold() {
    let mut release = started(plan(alb(), 0));
    release.plan.alarms = vec!["ä".repeat(NAME_BYTES_MAX)];
    let why = release.check_watches().unwrap_err();
    assert!(why.contains("'alarm:ää"), "{why}");
    assert!(why.len() < 500, "{why}");
}

#[test]
fn what_deploys_alongside_is_registered_too() {
    let group = "arn:aws:codedeploy:eu-west-1:123456789012:deploymentgroup:shop/workers";
    let mailer = "arn:aws:ecs:eu-west-1:123456789012:service/prod/mailer";
    let alongside = json!({"alongside": [{"codedeploy": group}, {"ecs-service": mailer}]});
    let mut release = started(plan(alb(), 0));
    release.plan.rollback = serde_json::from_value(alongside).unwrap();
    let names = release.watches();
    assert!(names.contains(&deployment_group(group)), "{names:?}");
    assert!(names.contains(&service(mailer)), "{names:?}");
}
