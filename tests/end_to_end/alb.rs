//! What load balancers add to releases: default rules, sticky clients, weights that somebody else
//! moves, test traffic, and EC2 instances.

use anyhow::{Context, ensure};
use aws::local::elbv2::types::{
    Action as RuleAction, ActionTypeEnum, ForwardActionConfig, ProtocolEnum,
    TargetGroupStickinessConfig, TargetGroupTuple, TargetTypeEnum,
};
use cli::pipeline::event::Event;
use release::{Phase, Reason};

use crate::Test;
use crate::tools::{penstock, text};
use crate::world::{Action, INSTANCES, Ran, Service, World, nothing};

pub const TESTS: &[Test] = &[
    (
        "a_listeners_default_rule_is_promoted_and_the_next_release_of_it_goes_back",
        default_rule,
    ),
    (
        "a_default_rule_under_its_own_name_is_refused_with_the_listeners",
        default_by_its_own_name,
    ),
    (
        "a_release_behind_sticky_clients_warns_and_keeps_the_stickiness",
        sticky,
    ),
    (
        "a_release_whose_weights_somebody_else_moves_goes_back_and_says_both",
        drifted,
    ),
    (
        "a_release_from_a_stable_version_without_a_host_warns_and_may_repair_it",
        no_way_back,
    ),
    (
        "only_test_traffic_reaches_the_candidate_before_its_first_weight",
        test_traffic,
    ),
    (
        "test_traffic_ends_when_a_release_goes_back",
        test_traffic_goes_back,
    ),
    (
        "a_release_moves_from_the_instances_of_one_fleet_to_those_of_another",
        instances,
    ),
];

const CANARY: &str = "canary-shift";
/// Steps that end with `header-route` still on, unless somebody approves.
const TESTED_FIRST: &str = "steps: [{header-route: {header: {name: X-Test, values: [canary]}}}, {approve: 5m}, {set-weight: 50%}, {set-weight: 100%}]";

/// The configuration of this service with other steps.
fn with_steps(service: &Service, steps: &str) -> anyhow::Result<String> {
    let config = service.config();
    let planned = config.lines().find(|line| line.contains("steps:"));
    let planned = planned.context("the configuration has steps")?.trim();
    Ok(config.replacen(planned, steps, 1))
}

async fn shift(world: &World, service: &Service, config: &str) -> anyhow::Result<Ran> {
    let actions = [Action::new(CANARY, "web")];
    let files = [("penstock.yaml", config)];
    let run = world.run(&files, &actions, nothing);
    service.under_load(run).await
}

fn forward(service: &Service, weights: (i32, i32), sticky_seconds: Option<i32>) -> RuleAction {
    let tuple = |group: &str, weight| {
        let tuple = TargetGroupTuple::builder().target_group_arn(group);
        tuple.weight(weight).build()
    };
    let stickiness = TargetGroupStickinessConfig::builder()
        .enabled(sticky_seconds.is_some())
        .set_duration_seconds(sticky_seconds);
    let config = ForwardActionConfig::builder()
        .target_groups(tuple(&service.balancer.blue, weights.0))
        .target_groups(tuple(&service.balancer.green, weights.1))
        .target_group_stickiness_config(stickiness.build());
    let action = RuleAction::builder().r#type(ActionTypeEnum::Forward);
    action.forward_config(config.build()).build()
}

async fn set_rule(world: &World, service: &Service, action: RuleAction) -> anyhow::Result<()> {
    let elbv2 = world.stack.elbv2();
    let modify = elbv2.modify_rule().rule_arn(&service.balancer.rule);
    modify.actions(action).send().await?;
    Ok(())
}

/// The rules of a service's listener, the default one too.
async fn rules_of(world: &World, service: &Service) -> anyhow::Result<usize> {
    let elbv2 = world.stack.elbv2();
    let rules = elbv2.describe_rules();
    let rules = rules
        .listener_arn(&service.balancer.listener)
        .send()
        .await?;
    Ok(rules.rules().len())
}

fn default_rule(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let elbv2 = world.stack.elbv2();
        let (rule, listener) = (&service.balancer.rule, &service.balancer.listener);
        elbv2.delete_rule().rule_arn(rule).send().await?;
        let weights = async || {
            let listeners = elbv2.describe_listeners().listener_arns(listener);
            let listeners = listeners.send().await?;
            let listener = listeners.listeners().first().context("it is there")?;
            let actions = listener.default_actions();
            let config = actions.first().and_then(|a| a.forward_config());
            let groups = config.context("it forwards")?.target_groups();
            anyhow::Ok(groups.iter().map(|g| g.weight()).collect::<Vec<_>>())
        };
        let config = service.config().replace(rule, listener);
        shift(world, &service, &config).await?.succeeded()?;
        ensure!(weights().await? == [Some(0), Some(1)]);
        // Now blue is the candidate.
        service.stable.fails(40);
        let ran = shift(world, &service, &config).await?;
        ran.failed("JobFailed", &["the candidate is worse"])?;
        ensure!(weights().await? == [Some(0), Some(1)]);
        Ok(())
    })
}

fn default_by_its_own_name(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let elbv2 = world.stack.elbv2();
        let listener = &service.balancer.listener;
        let rules = elbv2.describe_rules().listener_arn(listener).send().await?;
        let default = rules.rules().iter().find(|r| r.is_default() == Some(true));
        let default = default.and_then(|r| r.rule_arn()).context("there is one")?;
        let config = service.config().replace(&service.balancer.rule, default);
        let ran = shift(world, &service, &config).await?;
        let advice = format!("write the listener's ARN instead, {listener}");
        ran.failed("ConfigurationError", &[&advice])
    })
}

fn sticky(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        set_rule(world, &service, forward(&service, (1, 0), Some(3600))).await?;
        let ran = shift(world, &service, &service.config()).await?;
        ran.succeeded()?;
        let warning = "the load balancer's stickiness keeps each client for 1h";
        let mut said = ran
            .summaries
            .iter()
            .filter(|s| s.starts_with("candidate at"));
        let first = said.next().context("it said where it is")?;
        ensure!(first.contains(warning), "{ran:#?}");
        let id = ran.release.context("it has an id")?;
        let release = world.release(&id).await?;
        ensure!(release.started.warnings.iter().any(|w| w.contains(warning)));
        let mut status = penstock(world);
        status.args(["status", id.as_str(), "--table", world.stack.table()]);
        let output = status.output()?;
        ensure!(text(&output).contains(warning), "{}", text(&output));
        let rules = world.stack.elbv2().describe_rules();
        let rules = rules.rule_arns(&service.balancer.rule).send().await?;
        let actions = rules.rules().first().context("the rule")?.actions();
        ensure!(
            *actions == [forward(&service, (0, 1), Some(3600))],
            "{actions:?}"
        );
        Ok(())
    })
}

fn drifted(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let steps = "steps: [{set-weight: 10%}, {wait: 10m}, {set-weight: 100%}]";
        let config = with_steps(&service, steps)?;
        let mut due = true;
        let see = async |event: &Event| {
            if let Event::ActionProgress {
                summary: Some(summary),
                ..
            } = event
                && due
                && summary.contains("candidate at 10%")
            {
                due = false;
                set_rule(world, &service, forward(&service, (1, 3), None)).await?;
            }
            Ok(())
        };
        let files = [("penstock.yaml", config.as_str())];
        let actions = [Action::new(CANARY, "web")];
        let run = world.run(&files, &actions, see);
        let ran = service.under_load(run).await?;
        ran.failed("JobFailed", &["rolled back", "10%", "75%"])?;
        ensure!(world.weights(&service).await? == (1, 0));
        let release = world.release(&ran.release.context("it has an id")?).await?;
        ensure!(
            matches!(release.because, Some(Reason::Drifted { .. })),
            "{:?}",
            release.because
        );
        Ok(())
    })
}

fn no_way_back(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        service
            .remove(world, &service.stable, &service.balancer.blue)
            .await?;
        let steps = "hotfix: the old version is down\n    steps: [{set-weight: 100%}]";
        let config = with_steps(&service, steps)?;
        let ran = shift(world, &service, &config).await?;
        ran.succeeded()?;
        let release = world.release(&ran.release.context("it has an id")?).await?;
        let [warning] = release.started.warnings.as_slice() else {
            anyhow::bail!("one warning: {:?}", release.started.warnings);
        };
        ensure!(warning.contains("has no healthy host") && warning.contains("rollback"));
        Ok(())
    })
}

/// The port of the version that answers, with and without what test traffic has.
async fn answering(service: &Service) -> anyhow::Result<(String, String)> {
    let client = reqwest::Client::new();
    let url = format!("{}/version", service.balancer.url);
    let tested = client.get(&url).header("x-test", "Canary").send().await?;
    let other = client.get(&url).header("x-test", "stable").send().await?;
    Ok((tested.text().await?, other.text().await?))
}

fn test_traffic(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = with_steps(&service, TESTED_FIRST)?;
        let ports = [&service.candidate, &service.stable].map(|v| v.port.to_string());
        let mut due = true;
        let see = async |event: &Event| {
            if let Event::ActionProgress {
                external_execution_id: Some(id),
                summary: Some(summary),
                ..
            } = event
                && due
                && summary.contains("waiting for approval")
            {
                due = false;
                for _ in 0..20 {
                    let (tested, other) = answering(&service).await?;
                    ensure!(
                        [&tested, &other] == [&ports[0], &ports[1]],
                        "{tested} {other}"
                    );
                }
                ensure!(world.weights(&service).await? == (1, 0));
                let mut approve = penstock(world);
                approve.args(["approve", id, "--table", world.stack.table()]);
                approve.args(["--because", "the tests passed"]);
                let output = tokio::task::spawn_blocking(move || approve.output()).await??;
                ensure!(output.status.success(), "{}", text(&output));
            }
            Ok(())
        };
        let files = [("penstock.yaml", config.as_str())];
        let actions = [Action::new(CANARY, "web")];
        let run = world.run(&files, &actions, see);
        let ran = service.under_load(run).await?;
        ran.succeeded()?;
        ensure!(!due, "nobody could approve: {ran:#?}");
        ensure!(rules_of(world, &service).await? == 2, "its rule is gone");
        Ok(())
    })
}

fn test_traffic_goes_back(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = with_steps(&service, TESTED_FIRST)?.replace("5m", "2s");
        let mut most = 0;
        let see = async |_: &Event| {
            most = most.max(rules_of(world, &service).await?);
            Ok(())
        };
        let files = [("penstock.yaml", config.as_str())];
        let actions = [Action::new(CANARY, "web")];
        let ran = world.run(&files, &actions, see).await?;
        ran.failed("JobFailed", &["rolled back"])?;
        ensure!(most == 3, "test traffic had a rule: {most}");
        ensure!(rules_of(world, &service).await? == 2, "its rule is gone");
        let stable = service.stable.port.to_string();
        ensure!(answering(&service).await? == (stable.clone(), stable));
        let release = world.release(&ran.release.context("it has an id")?).await?;
        ensure!(release.phase == Phase::RolledBack);
        Ok(())
    })
}

/// A target group as an Auto Scaling group fills it.
async fn fleet(world: &World, name: &str) -> anyhow::Result<String> {
    let made = world
        .stack
        .elbv2()
        .create_target_group()
        .name(name)
        .protocol(ProtocolEnum::Http)
        .port(80)
        .vpc_id("vpc-local")
        .target_type(TargetTypeEnum::Instance)
        .health_check_path("/health")
        .send()
        .await?;
    let group = made.target_groups().first();
    let arn = group.and_then(|g| g.target_group_arn());
    Ok(arn.context("the new target group has an ARN")?.to_owned())
}

fn instances(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let mut service = world.service().await?;
        let elbv2 = world.stack.elbv2();
        service.balancer.blue = fleet(world, &world.name("fleet-blue")).await?;
        service.balancer.green = fleet(world, &world.name("fleet-green")).await?;
        // A group that no rule names is not checked for health.
        set_rule(world, &service, forward(&service, (1, 0), None)).await?;
        let [blue, green] = INSTANCES;
        let balancer = &service.balancer;
        service
            .stable
            .register(&elbv2, &balancer.blue, blue)
            .await?;
        service
            .candidate
            .register(&elbv2, &balancer.green, green)
            .await?;
        shift(world, &service, &service.config())
            .await?
            .succeeded()?;
        ensure!(world.weights(&service).await? == (0, 1));
        let candidate = service.candidate.port.to_string();
        ensure!(answering(&service).await? == (candidate.clone(), candidate));
        Ok(())
    })
}
