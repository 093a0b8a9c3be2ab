//! A job's artifacts in S3, with the job's own credentials and key.

mod object;
#[cfg(test)]
mod tests;

use aws_sdk_s3::config::{Credentials, ResponseChecksumValidation};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use engine::{Artifact, ArtifactStore, Class, Job, PortError};
use tokio::sync::watch;

use crate::Aws;
use crate::error::failed;
use object::RangedObject;

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
                // Ranges have no checksum of their own; the zip has one for each file.
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
                .interceptor(self.calls.clone())
                .build(),
        )
    }
}

impl ArtifactStore for Aws {
    type Bytes = RangedObject;

    async fn read<T: Send + 'static>(
        &self,
        job: &Job,
        work: impl FnOnce(Vec<RangedObject>) -> T + Send + 'static,
    ) -> Result<T, PortError> {
        let client = self.s3(job);
        // Dropped with this future, which ends the reading of a run that is given up.
        let (_waiting, waited_for) = watch::channel(());
        let open = |artifact: &Artifact| {
            let calls = self.calls.clone();
            RangedObject::new(client.clone(), artifact.clone(), calls, waited_for.clone())
        };
        let objects = job.inputs.iter().map(open).collect();
        let span = tracing::Span::current();
        let done = tokio::task::spawn_blocking(move || span.in_scope(|| work(objects))).await;
        done.map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(ended) => PortError::new(Class::Retryable, "read the artifacts", ended),
        })
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
