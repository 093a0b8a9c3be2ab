//! What the actions read from a job's input artifacts.

use engine::{ActionError, Job, Ports, chain};
use release::config::{CONFIG_BYTES_MAX, Config};
use reports::Archive;

/// A job's input artifacts, open.
pub(crate) struct Inputs<R> {
    archives: Vec<(String, Archive<R>)>,
}

impl<R: std::io::Read + std::io::Seek> Inputs<R> {
    /// Fetches and opens every input artifact of this job.
    pub(crate) async fn fetch<P: Ports<Bytes = R>>(
        ports: &P,
        job: &Job,
    ) -> Result<Self, ActionError> {
        if job.inputs.is_empty() {
            return Err(ActionError::Refused(
                "the action has no input artifact: add the build's output under InputArtifacts"
                    .to_owned(),
            ));
        }
        let mut archives = Vec::new();
        for artifact in &job.inputs {
            let bytes = ports.fetch(job, artifact).await?;
            let archive = Archive::open(bytes).map_err(|error| {
                ActionError::Refused(format!("artifact {}: {}", artifact.name, chain(&error)))
            })?;
            archives.push((artifact.name.clone(), archive));
        }
        Ok(Self { archives })
    }

    /// The configuration, from the first artifact that has it.
    pub(crate) fn config(&mut self, job: &Job) -> Result<Config, ActionError> {
        let path = &job.parameters.config;
        for (artifact, archive) in &mut self.archives {
            let found = archive
                .read_small(path, CONFIG_BYTES_MAX as u64)
                .map_err(|e| ActionError::Refused(format!("artifact {artifact}: {}", chain(&e))))?;
            if let Some(bytes) = found {
                return parse(path, bytes);
            }
        }
        let names: Vec<_> = self
            .archives
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        Err(ActionError::Refused(format!(
            "no {path} in the input artifacts ({}): list it under artifacts in the buildspec, or \
             set \"config\" in the action's UserParameters",
            names.join(", ")
        )))
    }

    /// The artifacts, by name.
    pub(crate) fn archives(&mut self) -> impl Iterator<Item = &mut Archive<R>> {
        self.archives.iter_mut().map(|(_, archive)| archive)
    }
}

fn parse(path: &str, bytes: Vec<u8>) -> Result<Config, ActionError> {
    let text = String::from_utf8(bytes).map_err(|_| {
        ActionError::Refused(format!(
            "could not use {path}: it is not UTF-8; save it as UTF-8"
        ))
    })?;
    Config::parse(&text).map_err(|source| ActionError::Config {
        path: path.to_owned(),
        source,
    })
}

/// The section's own mistakes carry the configuration's path.
pub(crate) fn in_config(job: &Job) -> impl FnOnce(release::config::ConfigError) -> ActionError {
    let path = job.parameters.config.clone();
    |source| ActionError::Config { path, source }
}
