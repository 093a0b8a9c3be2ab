//! One CodePipeline job, as the actions see it.

use std::fmt;

use jiff::Timestamp;
use release::{IdError, ReleaseId};
use serde::Deserialize;

/// One run of a function: who it is, and how long it lives.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Unlike every other run's.
    pub owner: String,
    /// Nothing of this run happens after this instant: the platform has ended it.
    pub deadline: Timestamp,
}

/// One CodePipeline job.
#[derive(Debug, Clone)]
pub struct Job {
    /// The job's id; new for every continuation.
    pub id: String,
    /// Names the story that this job continues; absent on an action's first job.
    pub token: Option<ReleaseId>,
    /// What the action's configuration says.
    pub parameters: UserParameters,
    /// In the order of the pipeline's declaration.
    pub inputs: Vec<Artifact>,
    /// In the order of the pipeline's declaration.
    pub outputs: Vec<Artifact>,
    /// Good for the job's artifacts only.
    pub credentials: Credentials,
    /// The KMS key with which output artifacts are encrypted, when the pipeline names one.
    pub encryption_key: Option<String>,
}

impl Job {
    /// The story that this job begins or continues, for the action called `action`.
    pub fn story(&self, action: &str) -> Result<ReleaseId, IdError> {
        match &self.token {
            Some(id) => Ok(id.clone()),
            None => {
                let section = self.parameters.section.as_deref();
                ReleaseId::for_job(section.unwrap_or(action), &self.id)
            }
        }
    }
}

/// The action's UserParameters: a JSON object of at most 1 000 characters.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserParameters {
    /// The section of the configuration; may be left out where there is one only.
    #[serde(default)]
    pub section: Option<String>,
    /// `#{codepipeline.PipelineExecutionId}`, which the event itself does not carry.
    #[serde(default)]
    pub execution: Option<String>,
    /// The path of the configuration in the input artifacts.
    #[serde(default = "UserParameters::penstock_yaml")]
    pub config: String,
}

impl UserParameters {
    fn penstock_yaml() -> String {
        "penstock.yaml".to_owned()
    }
}

impl Default for UserParameters {
    fn default() -> Self {
        Self {
            section: None,
            execution: None,
            config: Self::penstock_yaml(),
        }
    }
}

/// Where an artifact is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// As the pipeline names it.
    pub name: String,
    /// S3 bucket.
    pub bucket: String,
    /// S3 key.
    pub key: String,
}

/// Temporary credentials for a job's artifacts. They cannot print.
#[derive(Clone)]
pub struct Credentials {
    /// AWS access key id.
    pub access_key_id: String,
    /// AWS secret access key.
    pub secret_access_key: String,
    /// STS session token.
    pub session_token: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(redacted)")
    }
}
