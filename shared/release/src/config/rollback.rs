//! What else goes back with a release, as the configuration names it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ServiceArn, TargetSpec};

/// The most deployments that one release takes back with it; each is stopped by calls of its own,
/// inside the time of one run.
pub const ALONGSIDE_MAX: usize = 10;
/// The longest name of a CodeDeploy application or group, and of a pipeline or stage (the services'
/// own limit for all four).
const NAME_CHARS_MAX: usize = 100;

/// What happens besides the weights when a release goes back. By default nothing: the action fails.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct RollbackPolicy {
    /// Deployments that other actions of the pipeline make beside the release, and that must not
    /// outlive it: those under way are stopped, with their own rollback.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alongside: Vec<Alongside>,
    /// What becomes of the pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<PipelinePolicy>,
}

/// What deploys beside a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alongside {
    /// A deployment group of CodeDeploy.
    Codedeploy(DeploymentGroupArn),
    /// A service that ECS itself deploys, whatever its strategy.
    EcsService(ServiceArn),
}

/// What becomes of the pipeline when a release goes back, besides its failed action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PipelinePolicy {
    /// No further execution enters this stage until somebody enables its inbound transition again.
    DisableTransition(StageArn),
    /// This stage, which must be the action's own, is rolled back to the execution that succeeded in
    /// it last, as soon as CodePipeline allows: once the failed action has ended it.
    RollBackStage(StageArn),
}

/// `arn:aws:codedeploy:REGION:ACCOUNT:deploymentgroup:APPLICATION/GROUP`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeploymentGroupArn(String);

/// `arn:aws:codepipeline:REGION:ACCOUNT:PIPELINE/STAGE`, the resource by which IAM decides who may
/// hold or roll back a stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageArn(String);

impl RollbackPolicy {
    /// Whether nothing goes back but the weights.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The ARNs by which IAM decides who may stop and hold all this.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        let alongside = self.alongside.iter().map(Alongside::arn);
        alongside.chain(self.pipeline.iter().map(|policy| policy.stage().as_str()))
    }

    /// The stage that is to be rolled back.
    pub fn rolls_back(&self) -> Option<&StageArn> {
        match self.pipeline.as_ref()? {
            PipelinePolicy::RollBackStage(stage) => Some(stage),
            PipelinePolicy::DisableTransition(_) => None,
        }
    }

    /// What it does, in a few words each.
    pub fn words(&self) -> impl Iterator<Item = String> {
        let alongside = self.alongside.iter().map(|one| format!("stops {one}"));
        let pipeline = self.pipeline.iter().map(|policy| match policy {
            PipelinePolicy::DisableTransition(stage) => format!("closes {stage}"),
            PipelinePolicy::RollBackStage(stage) => format!("rolls {stage} back"),
        });
        alongside.chain(pipeline)
    }

    pub(super) fn check(&self, target: &TargetSpec) -> Result<(), String> {
        if self.alongside.len() > ALONGSIDE_MAX {
            return Err(format!(
                "`rollback.alongside` has {} entries: at most {ALONGSIDE_MAX} are stopped",
                self.alongside.len()
            ));
        }
        let own = target.resources();
        for (index, one) in self.alongside.iter().enumerate() {
            one.check()?;
            if self.alongside[..index].contains(one) {
                return Err(format!(
                    "`rollback.alongside` names {one} twice: name it once"
                ));
            }
            if own.contains(&one.arn()) {
                return Err(format!(
                    "`rollback.alongside` names {one}, which is the release's own target and goes \
                     back with its weights: leave it out"
                ));
            }
        }
        self.pipeline
            .as_ref()
            .map_or(Ok(()), |policy| policy.stage().check())
    }
}

impl Alongside {
    /// What it is known by.
    pub fn arn(&self) -> &str {
        match self {
            Self::Codedeploy(group) => group.as_str(),
            Self::EcsService(service) => service.as_str(),
        }
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Codedeploy(group) => group.check(),
            Self::EcsService(service) => service.check(),
        }
    }
}

impl fmt::Display for Alongside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Codedeploy(group) => {
                write!(
                    f,
                    "deployment group {}/{}",
                    group.application(),
                    group.name()
                )
            }
            Self::EcsService(service) => {
                write!(f, "service {}/{}", service.cluster(), service.name())
            }
        }
    }
}

impl PipelinePolicy {
    /// The stage that it is about.
    pub fn stage(&self) -> &StageArn {
        match self {
            Self::DisableTransition(stage) | Self::RollBackStage(stage) => stage,
        }
    }
}

impl DeploymentGroupArn {
    /// The application's name.
    pub fn application(&self) -> &str {
        self.parts().map_or("", |(application, _)| application)
    }

    /// The group's name.
    pub fn name(&self) -> &str {
        self.parts().map_or(&self.0, |(_, group)| group)
    }

    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> Option<(&str, &str)> {
        let rest = after_home(&self.0, "codedeploy")?;
        rest.strip_prefix("deploymentgroup:")?.split_once('/')
    }

    fn check(&self) -> Result<(), String> {
        match self.parts() {
            Some((application, group)) if is_name(application) && is_name(group) => Ok(()),
            Some(_) | None => Err(format!(
                "`codedeploy` is '{}': write the ARN of a deployment group, \
                 arn:aws:codedeploy:REGION:ACCOUNT:deploymentgroup:APPLICATION/GROUP",
                self.0
            )),
        }
    }
}

impl From<String> for DeploymentGroupArn {
    fn from(arn: String) -> Self {
        Self(arn)
    }
}

impl StageArn {
    /// The pipeline's name.
    pub fn pipeline(&self) -> &str {
        self.parts().map_or("", |(pipeline, _)| pipeline)
    }

    /// The stage's name.
    pub fn name(&self) -> &str {
        self.parts().map_or(&self.0, |(_, stage)| stage)
    }

    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> Option<(&str, &str)> {
        after_home(&self.0, "codepipeline")?.split_once('/')
    }

    fn check(&self) -> Result<(), String> {
        match self.parts() {
            Some((pipeline, stage)) if is_name(pipeline) && is_name(stage) => Ok(()),
            Some(_) | None => Err(format!(
                "`rollback.pipeline` names '{}': write the ARN of a stage, \
                 arn:aws:codepipeline:REGION:ACCOUNT:PIPELINE/STAGE",
                self.0
            )),
        }
    }
}

impl fmt::Display for StageArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage {} of pipeline {}", self.name(), self.pipeline())
    }
}

impl From<String> for StageArn {
    fn from(arn: String) -> Self {
        Self(arn)
    }
}

/// What stands behind `arn:PARTITION:SERVICE:REGION:ACCOUNT:`.
fn after_home<'a>(arn: &'a str, service: &str) -> Option<&'a str> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, of, region, account, rest]
            if of == service && !region.is_empty() && is_account(account) =>
        {
            Some(rest)
        }
        _ => None,
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// What both services allow in names, and more than either does.
fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_@+=,".contains(&b);
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const HOME: &str = "eu-west-1:123456789012";

    fn read(rollback: &str) -> Result<RollbackPolicy, String> {
        let text = format!(
            "version: 1\nreleases:\n  web:\n    target:\n      ecs-rolling: {{service: \
             'arn:aws:ecs:{HOME}:service/prod/web', task-definition: 'web:7'}}\n    steps: \
             [{{set-weight: 100%}}]\n    rollback: {rollback}\n"
        );
        let config = Config::parse(&text).map_err(|error| error.message)?;
        Ok(config.release(None).unwrap().1.rollback.clone())
    }

    #[test]
    fn what_goes_back_with_a_release_is_named_by_arns() {
        let policy = read(&format!(
            "{{alongside: [{{codedeploy: 'arn:aws:codedeploy:{HOME}:deploymentgroup:shop/workers'}}, \
             {{ecs-service: 'arn:aws:ecs:{HOME}:service/prod/mailer'}}], \
             pipeline: {{disable-transition: 'arn:aws:codepipeline:{HOME}:shop/Deploy'}}}}"
        ))
        .unwrap();
        let Alongside::Codedeploy(group) = &policy.alongside[0] else {
            panic!("{policy:?}");
        };
        assert_eq!((group.application(), group.name()), ("shop", "workers"));
        let stage = policy.pipeline.as_ref().unwrap().stage();
        assert_eq!((stage.pipeline(), stage.name()), ("shop", "Deploy"));
        assert_eq!(policy.rolls_back(), None);
        assert_eq!(policy.resources().count(), 3);
        let words: Vec<_> = policy.words().collect();
        assert_eq!(
            words,
            [
                "stops deployment group shop/workers",
                "stops service prod/mailer",
                "closes stage Deploy of pipeline shop"
            ]
        );
        let stored = serde_json::to_string(&policy).unwrap();
        assert_eq!(policy, serde_json::from_str(&stored).unwrap());
    }

    #[test]
    fn a_plan_without_any_has_none() {
        assert_eq!(read("{}").unwrap(), RollbackPolicy::default());
        assert_eq!(
            serde_json::to_string(&RollbackPolicy::default()).unwrap(),
            "{}"
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_fix() {
        let group = |name: &str| {
            format!("{{codedeploy: 'arn:aws:codedeploy:{HOME}:deploymentgroup:shop/{name}'}}")
        };
        let many: Vec<_> = (0..=ALONGSIDE_MAX).map(|n| group(&n.to_string())).collect();
        for (rollback, fix) in [
            (
                "{alongside: [{codedeploy: shop/workers}]}".to_owned(),
                "deploymentgroup:APPLICATION/GROUP",
            ),
            (
                format!(
                    "{{alongside: [{{codedeploy: 'arn:aws:codedeploy:{HOME}:deploymentgroup:shop'}}]}}"
                ),
                "deploymentgroup:APPLICATION/GROUP",
            ),
            (
                format!("{{alongside: [{}, {}]}}", group("a"), group("a")),
                "twice",
            ),
            (
                format!("{{alongside: [{}]}}", many.join(", ")),
                "at most 10",
            ),
            (
                "{alongside: [{ecs-service: prod/mailer}]}".to_owned(),
                "service/CLUSTER/NAME",
            ),
            (
                format!("{{alongside: [{{ecs-service: 'arn:aws:ecs:{HOME}:service/prod/web'}}]}}"),
                "the release's own target",
            ),
            (
                "{pipeline: {roll-back-stage: Deploy}}".to_owned(),
                "PIPELINE/STAGE",
            ),
            (
                format!("{{pipeline: {{roll-back-stage: 'arn:aws:codepipeline:{HOME}:shop'}}}}"),
                "PIPELINE/STAGE",
            ),
            (
                "{pipeline: {disable-transitions: x}}".to_owned(),
                "`disable-transition`",
            ),
            ("{along-side: []}".to_owned(), "`alongside`"),
        ] {
            let error = read(&rollback).unwrap_err();
            assert!(error.contains(fix), "{rollback}: {error}");
        }
    }
}
