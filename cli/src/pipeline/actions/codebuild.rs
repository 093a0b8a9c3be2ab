//! A CodeBuild action: unpacks its inputs, runs the buildspec, packs its outputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::Deserialize;

use super::{Context, Done, chain};
use crate::pipeline::artifact::{self, ARTIFACT_BYTES_MAX, ArtifactError, Location};
use crate::pipeline::buildspec::{Buildspec, is_variable};
use crate::pipeline::clock;
use crate::pipeline::declaration::{BuildspecSource, Project};
use crate::pipeline::execution::Failure;
use crate::pipeline::jobs::Details;
use crate::pipeline::shell::{self, Build};

/// CodeBuild's own bound: 36 hours, in minutes.
const MINUTES_MAX: u64 = 36 * 60;
/// A buildspec may be so long, in bytes.
const BUILDSPEC_BYTES_MAX: u64 = 256 * 1024;

/// Where a build works.
struct Workspace {
    root: tempfile::TempDir,
}

impl Workspace {
    /// With all inputs unpacked.
    async fn new(context: &Context<'_>, primary: &Location) -> Result<Self, Failure> {
        let no_directory = |error| Failure::job(format!("could not make a directory: {error}"));
        let root = tempfile::Builder::new()
            .prefix("penstock-build-")
            .tempdir_in(&context.shared.settings.work)
            .map_err(no_directory)?;
        let workspace = Self { root };
        for input in &context.inputs {
            let secondary = Some(input.name.as_str()).filter(|name| *name != primary.name);
            fetch(context, input, &workspace, workspace.input(secondary)).await?;
        }
        std::fs::create_dir(workspace.control()).map_err(no_directory)?;
        Ok(workspace)
    }

    /// The directory of the shell's script.
    fn control(&self) -> PathBuf {
        self.root.path().join("control")
    }

    /// An input artifact's directory: `src` for the primary one.
    fn input(&self, name: Option<&str>) -> PathBuf {
        self.root
            .path()
            .join(name.map_or_else(|| "src".to_owned(), |name| format!("src_{name}")))
    }
}

pub(super) async fn perform(context: &Context<'_>) -> Result<Done, Failure> {
    let name = context.setting("ProjectName").unwrap_or_default();
    let declared = context.execution.registered.pipeline.projects.get(name);
    if declared.is_none() {
        context.say(format!(
            "note: project {name} is not in the template; running buildspec.yml"
        ));
    }
    let project = declared.cloned().unwrap_or_default();
    let primary = primary(context)?;
    let workspace = Workspace::new(context, primary).await?;
    let source = workspace.input(None);
    let spec = buildspec(&project, &source)?;
    let number = context.shared.builds.fetch_add(1, Ordering::Relaxed) + 1;
    let build_id = format!("{name}:{}", context.id);
    let variables = Variables {
        context,
        project: &project,
        spec: &spec,
        number,
        build_id: &build_id,
    };
    let environment = variables.environment(&workspace, primary)?;

    let control = workspace.control();
    let time_max = Duration::from_secs(project.timeout_minutes.clamp(1, MINUTES_MAX) * 60);
    let build = Build {
        spec: &spec,
        source: &source,
        control: &control,
        environment,
        time_max,
    };
    let outcome = shell::run(build, |line| context.say(line)).await;
    let outcome = outcome
        .map_err(|error| Failure::configuration(format!("could not run the shell: {error}")))?;
    context.run(|run| run.details.external_execution_id = Some(build_id.clone()));
    if let Some(failure) = outcome.failure {
        return Err(Failure::job(failure));
    }
    upload(context, &spec, &workspace).await?;
    let summary = format!("build {number} of {name} succeeded");
    Ok(Done {
        details: Details {
            summary: Some(summary),
            external_execution_id: Some(build_id),
            percent: None,
        },
        variables: outcome.exported,
        revision: None,
    })
}

fn primary<'a>(context: &'a Context<'_>) -> Result<&'a Location, Failure> {
    let named = context.setting("PrimarySource");
    let mut inputs = context.inputs.iter();
    match named {
        Some(name) => inputs.find(|input| input.name == name).ok_or_else(|| {
            Failure::configuration(format!(
                "PrimarySource {name} is not an input artifact of the action"
            ))
        }),
        None if context.inputs.len() > 1 => Err(Failure::configuration(
            "the action has several input artifacts; name one of them in PrimarySource",
        )),
        None => inputs
            .next()
            .ok_or_else(|| Failure::configuration("the action has no input artifact")),
    }
}

async fn fetch(
    context: &Context<'_>,
    input: &Location,
    workspace: &Workspace,
    into: PathBuf,
) -> Result<(), Failure> {
    let zip = workspace.root.path().join(format!("{}.zip", input.name));
    context
        .shared
        .cloud
        .get(&input.bucket, &input.key, &zip, ARTIFACT_BYTES_MAX)
        .await?;
    blocking(move || {
        std::fs::create_dir(&into)?;
        artifact::unpack(&zip, &into)?;
        Ok(std::fs::remove_file(&zip)?)
    })
    .await
    .map_err(|error| {
        Failure::job(format!(
            "could not unpack {}: {}",
            input.name,
            chain(&error)
        ))
    })
}

async fn upload(
    context: &Context<'_>,
    spec: &Buildspec,
    workspace: &Workspace,
) -> Result<(), Failure> {
    let only_one = context.outputs.len() == 1;
    for output in &context.outputs {
        let files = spec
            .files_of(&output.name, only_one)
            .map_err(|error| Failure::configuration(chain(&error)))?;
        let (source, zip) = (
            workspace.input(None),
            workspace.root.path().join(format!("{}.zip", output.name)),
        );
        let packed = blocking({
            let zip = zip.clone();
            move || artifact::pack(&source, &files, &zip)
        });
        let failed = |error: ArtifactError| {
            Failure::job(format!(
                "phase UPLOAD_ARTIFACTS: {}: {}",
                output.name,
                chain(&error)
            ))
        };
        packed.await.map_err(failed)?;
        context.shared.cloud.ensure_bucket(&output.bucket).await?;
        context
            .shared
            .cloud
            .put(&output.bucket, &output.key, &zip, context.kms_key())
            .await?;
    }
    Ok(())
}

async fn blocking(
    work: impl FnOnce() -> Result<(), ArtifactError> + Send + 'static,
) -> Result<(), ArtifactError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| ArtifactError::Io(error.into()))?
}

fn buildspec(project: &Project, source: &Path) -> Result<Buildspec, Failure> {
    let text = match &project.buildspec {
        BuildspecSource::Inline(text) => text.clone(),
        BuildspecSource::File(name) => {
            let missing = |why: String| {
                Failure::configuration(format!(
                    "could not read {name} in the input artifact: {why}; commit it, or name another in the project's BuildSpec"
                ))
            };
            let path = source
                .join(name)
                .canonicalize()
                .map_err(|error| missing(error.to_string()))?;
            if !source
                .canonicalize()
                .is_ok_and(|source| path.starts_with(source))
            {
                return Err(missing("it lies outside of the artifact".into()));
            }
            let bytes = std::fs::metadata(&path)
                .map(|file| file.len())
                .unwrap_or_default();
            if bytes > BUILDSPEC_BYTES_MAX {
                return Err(missing(format!(
                    "it is longer than {BUILDSPEC_BYTES_MAX} bytes"
                )));
            }
            std::fs::read_to_string(&path).map_err(|error| missing(error.to_string()))?
        }
    };
    Buildspec::parse(&text).map_err(|error| Failure::configuration(chain(&error)))
}

/// An entry of the action's `EnvironmentVariables`.
#[derive(Deserialize)]
struct ActionVariable {
    name: String,
    value: String,
    #[serde(rename = "type", default = "plaintext")]
    kind: String,
}

fn plaintext() -> String {
    "PLAINTEXT".into()
}

/// The variables of a build.
struct Variables<'a> {
    context: &'a Context<'a>,
    project: &'a Project,
    spec: &'a Buildspec,
    number: u64,
    build_id: &'a str,
}

impl Variables<'_> {
    /// The later win: what the player passes, buildspec, project, action, CodeBuild's own.
    fn environment(
        &self,
        workspace: &Workspace,
        primary: &Location,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let settings = &self.context.shared.settings;
        let mut environment = settings.build_environment.clone();
        environment.extend(self.spec.env.variables.clone());
        environment.extend(self.project.environment.clone());
        environment.extend(self.of_action()?);
        if let Some(name) = environment.keys().find(|name| !is_variable(name)) {
            return Err(Failure::configuration(format!(
                "`{name}` is no name of an environment variable"
            )));
        }
        environment.extend(self.of_codebuild(primary));
        environment.insert(
            "CODEBUILD_SRC_DIR".into(),
            workspace.input(None).display().to_string(),
        );
        for input in self
            .context
            .inputs
            .iter()
            .filter(|input| input.name != primary.name)
        {
            let directory = workspace.input(Some(&input.name)).display().to_string();
            environment.insert(format!("CODEBUILD_SRC_DIR_{}", input.name), directory);
        }
        Ok(environment)
    }

    fn of_action(&self) -> Result<BTreeMap<String, String>, Failure> {
        let Some(text) = self.context.setting("EnvironmentVariables") else {
            return Ok(BTreeMap::new());
        };
        let variables: Vec<ActionVariable> = serde_json::from_str(text).map_err(|error| {
            Failure::configuration(format!(
                "EnvironmentVariables is no JSON list of {{\"name\",\"value\",\"type\"}}: {error}"
            ))
        })?;
        if let Some(variable) = variables
            .iter()
            .find(|variable| variable.kind != "PLAINTEXT")
        {
            let ActionVariable { name, kind, .. } = variable;
            return Err(Failure::configuration(format!(
                "{name} is a {kind}, which a laptop does not read; make it PLAINTEXT"
            )));
        }
        Ok(variables
            .into_iter()
            .map(|variable| (variable.name, variable.value))
            .collect())
    }

    fn of_codebuild(&self, primary: &Location) -> BTreeMap<String, String> {
        let settings = &self.context.shared.settings;
        let (region, account) = (&settings.region, &settings.account);
        let pipeline = &self.context.execution.registered.pipeline.declaration.name;
        let revisions = self
            .context
            .execution
            .record(|record| record.revisions.clone());
        let revision = revisions
            .iter()
            .find(|revision| revision.artifact == primary.name)
            .or(revisions.first());
        let log = self
            .build_id
            .split_once(':')
            .map_or(self.build_id, |(_, id)| id);
        let values = [
            ("AWS_REGION", region.clone()),
            ("AWS_DEFAULT_REGION", region.clone()),
            (
                "CODEBUILD_BUILD_ARN",
                format!(
                    "arn:aws:codebuild:{region}:{account}:build/{}",
                    self.build_id
                ),
            ),
            ("CODEBUILD_BUILD_ID", self.build_id.to_owned()),
            ("CODEBUILD_BUILD_IMAGE", self.project.image.clone()),
            ("CODEBUILD_BUILD_NUMBER", self.number.to_string()),
            ("CODEBUILD_INITIATOR", format!("codepipeline/{pipeline}")),
            ("CODEBUILD_LOG_PATH", log.to_owned()),
            (
                "CODEBUILD_RESOLVED_SOURCE_VERSION",
                revision
                    .map(|revision| revision.id.clone())
                    .unwrap_or_default(),
            ),
            (
                "CODEBUILD_SOURCE_VERSION",
                format!("arn:aws:s3:::{}/{}", primary.bucket, primary.key),
            ),
            (
                "CODEBUILD_START_TIME",
                clock::now().as_millisecond().to_string(),
            ),
        ];
        values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}
