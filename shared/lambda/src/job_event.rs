//! The event of a CodePipeline Lambda action. Own types, because `aws_lambda_events`' would print
//! the credentials and drop the encryption key.

use engine::{Artifact, Credentials, Job, UserParameters};
use release::Token;
use serde::Deserialize;
use serde_json::{Map, Value};

/// What a message shows of UserParameters as they should be.
const EXAMPLE: &str = r##"{"section":"web","execution":"#{codepipeline.PipelineExecutionId}"}"##;

/// An event, decoded.
pub(crate) enum Decoded {
    /// A job, and the token that came with it.
    Job(Box<Job>, Option<Token>),
    /// A job that cannot be done, but answered.
    Refused {
        /// The job's id.
        job: String,
        /// What is wrong and how to mend it.
        why: String,
    },
    /// There is no job id to answer.
    NotAJob,
}

// None of these types has Debug: the event holds live credentials.

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    #[serde(default)]
    action_configuration: ActionConfiguration,
    #[serde(default)]
    input_artifacts: Vec<RawArtifact>,
    #[serde(default)]
    output_artifacts: Vec<RawArtifact>,
    #[serde(default)]
    continuation_token: Option<String>,
    #[serde(default)]
    encryption_key: Option<EncryptionKey>,
}

#[derive(Default, Deserialize)]
struct ActionConfiguration {
    #[serde(default)]
    configuration: Configuration,
}

#[derive(Default, Deserialize)]
struct Configuration {
    #[serde(default, rename = "UserParameters")]
    user_parameters: Option<String>,
}

#[derive(Deserialize)]
struct RawArtifact {
    name: String,
    location: Location,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    s3_location: S3Location,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct S3Location {
    bucket_name: String,
    object_key: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCredentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
}

#[derive(Deserialize)]
struct EncryptionKey {
    id: String,
}

/// Decodes an event. No message repeats anything of its credentials.
pub(crate) fn decode(event: &Value) -> Decoded {
    let job = &event["CodePipeline.job"];
    let Some(id) = job["id"].as_str().filter(|id| !id.is_empty()) else {
        return Decoded::NotAJob;
    };
    match decode_data(id, &job["data"]) {
        Ok((job, token)) => Decoded::Job(Box::new(job), token),
        Err(why) => Decoded::Refused {
            job: id.to_owned(),
            why,
        },
    }
}

fn decode_data(id: &str, data: &Value) -> Result<(Job, Option<Token>), String> {
    // An error of serde repeats the value that it met, so the credentials are read apart.
    let credentials = RawCredentials::deserialize(&data["artifactCredentials"])
        .map_err(|_| "could not read the job: its artifactCredentials are not as documented")?;
    let mut data = data.clone();
    if let Some(fields) = data.as_object_mut() {
        fields.remove("artifactCredentials");
    }
    let data = Data::deserialize(data).map_err(|e| format!("could not read the job: {e}"))?;
    let token = data.continuation_token.as_deref().map(|text| {
        Token::parse(text).ok_or_else(|| format!("'{text}' is not a token of this function"))
    });
    let token = token.transpose()?;
    let job = Job {
        id: id.to_owned(),
        token: token.as_ref().map(|token| token.story.clone()),
        parameters: parameters(data.action_configuration.configuration.user_parameters)?,
        inputs: data.input_artifacts.into_iter().map(artifact).collect(),
        outputs: data.output_artifacts.into_iter().map(artifact).collect(),
        credentials: Credentials {
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
            session_token: credentials.session_token,
        },
        encryption_key: data.encryption_key.map(|key| key.id),
    };
    Ok((job, token))
}

fn parameters(text: Option<String>) -> Result<UserParameters, String> {
    match text.as_deref().map(str::trim) {
        None | Some("") => Ok(UserParameters::default()),
        // An object first: serde would take a list for a struct.
        Some(text) => serde_json::from_str::<Map<String, Value>>(text)
            .and_then(|object| serde_json::from_value(Value::Object(object)))
            .map_err(|e| {
                format!(
                    "could not read the action's UserParameters: {e}; write for example {EXAMPLE}"
                )
            }),
    }
}

fn artifact(raw: RawArtifact) -> Artifact {
    Artifact {
        name: raw.name,
        bucket: raw.location.s3_location.bucket_name,
        key: raw.location.s3_location.object_key,
    }
}
