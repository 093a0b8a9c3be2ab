//! What goes along with a release: found before it begins, and taken back with it.

use engine::fakes::{Run, World};
use engine::{ActionError, Class, sweep};
use futures::FutureExt;
use jiff::SignedDuration;
use release::{JobReply, Phase, Release, Weight};

use super::*;

const GROUP: &str = "arn:aws:codedeploy:eu-west-1:123456789012:deploymentgroup:shop/workers";
const STAGE: &str = "arn:aws:codepipeline:eu-west-1:123456789012:shop/Deploy";

fn company_world(policy: &str) -> World {
    let rollback = format!(
        "    rollback: {{alongside: [{{codedeploy: '{GROUP}'}}], pipeline: {{{policy}: \
         '{STAGE}'}}}}\nhealth-checks:"
    );
    let config = CONFIG.replace("health-checks:", &rollback);
    let world = world(&[("penstock.yaml", &config)]);
    world.change().alongside.insert(GROUP.to_owned(), true);
    world
}

fn job_in(id: &str, execution: Option<&str>) -> Job {
    let mut job = job(id, "web");
    job.parameters.execution = execution.map(str::to_owned);
    job.parameters.pipeline = Some("shop".to_owned());
    job
}

fn release_of(world: &World) -> Release {
    let state = world.look();
    let log = state.logs.values().flatten().cloned();
    let mut release: Option<Release> = None;
    for event in log {
        release::Story::apply(&mut release, &serde_json::from_value(event).unwrap());
    }
    release.unwrap()
}

fn swept(world: &World) {
    let call = call(world);
    let ports = Run::new(world, call.clone());
    sweep(&ports, &call).now_or_never().unwrap().unwrap();
}

#[test]
fn what_the_stack_does_not_allow_is_neither_stopped_nor_held() {
    let world = company_world("disable-transition");
    for (allowed, missing) in [
        (ALLOWED.to_owned(), GROUP),
        (format!("{ALLOWED},{GROUP}"), STAGE),
        (format!("{ALLOWED},{STAGE}"), GROUP),
    ] {
        let error = refusal(run(&CanaryShift::new(&allowed), &world, &job_in("1", None)));
        assert!(
            error.contains(missing) && error.contains("AllowedTargets"),
            "{error}"
        );
    }
    assert_eq!(world.weight(), Weight::ZERO);
}

#[test]
fn a_stage_of_another_pipeline_and_an_execution_that_nobody_knows_are_refused_with_the_fix() {
    let action = CanaryShift::new("*");
    let error = refusal(run(
        &action,
        &company_world("roll-back-stage"),
        &job_in("1", None),
    ));
    assert!(
        error.contains("#{codepipeline.PipelineExecutionId}"),
        "{error}"
    );
    let mut other = job_in("1", Some("e"));
    other.parameters.pipeline = Some("bakery".to_owned());
    let error = refusal(run(&action, &company_world("disable-transition"), &other));
    assert!(error.contains("the pipeline is bakery"), "{error}");
}

#[test]
fn what_is_not_there_is_found_out_before_the_release_begins() {
    let world = company_world("disable-transition");
    world.change().alongside.clear();
    let error = refusal(run(&CanaryShift::new("*"), &world, &job_in("1", None)));
    assert!(error.contains(GROUP), "{error}");
    let world = company_world("roll-back-stage");
    world.change().in_stage = false;
    let error = refusal(run(&CanaryShift::new("*"), &world, &job_in("1", Some("e"))));
    assert!(
        error.contains("must name the action's own stage"),
        "{error}"
    );
    assert!(world.look().logs.is_empty(), "nothing has begun");
}

#[test]
fn a_release_that_goes_back_closes_its_stage_and_says_why_before_its_action_fails() {
    let world = company_world("disable-transition");
    let action = CanaryShift::new("*");
    run(&action, &world, &job_in("1", None)).unwrap();
    world.pass(SignedDuration::from_secs(1));
    alarm(&world, "slow", SignedDuration::ZERO);
    assert!(!world.look().alongside[GROUP], "it is stopped");
    let reason = world.look().stage_closed.clone().unwrap();
    assert_eq!(
        reason,
        "Penstock- release web-1 went back- alarm slow fired- too slow"
    );
    assert_eq!(release_of(&world).phase, Phase::RollingBack);
    failure(Ok(finish(&world, &job_in("1", None))));
    assert_eq!(release_of(&world).phase, Phase::RolledBack);
}

#[test]
fn a_stage_is_rolled_back_once_its_failed_action_has_been_told_and_it_has_ended() {
    let world = company_world("roll-back-stage");
    let action = CanaryShift::new("*");
    let first = job_in("1", Some("e"));
    run(&action, &world, &first).unwrap();
    world.pass(SignedDuration::from_secs(1));
    alarm(&world, "slow", SignedDuration::ZERO);
    assert_eq!(world.weight(), Weight::ZERO);
    assert!(!world.look().alongside[GROUP], "it is stopped");
    assert_eq!(release_of(&world).phase, Phase::RollingBack);
    let (_, message) = failure(Ok(finish(&world, &first)));
    assert!(
        message.contains("the stable version serves 100% again; stage Deploy of pipeline shop"),
        "{message}"
    );
    // Another action of the stage goes on.
    world.pass(SignedDuration::from_mins(2));
    swept(&world);
    assert!(!world.look().stage_rolled_back);
    world.change().in_stage = false;
    world.pass(SignedDuration::from_mins(2));
    swept(&world);
    assert!(world.look().stage_rolled_back);
    assert_eq!(release_of(&world).phase, Phase::RolledBack);
}

#[test]
fn a_stage_that_does_not_end_is_not_waited_for_without_an_end() {
    let world = company_world("roll-back-stage");
    let action = CanaryShift::new("*");
    let first = job_in("1", Some("e"));
    run(&action, &world, &first).unwrap();
    world.pass(SignedDuration::from_secs(1));
    alarm(&world, "slow", SignedDuration::ZERO);
    world.pass(release::STAGE_END_WITHIN);
    swept(&world);
    let release = release_of(&world);
    assert_eq!(release.phase, Phase::RolledBack);
    assert!(!world.look().stage_rolled_back);
    let [left] = release.left_behind.as_slice() else {
        panic!("{:?}", release.left_behind);
    };
    assert!(left.contains("it still runs"), "{left}");
}

#[test]
fn what_cannot_be_stopped_is_left_and_said_and_the_release_ends() {
    let world = company_world("disable-transition");
    world.change().refuses_to_stop = true;
    world.change().candidate_fails = 0.3;
    let (_, message) = failure(Ok(finish(&world, &job_in("1", None))));
    assert!(
        message.contains("warning: could not stop arn:aws:codedeploy"),
        "{message}"
    );
    assert!(world.look().stage_closed.is_some(), "what could be done is");
}

#[test]
fn a_promoted_release_leaves_its_company_alone() {
    let world = company_world("disable-transition");
    let JobReply::Succeed { .. } = finish(&world, &job_in("1", None)) else {
        panic!("not promoted");
    };
    assert!(world.look().alongside[GROUP]);
    assert_eq!(world.look().stage_closed, None);
}

#[test]
fn who_wants_the_target_of_a_release_on_its_way_back_is_asked_to_come_again() {
    let world = company_world("roll-back-stage");
    let action = CanaryShift::new("*");
    run(&action, &world, &job_in("1", Some("e"))).unwrap();
    world.pass(SignedDuration::from_secs(1));
    alarm(&world, "slow", SignedDuration::ZERO);
    match run(&action, &world, &job_in("2", Some("e2"))) {
        Err(ActionError::Port(error)) => {
            assert_eq!(error.class, Class::Conflict, "{error}");
            assert!(error.to_string().contains("web-1"), "{error}");
        }
        other => panic!("not asked to come again: {other:?}"),
    }
}
