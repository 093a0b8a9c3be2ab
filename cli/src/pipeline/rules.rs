//! AWS's rules for a pipeline's structure, and what a laptop cannot run. Every broken rule is reported, each with what to change.
//!
//! Sources: the CodePipeline user guide's pages on pipeline structure, limits and variables, and the API model.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::declaration::{Action, ActionKind, ExecutionMode, Pipeline, PipelineType, Stage};
use super::variables;

const STAGES_MIN: usize = 2;
const STAGES_MAX: usize = 50;
const ACTIONS_MAX: usize = 50;
const NAME_CHARS_MAX: usize = 100;
const RUN_ORDER_MAX: u16 = 999;
const CONFIGURATION_KEY_CHARS_MAX: usize = 50;
/// For the text before variables are put in.
const CONFIGURATION_VALUE_CHARS_MAX: usize = 1000;
const VARIABLES_MAX: usize = 50;
const VARIABLE_NAME_CHARS_MAX: usize = 128;
const VARIABLE_VALUE_CHARS_MAX: usize = 1000;
const ARTIFACTS_MAX: usize = 5;
const APPROVAL_MINUTES: std::ops::RangeInclusive<u32> = 5..=86_400;
/// Namespaces that AWS fills itself.
const RESERVED_NAMESPACES: [&str; 2] = ["codepipeline", "variables"];

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The pipeline, stage or action.
    pub at: String,
    /// What is wrong, and what to change.
    pub what: String,
}

/// Every broken rule of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the pipeline breaks {} of CodePipeline's rules",
            self.0.len()
        )?;
        self.0
            .iter()
            .try_for_each(|problem| write!(f, "\n  - {}: {}", problem.at, problem.what))
    }
}

/// Checks a pipeline.
///
/// # Errors
/// All broken rules.
pub fn check(pipeline: &Pipeline) -> Result<(), Problems> {
    let mut checker = Checker::default();
    checker.pipeline(pipeline);
    match checker.problems.is_empty() {
        true => Ok(()),
        false => Err(Problems(checker.problems)),
    }
}

#[derive(Default)]
struct Checker {
    problems: Vec<Problem>,
    /// Artifacts produced so far.
    artifacts: BTreeSet<String>,
    /// Namespaces filled so far.
    namespaces: BTreeSet<String>,
}

impl Checker {
    fn report(&mut self, at: &str, what: impl Into<String>) {
        self.problems.push(Problem {
            at: at.into(),
            what: what.into(),
        });
    }

    fn pipeline(&mut self, pipeline: &Pipeline) {
        let declaration = &pipeline.declaration;
        let at = format!("pipeline {}", declaration.name);
        self.name(&at, &declaration.name);
        let count = declaration.stages.len();
        if !(STAGES_MIN..=STAGES_MAX).contains(&count) {
            self.report(
                &at,
                format!("has {count} stages; a pipeline has {STAGES_MIN} to {STAGES_MAX}"),
            );
        }
        if declaration.role_arn.is_none() {
            self.report(
                &at,
                "has no RoleArn, which AWS requires; any ARN of a role will do on a laptop",
            );
        }
        match (
            &declaration.artifact_store,
            declaration.artifact_stores.is_empty(),
        ) {
            (Some(_), true) | (None, false) => {}
            (Some(_), false) => self.report(
                &at,
                "has artifactStore and artifactStores; keep one of them",
            ),
            (None, true) => self.report(
                &at,
                "has no artifact store; add ArtifactStore: {Type: S3, Location: BUCKET}",
            ),
        }
        if declaration.pipeline_type == PipelineType::V1 {
            if !declaration.variables.is_empty() {
                self.report(&at, "has variables, which need PipelineType: V2");
            }
            if declaration.execution_mode != ExecutionMode::Superseded {
                self.report(&at, "has an execution mode, which needs PipelineType: V2");
            }
        }
        self.variables(&at, pipeline);
        self.unique(
            &at,
            "stage",
            declaration.stages.iter().map(|stage| stage.name.as_str()),
        );
        let namespaces = declaration.stages.iter().flat_map(|stage| &stage.actions);
        let namespaces = namespaces
            .filter_map(|action| action.namespace.as_deref())
            .collect::<Vec<_>>();
        self.unique(&at, "namespace", namespaces.into_iter());
        for (position, stage) in declaration.stages.iter().enumerate() {
            self.stage(position, stage);
        }
    }

    fn variables(&mut self, at: &str, pipeline: &Pipeline) {
        let variables = &pipeline.declaration.variables;
        if variables.len() > VARIABLES_MAX {
            self.report(
                at,
                format!(
                    "has {} variables; at most {VARIABLES_MAX} are allowed",
                    variables.len()
                ),
            );
        }
        self.unique(
            at,
            "variable",
            variables.iter().map(|variable| variable.name.as_str()),
        );
        for variable in variables {
            let name = &variable.name;
            if !variables::is_key(name) || name.chars().count() > VARIABLE_NAME_CHARS_MAX {
                self.report(
                    at,
                    format!(
                        "variable `{name}`: use 1 to {VARIABLE_NAME_CHARS_MAX} of A-Z a-z 0-9 @ - _"
                    ),
                );
            }
            let long = variable
                .default_value
                .as_ref()
                .is_some_and(|value| value.chars().count() > VARIABLE_VALUE_CHARS_MAX);
            if long {
                self.report(at, format!("variable {name}: shorten its default to {VARIABLE_VALUE_CHARS_MAX} characters"));
            }
        }
    }

    fn stage(&mut self, position: usize, stage: &Stage) {
        let at = format!("stage {}", stage.name);
        self.name(&at, &stage.name);
        let count = stage.actions.len();
        if !(1..=ACTIONS_MAX).contains(&count) {
            self.report(
                &at,
                format!("has {count} actions; a stage has 1 to {ACTIONS_MAX}"),
            );
        }
        self.unique(
            &at,
            "action",
            stage.actions.iter().map(|action| action.name.as_str()),
        );
        // What a group of equal run order produces can be used by the groups after it.
        let mut groups: BTreeMap<u16, Vec<&Action>> = BTreeMap::new();
        for action in &stage.actions {
            groups.entry(action.run_order).or_default().push(action);
        }
        for group in groups.values() {
            for action in group {
                self.action(
                    position == 0,
                    &format!("stage {}, action {}", stage.name, action.name),
                    action,
                );
            }
            for action in group {
                self.produced(
                    &format!("stage {}, action {}", stage.name, action.name),
                    action,
                );
            }
        }
    }

    fn action(&mut self, first_stage: bool, at: &str, action: &Action) {
        self.name(at, &action.name);
        if !(1..=RUN_ORDER_MAX).contains(&action.run_order) {
            self.report(
                at,
                format!(
                    "run order {} is not in 1..={RUN_ORDER_MAX}",
                    action.run_order
                ),
            );
        }
        match (first_stage, action.action_type_id.category == "Source") {
            (true, false) => self.report(
                at,
                "the first stage takes source actions only; move it to a later stage",
            ),
            (false, true) => self.report(
                at,
                "source actions belong to the first stage; move it there",
            ),
            (true, true) | (false, false) => {}
        }
        for artifact in &action.input_artifacts {
            let name = &artifact.name;
            if !self.artifacts.contains(name) {
                let known = listed(&self.artifacts);
                self.report(at, format!(
                    "input artifact {name} is not produced earlier (produced so far: {known}); add it to the OutputArtifacts of an earlier action, or raise this action's RunOrder"
                ));
            }
        }
        self.configuration(at, action);
        match ActionKind::of(&action.action_type_id) {
            Some(kind) => self.kind(at, action, kind),
            None => {
                let kind = &action.action_type_id;
                self.report(
                    at,
                    format!(
                        "{} by {} does not run on a laptop; supported: {}",
                        kind.category,
                        kind.provider,
                        ActionKind::SUPPORTED
                    ),
                );
            }
        }
    }

    fn configuration(&mut self, at: &str, action: &Action) {
        for (key, value) in &action.configuration {
            if key.chars().count() > CONFIGURATION_KEY_CHARS_MAX {
                self.report(at, format!("configuration key {key} is longer than {CONFIGURATION_KEY_CHARS_MAX} characters"));
            }
            let chars = value.chars().count();
            if chars > CONFIGURATION_VALUE_CHARS_MAX {
                self.report(at, format!(
                    "{key} has {chars} characters; AWS takes {CONFIGURATION_VALUE_CHARS_MAX} (counted before variables are put in). Move settings into a file of the input artifact"
                ));
            }
            for reference in variables::references(value) {
                let namespace = reference
                    .split_once('.')
                    .map_or(reference, |(namespace, _)| namespace);
                if !RESERVED_NAMESPACES.contains(&namespace) && !self.namespaces.contains(namespace)
                {
                    let known = listed(&self.namespaces);
                    self.report(at, format!(
                        "{key} uses #{{{reference}}}, but no earlier action has Namespace: {namespace} (filled so far: {known})"
                    ));
                }
            }
        }
    }

    fn kind(&mut self, at: &str, action: &Action, kind: ActionKind) {
        let (inputs, outputs, required) = match kind {
            ActionKind::Source => (0..=0, 1..=1, None),
            ActionKind::Build => (1..=ARTIFACTS_MAX, 0..=ARTIFACTS_MAX, Some("ProjectName")),
            ActionKind::Approval => (0..=0, 0..=0, None),
            ActionKind::Lambda => (0..=ARTIFACTS_MAX, 0..=ARTIFACTS_MAX, Some("FunctionName")),
        };
        for (what, count, allowed) in [
            ("input", action.input_artifacts.len(), inputs),
            ("output", action.output_artifacts.len(), outputs),
        ] {
            if !allowed.contains(&count) {
                let (least, most) = allowed.into_inner();
                self.report(
                    at,
                    format!(
                        "has {count} {what} artifacts; {} takes {least} to {most}",
                        action.action_type_id.provider
                    ),
                );
            }
        }
        if let Some(key) = required.filter(|key| !action.configuration.contains_key(*key)) {
            self.report(at, format!("lacks {key} in its Configuration"));
        }
        if let Some(minutes) = action.timeout_in_minutes {
            if kind != ActionKind::Approval {
                self.report(
                    at,
                    "TimeoutInMinutes is for manual approvals only; remove it",
                );
            } else if !APPROVAL_MINUTES.contains(&minutes) {
                self.report(
                    at,
                    format!("TimeoutInMinutes {minutes} is not in {APPROVAL_MINUTES:?}"),
                );
            }
        }
    }

    fn produced(&mut self, at: &str, action: &Action) {
        for artifact in &action.output_artifacts {
            let name = &artifact.name;
            let letters = name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter));
            if !letters || name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
                self.report(
                    at,
                    format!("artifact `{name}`: use 1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 _ -"),
                );
            }
            if !self.artifacts.insert(name.clone()) {
                self.report(
                    at,
                    format!("artifact {name} is produced twice; give one of them another name"),
                );
            }
        }
        if let Some(namespace) = action.namespace.as_deref() {
            if !variables::is_key(namespace) || namespace.chars().count() > NAME_CHARS_MAX {
                self.report(
                    at,
                    format!(
                        "namespace `{namespace}`: use 1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 @ - _"
                    ),
                );
            }
            if RESERVED_NAMESPACES.contains(&namespace) {
                self.report(
                    at,
                    format!("namespace {namespace} is AWS's own; choose another"),
                );
            }
            self.namespaces.insert(namespace.to_owned());
        }
    }

    fn name(&mut self, at: &str, name: &str) {
        let letters = name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || ".@-_".contains(letter));
        if !letters || name.is_empty() || name.chars().count() > NAME_CHARS_MAX {
            self.report(
                at,
                format!("`{name}` is no name; use 1 to {NAME_CHARS_MAX} of A-Z a-z 0-9 . @ - _"),
            );
        }
    }

    fn unique<'a>(&mut self, at: &str, what: &str, names: impl Iterator<Item = &'a str>) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.report(
                    at,
                    format!("has two of {what} {name}; give one of them another name"),
                );
            }
        }
    }
}

fn listed(names: &BTreeSet<String>) -> String {
    match names.is_empty() {
        true => "none".into(),
        false => names
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::declaration::tests::TEMPLATE;
    use crate::pipeline::{ParseError, Scope};

    /// The problems of the sample template after one change.
    fn after(from: &str, to: &str) -> String {
        assert!(TEMPLATE.contains(from), "the sample has no {from}");
        match Pipeline::parse(&TEMPLATE.replacen(from, to, 1), &Scope::default()) {
            Err(ParseError::Rules(problems)) => problems.to_string(),
            other => panic!("no broken rule: {other:?}"),
        }
    }

    #[test]
    fn each_broken_rule_is_told_with_what_to_change() {
        let long = format!(
            "UserParameters: '{}'\n                Ignored: '",
            "x".repeat(1001)
        );
        let cases = [
            (
                "Provider: Lambda",
                "Provider: StepFunctions",
                "Invoke by StepFunctions does not run on a laptop; supported: Source by",
            ),
            (
                "InputArtifacts: [{Name: BuildOut}]",
                "InputArtifacts: [{Name: Other}]",
                "input artifact Other is not produced earlier (produced so far: BuildOut, SourceOut)",
            ),
            (
                "OutputArtifacts: [{Name: BuildOut}]",
                "OutputArtifacts: [{Name: SourceOut}]",
                "artifact SourceOut is produced twice",
            ),
            (
                "Namespace: Build",
                "Namespace: Src",
                "has two of namespace Src",
            ),
            (
                "Namespace: Build",
                "Namespace: codepipeline",
                "namespace codepipeline is AWS's own",
            ),
            (
                "#{Src.CommitId}",
                "#{Sorce.CommitId}",
                "no earlier action has Namespace: Sorce (filled so far: Build, Src)",
            ),
            (
                "PipelineType: V2",
                "PipelineType: V1",
                "has variables, which need PipelineType: V2",
            ),
            (
                "- Name: Build\n",
                "- Name: Source\n",
                "has two of stage Source",
            ),
            (
                "Category: Source",
                "Category: Build",
                "the first stage takes source actions only",
            ),
            ("FunctionName: !Ref", "Function: !Ref", "lacks FunctionName"),
            (
                "RunOrder: \"2\"",
                "RunOrder: 0",
                "run order 0 is not in 1..=999",
            ),
            (
                "UserParameters: '",
                long.as_str(),
                "UserParameters has 1001 characters; AWS takes 1000",
            ),
            (
                "ArtifactStore: {Type: S3, Location: !Ref Bucket}",
                "ArtifactStores: []",
                "has no artifact store",
            ),
            (
                "      RoleArn: arn:aws:iam::000000000000:role/pipeline\n",
                "",
                "has no RoleArn",
            ),
            (
                "Name: release",
                "Name: my release",
                "`my release` is no name",
            ),
        ];
        for (from, to, told) in cases {
            let problems = after(from, to);
            assert!(problems.contains(told), "{to}: {problems}");
        }
    }

    #[test]
    fn all_broken_rules_are_told_at_once() {
        let text = TEMPLATE
            .replace("Namespace: Build", "Namespace: codepipeline")
            .replace("RunOrder: \"2\"", "RunOrder: 1000");
        let Err(ParseError::Rules(Problems(problems))) = Pipeline::parse(&text, &Scope::default())
        else {
            panic!("accepted")
        };
        assert_eq!(problems.len(), 2);
        assert_eq!(problems[1].at, "stage Deploy, action Shift");
    }

    #[test]
    fn an_artifact_of_the_same_run_order_is_not_yet_produced() {
        let same = "RunOrder: 1\n              OutputArtifacts: [{Name: Same}]";
        let mut text = TEMPLATE.replace("RunOrder: \"2\"", same);
        text.push_str("            - Name: Late\n              ActionTypeId: {Category: Invoke, Owner: AWS, Provider: Lambda, Version: \"1\"}\n              Configuration: {FunctionName: f}\n              InputArtifacts: [{Name: Same}]\n");
        let error = Pipeline::parse(&text, &Scope::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("action Late: input artifact Same is not produced earlier"),
            "{error}"
        );
        let later = text.replace(
            "- Name: Late\n",
            "- Name: Late\n              RunOrder: 2\n",
        );
        Pipeline::parse(&later, &Scope::default()).unwrap();
    }
}
