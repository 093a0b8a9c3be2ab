//! A CodeBuild buildspec, version 0.2, as far as a laptop runs it.
//!
//! Not run: reports, cache, proxy, batch, run-as, parameter-store and secrets-manager, `on-failure: RETRY*`.
//! The first three and `batch` are ignored; the others are refused, because leaving them out would change the build.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The phases, in the order in which they run.
pub const PHASES: [&str; 4] = ["install", "pre_build", "build", "post_build"];

/// Why a buildspec cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum BuildspecError {
    /// No YAML, or not of a buildspec's shape.
    #[error("could not read the buildspec")]
    Syntax(#[from] Box<serde_saphyr::Error>),
    /// Legal on AWS, not run here; or not legal at all.
    #[error("{0}")]
    Refused(String),
}

/// A buildspec.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Buildspec {
    version: String,
    /// Variables and shell.
    #[serde(default)]
    pub env: Env,
    /// What runs.
    pub phases: BTreeMap<String, Phase>,
    /// What becomes of it.
    pub artifacts: Option<Artifacts>,
    run_as: Option<String>,
    /// Accepted and ignored.
    #[serde(default)]
    pub reports: Value,
    /// Accepted and ignored.
    #[serde(default)]
    pub cache: Value,
    /// Accepted and ignored.
    #[serde(default)]
    pub proxy: Value,
    /// Accepted and ignored.
    #[serde(default)]
    pub batch: Value,
}

/// The `env` section.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Env {
    /// `bash` (the default here) or `/bin/sh`.
    pub shell: Option<String>,
    /// Variables, as they are written: nothing is expanded.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// These become the action's output variables.
    #[serde(default)]
    pub exported_variables: Vec<String>,
    #[serde(default)]
    parameter_store: BTreeMap<String, String>,
    #[serde(default)]
    secrets_manager: BTreeMap<String, String>,
    /// Accepted and ignored.
    #[serde(default)]
    pub git_credential_helper: Value,
}

/// A phase.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Phase {
    /// Run in order; the first that fails ends the phase.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Run after the commands, whatever they did.
    #[serde(default)]
    pub finally: Vec<String>,
    /// What a failure of this phase does to the next.
    pub on_failure: Option<String>,
    /// Accepted and ignored.
    #[serde(default)]
    pub runtime_versions: Value,
    run_as: Option<String>,
}

/// The `artifacts` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Artifacts {
    /// For the only output artifact.
    #[serde(default)]
    files: Vec<String>,
    base_directory: Option<String>,
    #[serde(default, deserialize_with = "flag")]
    discard_paths: bool,
    #[serde(default)]
    exclude_paths: Vec<String>,
    /// For several output artifacts, by name.
    #[serde(default)]
    secondary_artifacts: BTreeMap<String, Files>,
    /// Accepted and ignored.
    #[serde(default)]
    pub name: Value,
    /// Accepted and ignored.
    #[serde(default)]
    pub enable_symlinks: Value,
    /// Accepted and ignored.
    #[serde(default)]
    pub s3_prefix: Value,
}

/// Which files make one artifact.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Files {
    /// Patterns, relative to the base directory: `*` within a directory, `**` across.
    pub files: Vec<String>,
    /// Relative to the source; not part of the names.
    pub base_directory: Option<String>,
    /// Only the last part of each name is kept.
    #[serde(default, deserialize_with = "flag")]
    pub discard_paths: bool,
    /// Patterns of what is left out.
    #[serde(default)]
    pub exclude_paths: Vec<String>,
    /// Accepted and ignored.
    #[serde(default)]
    pub name: Option<String>,
    /// Accepted and ignored.
    #[serde(default)]
    pub enable_symlinks: Option<String>,
    /// Accepted and ignored.
    #[serde(default)]
    pub s3_prefix: Option<String>,
}

/// AWS writes `discard-paths: yes`.
fn flag<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Ok(true),
        "no" | "false" | "off" => Ok(false),
        _ => Err(serde::de::Error::invalid_value(
            serde::de::Unexpected::Str(&text),
            &"yes or no",
        )),
    }
}

impl Buildspec {
    /// Reads a buildspec.
    ///
    /// # Errors
    /// [`BuildspecError`], naming what to change.
    pub fn parse(text: &str) -> Result<Self, BuildspecError> {
        let spec: Self = serde_saphyr::from_str(text).map_err(Box::new)?;
        let refuse = |what: String| Err(BuildspecError::Refused(what));
        if spec.version != "0.2" {
            return refuse(format!(
                "buildspec version {} is not run on a laptop; write `version: 0.2`",
                spec.version
            ));
        }
        if let Some(phase) = spec
            .phases
            .keys()
            .find(|phase| !PHASES.contains(&phase.as_str()))
        {
            return refuse(format!(
                "there is no phase {phase}; the phases are {}",
                PHASES.join(", ")
            ));
        }
        for (name, phase) in &spec.phases {
            if phase.commands.is_empty() && name != "install" {
                return refuse(format!(
                    "phase {name} has no commands; add some, or remove the phase"
                ));
            }
            if phase
                .on_failure
                .as_ref()
                .is_some_and(|what| what != "ABORT" && what != "CONTINUE")
            {
                return refuse(format!(
                    "phase {name}: only on-failure ABORT and CONTINUE are run on a laptop"
                ));
            }
        }
        if spec.run_as.is_some() || spec.phases.values().any(|phase| phase.run_as.is_some()) {
            return refuse(
                "run-as is not run on a laptop: a build is your own user; remove it".into(),
            );
        }
        if let Some(name) = spec
            .env
            .parameter_store
            .keys()
            .chain(spec.env.secrets_manager.keys())
            .next()
        {
            return refuse(format!(
                "{name} comes from parameter-store or secrets-manager, which a laptop does not read; give it as a variable of the project"
            ));
        }
        if let Some(name) = spec
            .env
            .exported_variables
            .iter()
            .find(|name| !is_variable(name))
        {
            return refuse(format!(
                "exported variable `{name}` is no name of a shell variable"
            ));
        }
        Ok(spec)
    }

    /// The files of one of the action's output artifacts.
    ///
    /// # Errors
    /// When the buildspec does not say.
    pub fn files_of(&self, artifact: &str, only_one: bool) -> Result<Files, BuildspecError> {
        let Some(artifacts) = &self.artifacts else {
            return Err(BuildspecError::Refused(format!(
                "the action has the output artifact {artifact}, but the buildspec has no `artifacts` section"
            )));
        };
        if let Some(files) = artifacts.secondary_artifacts.get(artifact) {
            return Ok(files.clone());
        }
        if !only_one || artifacts.files.is_empty() {
            return Err(BuildspecError::Refused(format!(
                "the buildspec does not say which files make {artifact}; add artifacts.secondary-artifacts.{artifact}"
            )));
        }
        Ok(Files {
            files: artifacts.files.clone(),
            base_directory: artifacts.base_directory.clone(),
            discard_paths: artifacts.discard_paths,
            exclude_paths: artifacts.exclude_paths.clone(),
            ..Files::default()
        })
    }
}

/// Is it a name that a shell can hold?
pub fn is_variable(name: &str) -> bool {
    let mut letters = name.chars();
    letters
        .next()
        .is_some_and(|letter| letter.is_ascii_alphabetic() || letter == '_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "
version: 0.2
env:
  variables: {PORT: 8080, RELEASE: 1.10}
  exported-variables: [TAG]
phases:
  install: {runtime-versions: {python: 3.11}}
  build: {commands: [make], finally: [make clean]}
reports: {unit: {files: ['**/*.xml']}}
artifacts:
  files: ['**/*']
  base-directory: out
  discard-paths: yes
  secondary-artifacts: {Other: {files: [a]}}
";

    #[test]
    fn a_buildspec_keeps_its_values_as_they_are_written() {
        let spec = Buildspec::parse(SPEC).unwrap();
        assert_eq!(spec.env.variables["RELEASE"], "1.10");
        assert_eq!(spec.env.variables["PORT"], "8080");
        let files = spec.files_of("Main", true).unwrap();
        assert_eq!(
            (files.base_directory.as_deref(), files.discard_paths),
            (Some("out"), true)
        );
        assert_eq!(spec.files_of("Other", false).unwrap().files, ["a"]);
    }

    #[test]
    fn what_would_change_the_build_is_refused_with_the_fix() {
        let cases = [
            ("version: 0.2", "version: 0.1", "write `version: 0.2`"),
            ("  build:", "  compile:", "there is no phase compile"),
            ("commands: [make], ", "", "phase build has no commands"),
            ("[TAG]", "['A B']", "`A B` is no name"),
            (
                "exported-variables: [TAG]",
                "parameter-store: {KEY: /k}",
                "KEY comes from parameter-store",
            ),
            (
                "finally: [make clean]",
                "on-failure: RETRY-3",
                "only on-failure ABORT and CONTINUE",
            ),
        ];
        for (from, to, told) in cases {
            let error = Buildspec::parse(&SPEC.replace(from, to))
                .unwrap_err()
                .to_string();
            assert!(error.contains(told), "{to}: {error}");
        }
        let error = Buildspec::parse(SPEC)
            .unwrap()
            .files_of("Third", false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("secondary-artifacts.Third"), "{error}");
    }
}
