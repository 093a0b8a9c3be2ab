//! What the player asks of the account that the pipeline works in. A trait, so that the engine's tests need no emulator.

use std::path::Path;

use async_trait::async_trait;
use aws::local::pipeline::{Account, CallError, JobCredentials};

/// The account.
#[async_trait]
pub trait Cloud: Send + Sync + 'static {
    /// Queues an event for a function.
    async fn invoke(&self, function: &str, event: Vec<u8>) -> Result<(), CallError>;
    /// Creates the bucket unless it exists.
    async fn ensure_bucket(&self, bucket: &str) -> Result<(), CallError>;
    /// Uploads a file, encrypted by the KMS key if there is one.
    async fn put(
        &self,
        bucket: &str,
        key: &str,
        file: &Path,
        kms_key: Option<&str>,
    ) -> Result<(), CallError>;
    /// Downloads an object, at most `bytes_max` of it.
    async fn get(
        &self,
        bucket: &str,
        key: &str,
        file: &Path,
        bytes_max: u64,
    ) -> Result<(), CallError>;
    /// Temporary credentials that may do what the policy says.
    async fn job_credentials(&self, name: &str, policy: &str) -> Result<JobCredentials, CallError>;
}

#[async_trait]
impl Cloud for Account {
    async fn invoke(&self, function: &str, event: Vec<u8>) -> Result<(), CallError> {
        Account::invoke(self, function, event).await
    }

    async fn ensure_bucket(&self, bucket: &str) -> Result<(), CallError> {
        Account::ensure_bucket(self, bucket).await
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        file: &Path,
        kms_key: Option<&str>,
    ) -> Result<(), CallError> {
        Account::put(self, bucket, key, file, kms_key).await
    }

    async fn get(
        &self,
        bucket: &str,
        key: &str,
        file: &Path,
        bytes_max: u64,
    ) -> Result<(), CallError> {
        Account::get(self, bucket, key, file, bytes_max).await
    }

    async fn job_credentials(&self, name: &str, policy: &str) -> Result<JobCredentials, CallError> {
        Account::job_credentials(self, name, policy).await
    }
}
