//! What the actions read from a job's input artifacts.

use std::collections::BTreeSet;
use std::io;

use engine::{ActionError, Class, Input, Job, PortError, Ports, chain};
use release::config::{CONFIG_BYTES_MAX, Config, Plan, VERSION_FILE_BYTES_MAX};
use release::gate::{IMAGE_FILE_BYTES_MAX, digests};
use reports::{Archive, ReadError};

/// What CodePipeline's own actions, and builds for them, write the images into that they made.
const IMAGE_FILES: [&str; 2] = ["imageDetail.json", "imagedefinitions.json"];

/// A job's input artifacts, open. Reading them may block.
pub(crate) struct Inputs<I> {
    /// Where the configuration is.
    path: String,
    /// As the pipeline names them.
    names: Vec<String>,
    /// In the same order.
    archives: Vec<Archive<I>>,
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
            let opened = names.iter().zip(inputs);
            let opened = opened
                .map(|(name, input)| Archive::open(input).map_err(|error| unread(name, error)));
            let archives = opened.collect::<Result<_, ActionError>>()?;
            work(&mut Self {
                path,
                names,
                archives,
            })
        });
        read.await?
    }

    /// The configuration, from the first artifact that has it.
    pub(crate) fn config(&mut self) -> Result<Config, ActionError> {
        let path = self.path.clone();
        if let Some(bytes) = self.small(&path, CONFIG_BYTES_MAX as u64)? {
            return parse(&path, bytes);
        }
        Err(ActionError::Refused(format!(
            "no {path} in the input artifacts ({}): list it under artifacts in the buildspec, or \
             set \"config\" in the action's UserParameters",
            self.names.join(", ")
        )))
    }

    /// The release plan of this section. Where its target's candidate is named by a file, the plan
    /// has what the file says.
    pub(crate) fn plan(&mut self, section: Option<&str>) -> Result<Plan, ActionError> {
        let config = self.config()?;
        let in_config = |source| ActionError::Config {
            path: self.path.clone(),
            source,
        };
        let mut plan = config.release(section).map_err(in_config)?.1.clone();
        if let Some(path) = plan.target.version_file().map(str::to_owned) {
            let said = self.small(&path, VERSION_FILE_BYTES_MAX)?.ok_or_else(|| {
                ActionError::Refused(format!(
                    "no {path} in the input artifacts ({}): let the build write what is \
                     released into it and list it under artifacts in the buildspec, or correct \
                     the target's `file` in {}",
                    self.names.join(", "),
                    self.path
                ))
            })?;
            let said = plan.target.version_said(&String::from_utf8_lossy(&said));
            said.map_err(ActionError::Refused)?;
        }
        Ok(plan)
    }

    /// The digests of the images that the usual files name: those that are released, as far as
    /// anybody says.
    pub(crate) fn images(&mut self) -> Result<BTreeSet<String>, ActionError> {
        let mut images = BTreeSet::new();
        for path in IMAGE_FILES {
            let bytes = self.small(path, IMAGE_FILE_BYTES_MAX as u64)?;
            images.extend(bytes.iter().flat_map(|bytes| digests(bytes)));
        }
        Ok(images)
    }

    /// The whole of a small file, from the first artifact that has it.
    pub(crate) fn small(
        &mut self,
        path: &str,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, ActionError> {
        for (artifact, archive) in self.names.iter().zip(&mut self.archives) {
            let found = archive.read_small(path, bytes_max);
            let found = found.map_err(|error| unread(artifact, error))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The artifacts, in the pipeline's order.
    pub(crate) fn archives(&mut self) -> &mut [Archive<I>] {
        &mut self.archives
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
fn failed(error: ReadError) -> Result<PortError, ReadError> {
    error.into_input().map(port_error)
}

/// What a port put into an error of its bytes.
pub(crate) fn port_error(error: io::Error) -> PortError {
    let from_port = error.downcast::<PortError>();
    from_port.unwrap_or_else(|e| PortError::new(Class::Permanent, "fetch an artifact", e))
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
