//! What becomes of releases that nobody looks after any more.

use engine::fakes::{Run, World};
use engine::{Invocation, ReleaseLog, SWEEP_PAGE, Swept, begin, drive, roll_back, sweep};
use futures::FutureExt;
use jiff::SignedDuration;
use release::config::Config;
use release::{Arms, Head, Outcome, Phase, Reason, Release, ReleaseId, Started, Weight};

const STEPS: &str = "[{set-weight: 10%}, {wait: 30m}, {set-weight: 100%}]";
const ABANDON_AFTER: SignedDuration = SignedDuration::from_mins(10);

fn id(name: &str) -> ReleaseId {
    ReleaseId::try_from(name.to_owned()).unwrap()
}

fn started(world: &World, name: &str, steps: &str) -> Started {
    let text = format!(
        "version: 1\nreleases: {{web: {{target: {{alb-rule: {{rule: \
         'arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/{name}/1/2/3', target-groups: \
         ['arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/b/1', \
         'arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/g/1']}}}}, settle: 0s, steps: {steps}}}}}"
    );
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{}", e.message));
    Started {
        at: world.look().now,
        release: id(name),
        execution: None,
        pipeline: None,
        plan: config.release(None).unwrap().1.clone(),
        arms: Arms {
            stable: "blue".to_owned(),
            candidate: "green".to_owned(),
        },
        alarms_firing: [].into(),
        images: Default::default(),
        slower_than: [].into(),
        judge: None,
        warnings: Vec::new(),
    }
}

fn call(world: &World, owner: &str) -> Invocation {
    Invocation::new(owner, world.look().now + SignedDuration::from_secs(120))
}

/// One job of the pipeline.
fn job(world: &World, name: &str, steps: &str) -> Release {
    let call = call(world, "job");
    let ports = Run::new(world, call.clone());
    let driven = async {
        let mut head: Head<Option<Release>> = ports.load(&id(name)).await.unwrap();
        match &head.state {
            None => {
                let started = started(world, name, steps);
                head = begin(&ports, &id(name), started).await.unwrap();
            }
            Some(release) => {
                let now = world.look().now;
                let until = release.left_alone_until(now);
                ports.beat(&id(name), now, until).await.unwrap();
            }
        }
        drive(&ports, &call, &id(name), head).await.unwrap().release
    };
    driven.now_or_never().unwrap()
}

fn swept(world: &World) -> Swept {
    let call = call(world, "sweep");
    let ports = Run::new(world, call.clone());
    sweep(&ports, &call).now_or_never().unwrap().unwrap()
}

fn release(world: &World, name: &str) -> Release {
    let ports = Run::new(world, call(world, "reader"));
    let head: Head<Option<Release>> = ports.load(&id(name)).now_or_never().unwrap().unwrap();
    head.state.unwrap()
}

const DRIVEN: Swept = Swept {
    due: 1,
    driven: 1,
    busy: 0,
    failed: 0,
    left: 0,
};

#[test]
fn a_release_whose_pipeline_went_quiet_goes_back() {
    let world = World::default();
    job(&world, "a", STEPS);
    assert_eq!(world.weight(), Weight::from_basis_points(1_000).unwrap());
    world.pass(ABANDON_AFTER + SignedDuration::from_secs(1));
    assert_eq!(swept(&world), DRIVEN);
    assert_eq!(world.weight(), Weight::ZERO);
    let gone_back = release(&world, "a");
    assert!(
        matches!(gone_back.because, Some(Reason::Abandoned { quiet }) if quiet >= ABANDON_AFTER),
        "{:?}",
        gone_back.because
    );
    while release(&world, "a").is_active() {
        world.pass(SignedDuration::from_secs(61));
        swept(&world);
    }
    world.pass(ABANDON_AFTER);
    assert_eq!(
        swept(&world),
        Swept::default(),
        "nothing is left to look after"
    );
}

#[test]
fn a_release_whose_pipeline_asks_is_left_alone() {
    let world = World::default();
    for _ in 0..20 {
        job(&world, "a", STEPS);
        assert_eq!(swept(&world), Swept::default());
        world.pass(SignedDuration::from_mins(1));
    }
    assert_eq!(release(&world, "a").phase, Phase::Shifting);
}

#[test]
fn a_watch_that_has_begun_is_judged_and_closed_without_a_pipeline() {
    let steps = "[{set-weight: 10%}, {judge: {windows: 1}}, {set-weight: 100%}], \
                 watch: {for: 30m, tail: 5%}";
    for (fails, outcome) in [(0.0, Outcome::Promoted), (0.4, Outcome::RolledBack)] {
        let world = World::default();
        let mut asked = 0;
        while world.weight() < Weight::from_basis_points(9_500).unwrap() {
            job(&world, "a", steps);
            world.pass(SignedDuration::from_mins(1));
            asked += 1;
            assert!(asked < 60, "the watch does not begin");
        }
        world.change().candidate_fails = fails;
        for _ in 0..120 {
            world.pass(SignedDuration::from_secs(61));
            swept(&world);
        }
        let (phase, weight) = match outcome {
            Outcome::Promoted => (Phase::Promoted, Weight::FULL),
            Outcome::RolledBack => (Phase::RolledBack, Weight::ZERO),
        };
        let closed = release(&world, "a");
        assert_eq!(
            (closed.phase, world.weight()),
            (phase, weight),
            "{:?}",
            closed.because
        );
    }
}

#[test]
fn a_rollback_whose_run_died_is_finished_once_its_fence_is_over() {
    use engine::fakes::Fault;
    let world = World::default();
    job(&world, "a", STEPS);
    let dying = call(&world, "trigger");
    // load, append: it has decided and has the fence, and dies.
    let rival = |_: &World| {};
    let ports = Run::new(&world, dying.clone()).with_fault(1, Fault::DieAfter, &rival);
    let because = |_: &Release| {
        Some(Reason::Asked {
            why: "it is bad".to_owned(),
            by: None,
        })
    };
    assert!(
        roll_back(&ports, &dying, &id("a"), because)
            .now_or_never()
            .is_none()
    );
    assert_eq!(release(&world, "a").phase, Phase::RollingBack);
    assert_ne!(world.weight(), Weight::ZERO);
    world.pass(SignedDuration::from_secs(61));
    let busy = Swept {
        driven: 0,
        busy: 1,
        ..DRIVEN
    };
    assert_eq!(swept(&world), busy);
    world.pass(SignedDuration::from_secs(65));
    assert_eq!(swept(&world), DRIVEN);
    assert_eq!(world.weight(), Weight::ZERO);
}

#[test]
fn a_pipeline_that_asks_just_before_the_sweep_keeps_its_release() {
    let world = World::default();
    job(&world, "a", STEPS);
    world.pass(ABANDON_AFTER + SignedDuration::from_secs(1));
    let call = call(&world, "sweep");
    let asks = |world: &World| drop(job(world, "a", STEPS));
    // due, then take_due.
    let ports = Run::new(&world, call.clone()).with_fault(1, engine::fakes::Fault::Rival, &asks);
    let outcome = sweep(&ports, &call).now_or_never().unwrap().unwrap();
    assert_eq!((outcome.due, outcome.busy), (1, 1));
    assert_eq!(release(&world, "a").phase, Phase::Shifting);
}

#[test]
fn one_that_cannot_be_looked_after_does_not_keep_the_others_waiting() {
    let world = World::default();
    for name in ["a", "b", "c"] {
        world.change().weights.clear();
        job(&world, name, STEPS);
    }
    let log = ("release", id("b"));
    world
        .change()
        .logs
        .insert(log, vec![serde_json::json!({"event": "unheard-of"})]);
    world.pass(ABANDON_AFTER + SignedDuration::from_secs(1));
    let outcome = swept(&world);
    assert_eq!((outcome.due, outcome.driven, outcome.failed), (3, 2, 1));
    for name in ["a", "c"] {
        assert!(release(&world, name).because.is_some(), "{name}");
    }
}

#[test]
fn a_run_looks_after_one_page_and_the_next_run_after_the_rest() {
    let world = World::default();
    let names: Vec<_> = (0..SWEEP_PAGE + 30).map(|n| format!("r{n}")).collect();
    for name in &names {
        world.change().weights.clear();
        job(&world, name, STEPS);
    }
    world.pass(ABANDON_AFTER + SignedDuration::from_secs(1));
    assert_eq!(swept(&world).due, SWEEP_PAGE);
    assert_eq!(swept(&world).due, 30);
    let back = names
        .iter()
        .filter(|name| release(&world, name).because.is_some());
    assert_eq!(back.count(), names.len());
}

#[test]
fn a_run_that_is_nearly_over_begins_nothing() {
    let world = World::default();
    job(&world, "a", STEPS);
    world.pass(ABANDON_AFTER + SignedDuration::from_secs(1));
    let call = Invocation::new("sweep", world.look().now + SignedDuration::from_secs(5));
    let ports = Run::new(&world, call.clone());
    let outcome = sweep(&ports, &call).now_or_never().unwrap().unwrap();
    assert_eq!((outcome.due, outcome.left), (1, 1));
    assert_eq!(swept(&world), DRIVEN, "it is the next run's at once");
}

#[test]
fn a_rollback_that_cannot_be_completed_tells_people_and_keeps_trying() {
    let world = World::default();
    job(&world, "a", STEPS);
    world.change().refuses_weight = Some(Weight::ZERO);
    world.pass(ABANDON_AFTER + SignedDuration::from_secs(1));
    let told = |world: &World| {
        let state = world.look();
        let log = state.logs.values().flatten();
        log.filter(|event| event["event"] == "rollback-stuck")
            .count()
    };
    assert_eq!(swept(&world).failed, 1);
    assert_eq!(told(&world), 0, "it has only begun");
    let sweeps = |minutes: i64| {
        for _ in 0..minutes {
            world.pass(SignedDuration::from_secs(61));
            assert_eq!(swept(&world).failed, 1);
        }
    };
    sweeps(6);
    assert_eq!(told(&world), 1);
    assert!(release(&world, "a").stuck_since.is_some());
    sweeps(30);
    assert_eq!(told(&world), 1, "people are not told every minute");
    sweeps(40);
    assert_eq!(told(&world), 2, "but again");
    world.change().refuses_weight = None;
    world.pass(SignedDuration::from_secs(61));
    assert_eq!(swept(&world).driven, 1);
    assert_eq!(world.weight(), Weight::ZERO);
}
