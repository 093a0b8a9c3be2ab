//! The engine's ports on AWS. The only crate that imports `aws-sdk-*`.

mod artifacts;
mod calls;
mod clock;
mod error;
mod executions;
mod history;
mod jobs;
#[cfg(feature = "local")]
pub mod local;
mod log;
mod metrics;
mod probes;
mod targets;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use calls::Calls;

/// The environment variable with the name of the release log's table.
pub const TABLE_VARIABLE: &str = "PENSTOCK_TABLE";

/// One attempt of an AWS call; the SDK makes three, well inside a function's time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);
const ATTEMPTS: u32 = 3;

/// Every port, on AWS.
#[derive(Debug, Clone)]
pub struct Aws {
    calls: Calls,
    sdk: SdkConfig,
    table: String,
    dynamodb: aws_sdk_dynamodb::Client,
    codepipeline: aws_sdk_codepipeline::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
    elb: aws_sdk_elasticloadbalancingv2::Client,
    ecs: aws_sdk_ecs::Client,
}

/// Why the ports could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("could not find the release log: environment variable {TABLE_VARIABLE} is not set")]
pub struct NoTable;

impl Aws {
    /// Opens the ports as the environment says: region, credentials and endpoints in the SDK's own
    /// variables, the table in [`TABLE_VARIABLE`].
    pub async fn from_env() -> Result<Self, NoTable> {
        let table = std::env::var(TABLE_VARIABLE).map_err(|_| NoTable)?;
        Ok(Self::new(&sdk_config().await, table))
    }

    /// Opens the ports with this configuration and table.
    pub fn new(sdk: &SdkConfig, table: String) -> Self {
        let calls = Calls::default();
        /// A client of one service that counts its calls.
        macro_rules! client {
            ($service:ident) => {
                $service::Client::from_conf(
                    $service::config::Builder::from(sdk)
                        .interceptor(calls.clone())
                        .build(),
                )
            };
        }
        Self {
            table,
            dynamodb: client!(aws_sdk_dynamodb),
            codepipeline: client!(aws_sdk_codepipeline),
            cloudwatch: client!(aws_sdk_cloudwatch),
            elb: client!(aws_sdk_elasticloadbalancingv2),
            ecs: client!(aws_sdk_ecs),
            sdk: sdk.clone(),
            calls,
        }
    }
}

/// The SDK's configuration with bounded attempts.
pub async fn sdk_config() -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
        .load()
        .await
}
