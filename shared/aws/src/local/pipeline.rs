//! The calls that CodePipeline itself makes in an account: artifacts in S3, functions, a job's credentials.

use std::path::Path;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_lambda::types::InvocationType;
use aws_sdk_s3::config::Credentials as Keys;
use aws_sdk_s3::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, ServerSideEncryption,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How long a job's credentials live, in seconds.
const CREDENTIAL_SECONDS: i32 = 3600;

/// The region whose buckets are made without naming it.
const REGION_WITHOUT_CONSTRAINT: &str = "us-east-1";

/// The emulator's root keys: not a secret, and worth nothing anywhere else.
pub const EMULATOR_KEY: &str = "test";

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The function does not exist.
    #[error(
        "function {0} does not exist in this account and region; deploy it first, or correct FunctionName"
    )]
    NoFunction(String),
    /// The object is longer than the caller wants to hold.
    #[error("s3://{bucket}/{key} is longer than {bytes_max} bytes")]
    TooLong {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
        /// The bound.
        bytes_max: u64,
    },
    /// A local file could not be read or written.
    #[error("could not keep the object in a file")]
    File(#[from] std::io::Error),
    /// An AWS call failed.
    #[error("could not {doing}")]
    Call {
        /// What was being done.
        doing: String,
        /// The SDK's error, with its cause.
        #[source]
        source: BoxError,
    },
}

/// Temporary credentials. `Debug` hides the secrets.
#[derive(Clone)]
pub struct JobCredentials {
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
    /// Session token.
    pub session_token: String,
    /// When they end, in milliseconds since 1970.
    pub expires_ms: i64,
}

impl std::fmt::Debug for JobCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobCredentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// The SDK's settings for an emulator: its endpoint, its root keys, and nothing from the caller's own profile.
pub async fn emulator(endpoint: &str, region: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new(region.to_owned()))
        .credentials_provider(Keys::new(
            EMULATOR_KEY,
            EMULATOR_KEY,
            None,
            None,
            "emulator",
        ))
        .load()
        .await
}

/// The account that a pipeline works in.
#[derive(Debug, Clone)]
pub struct Account {
    lambda: aws_sdk_lambda::Client,
    s3: aws_sdk_s3::Client,
    sts: aws_sdk_sts::Client,
}

impl Account {
    /// Clients with these settings.
    pub fn new(config: &SdkConfig) -> Self {
        // An emulator has no host name for each bucket.
        let s3 = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(true)
            .build();
        Self {
            lambda: aws_sdk_lambda::Client::new(config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            sts: aws_sdk_sts::Client::new(config),
        }
    }

    /// The id of the account.
    pub async fn id(&self) -> Result<String, CallError> {
        let identity = self.sts.get_caller_identity().send().await;
        let identity = identity.map_err(|error| call("ask who we are", error))?;
        Ok(identity.account.unwrap_or_default())
    }

    /// Invokes a function asynchronously: `Ok` says that the event is queued, nothing more.
    pub async fn invoke(&self, function: &str, event: Vec<u8>) -> Result<(), CallError> {
        let sent = self
            .lambda
            .invoke()
            .function_name(function)
            .invocation_type(InvocationType::Event);
        match sent.payload(event.into()).send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|e| e.is_resource_not_found_exception()) =>
            {
                Err(CallError::NoFunction(function.into()))
            }
            Err(error) => Err(call(&format!("invoke {function}"), error)),
        }
    }

    /// Creates the bucket unless it exists already.
    pub async fn ensure_bucket(&self, bucket: &str) -> Result<(), CallError> {
        if self.s3.head_bucket().bucket(bucket).send().await.is_ok() {
            return Ok(());
        }
        let region = self
            .s3
            .config()
            .region()
            .map(Region::as_ref)
            .filter(|name| *name != REGION_WITHOUT_CONSTRAINT);
        let constraint = region.map(|name| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(name))
                .build()
        });
        let created = self
            .s3
            .create_bucket()
            .bucket(bucket)
            .set_create_bucket_configuration(constraint);
        match created.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("BucketAlreadyOwnedByYou") => Ok(()),
            Err(error) => Err(call(&format!("create the bucket {bucket}"), error)),
        }
    }

    /// Uploads a file; with a key id it is encrypted by KMS.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        file: &Path,
        kms_key: Option<&str>,
    ) -> Result<(), CallError> {
        let body = ByteStream::from_path(file).await;
        let body = body.map_err(|error| call("read the artifact", error))?;
        let put = self
            .s3
            .put_object()
            .bucket(bucket)
            .key(key)
            .content_type("application/zip")
            .body(body);
        let put = match kms_key {
            Some(id) => put
                .server_side_encryption(ServerSideEncryption::AwsKms)
                .ssekms_key_id(id),
            None => put,
        };
        put.send()
            .await
            .map_err(|error| call(&format!("write s3://{bucket}/{key}"), error))?;
        Ok(())
    }

    /// Downloads an object into a new file, at most `bytes_max` of it.
    pub async fn get(
        &self,
        bucket: &str,
        key: &str,
        file: &Path,
        bytes_max: u64,
    ) -> Result<(), CallError> {
        let got = self.s3.get_object().bucket(bucket).key(key).send().await;
        let got = got.map_err(|error| call(&format!("read s3://{bucket}/{key}"), error))?;
        let mut file = tokio::fs::File::create(file).await?;
        let mut body = got.body.into_async_read().take(bytes_max + 1);
        let copied = tokio::io::copy(&mut body, &mut file).await?;
        file.flush().await?;
        if copied > bytes_max {
            return Err(CallError::TooLong {
                bucket: bucket.into(),
                key: key.into(),
                bytes_max,
            });
        }
        Ok(())
    }

    /// Temporary credentials that may do what the session policy (JSON, at most 2,048 characters) allows.
    /// `name`: 2 to 32 of `[\w+=,.@-]`.
    pub async fn job_credentials(
        &self,
        name: &str,
        policy: &str,
    ) -> Result<JobCredentials, CallError> {
        let asked = self
            .sts
            .get_federation_token()
            .name(name)
            .policy(policy)
            .duration_seconds(CREDENTIAL_SECONDS);
        let answer = asked
            .send()
            .await
            .map_err(|error| call("get credentials for the job", error))?;
        let none = || call("get credentials for the job", "the answer holds none");
        let credentials = answer.credentials.ok_or_else(none)?;
        Ok(JobCredentials {
            access_key_id: credentials.access_key_id,
            secret_access_key: credentials.secret_access_key,
            session_token: credentials.session_token,
            expires_ms: credentials.expiration.to_millis().unwrap_or(i64::MAX),
        })
    }
}

fn call(doing: &str, source: impl Into<BoxError>) -> CallError {
    CallError::Call {
        doing: doing.into(),
        source: source.into(),
    }
}
