//! What one look is good for.

use engine::fakes::{Run, World};
use engine::{Invocation, ReleaseLog, begin, drive};
use futures::FutureExt;
use jiff::SignedDuration;
use release::check::Probed;
use release::config::Config;
use release::{
    Approved, Arms, By, CheckVerdict, Checked, Effect, Event, Head, Phase, Release, ReleaseId,
    Started, Weight,
};

const TARGET: &str = "{alb-rule: {rule: \
                      'arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/a/1/2/3', \
                      target-groups: ['arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/b/1', \
                      'arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/g/1']}}";

fn id() -> ReleaseId {
    ReleaseId::try_from("web-1".to_owned()).unwrap()
}

fn started(world: &World, steps: &str) -> Started {
    let text = format!("version: 1\nreleases: {{web: {{target: {TARGET}, steps: {steps}}}}}");
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{}", e.message));
    Started {
        at: world.look().now,
        release: id(),
        execution: Some("e".to_owned()),
        pipeline: Some("p".to_owned()),
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

/// One run of the function.
fn run(world: &World, steps: &str) -> Release {
    let deadline = world.look().now + SignedDuration::from_secs(30);
    let owner = "run".to_owned();
    let call = Invocation::new(owner, deadline);
    let ports = Run::new(world, call.clone());
    let driven = async {
        let mut head: Head<Option<Release>> = ports.load(&id()).await.unwrap();
        if head.state.is_none() {
            let started = started(world, steps);
            head = begin(&ports, &id(), started).await.unwrap();
        }
        drive(&ports, &call, &id(), head).await.unwrap().release
    };
    driven.now_or_never().unwrap()
}

fn events(world: &World) -> Vec<Event> {
    let state = world.look();
    let log = state.logs.values().flatten().cloned();
    log.map(|event| serde_json::from_value(event).unwrap())
        .collect()
}

#[test]
fn one_look_is_one_check() {
    let world = World::default();
    let steps = "[{probe: {probes: [{alarm: {names: [a]}}], in-a-row: 3}}, {set-weight: 5%}, {wait: \
                 5m}, {set-weight: 100%}]";
    for passes in 1..=2 {
        let release = run(&world, steps);
        assert_eq!((release.step, release.step_passes), (0, passes));
    }
    assert!(run(&world, steps).step > 0, "the third in a row");
    let probes = events(&world);
    let probes = probes.iter().filter(|e| matches!(e, Event::Checked { .. }));
    assert_eq!(probes.count(), 3);
}

#[test]
fn a_step_never_passes_on_what_the_one_before_it_was_told() {
    let world = World::default();
    let function =
        "{run-check: {function: 'arn:aws:lambda:eu-west-1:123456789012:function:smoke'}}";
    let steps = format!(
        "[{{probe: {{probes: [{{alarm: {{names: [a]}}}}]}}}}, {function}, {{set-weight: 5%}}, {{wait: \
         5m}}, {{set-weight: 100%}}]"
    );
    world.change().checks = vec![Checked {
        verdict: CheckVerdict::Fail,
        said: "no".to_owned(),
    }];
    assert_eq!(
        run(&world, &steps).step,
        1,
        "the function has not been asked"
    );
    assert_eq!(run(&world, &steps).phase, Phase::RolledBack);

    let world = World::default();
    let steps = "[{set-weight: 5%}, {approve: {within: 1h, action: One}}, {approve: {within: 1h, \
                 action: Two}}, {set-weight: 100%}]";
    run(&world, steps);
    world.pass(SignedDuration::from_secs(30));
    let by = By::new("ann", "fine", world.look().now);
    let is_approved = true;
    world.change().approval = Some(Approved { is_approved, by });
    assert_eq!(run(&world, steps).step, 2, "Two has not been looked at");
}

#[test]
fn what_was_approved_before_a_release_began_says_nothing_about_it() {
    let world = World::default();
    let before = world.look().now - SignedDuration::from_secs(60);
    let steps = "[{set-weight: 5%}, {approve: {within: 1h, action: One}}, {set-weight: 100%}]";
    for is_approved in [true, false] {
        let by = By::new("ann", "fine", before);
        world.change().approval = Some(Approved { is_approved, by });
        let release = run(&world, steps);
        assert_eq!((release.step, release.phase), (1, Phase::Shifting));
    }
}

#[test]
fn what_cannot_be_tidied_up_is_left_and_said() {
    let world = World::default();
    world.change().probes = vec![Probed::healthy("fine")];
    world.change().refuses_test_traffic_to_end = true;
    let steps = "[{header-route: {query: {key: a, value: b}}}, {set-weight: 5%}, {approve: 1h}, \
                 {set-weight: 100%}]";
    run(&world, steps);
    let mut head: Head<Option<Release>> = Head::default().after(&events(&world));
    let order = release::Order::Approve;
    let by = By::new("ann", "fine", world.look().now);
    let event = release::take_order(head.state.as_ref().unwrap(), order, by).unwrap();
    let key = ("release", id());
    let stored = serde_json::to_value(&event).unwrap();
    world.change().logs.get_mut(&key).unwrap().push(stored);
    let release = run(&world, steps);
    assert_eq!(release.phase, Phase::Promoted);
    assert_eq!(world.weight(), Weight::FULL);
    assert_eq!(release.left_behind.len(), 1, "{:?}", release.left_behind);
    head = Head::default().after(&events(&world));
    assert!(head.state.unwrap().intended.is_none());
    let left = |event: &Event| matches!(event, Event::CleanupFailed { effect, .. } if *effect == Effect::TestTraffic(false));
    assert!(events(&world).iter().any(left));
}
