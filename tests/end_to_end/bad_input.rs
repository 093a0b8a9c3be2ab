//! Every mistake is answered with its own message, which names the fix.

use cli::pipeline::event::Event;

use crate::Test;
use crate::world::{Action, World};

pub const TESTS: &[Test] = &[
    (
        "every_mistake_in_penstock_yaml_is_answered_with_its_line_and_fix",
        config,
    ),
    (
        "malformed_user_parameters_are_answered_with_an_example",
        parameters,
    ),
    (
        "a_missing_configuration_is_answered_with_where_it_was_looked_for",
        no_config,
    ),
    (
        "an_unknown_or_forbidden_target_is_answered_and_not_touched",
        target,
    ),
];

async fn nothing(_: &Event) -> anyhow::Result<()> {
    Ok(())
}

fn config(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let good = world.service().await?.config();
        for (was, is, part) in [
            (
                "window: 1s",
                "windw: 1s",
                "unknown key `windw`: did you mean `window`?",
            ),
            ("windows: 3", "windows: three", "line 8"),
            ("set-weight: 10%", "set-weight: ten", "such as 5% or 0.5%"),
            (
                "  web:\n    target",
                "  wbe:\n    target",
                "no section 'web': `releases` has wbe",
            ),
        ] {
            let bad = good.replacen(was, is, 1);
            let ran = world
                .run(
                    &[("penstock.yaml", &bad)],
                    &[Action::new("canary-shift", "web")],
                    nothing,
                )
                .await?;
            ran.failed("ConfigurationError", &["could not use penstock.yaml", part])?;
        }
        Ok(())
    })
}

fn parameters(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        for (parameters, part) in [
            ("web", "write for example"),
            (r#"{"sectoin":"web"}"#, "unknown field `sectoin`"),
            (r#"{"section":7}"#, "invalid type"),
            ("[]", "write for example"),
        ] {
            for function in ["test-gate", "canary-shift", "health-check"] {
                let action = Action::with_parameters(function, parameters);
                let ran = world
                    .run(&[("penstock.yaml", "version: 1")], &[action], nothing)
                    .await?;
                ran.failed("ConfigurationError", &["UserParameters", part])?;
            }
        }
        Ok(())
    })
}

fn no_config(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        for function in ["test-gate", "canary-shift", "health-check"] {
            let ran = world
                .run(
                    &[("README", "hello")],
                    &[Action::new(function, "web")],
                    nothing,
                )
                .await?;
            ran.failed(
                "ConfigurationError",
                &["no penstock.yaml in the input artifacts (SourceOut)"],
            )?;
        }
        Ok(())
    })
}

fn target(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let good = service.config();
        let rule = service.balancer.rule.as_str();
        let gone = format!("{}0000000000000000", &rule[..rule.len() - 16]);
        let other_group = service.balancer.green.replace("green", "brown");
        for (was, is, part) in [
            (rule, gone.as_str(), "RuleNotFound"),
            (
                rule,
                "arn:aws:elasticloadbalancing:x:1:listener/app/a/b",
                "write the ARN of a listener rule",
            ),
            (
                service.balancer.green.as_str(),
                other_group.as_str(),
                "is not in the rule's forward action",
            ),
            (
                service.alarm.as_str(),
                "no-such-alarm",
                "there is no alarm 'no-such-alarm'",
            ),
        ] {
            let bad = good.replace(was, is);
            let ran = world
                .run(
                    &[("penstock.yaml", &bad)],
                    &[Action::new("canary-shift", "web")],
                    nothing,
                )
                .await?;
            ran.failed("ConfigurationError", &[part])?;
        }
        let foreign = good.replace(rule, &rule.replace("arn:aws:", "arn:aws-cn:"));
        let ran = world
            .run(
                &[("penstock.yaml", &foreign)],
                &[Action::new("canary-shift", "web")],
                nothing,
            )
            .await?;
        ran.failed(
            "ConfigurationError",
            &["is not allowed: the stack's parameter AllowedTargets"],
        )?;
        anyhow::ensure!(world.weights(&service).await? == (1, 0));
        Ok(())
    })
}
