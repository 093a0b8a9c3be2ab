//! What the actions read from a job's input artifacts.

use engine::{ActionError, Class, Input, Job, PortError, Ports, chain};
use release::config::{CONFIG_BYTES_MAX, Config};
use reports::{Archive, ReadError};

/// A job's input artifacts, open. Reading them may block.
pub(crate) struct Inputs<I> {
    /// Where the configuration is.
    path: String,
    archives: Vec<(String, Archive<I>)>,
}

impl<I: Input> Inputs<I> {
    /// Opens every input artifact of this job, and reads them with `work` where that may block.
    pub(crate) async fn read<P: Ports<Bytes = I>, T: Send + 'static>(
        ports: &P,
        job: &Job,
        work: impl FnOnce(&mut Self) -> Result<T, ActionError> + Send + 'static,
    ) -> Result<T, ActionError> {
        if job.inputs.is_empty() {
            return Err(ActionError::Refused(
                "the action has no input artifact: add the build's output under InputArtifacts"
                    .to_owned(),
            ));
        }
        let path = job.parameters.config.clone();
        let names: Vec<_> = job.inputs.iter().map(|a| a.name.clone()).collect();
        let read = ports.read(job, move |inputs| {
            let opened = names.into_iter().zip(inputs).map(|(name, input)| {
                let archive = Archive::open(input).map_err(|error| unread(&name, error))?;
                Ok((name, archive))
            });
            let archives = opened.collect::<Result<_, ActionError>>()?;
            work(&mut Self { path, archives })
        });
        read.await?
    }

    /// The configuration, from the first artifact that has it.
    pub(crate) fn config(&mut self) -> Result<Config, ActionError> {
        let path = &self.path;
        for (artifact, archive) in &mut self.archives {
            let found = archive.read_small(path, CONFIG_BYTES_MAX as u64);
            if let Some(bytes) = found.map_err(|error| unread(artifact, error))? {
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
    pub(crate) fn archives(&mut self) -> impl Iterator<Item = &mut Archive<I>> {
        self.archives.iter_mut().map(|(_, archive)| archive)
    }
}

/// The configuration alone.
pub(crate) async fn config(ports: &impl Ports, job: &Job) -> Result<Config, ActionError> {
    Inputs::read(ports, job, |inputs| inputs.config()).await
}

/// What is wrong with an artifact is the user's to mend; what kept it from being fetched is the
/// port's error, as the port has classified it.
fn unread(artifact: &str, error: ReadError) -> ActionError {
    match failed(error) {
        Ok(port) => ActionError::Port(port),
        Err(error) => ActionError::Refused(format!("artifact {artifact}: {}", chain(&error))),
    }
}

/// The port's error, when the artifact could not be fetched; else what is wrong with it.
pub(crate) fn failed(error: ReadError) -> Result<PortError, ReadError> {
    let from_port = error.into_input()?.downcast::<PortError>();
    Ok(from_port.unwrap_or_else(|e| PortError::new(Class::Permanent, "fetch an artifact", e)))
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
