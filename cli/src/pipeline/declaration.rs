//! A pipeline as AWS declares it: the shape of `aws codepipeline get-pipeline`, which a CloudFormation template is turned into.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::document::{self, DocumentError};
use super::rules::{self, Problems};
use super::template::{Scope, Template, TemplateError, text};

/// A pipeline and the build projects declared beside it.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// Stages, actions, variables.
    pub declaration: Declaration,
    /// The build projects of the same template, by the name that `ProjectName` gives.
    pub projects: BTreeMap<String, Project>,
}

/// Why a text declares no pipeline.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Neither YAML nor JSON, or too long.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A template that could not be resolved.
    #[error("could not resolve the template")]
    Template(#[from] TemplateError),
    /// Nothing in it that is a pipeline, or too many.
    #[error("{0}")]
    Shape(String),
    /// A property that AWS does not have, lacks, or has in another shape.
    #[error("could not read the pipeline at `{path}`")]
    Property {
        /// Path of the property, as the API writes it.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// AWS would refuse it, or the laptop cannot run it.
    #[error(transparent)]
    Rules(#[from] Problems),
}

const NO_PIPELINE: &str = "found no pipeline: give a CloudFormation template with one AWS::CodePipeline::Pipeline \
    resource, or the output of `aws codepipeline get-pipeline --name NAME`";

impl Pipeline {
    /// Reads a CloudFormation template (YAML or JSON) with one pipeline in it, or what
    /// `aws codepipeline get-pipeline` prints, and checks it by AWS's rules.
    ///
    /// # Errors
    /// [`ParseError`]; every broken rule is listed, not only the first.
    pub fn parse(text: &str, scope: &Scope) -> Result<Self, ParseError> {
        let root = document::read(text)?;
        let pipeline = if root.get("Resources").is_some() {
            from_template(&root, scope)?
        } else {
            let declaration = root.get("pipeline").unwrap_or(&root);
            if declaration.get("stages").is_none() {
                return Err(ParseError::Shape(NO_PIPELINE.into()));
            }
            Self {
                declaration: declared(declaration.clone())?,
                projects: BTreeMap::new(),
            }
        };
        rules::check(&pipeline)?;
        Ok(pipeline)
    }

    /// Reads the declaration in a CreatePipeline or UpdatePipeline call.
    ///
    /// # Errors
    /// [`ParseError`], as [`Pipeline::parse`].
    pub fn from_api(declaration: Value) -> Result<Self, ParseError> {
        let pipeline = Self {
            declaration: declared(declaration)?,
            projects: BTreeMap::new(),
        };
        rules::check(&pipeline)?;
        Ok(pipeline)
    }
}

/// A pipeline's declaration, in the API's shape.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Declaration {
    /// Name.
    pub name: String,
    /// The pipeline's role; not used on a laptop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// Where artifacts live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_store: Option<ArtifactStore>,
    /// Where artifacts live, by region.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub artifact_stores: BTreeMap<String, ArtifactStore>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// Raised by each update.
    #[serde(default = "first_version")]
    pub version: u32,
    /// How executions share the stages.
    #[serde(default)]
    pub execution_mode: ExecutionMode,
    /// `V1` or `V2`; V1 where it is not said.
    #[serde(default)]
    pub pipeline_type: PipelineType,
    /// Pipeline-level variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<VariableDeclaration>,
    /// Kept, never fired: a laptop has no webhooks.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub triggers: Value,
}

fn first_version() -> u32 {
    1
}

/// How executions share the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExecutionMode {
    /// One execution a stage; a newer one replaces an older one that waits between stages.
    #[default]
    Superseded,
    /// One execution a stage, first come, first served.
    Queued,
    /// Executions do not wait for each other.
    Parallel,
}

/// The pipeline's type, which decides its features and its price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PipelineType {
    /// Paid by the month.
    #[default]
    V1,
    /// Paid by the action-minute.
    V2,
}

/// An S3 bucket for artifacts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArtifactStore {
    /// `S3`.
    #[serde(rename = "type", default = "s3")]
    pub kind: String,
    /// Bucket name.
    pub location: String,
    /// A KMS key of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption_key: Option<EncryptionKey>,
}

fn s3() -> String {
    "S3".into()
}

/// The KMS key that artifacts are encrypted with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionKey {
    /// Key id, ARN or alias ARN.
    pub id: String,
    /// `KMS`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Stage {
    /// Name.
    pub name: String,
    /// Actions; run by `run_order`, equal ones at the same time.
    pub actions: Vec<Action>,
    /// Kept, not run: reserved by AWS.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub blockers: Value,
    /// Kept, not run on a laptop.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub on_failure: Value,
    /// Kept, not run on a laptop.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub on_success: Value,
    /// Kept, not run on a laptop.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub before_entry: Value,
}

/// An action.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Action {
    /// Name, unique in its stage.
    pub name: String,
    /// What does the work.
    pub action_type_id: ActionTypeId,
    /// 1..=999; equal ones run at the same time.
    #[serde(default = "first_run_order")]
    pub run_order: u16,
    /// Settings of the provider.
    #[serde(default)]
    pub configuration: BTreeMap<String, String>,
    /// What it consumes.
    #[serde(default)]
    pub input_artifacts: Vec<ArtifactName>,
    /// What it produces.
    #[serde(default)]
    pub output_artifacts: Vec<ArtifactName>,
    /// Where its output variables are found: `#{namespace.key}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Not used on a laptop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// Not used on a laptop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How long a manual approval waits, in minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_in_minutes: Option<u32>,
}

fn first_run_order() -> u16 {
    1
}

/// What does an action's work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionTypeId {
    /// Source, Build, Test, Approval, Invoke ..
    pub category: String,
    /// AWS, ThirdParty, Custom.
    pub owner: String,
    /// CodeBuild, Lambda, Manual ..
    pub provider: String,
    /// Version of the action type.
    pub version: String,
}

/// Names an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactName {
    /// Name.
    pub name: String,
}

/// A pipeline-level variable.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VariableDeclaration {
    /// Name.
    pub name: String,
    /// Value where the start gives none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_value: Option<String>,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What the laptop does for an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionKind {
    /// Archives a local git repository.
    Source,
    /// Runs a buildspec in a shell.
    Build,
    /// Waits for a person.
    Approval,
    /// Invokes a Lambda function and waits for its answer.
    Lambda,
}

impl ActionKind {
    /// What runs on a laptop, for messages.
    pub const SUPPORTED: &'static str = "Source by CodeStarSourceConnection, CodeCommit, GitHub or S3; \
        Build and Test by CodeBuild; Approval by Manual; Invoke by Lambda";

    /// The kind of an action type; `None` for one that does not run on a laptop.
    pub fn of(kind: &ActionTypeId) -> Option<Self> {
        match (kind.category.as_str(), kind.provider.as_str()) {
            ("Source", "CodeStarSourceConnection" | "CodeCommit" | "GitHub" | "S3") => {
                Some(Self::Source)
            }
            ("Build" | "Test", "CodeBuild") => Some(Self::Build),
            ("Approval", "Manual") => Some(Self::Approval),
            ("Invoke", "Lambda") => Some(Self::Lambda),
            _ => None,
        }
    }
}

/// A CodeBuild project.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// Where the build's commands are written.
    pub buildspec: BuildspecSource,
    /// Variables; they win over those of the buildspec.
    pub environment: BTreeMap<String, String>,
    /// Image, told to the build and not used.
    pub image: String,
    /// After so many minutes the build is stopped; CodeBuild's default is 60.
    pub timeout_minutes: u64,
}

/// Where a build's commands are written.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildspecSource {
    /// A file in the primary input artifact.
    File(String),
    /// In the project itself.
    Inline(String),
}

impl Default for Project {
    /// A project that nobody declared: `buildspec.yml`, CodeBuild's defaults.
    fn default() -> Self {
        Self {
            buildspec: BuildspecSource::File("buildspec.yml".into()),
            environment: BTreeMap::new(),
            image: "local".into(),
            timeout_minutes: 60,
        }
    }
}

fn declared(value: Value) -> Result<Declaration, ParseError> {
    serde_path_to_error::deserialize(value).map_err(|error| ParseError::Property {
        path: error.path().to_string(),
        source: error.into_inner(),
    })
}

fn from_template(root: &Value, scope: &Scope) -> Result<Pipeline, ParseError> {
    let template = Template::new(root, scope)?;
    let id = match template.resources("AWS::CodePipeline::Pipeline").as_slice() {
        [id] => *id,
        [] => return Err(ParseError::Shape(NO_PIPELINE.into())),
        many => {
            let many = many.join(", ");
            return Err(ParseError::Shape(format!(
                "found more than one pipeline ({many}); keep one in a template"
            )));
        }
    };
    let mut properties = api_shape(template.properties(id)?);
    let map = properties
        .as_object_mut()
        .ok_or_else(|| ParseError::Shape(NO_PIPELINE.into()))?;
    map.entry("name")
        .or_insert_with(|| format!("{}-{id}", scope.stack).into());
    for deployment_only in [
        "disableInboundStageTransitions",
        "restartExecutionOnUpdate",
        "tags",
    ] {
        map.remove(deployment_only);
    }
    let mut projects = BTreeMap::new();
    for id in template.resources("AWS::CodeBuild::Project") {
        projects.insert(
            template.name_of(id)?,
            project(id, &template.properties(id)?)?,
        );
    }
    Ok(Pipeline {
        declaration: declared(properties)?,
        projects,
    })
}

/// CloudFormation's property names in the API's spelling, scalars in the API's types.
fn api_shape(properties: Value) -> Value {
    match properties {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, value)| api_property(&key, value))
                .collect(),
        ),
        Value::Array(list) => list.into_iter().map(api_shape).collect(),
        scalar => scalar,
    }
}

fn api_property(key: &str, value: Value) -> (String, Value) {
    let mut letters = key.chars();
    let name = letters
        .next()
        .into_iter()
        .flat_map(char::to_lowercase)
        .chain(letters)
        .collect();
    let value = match (key, value) {
        // Its keys are the provider's own, and its values are texts.
        ("Configuration", Value::Object(map)) => map
            .into_iter()
            .map(|(key, value)| (key, text(&value).map_or(value, Value::from)))
            .collect::<Map<_, _>>()
            .into(),
        ("ArtifactStores", Value::Array(stores)) => stores
            .into_iter()
            .filter_map(by_region)
            .collect::<Map<_, _>>()
            .into(),
        ("RunOrder" | "TimeoutInMinutes", Value::String(text)) => {
            text.parse::<u32>().map_or(text.into(), Value::from)
        }
        ("Name" | "Version" | "DefaultValue" | "Location", value) => {
            text(&value).map_or(value, Value::from)
        }
        (_, value) => api_shape(value),
    };
    (name, value)
}

fn by_region(mut entry: Value) -> Option<(String, Value)> {
    let store = api_shape(entry.get_mut("ArtifactStore")?.take());
    Some((text(entry.get("Region")?)?, store))
}

fn project(id: &str, properties: &Value) -> Result<Project, ParseError> {
    let default = Project::default();
    let environment = properties.get("Environment");
    let mut variables = BTreeMap::new();
    for variable in environment
        .and_then(|e| e.get("EnvironmentVariables")?.as_array())
        .into_iter()
        .flatten()
    {
        let field = |name| variable.get(name).and_then(text);
        if let Some(kind) = field("Type").filter(|kind| kind != "PLAINTEXT") {
            return Err(ParseError::Shape(format!(
                "project {id}: a {kind} variable cannot be read on a laptop; make it PLAINTEXT, with a template parameter as its value"
            )));
        }
        variables.insert(
            field("Name").unwrap_or_default(),
            field("Value").unwrap_or_default(),
        );
    }
    let buildspec = properties
        .get("Source")
        .and_then(|source| text(source.get("BuildSpec")?));
    let minutes = properties
        .get("TimeoutInMinutes")
        .and_then(text)
        .and_then(|text| text.parse().ok());
    Ok(Project {
        buildspec: buildspec.map_or(default.buildspec, |text| match text.contains('\n') {
            true => BuildspecSource::Inline(text),
            false => BuildspecSource::File(text),
        }),
        environment: variables,
        image: environment
            .and_then(|e| text(e.get("Image")?))
            .unwrap_or(default.image),
        timeout_minutes: minutes.unwrap_or(default.timeout_minutes),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A template with one action of each kind.
    pub(in crate::pipeline) const TEMPLATE: &str = include_str!("testdata/release.yaml");

    #[test]
    fn a_template_gives_the_pipeline_that_the_api_would_show() {
        let pipeline = Pipeline::parse(TEMPLATE, &Scope::default()).unwrap();
        let declaration = &pipeline.declaration;
        assert_eq!(declaration.name, "release");
        assert_eq!(declaration.execution_mode, ExecutionMode::Queued);
        assert_eq!(
            declaration.artifact_store.as_ref().unwrap().location,
            "artifacts"
        );
        assert_eq!(
            declaration.variables[0].default_value.as_deref(),
            Some("10")
        );
        let shift = &declaration.stages[2].actions[1];
        assert_eq!(
            (
                shift.run_order,
                shift.configuration["FunctionName"].as_str()
            ),
            (2, "canary-shift")
        );
        let project = &pipeline.projects["compile"];
        assert_eq!(
            project.buildspec,
            BuildspecSource::File("ci/buildspec.yml".into())
        );
        assert_eq!(
            (
                project.environment["MODE"].as_str(),
                project.timeout_minutes
            ),
            ("fast", 5)
        );

        let shown =
            serde_json::to_string(&serde_json::json!({"pipeline": declaration, "metadata": {}}))
                .unwrap();
        let again = Pipeline::parse(&shown, &Scope::default()).unwrap();
        assert_eq!(
            serde_json::to_value(&again.declaration).unwrap(),
            serde_json::to_value(declaration).unwrap()
        );
    }

    #[test]
    fn a_misspelt_property_is_named_with_its_place() {
        let text = TEMPLATE.replace(
            "OutputArtifacts: [{Name: BuildOut}]",
            "OutputArtifact: [{Name: BuildOut}]",
        );
        let error = Pipeline::parse(&text, &Scope::default()).unwrap_err();
        let ParseError::Property { path, source } = &error else {
            panic!("{error}")
        };
        assert_eq!(path, "stages[1].actions[0].outputArtifact");
        assert!(source.to_string().contains("outputArtifacts"), "{source}");
    }

    #[test]
    fn a_text_without_a_pipeline_says_what_to_give() {
        let error = Pipeline::parse("Resources: {}", &Scope::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("get-pipeline --name NAME"), "{error}");
    }

    #[test]
    fn a_secret_variable_says_what_to_use_instead() {
        let text = TEMPLATE.replace(
            "{Name: MODE, Value: fast}",
            "{Name: MODE, Value: /a/b, Type: PARAMETER_STORE}",
        );
        let error = Pipeline::parse(&text, &Scope::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains("make it PLAINTEXT"), "{error}");
    }
}
