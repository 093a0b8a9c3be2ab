//! Outside events that turn a release round: through the bus, its rules and the compiled function,
//! while real traffic goes to both versions.

use std::time::Duration;

use anyhow::{Context, ensure};
use aws::local::bus::{Bus, BusEvent};
use aws::local::lambda;
use cli::pipeline::event::Event;
use cli::pipeline::execution::Verdict;
use cli::stack::{REGION, STACK};
use engine::Clock;
use jiff::Timestamp;
use release::{Phase, Reason, Release, ReleaseId};
use serde_json::{Value, json};

use crate::Test;
use crate::world::{APPROVAL, Action, Ran, Service, World};

pub const TESTS: &[Test] = &[
    (
        "a_release_whose_execution_is_abandoned_goes_back_by_the_pipelines_own_event",
        abandoned,
    ),
    (
        "the_event_of_another_action_that_fails_in_its_execution_takes_a_release_back",
        neighbour,
    ),
    (
        "whoever_may_put_events_on_the_bus_can_ask_for_a_rollback",
        requested,
    ),
    (
        "the_event_of_a_critical_finding_in_the_image_that_is_released_takes_it_back",
        finding,
    ),
    (
        "the_event_of_a_deployment_alongside_that_fails_takes_the_release_back",
        alongside,
    ),
    (
        "events_of_elsewhere_of_others_and_from_before_change_nothing_and_a_duplicate_nothing_more",
        strangers,
    ),
];

/// The emulator's account.
const ACCOUNT: &str = "000000000000";

/// The digest of the image that this service's release brings: nobody else's.
fn digest(service: &Service) -> String {
    let name: String = service
        .alarm
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{name:0>64}")
}
/// For the bus, the rule and the function; and, where no pipeline follows any more, for the schedule,
/// which comes once a minute and sees to the end of what is back.
const BACK_WITHIN: Duration = Duration::from_secs(240);

/// The action, which says of which execution it is.
fn canary_shift() -> Action {
    let parameters = "{\"section\": \"web\", \"pipeline\": \"PIPELINE\", \"execution\": \
                      \"#{codepipeline.PipelineExecutionId}\"}";
    Action::with_parameters("canary-shift", parameters)
}

/// A release that goes on for longer than anybody waits, its image, and `more` of its plan.
fn files(service: &Service, more: &str) -> Vec<(&'static str, String)> {
    let config = service.config();
    let config = config.replacen("    patience:", &format!("{more}    patience:"), 1);
    let config = config.replacen("{judge: {windows: 3}}", "{wait: 10m}", 1);
    let image = json!({"ImageURI": format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/web@{}", digest(service))});
    vec![
        ("penstock.yaml", config),
        ("imageDetail.json", image.to_string()),
    ]
}

/// Runs the release; once the candidate has a share, `act` does what should turn it round.
async fn run(
    world: &World,
    service: &Service,
    (asks, more): (bool, &str),
    act: impl AsyncFn(&Release) -> anyhow::Result<()>,
) -> anyhow::Result<(Ran, Release)> {
    let files = files(service, more);
    let files: Vec<_> = files.iter().map(|(n, text)| (*n, text.as_str())).collect();
    let mut id = None;
    let see = async |event: &Event| {
        if let Event::ActionProgress {
            external_execution_id: Some(release),
            ..
        } = event
            && id.is_none()
        {
            let release = world
                .release(&ReleaseId::try_from(release.clone())?)
                .await?;
            if release.phase == Phase::Shifting && world.weights(service).await?.1 > 0 {
                id = Some(release.started.release.clone());
                act(&release).await?;
            }
        }
        Ok(())
    };
    let actions = [canary_shift()];
    let ran = match asks {
        true => {
            service
                .under_load(world.run_with_approval(&files, &actions, see))
                .await?
        }
        false => service.under_load(world.run(&files, &actions, see)).await?,
    };
    let id = id.context("the candidate never had a share")?;
    Ok((ran, back(world, service, &id).await?))
}

/// Waits until the release has gone back, and looks whether the traffic has.
async fn back(world: &World, service: &Service, id: &ReleaseId) -> anyhow::Result<Release> {
    let release = world.ended(id, BACK_WITHIN).await?;
    ensure!(release.phase == Phase::RolledBack, "{:?}", release.phase);
    ensure!(world.weights(service).await? == (1, 0));
    Ok(release)
}

/// What turned it round, in words.
fn why(release: &Release) -> anyhow::Result<String> {
    match &release.because {
        Some(because @ (Reason::Happened { .. } | Reason::Asked { .. })) => Ok(because.to_string()),
        other => anyhow::bail!("no event of outside: {other:?}"),
    }
}

fn abandoned(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let abandon = async |release: &Release| {
            let execution = release.started.execution.as_ref();
            let execution = execution.context("the action passed it")?;
            world.stack.player().engine().stop(execution, true)?;
            Ok(())
        };
        let (ran, release) = run(world, &service, (false, ""), abandon).await?;
        ensure!(ran.failure.is_none(), "it was left alone: {ran:#?}");
        let why = why(&release)?;
        let told = ["was abandoned", "was stopped"];
        ensure!(told.iter().any(|part| why.contains(part)), "{why}");
        Ok(())
    })
}

fn neighbour(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let reject = async |release: &Release| {
            let engine = world.stack.player().engine();
            let pipeline = release.started.pipeline.as_ref();
            let pipeline = pipeline.context("the action passed it")?;
            let execution = release.started.execution.as_ref();
            let execution = engine.execution(execution.context("the action passed it")?)?;
            let token = execution.record(|record| {
                let actions = record.stages.iter().flat_map(|stage| &stage.actions);
                let mut runs = actions.filter_map(|action| action.run.as_ref());
                runs.find_map(|run| Some(run.approval.as_ref()?.token.clone()))
            });
            let verdict = Verdict {
                approved: false,
                summary: "the prices are wrong".to_owned(),
            };
            let token = token.context("somebody is asked")?;
            engine.approve(pipeline, "Penstock", APPROVAL, &token, verdict)?;
            Ok(())
        };
        let (ran, release) = run(world, &service, (true, ""), reject).await?;
        let why = why(&release)?;
        ensure!(
            why.starts_with("action Approve in stage Penstock failed") && why.contains("prices"),
            "{why}"
        );
        ran.succeeded().expect_err("its execution failed");
        Ok(())
    })
}

fn requested(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let bus = Bus::new(world.stack.sdk());
        let ask = async |release: &Release| {
            let target = release.plan().target.id().0;
            let event = BusEvent {
                source: "shop.oncall".to_owned(),
                detail_type: "penstock.rollback-requested".to_owned(),
                resources: Vec::new(),
                detail: json!({"target": target, "reason": "orders fell by half", "by": "ada"}),
                at: world.aws.now(),
            };
            // At least once, and so perhaps twice.
            bus.put(&event).await?;
            bus.put(&event).await?;
            Ok(())
        };
        let (ran, release) = run(world, &service, (false, ""), ask).await?;
        ran.failed(
            "JobFailed",
            &["ada (shop.oncall) asked for it: orders fell by half"],
        )?;
        ensure!(why(&release)?.contains("orders fell by half"));
        Ok(())
    })
}

fn finding(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let bus = Bus::new(world.stack.sdk());
        let digest = digest(&service);
        let find = async |_: &Release| {
            for severity in ["HIGH", "CRITICAL"] {
                let image = json!({"repositoryName": "web", "imageHash": digest, "registry": ACCOUNT});
                let event = BusEvent {
                    source: "local.inspector2".to_owned(),
                    detail_type: "Inspector2 Finding".to_owned(),
                    resources: Vec::new(),
                    detail: json!({
                        "status": "ACTIVE", "severity": severity, "title": format!("a {severity} one"),
                        "resources": [{"type": "AWS_ECR_CONTAINER_IMAGE", "details": {"awsEcrContainerImage": image}}],
                    }),
                    at: world.aws.now(),
                };
                bus.put(&event).await?;
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Ok(())
        };
        let (ran, release) = run(world, &service, (false, ""), find).await?;
        ran.failed("JobFailed", &["a CRITICAL one", &digest])?;
        ensure!(release.started.images.contains(&digest));
        Ok(())
    })
}

fn alongside(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let bus = Bus::new(world.stack.sdk());
        let group = world.name("workers");
        world.stack.player().codedeploy().begin("shop", &group);
        let arn = |group: &str| {
            format!("arn:aws:codedeploy:{REGION}:{ACCOUNT}:deploymentgroup:shop/{group}")
        };
        let more = format!(
            "    rollback: {{alongside: [{{codedeploy: '{}'}}]}}\n",
            arn(&group)
        );
        let fail = async |_: &Release| {
            for group in ["another", &group] {
                let event = BusEvent {
                    source: "local.codedeploy".to_owned(),
                    detail_type: "CodeDeploy Deployment State-change Notification".to_owned(),
                    resources: vec![arn(group)],
                    detail: json!({
                        "region": REGION, "application": "shop", "deploymentGroup": group,
                        "deploymentId": "d-ABC", "instanceGroupId": "1", "state": "FAILURE",
                    }),
                    at: world.aws.now(),
                };
                bus.put(&event).await?;
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            Ok(())
        };
        let (ran, _) = run(world, &service, (false, &more), fail).await?;
        let told = format!("rolled back: deployment d-ABC of shop/{group} failed");
        ran.failed("JobFailed", &[&told])
    })
}

/// An event of the pipeline of this release, as rollback-trigger gets it.
fn event_of(release: &Release, state: &str) -> anyhow::Result<Value> {
    let started = &release.started;
    let pipeline = started.pipeline.as_ref().context("the action passed it")?;
    let execution = started.execution.as_ref().context("the action passed it")?;
    Ok(json!({
        "version": "0",
        "id": "e1",
        "detail-type": "CodePipeline Stage Execution State Change",
        "source": "local.codepipeline",
        "account": ACCOUNT,
        "region": REGION,
        "time": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "resources": [],
        "detail": {"pipeline": pipeline, "execution-id": execution, "stage": "Penstock", "state": state},
    }))
}

fn with(mut event: Value, pointer: &str, value: Value) -> anyhow::Result<Value> {
    *event.pointer_mut(pointer).context("the event has it")? = value;
    Ok(event)
}

/// All that must change nothing, each with why.
fn strange(release: &Release) -> anyhow::Result<Vec<(&'static str, Value)>> {
    let failed = event_of(release, "FAILED")?;
    let hour_ago = Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let scan = json!({"scan-status": "COMPLETE", "repository-name": "web", "image-digest":
        format!("sha256:{:0>64}", 5), "finding-severity-counts": {"CRITICAL": 1}});
    let of_another = |kind: &str, detail: Value| {
        let event = with(event_of(release, "FAILED")?, "/detail-type", json!(kind))?;
        with(event, "/detail", detail)
    };
    Ok(vec![
        (
            "account",
            with(failed.clone(), "/account", json!("123456789012"))?,
        ),
        (
            "region",
            with(failed.clone(), "/region", json!("eu-west-1"))?,
        ),
        (
            "source",
            with(failed.clone(), "/source", json!("local.ecs"))?,
        ),
        (
            "nobody's source",
            with(failed.clone(), "/source", json!("a.tool"))?,
        ),
        (
            "pipeline",
            with(failed.clone(), "/detail/pipeline", json!("another"))?,
        ),
        (
            "execution",
            with(failed.clone(), "/detail/execution-id", json!("another"))?,
        ),
        (
            "late",
            with(
                failed,
                "/time",
                json!(hour_ago.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
            )?,
        ),
        ("stopping", event_of(release, "STOPPING")?),
        ("succeeded", event_of(release, "SUCCEEDED")?),
        ("type", of_another("Something Else", json!({}))?),
        (
            "digest",
            with(
                of_another("ECR Image Scan", scan)?,
                "/source",
                json!("local.ecr"),
            )?,
        ),
        (
            "malformed",
            of_another("CodePipeline Stage Execution State Change", json!([1]))?,
        ),
        ("no event", json!({"no": "event"})),
    ])
}

fn strangers(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let functions = lambda::Client::new(world.stack.sdk());
        let deliver = async |event: &Value| {
            let invoke = functions
                .invoke()
                .function_name(format!("{STACK}-rollback-trigger"));
            let done = invoke
                .payload(event.to_string().into_bytes().into())
                .send()
                .await?;
            let error = done.function_error();
            ensure!(
                error.is_none(),
                "an event that nobody may use came again: {error:?}"
            );
            anyhow::Ok(())
        };
        let act = async |release: &Release| {
            let id = &release.started.release;
            for (what, event) in strange(release)? {
                deliver(&event).await?;
                let now = world.release(id).await?;
                ensure!(now.phase == Phase::Shifting, "{what}: {:?}", now.because);
            }
            let failed = event_of(release, "FAILED")?;
            let (a, b, c) = tokio::join!(deliver(&failed), deliver(&failed), deliver(&failed));
            a.and(b).and(c)?;
            let back = back(world, &service, id).await?;
            let facts = world.facts(id).await?.len();
            deliver(&failed).await?;
            for (_, event) in strange(release)? {
                deliver(&event).await?;
            }
            ensure!(world.release(id).await? == back, "it was over");
            ensure!(world.facts(id).await?.len() == facts, "it was over");
            Ok(())
        };
        let (ran, release) = run(world, &service, (false, ""), act).await?;
        ran.failed("JobFailed", &["rolled back: stage Penstock failed"])?;
        let turned =
            |event: &release::Event| matches!(event, release::Event::RollbackDecided { .. });
        let facts = world.facts(&release.started.release).await?;
        ensure!(facts.iter().filter(|event| turned(event)).count() == 1);
        Ok(())
    })
}
