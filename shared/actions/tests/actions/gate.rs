//! The test gate over time: what it remembers, and what it is compared with.

use super::*;

const RULES: &str = "
version: 1
gates:
  unit:
    reports: [junit.xml]
    commit-file: commit.txt
    rules: {max-test-drop: 0%, max-report-age: execution, same-commit: fail}
";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn suite(tests: usize, failure: &str) -> String {
    let cases: String = (0..tests)
        .map(|n| format!("<testcase name='t{n}'/>"))
        .collect();
    format!("<testsuite timestamp='2026-01-01T10:00:00Z'>{cases}{failure}</testsuite>")
}

/// A build's artifact, and the pipeline that began at ten.
fn build(world: &World, junit: &str, commit: &str) {
    let key = ("artifacts".to_owned(), "BuildOut".to_owned());
    let files = [
        ("penstock.yaml", RULES),
        ("junit.xml", junit),
        ("commit.txt", commit),
    ];
    world.change().artifacts.insert(key, zip(&files));
    let began = "2026-01-01T10:00:00Z".parse().unwrap();
    for number in 1..=5 {
        let execution = ("shop".to_owned(), format!("e-{number}"));
        world.change().executions.insert(execution, began);
    }
}

fn asked(id: &str) -> Job {
    let mut job = job(id, "unit");
    job.parameters.pipeline = Some("shop".to_owned());
    job.parameters.execution = Some(format!("e-{id}"));
    job.parameters.commit = Some(COMMIT.to_owned());
    job
}

fn passes(world: &World, id: &str) -> String {
    match run(&TestGate, world, &asked(id)) {
        Ok(JobReply::Succeed { summary, .. }) => summary,
        other => panic!("it did not pass: {other:?}"),
    }
}

#[test]
fn a_run_is_compared_with_the_last_one_that_passed_and_not_with_one_that_failed() {
    let world = World::default();
    build(&world, &suite(10, ""), COMMIT);
    passes(&world, "1");
    build(&world, &suite(9, ""), COMMIT);
    let (_, message) = failure(run(&TestGate, &world, &asked("2")));
    assert!(
        message.contains("max-test-drop: 9 ran, 10 did before"),
        "{message}"
    );
    // The failed run has not become the measure of the next one.
    let (_, message) = failure(run(&TestGate, &world, &asked("3")));
    assert!(message.contains("9 ran, 10 did before"), "{message}");
    build(&world, &suite(11, ""), COMMIT);
    passes(&world, "4");
    build(&world, &suite(10, ""), COMMIT);
    let (_, message) = failure(run(&TestGate, &world, &asked("5")));
    assert!(message.contains("10 ran, 11 did before"), "{message}");
}

#[test]
fn a_report_that_is_older_than_the_execution_fails() {
    let world = World::default();
    let old = suite(3, "").replace("T10:", "T08:");
    build(&world, &old, COMMIT);
    let (_, message) = failure(run(&TestGate, &world, &asked("1")));
    assert!(
        message.contains("max-report-age: junit.xml is of 2026-01-01T08:00:00Z"),
        "{message}"
    );
}

#[test]
fn a_report_of_another_commit_fails() {
    let world = World::default();
    build(&world, &suite(3, ""), "fedcba9876543210\n");
    let (_, message) = failure(run(&TestGate, &world, &asked("1")));
    assert!(
        message.contains("same-commit: the reports are of fedcba9876543210"),
        "{message}"
    );
    build(&world, &suite(3, ""), "$(git rev-parse HEAD)");
    let (_, message) = failure(run(&TestGate, &world, &asked("2")));
    assert!(
        message.contains("commit.txt: it does not hold a commit"),
        "{message}"
    );
}

#[test]
fn a_lost_history_fails_the_one_who_would_compare_and_is_told_until_there_is_a_new_one() {
    let world = World::default();
    build(&world, &suite(10, ""), COMMIT);
    passes(&world, "1");
    let lose = || {
        for (_, memory) in world.change().histories.values_mut() {
            *memory = json!({"kept": "of another version"});
        }
    };
    lose();
    let refused = run(&TestGate, &world, &asked("2")).unwrap_err().to_string();
    assert!(refused.contains("Retry the stage"), "{refused}");
    let told = passes(&world, "3");
    assert!(
        told.contains("warning: history: could not compare"),
        "{told}"
    );
    let next = passes(&world, "4");
    assert!(!next.contains("history"), "{next}");
    // A gate that compares nothing goes on, and says what it cannot show.
    let key = ("artifacts".to_owned(), "BuildOut".to_owned());
    let rules = RULES.replace("max-test-drop: 0%, ", "");
    let files = [
        ("penstock.yaml", rules.as_str()),
        ("junit.xml", &suite(10, "")),
        ("commit.txt", COMMIT),
    ];
    world.change().artifacts.insert(key, zip(&files));
    lose();
    let told = passes(&world, "5");
    assert!(
        told.contains("warning: history: could not compare"),
        "{told}"
    );
}

#[test]
fn a_gate_that_compares_must_know_its_pipeline() {
    let world = World::default();
    build(&world, &suite(3, ""), COMMIT);
    let mut job = asked("1");
    job.parameters.pipeline = None;
    let said = refusal(run(&TestGate, &world, &job));
    assert!(said.contains("\"pipeline\":\"shop\""), "{said}");
}

#[test]
fn a_duplicate_of_a_job_that_passed_passes_and_is_remembered_once() {
    let world = World::default();
    build(&world, &suite(10, ""), COMMIT);
    let once = passes(&world, "1");
    let histories = world.look().histories.clone();
    assert_eq!(passes(&world, "1"), once);
    let again = world.look().histories.clone();
    assert_eq!(histories.len(), 1);
    assert_eq!(format!("{histories:?}"), format!("{again:?}"));
}
