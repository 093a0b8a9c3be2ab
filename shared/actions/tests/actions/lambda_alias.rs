//! Releases of a Lambda alias: where the candidate comes from, and what is said of it.

use super::*;

const ALIAS: &str = r#"
version: 1
releases:
  shop:
    target:
      lambda-alias:
        function: arn:aws:lambda:eu-west-1:123456789012:function:shop
        alias: live
        version: {file: out/version.txt}
    steps: [{set-weight: 10%}, {judge: {windows: 2}}, {set-weight: 100%}]
    window: 1s
    settle: 0s
"#;
const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:shop";

fn alias_world(files: &[(&str, &str)]) -> World {
    let world = world(files);
    world.change().arms = Arms {
        stable: "7".to_owned(),
        candidate: "8".to_owned(),
    };
    world
}

fn first(world: &World) -> Result<JobReply, ActionError> {
    run(&CanaryShift::new(FUNCTION), world, &job("1", "shop"))
}

#[test]
fn the_log_has_the_version_that_the_file_named_and_not_the_file() {
    let files = [("penstock.yaml", ALIAS), ("out/version.txt", "8\n")];
    let world = alias_world(&files);
    first(&world).unwrap();
    let state = world.look();
    let log = state.logs.values().next().unwrap();
    assert_eq!(log[0]["plan"]["target"]["lambda-alias"]["version"], 8);
    let held: Vec<_> = state.held.keys().map(|target| &target.0).collect();
    assert_eq!(held, [&format!("{FUNCTION}:live")]);
}

#[test]
fn a_version_that_no_file_names_begins_nothing_and_says_what_to_write() {
    for (files, part) in [
        (
            vec![("penstock.yaml", ALIAS)],
            "no out/version.txt in the input artifacts (BuildOut): let the build write",
        ),
        (
            vec![("penstock.yaml", ALIAS), ("out/version.txt", "latest")],
            "out/version.txt says 'latest': let the build write the number",
        ),
        (
            vec![
                ("penstock.yaml", ALIAS),
                ("out/version.txt", &*"8".repeat(2_000)),
            ],
            "out/version.txt",
        ),
    ] {
        let world = alias_world(&files);
        let message = refusal(first(&world));
        assert!(message.contains(part), "{message}");
        assert!(world.look().logs.is_empty());
    }
}

#[test]
fn a_version_that_serves_everything_already_is_no_release_and_no_failure() {
    let world = alias_world(&[("penstock.yaml", ALIAS), ("out/version.txt", "7")]);
    world.change().arms.candidate = "7".to_owned();
    let Ok(JobReply::Succeed { summary, outputs }) = first(&world) else {
        panic!("it failed");
    };
    assert_eq!(
        summary,
        "nothing to move: version 7 serves everything already"
    );
    assert_eq!(outputs["verdict"], "unchanged");
    assert!(world.look().weights.is_empty());
    assert!(world.look().logs.is_empty());
}

#[test]
fn a_promotion_and_a_rollback_name_the_version_that_serves() {
    let files = [("penstock.yaml", ALIAS), ("out/version.txt", "8")];
    for (fails, part) in [
        (0.0, "the candidate serves 100% from version 8;"),
        (0.5, "the stable version serves 100% again from version 7;"),
    ] {
        let world = alias_world(&files);
        world.change().candidate_fails = fails;
        let said = match finish(&world, &job("1", "shop")) {
            JobReply::Succeed { summary, .. } => summary,
            JobReply::Fail { message, .. } => message,
            JobReply::Continue { .. } => unreachable!("it has ended"),
        };
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn a_function_that_the_stack_does_not_allow_is_not_touched() {
    let files = [("penstock.yaml", ALIAS), ("out/version.txt", "8")];
    let world = alias_world(&files);
    let action = CanaryShift::new("arn:aws:lambda:*:*:function:other");
    let message = refusal(run(&action, &world, &job("1", "shop")));
    assert!(
        message.contains(&format!("target {FUNCTION} is not allowed")),
        "{message}"
    );
}
