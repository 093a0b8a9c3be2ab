//! A job's artifacts in S3, with the job's own credentials and key.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};

use aws_sdk_s3::config::Credentials;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use engine::{Artifact, ArtifactStore, Class, Job, PortError};

use crate::Aws;
use crate::error::failed;

/// The largest artifact that is fetched: five of them fit into a function's `/tmp` of 512 MiB.
const ARTIFACT_BYTES_MAX: u64 = 96 * 1024 * 1024;

/// The account's own key for S3, with which CodePipeline encrypts when a pipeline names none.
const ACCOUNT_KEY: &str = "alias/aws/s3";

impl Aws {
    fn s3(&self, job: &Job) -> aws_sdk_s3::Client {
        let keys = &job.credentials;
        let credentials = Credentials::new(
            &keys.access_key_id,
            &keys.secret_access_key,
            Some(keys.session_token.clone()),
            None,
            "codepipeline-job",
        );
        aws_sdk_s3::Client::from_conf(
            aws_sdk_s3::config::Builder::from(&self.sdk)
                .credentials_provider(credentials)
                .force_path_style(true) // bucket names with dots have no certificate otherwise
                .interceptor(self.calls.clone())
                .build(),
        )
    }
}

impl ArtifactStore for Aws {
    type Bytes = File;

    async fn fetch(&self, job: &Job, artifact: &Artifact) -> Result<File, PortError> {
        let doing = || {
            let Artifact { name, bucket, key } = artifact;
            format!("fetch artifact {name} from s3://{bucket}/{key}")
        };
        let broken = |error: std::io::Error| PortError::new(Class::Permanent, doing(), error);
        let call = self.s3(job).get_object();
        let object = call
            .bucket(&artifact.bucket)
            .key(&artifact.key)
            .send()
            .await;
        let mut object = object.map_err(|e| missing(failed(doing(), e)))?;
        let mut file = tempfile::tempfile().map_err(broken)?;
        let mut size = 0_u64;
        while let Some(chunk) = object.body.next().await {
            let chunk = chunk.map_err(|e| PortError::new(Class::Retryable, doing(), e))?;
            size += chunk.len() as u64;
            if size > ARTIFACT_BYTES_MAX {
                return Err(PortError::new(
                    Class::Misconfigured,
                    doing(),
                    format!(
                        "it has more than {ARTIFACT_BYTES_MAX} bytes; list only the reports and \
                         penstock.yaml under the buildspec's artifacts"
                    ),
                ));
            }
            file.write_all(&chunk).map_err(broken)?;
        }
        file.seek(SeekFrom::Start(0)).map_err(broken)?;
        Ok(file)
    }

    async fn store(&self, job: &Job, artifact: &Artifact, zip: Vec<u8>) -> Result<(), PortError> {
        let call = self.s3(job).put_object();
        let call = call.bucket(&artifact.bucket).key(&artifact.key);
        let stored = call
            // Buckets that the console made refuse anything else.
            .server_side_encryption(ServerSideEncryption::AwsKms)
            .ssekms_key_id(job.encryption_key.as_deref().unwrap_or(ACCOUNT_KEY))
            .content_type("application/zip")
            .body(ByteStream::from(zip))
            .send()
            .await;
        stored
            .map(drop)
            .map_err(|error| failed(format!("store artifact {}", artifact.name), error))
    }
}

/// An artifact that is not there is the pipeline's mistake.
fn missing(mut error: PortError) -> PortError {
    if error.said("NoSuchKey") || error.said("NoSuchBucket") {
        error.class = Class::Misconfigured;
    }
    error
}
