//! Outside events, from what a release registers to what becomes of it.

use serde_json::Value;

use super::*;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A world with a release whose artifact names this image, and whose plan has this line as well.
fn world_with(image: &str, line: &str) -> World {
    let config = CONFIG.replacen("    alarms:", &format!("{line}    alarms:"), 1);
    let detail = json!({"ImageURI": image}).to_string();
    world(&[("penstock.yaml", &config), ("imageDetail.json", &detail)])
}

fn begin(world: &World) {
    let mut job = job("1", "web");
    job.parameters.pipeline = Some("shop".to_owned());
    job.parameters.execution = Some("6b1d".to_owned());
    run(&CanaryShift::new(ALLOWED), world, &job).unwrap();
    assert_ne!(world.weight(), Weight::ZERO);
    world.pass(SignedDuration::from_secs(2));
}

/// Delivers an event that happened just now.
fn deliver(world: &World, detail_type: &str, detail: &Value) {
    let event = OutsideEvent {
        id: "1",
        source: "a.tool",
        account: "123456789012",
        region: "eu-west-1",
        at: world.look().now,
        resources: &[],
        detail_type,
        detail,
    };
    let call = call(world);
    let ports = Run::new(world, call.clone());
    let run = RollbackTrigger.run(&ports, &call, &event);
    run.now_or_never().unwrap().unwrap();
}

fn scan(severity: &str) -> Value {
    json!({"scan-status": "COMPLETE", "repository-name": "web", "image-digest": DIGEST,
           "finding-severity-counts": {severity: 3}})
}

const SCAN: &str = "ECR Image Scan";

#[test]
fn an_image_that_the_artifact_names_by_digest_is_watched_as_the_plan_says() {
    let by_digest = format!("web:v1@{DIGEST}");
    for (image, line, severity, turns) in [
        (by_digest.as_str(), "", "CRITICAL", true),
        (&by_digest, "", "HIGH", false),
        (&by_digest, "    rollback-on-finding: high\n", "HIGH", true),
        (
            &by_digest,
            "    rollback-on-finding: never\n",
            "CRITICAL",
            false,
        ),
        ("web:v1", "", "CRITICAL", false),
    ] {
        let world = world_with(image, line);
        begin(&world);
        deliver(&world, SCAN, &scan(severity));
        let turned = world.weight() == Weight::ZERO;
        assert_eq!(turned, turns, "{severity} in {image} under '{line}'");
    }
}

#[test]
fn an_image_of_the_task_definition_is_watched_too() {
    let world = world_with("web:v1", "");
    world.change().images.insert(DIGEST.to_owned());
    begin(&world);
    deliver(&world, SCAN, &scan("CRITICAL"));
    assert_eq!(world.weight(), Weight::ZERO);
}

#[test]
fn the_waiting_job_of_a_release_is_told_what_turned_it_round() {
    let world = world_with("web:v1", "");
    begin(&world);
    let failed = json!({"pipeline": "shop", "execution-id": "6b1d", "state": "FAILED",
                        "stage": "Deploy", "action": "Smoke"});
    let detail_type = "CodePipeline Action Execution State Change";
    let other = |key: &str| {
        let mut detail = failed.clone();
        detail[key] = json!("another");
        detail
    };
    for other in [other("pipeline"), other("execution-id"), other("state")] {
        deliver(&world, detail_type, &other);
        assert_ne!(world.weight(), Weight::ZERO, "{other}");
    }
    deliver(&world, detail_type, &failed);
    assert_eq!(world.weight(), Weight::ZERO);
    let (_, message) = failure(Ok(finish(&world, &job("1", "web"))));
    let told = "rolled back: action Smoke in stage Deploy failed";
    assert!(message.contains(told), "{message}");
}

#[test]
fn nothing_is_left_registered_of_a_release_that_is_over() {
    let world = world_with(&format!("web@{DIGEST}"), "");
    begin(&world);
    let names: Vec<_> = world.look().watches.keys().cloned().collect();
    for name in ["alarm:slow", "execution:shop/6b1d", "release:web-1"] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
    let asked = json!({"release": "web-1", "reason": "a test"});
    deliver(&world, "penstock.rollback-requested", &asked);
    finish(&world, &job("1", "web"));
    let state = world.look();
    let left: Vec<_> = state
        .watches
        .iter()
        .filter(|(_, ids)| !ids.is_empty())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
