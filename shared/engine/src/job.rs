//! One CodePipeline job, as the actions see it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use release::{Effect, IdError, ReleaseId, TargetId};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::{Clock, Stream, StreamError};

/// The longest of the texts that CodePipeline puts into UserParameters, in characters: the id of a
/// build is its project's name (255), a colon and a UUID.
pub const PARAMETER_CHARS_MAX: usize = 300;

/// One run of a function: who it is, how long it lives, and what it does not know.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Unlike every other run's.
    pub owner: String,
    /// Nothing of this run happens after this instant of its machine's clock
    /// ([`Clock::machine_time`]): the platform has ended it.
    pub deadline: Timestamp,
    /// What was sent off to a target and may still be carried out, once more or at all.
    doubts: RefCell<BTreeMap<TargetId, Effect>>,
}

impl Invocation {
    /// A run that has just begun.
    pub fn new(owner: impl Into<String>, deadline: Timestamp) -> Self {
        Self {
            owner: owner.into(),
            deadline,
            doubts: RefCell::default(),
        }
    }

    /// How long it still lives; negative once that is over.
    pub fn time_left(&self, clock: &impl Clock) -> SignedDuration {
        self.deadline.duration_since(clock.machine_time())
    }

    /// Nobody knows whether, and when, this effect will happen.
    pub(crate) fn doubts(&self, target: &TargetId, effect: Effect) {
        self.doubts.borrow_mut().insert(target.clone(), effect);
    }

    /// What may still happen to this target.
    pub(crate) fn doubt(&self, target: &TargetId) -> Option<Effect> {
        self.doubts.borrow().get(target).copied()
    }
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
#[serde(deny_unknown_fields, remote = "Self")]
pub struct UserParameters {
    /// The section of the configuration; may be left out where there is one only.
    #[serde(default)]
    pub section: Option<String>,
    /// `#{codepipeline.PipelineExecutionId}`, which the event itself does not carry.
    #[serde(default, deserialize_with = "given")]
    pub execution: Option<String>,
    /// The pipeline's name, which the event does not carry either.
    #[serde(default, deserialize_with = "given")]
    pub pipeline: Option<String>,
    /// The stage's name.
    #[serde(default, deserialize_with = "given")]
    pub stage: Option<String>,
    /// The commit that is being released: `#{SourceVariables.CommitId}`.
    #[serde(default, deserialize_with = "given")]
    pub commit: Option<String>,
    /// The CodeBuild build that made the artifacts: `#{BuildVariables.CODEBUILD_BUILD_ID}`.
    #[serde(default, deserialize_with = "given")]
    pub build: Option<String>,
    /// Why this release cannot wait: `#{variables.hotfix}`. `none` counts as left out, because a
    /// pipeline's variable must have a value.
    #[serde(default, deserialize_with = "reason")]
    pub hotfix: Option<String>,
    /// The path of the configuration in the input artifacts.
    #[serde(default = "UserParameters::penstock_yaml")]
    pub config: String,
}

/// A text that is empty is not given: so it is when a variable has no value.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(from)?.unwrap_or_default();
    Ok(Some(text.trim_matches(' ').to_owned()).filter(|text| !text.is_empty()))
}

/// A reason that is `none` is not given.
fn reason<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let reason = given(from)?;
    Ok(reason.filter(|reason| !reason.eq_ignore_ascii_case("none")))
}

/// As it is written, and then each text is checked.
impl<'de> Deserialize<'de> for UserParameters {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // What `remote` derives: it reads the fields.
        let parameters = Self::deserialize(from)?;
        parameters.check().map_err(D::Error::custom)?;
        Ok(parameters)
    }
}

impl UserParameters {
    fn check(&self) -> Result<(), String> {
        for (key, text) in [
            ("execution", &self.execution),
            ("pipeline", &self.pipeline),
            ("stage", &self.stage),
            ("commit", &self.commit),
            ("build", &self.build),
            ("hotfix", &self.hotfix),
        ] {
            let text = text.as_deref().unwrap_or_default();
            // A character has four bytes at most, so the first check bounds the second.
            let fits = text.len() <= 4 * PARAMETER_CHARS_MAX
                && text.chars().count() <= PARAMETER_CHARS_MAX;
            if !fits || text.contains(char::is_control) {
                return Err(format!(
                    "\"{key}\" has more than {PARAMETER_CHARS_MAX} characters, or a control \
                     character"
                ));
            }
        }
        Ok(())
    }

    /// Which runs the gate in this section is compared with: those of the same pipeline, stage (where
    /// one is named) and section. None when no pipeline is named, because one section may be used by
    /// many.
    pub fn stream(&self, section: &str) -> Result<Option<Stream>, StreamError> {
        let Some(pipeline) = &self.pipeline else {
            return Ok(None);
        };
        let parts = [
            Some(pipeline.as_str()),
            self.stage.as_deref(),
            Some(section),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        Stream::try_from(parts.join("/")).map(Some)
    }

    fn penstock_yaml() -> String {
        "penstock.yaml".to_owned()
    }
}

impl Default for UserParameters {
    fn default() -> Self {
        Self {
            section: None,
            execution: None,
            pipeline: None,
            stage: None,
            commit: None,
            build: None,
            hotfix: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<UserParameters, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_parameter_without_a_value_is_not_given() {
        let none = r#"{"execution":"","pipeline":"","stage":" ","commit":null,"build":""}"#;
        assert_eq!(read(none).unwrap(), UserParameters::default());
        let all = r#"{"pipeline":"shop","stage":"Test","commit":"4f1d2e8","build":"unit:1"}"#;
        let all = read(all).unwrap();
        let [pipeline, stage] = ["shop", "Test"].map(|text| Some(text.to_owned()));
        assert_eq!((&all.pipeline, &all.stage), (&pipeline, &stage));
        let [commit, build] = ["4f1d2e8", "unit:1"].map(|text| Some(text.to_owned()));
        assert_eq!((&all.commit, &all.build), (&commit, &build));
    }

    #[test]
    fn a_parameter_is_bounded_and_fits_on_a_line() {
        let ok = "ä".repeat(PARAMETER_CHARS_MAX);
        assert_eq!(
            read(&format!(r#"{{"commit":"{ok}"}}"#)).unwrap().commit,
            Some(ok.clone())
        );
        for bad in [format!("{ok}ä"), r"a\nb".to_owned(), r"a\u0000".to_owned()] {
            let error = read(&format!(r#"{{"commit":"{bad}"}}"#)).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains("\"commit\" has more than 300 characters"),
                "{error}"
            );
        }
    }

    #[test]
    fn runs_are_compared_within_their_pipeline_and_stage() {
        let stream = |json: &str| {
            let stream = read(json).unwrap().stream("unit").unwrap();
            stream.map(|stream| stream.as_str().to_owned())
        };
        assert_eq!(stream(r#"{"stage":"Test"}"#), None);
        assert_eq!(stream(r#"{"pipeline":"shop"}"#).unwrap(), "shop/unit");
        assert_eq!(
            stream(r#"{"pipeline":"shop","stage":"Test"}"#).unwrap(),
            "shop/Test/unit"
        );
        let long = UserParameters {
            pipeline: Some("p".repeat(PARAMETER_CHARS_MAX)),
            stage: Some("s".to_owned()),
            ..UserParameters::default()
        };
        assert!(long.stream("unit").is_err());
    }
}
