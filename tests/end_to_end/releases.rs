//! Releases under real traffic.

use anyhow::{Context, ensure};
use aws::local::cloudwatch::types::StateValue;
use cli::pipeline::event::Event;
use engine::ReleaseLog;
use release::{Phase, Reason};

use crate::Test;
use crate::world::{Action, World, nothing};

pub const TESTS: &[Test] = &[
    ("a_good_version_is_promoted_and_checked", good),
    (
        "a_bad_version_goes_back_and_the_pipeline_says_why_with_the_numbers",
        bad,
    ),
    (
        "an_alarm_takes_the_traffic_back_and_the_waiting_action_is_told",
        alarm,
    ),
    (
        "an_event_for_a_release_that_has_ended_changes_nothing",
        late_alarm,
    ),
    (
        "a_second_release_on_a_busy_target_is_told_who_holds_it",
        busy,
    ),
    ("the_next_release_goes_the_other_way_round", next_release),
    (
        "a_candidate_without_a_healthy_host_gets_no_traffic",
        no_healthy_host,
    ),
    (
        "an_ecs_service_is_healthy_on_the_expected_task_definition_only",
        ecs,
    ),
    (
        "a_health_check_of_a_service_that_does_not_answer_fails_with_what_it_saw",
        unhealthy,
    ),
];

const CANARY: &str = "canary-shift";
const CHECK: &str = "health-check";

fn good(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service.config();
        let actions = [Action::new(CANARY, "web"), Action::new(CHECK, "web")];
        let ran = service
            .under_load(world.run(&[("penstock.yaml", &config)], &actions, nothing))
            .await?;
        ran.succeeded()?;
        let promoted = ran
            .summaries
            .iter()
            .any(|s| s.starts_with("promoted: the candidate serves 100%"));
        ensure!(promoted, "{ran:#?}");
        ensure!(
            ran.variables.get("verdict").map(String::as_str) == Some("healthy"),
            "{ran:#?}"
        );
        ensure!(
            world.weights(&service).await? == (0, 1),
            "the candidate has all the traffic"
        );
        let release = world.release(&ran.release.context("it has an id")?).await?;
        ensure!(release.phase == Phase::Promoted && release.started.execution.is_some());
        let counts = release
            .judge
            .metric("errors")
            .context("errors were judged")?
            .canary();
        ensure!(
            counts.count > 100 && counts.bad == 0,
            "it was judged by real requests: {counts:?}"
        );
        Ok(())
    })
}

fn bad(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        service.candidate.fails(30);
        let config = service.config();
        let actions = [Action::new(CANARY, "web")];
        let ran = service
            .under_load(world.run(&[("penstock.yaml", &config)], &actions, nothing))
            .await?;
        ran.failed(
            "JobFailed",
            &[
                "rolled back: the candidate is worse: errors ",
                "against",
                "evidence",
            ],
        )?;
        ensure!(
            world.weights(&service).await? == (1, 0),
            "the stable version has all the traffic"
        );
        let release = world.release(&ran.release.context("it has an id")?).await?;
        ensure!(release.phase == Phase::RolledBack);
        ensure!(
            world
                .aws
                .watching(&format!("alarm:{}", service.alarm))
                .await?
                .is_empty()
        );
        Ok(())
    })
}

fn alarm(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service.config();
        let mut due = true;
        let see = async |event: &Event| {
            if let Event::ActionProgress {
                summary: Some(summary),
                ..
            } = event
                && due
                && summary.starts_with("candidate at 50%")
            {
                due = false;
                world.set_alarm(&service.alarm, StateValue::Alarm).await?;
            }
            Ok(())
        };
        let actions = [Action::new(CANARY, "web")];
        let ran = service
            .under_load(world.run(&[("penstock.yaml", &config)], &actions, see))
            .await?;
        ran.failed(
            "JobFailed",
            &[
                "rolled back: alarm '",
                "fired",
                "the stable version serves 100% again",
            ],
        )?;
        ensure!(
            world.weights(&service).await? == (1, 0),
            "the stable version has all the traffic"
        );
        let release = world.release(&ran.release.context("it has an id")?).await?;
        ensure!(
            matches!(release.because, Some(Reason::AlarmFired { .. })),
            "{:?}",
            release.because
        );
        Ok(())
    })
}

fn late_alarm(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service.config();
        let actions = [Action::new(CANARY, "web")];
        let ran = service
            .under_load(world.run(&[("penstock.yaml", &config)], &actions, nothing))
            .await?;
        ran.succeeded()?;
        world.set_alarm(&service.alarm, StateValue::Alarm).await?;
        // Long enough for the bridge, the rule and the function.
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        ensure!(
            world.weights(&service).await? == (0, 1),
            "the promoted version keeps its traffic"
        );
        let release = world.release(&ran.release.context("it has an id")?).await?;
        ensure!(release.phase == Phase::Promoted);
        Ok(())
    })
}

fn busy(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service.config();
        let actions = [Action::new(CANARY, "web")];
        let files = [("penstock.yaml", config.as_str())];
        let mut second = None;
        let see = async |event: &Event| {
            if let (
                Event::ActionProgress {
                    external_execution_id: Some(id),
                    ..
                },
                None,
            ) = (event, &second)
            {
                let ran = Box::pin(world.run(&files, &actions, nothing)).await?;
                ran.failed(
                    "JobFailed",
                    &[&format!("is held by release {id},"), "retry this stage"],
                )?;
                second = Some(ran);
            }
            Ok(())
        };
        let first = service.under_load(world.run(&files, &actions, see)).await?;
        ensure!(second.is_some(), "the second release ran");
        first.succeeded()
    })
}

fn next_release(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service.config();
        let actions = [Action::new(CANARY, "web")];
        let files = [("penstock.yaml", config.as_str())];
        service
            .under_load(world.run(&files, &actions, nothing))
            .await?
            .succeeded()?;
        ensure!(world.weights(&service).await? == (0, 1));
        // The same configuration: now green is stable, and blue, which fails, the candidate.
        service.stable.fails(40);
        let ran = service
            .under_load(world.run(&files, &actions, nothing))
            .await?;
        ran.failed("JobFailed", &["the candidate is worse"])?;
        ensure!(
            world.weights(&service).await? == (0, 1),
            "green keeps the traffic"
        );
        Ok(())
    })
}

fn no_healthy_host(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let green = &service.balancer.green;
        service.remove(world, &service.candidate, green).await?;
        let config = service.config();
        let ran = world
            .run(
                &[("penstock.yaml", &config)],
                &[Action::new(CANARY, "web")],
                nothing,
            )
            .await?;
        ran.failed(
            "ConfigurationError",
            &["has no healthy host", "deploy the new version there first"],
        )?;
        ensure!(world.weights(&service).await? == (1, 0));
        Ok(())
    })
}

fn unhealthy(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service.config().replace("/health", "/nowhere");
        let ran = world
            .run(
                &[("penstock.yaml", &config)],
                &[Action::new(CHECK, "web")],
                nothing,
            )
            .await?;
        ran.failed(
            "JobFailed",
            &[
                "not healthy 2 times in a row within 4s",
                "/nowhere answered 404, not 200",
            ],
        )
    })
}

fn ecs(world: &World) -> anyhow::Result<()> {
    let made = "\
        import boto3\n\
        ecs = boto3.client('ecs')\n\
        ecs.create_cluster(clusterName='prod')\n\
        task = ecs.register_task_definition(family='web', containerDefinitions=[{'name': 'web', 'image': 'web:1', 'command': ['sleep', '600'], 'memory': 64}])\n\
        task = task['taskDefinition']['taskDefinitionArn']\n\
        ecs.create_service(cluster='prod', serviceName='web', taskDefinition=task, desiredCount=1)\n\
        print(task.rpartition('/')[2])";
    let task = world.boto3(made)?;
    let config = |expected: &str| {
        format!(
            "version: 1\nhealth-checks:\n  web:\n    probes: [{{ecs-service: {{cluster: prod, service: web, task-definition: \"{expected}\"}}}}]\n    interval: 1s\n    in-a-row: 2\n    within: 4s\n"
        )
    };
    world.runtime.block_on(async {
        let actions = [Action::new(CHECK, "web")];
        let files = config(&task);
        world
            .run(&[("penstock.yaml", &files)], &actions, nothing)
            .await?
            .succeeded()?;
        let files = config("web:77");
        let ran = world
            .run(&[("penstock.yaml", &files)], &actions, nothing)
            .await?;
        ran.failed("JobFailed", &["web runs 1 of 1 tasks of", &task])
    })
}
