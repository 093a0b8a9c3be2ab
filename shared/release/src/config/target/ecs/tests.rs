use proptest::prelude::*;

use super::super::{AllowList, TargetSpec};
use super::*;
use crate::config::Config;

const HOME: &str = "arn:aws:ecs:eu-west-1:123456789012";
const WEB: &str = "arn:aws:ecs:eu-west-1:123456789012:service/prod/web";

const SERVICES: &str = "version: 1
releases:
  web:
    target:
      ecs-services:
        services:
          - service: arn:aws:ecs:eu-west-1:123456789012:service/prod/web-blue
            target-group: arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/blue/1
          - service: arn:aws:ecs:eu-west-1:123456789012:service/prod/web-green
            target-group: arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/green/2
        rule: arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/web/1/2/3
        task-definition: web:7
    steps: [{set-weight: 5%}, {judge: {windows: 5}}, {set-weight: 100%}]
";

const TASK_SETS: &str = "version: 1
releases:
  web:
    target:
      ecs-task-sets:
        service: arn:aws:ecs:eu-west-1:123456789012:service/prod/web
        rule: arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/web/1/2/3
        target-groups:
          - arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/blue/1
          - arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/green/2
        task-definition: {file: out/task-definition.txt}
        container: web
        port: 8080
    steps: [{set-weight: 5%}, {judge: {windows: 5}}, {set-weight: 100%}]
";

const ROLLING: &str = "version: 1
releases:
  web:
    target:
      ecs-rolling:
        service: arn:aws:ecs:eu-west-1:123456789012:service/prod/web
        task-definition: web:7
    steps: [{set-weight: 100%}]
";

fn target(text: &str) -> TargetSpec {
    let config = Config::parse(text).unwrap();
    config.release(None).unwrap().1.target.clone()
}

fn service(arn: &str) -> ServiceArn {
    ServiceArn::from(arn.to_owned())
}

#[test]
fn each_kind_of_ecs_target_survives_the_release_log() {
    for text in [SERVICES, TASK_SETS, ROLLING] {
        let target = target(text);
        let stored = serde_json::to_string(&target).unwrap();
        let read: TargetSpec = serde_json::from_str(&stored).unwrap();
        assert_eq!(read, target, "{stored}");
    }
}

#[test]
fn a_target_is_held_by_its_rule_or_as_a_service() {
    let rule = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/web/1/2/3";
    assert_eq!(target(SERVICES).id().0, rule);
    assert_eq!(target(TASK_SETS).id().0, rule);
    assert_eq!(target(ROLLING).id().0, WEB);
}

#[test]
fn the_rule_and_every_service_must_be_allowed() {
    let rules = "arn:*:listener-rule/app/web/*";
    let blue = "arn:aws:ecs:*:service/prod/web-blue";
    for (text, patterns, missing) in [
        (
            SERVICES,
            format!("{rules},arn:aws:ecs:*:service/prod/*"),
            None,
        ),
        (
            SERVICES,
            format!("{rules},{blue}"),
            Some("service/prod/web-green"),
        ),
        (
            SERVICES,
            "arn:aws:ecs:*".to_owned(),
            Some("listener-rule/app/web"),
        ),
        (TASK_SETS, format!("{rules},{WEB}"), None),
        (TASK_SETS, rules.to_owned(), Some("service/prod/web")),
        (TASK_SETS, WEB.to_owned(), Some("listener-rule/app/web")),
        (ROLLING, WEB.to_owned(), None),
        (ROLLING, blue.to_owned(), Some("service/prod/web")),
    ] {
        let permitted = AllowList::parse(&patterns).permit(&target(text));
        match (permitted, missing) {
            (Ok(()), None) => {}
            (Err(said), Some(arn)) => assert!(said.contains(arn), "{said}"),
            (permitted, _) => panic!("{patterns}: {permitted:?}"),
        }
    }
}

#[test]
fn a_task_definition_is_named_by_its_revision_or_by_its_arn_in_the_services_account() {
    let full = format!("{HOME}:task-definition/web:7");
    let mut file = TaskDefinition::File("td.txt".to_owned());
    assert_eq!(file.arn(&service(WEB)), None);
    for text in [" web:7\n", &full] {
        let mut named = file.clone();
        named.said(text, &service(WEB)).unwrap();
        assert_eq!(named.arn(&service(WEB)).as_deref(), Some(full.as_str()));
        assert_eq!(named.file(), None);
    }
    for text in [
        "",
        "web",
        "web:",
        ":7",
        "web:0",
        "web:07",
        "web:latest",
        "web:7:8",
        "web 7",
        "wéb:7",
        "web:99999999999",
        "arn:aws:ecs:us-east-1:123456789012:task-definition/web:7",
        "arn:aws:ecs:eu-west-1:210987654321:task-definition/web:7",
        WEB,
    ] {
        let said = file.said(text, &service(WEB)).unwrap_err();
        assert!(said.contains("td.txt says '"), "{text:?}: {said}");
        assert!(said.contains("such as web:7"), "{text:?}: {said}");
        assert_eq!(file.file(), Some("td.txt"));
    }
}

#[test]
fn a_rolling_service_gets_everything_at_once_without_a_hotfix_and_may_be_watched() {
    let watched = ROLLING.to_owned() + "    watch: {for: 10m, tail: 0%}\n";
    let config = Config::parse(&watched).unwrap();
    let steps = &config.release(None).unwrap().1.steps;
    assert!(matches!(
        steps[..],
        [Step::SetWeight(Weight::FULL), Step::Watch(_)]
    ));
}

#[test]
fn a_service_is_called_by_its_cluster_and_its_name() {
    let web = service(WEB);
    assert_eq!((web.cluster(), web.name()), ("prod", "web"));
}

/// Each mistake: in which example, what is written instead of what, and what is said.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    (
        SERVICES,
        "service/prod/web-green",
        "service/web-green",
        "the service's ARN in its long form",
    ),
    (
        SERVICES,
        "service/prod/web-green",
        "service/prod/web-blue",
        "names the same service twice",
    ),
    (
        SERVICES,
        "ecs:eu-west-1:123456789012:service/prod/web-green",
        "ecs:eu-west-2:123456789012:service/prod/web-green",
        "not of one account and region",
    ),
    (
        SERVICES,
        "targetgroup/green/2",
        "targetgroup/blue/1",
        "names the same group twice",
    ),
    (
        SERVICES,
        "listener-rule/app/web/1/2/3",
        "loadbalancer/app/web/1",
        "write the ARN of a listener",
    ),
    (
        SERVICES,
        "task-definition: web:7",
        "task-definition: web",
        "a family alone would be another one tomorrow",
    ),
    (
        SERVICES,
        "task-definition: web:7",
        "task-definition: [7]",
        "a task definition such as web:7, its ARN, or {file: task-definition.txt}",
    ),
    (
        SERVICES,
        "        task-definition: web:7\n",
        "",
        "the key `task-definition` is missing",
    ),
    (
        SERVICES,
        "target-group: arn",
        "target-groups: arn",
        "did you mean `target-group`?",
    ),
    (
        SERVICES,
        "set-weight: 5%",
        "set-weight: 0.05%",
        "the nearest possible is 0.1%",
    ),
    (
        SERVICES,
        "ecs-services:",
        "ecs-service:",
        "did you mean `ecs-services`?",
    ),
    (
        TASK_SETS,
        "port: 8080",
        "port: 0",
        "`port` is 0: write the container's port",
    ),
    (TASK_SETS, "port: 8080", "port: 65536", "invalid u16"),
    (
        TASK_SETS,
        "container: web",
        "container: ''",
        "`container` is ''",
    ),
    (
        TASK_SETS,
        "{file: out/task-definition.txt}",
        "{file: ''}",
        "write {file: task-definition.txt}",
    ),
    (
        TASK_SETS,
        "{file: out/task-definition.txt}",
        "{fil: a}",
        "did you mean `file`?",
    ),
    (
        TASK_SETS,
        "service/prod/web",
        "service/prod/web/8",
        "the service's ARN in its long form",
    ),
    (
        ROLLING,
        "task-definition: web:7",
        "task-definition: arn:aws:ecs:eu-west-1:1:task-definition/web:7",
        "in the service's account and region",
    ),
    (
        ROLLING,
        "[{set-weight: 100%}]",
        "[{set-weight: 5%}, {set-weight: 100%}]",
        "ECS replaces the tasks of a rolling service by itself; write steps: [{set-weight: 100%}]",
    ),
    (
        ROLLING,
        "[{set-weight: 100%}]",
        "[{set-weight: 100%}, {judge: {windows: 5}}]",
        "no two versions to compare; watch `alarms`",
    ),
    (
        ROLLING,
        "    steps: [{set-weight: 100%}]",
        "    steps: [{set-weight: 100%}]\n    watch: {for: 10m}",
        "and `tail: 0%` in a `watch`",
    ),
    (
        ROLLING,
        "[{set-weight: 100%}]",
        "[{header-route: {header: {name: x-test, values: [a]}}}, {set-weight: 100%}]",
        "header-route is for load balancers' rules",
    ),
    (
        ROLLING,
        "    steps:",
        "    metrics: {errors: {limit: 2%}}\n    steps:",
        "`metrics` compare two versions",
    ),
    (
        ROLLING,
        "ecs:eu-west-1:123456789012:service",
        "ecs:eu-west-1:me:service",
        "the service's ARN in its long form",
    ),
];

#[test]
fn every_mistake_in_an_ecs_target_names_its_place_and_its_fix() {
    for (text, was, is, message) in MISTAKES {
        assert!(text.contains(was), "the example has no {was}");
        let said = match Config::parse(&text.replacen(was, is, 1)) {
            Ok(config) => panic!("{is} was accepted: {config:?}"),
            Err(error) => error.to_string(),
        };
        assert!(
            said.contains(message),
            "{is}\n  said: {said}\n  not:  {message}"
        );
        assert!(said.starts_with("line "), "{is} has no place: {said}");
    }
}

proptest! {
    #[test]
    fn no_arn_and_no_file_whatever_they_hold_are_more_than_refused(text in any::<String>()) {
        let _none_or_some = arn_of(&text, &service(WEB));
        let _refused_or_not = service(&text).check();
        let odd = service(&text);
        let _names = (odd.cluster(), odd.name());
        let _refused = TaskDefinition::File("td".to_owned()).said("web:7", &odd);
    }
}
