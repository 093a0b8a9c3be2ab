//! The engine's ports on AWS. The only crate that imports `aws-sdk-*`.

#[cfg(test)]
mod answering;
mod artifacts;
mod bus;
mod calls;
mod clock;
mod company;
mod error;
mod executions;
mod history;
mod jobs;
#[cfg(feature = "local")]
pub mod local;
mod log;
mod metrics;
mod not_twice;
mod probes;
mod sources;
mod targets;

use std::sync::OnceLock;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use calls::Calls;
use clock::ServerTime;
use probes::Probing;

pub use probes::PRIVATE_PROBES_VARIABLE;

/// The environment variable with the name of the release log's table.
pub const TABLE_VARIABLE: &str = "PENSTOCK_TABLE";

/// The environment variable with what the ARN of every report group in the function's account and
/// region begins with, `arn:aws:codebuild:REGION:ACCOUNT:report-group/`. Without it a gate must name
/// report groups by their ARNs.
pub const REPORT_GROUPS_VARIABLE: &str = "PENSTOCK_REPORT_GROUPS";

/// One attempt of an AWS call; the SDK makes three, well inside a function's time.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);
const ATTEMPTS: u32 = 3;

/// Every port, on AWS.
#[derive(Debug, Clone)]
pub struct Aws {
    calls: Calls,
    server_time: ServerTime,
    sdk: SdkConfig,
    table: String,
    report_groups: Option<String>,
    probing: Probing,
    dynamodb: aws_sdk_dynamodb::Client,
    codepipeline: aws_sdk_codepipeline::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
    elb: aws_sdk_elasticloadbalancingv2::Client,
    ecs: aws_sdk_ecs::Client,
    // Only some gates and releases ask these, so no other function pays for them at its start.
    codebuild: OnceLock<aws_sdk_codebuild::Client>,
    codedeploy: OnceLock<aws_sdk_codedeploy::Client>,
    eventbridge: OnceLock<aws_sdk_eventbridge::Client>,
    ecr: OnceLock<aws_sdk_ecr::Client>,
    lambda: OnceLock<aws_sdk_lambda::Client>,
    synthetics: OnceLock<aws_sdk_synthetics::Client>,
}

/// A client of one service that counts its calls, and whatever else listens to them.
macro_rules! client {
    ($service:ident, $sdk:expr $(, $listener:expr)+) => {
        $service::Client::from_conf(
            $service::config::Builder::from($sdk)
                $(.interceptor($listener.clone()))+
                .build(),
        )
    };
}

/// Why the ports could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("could not find the release log: environment variable {TABLE_VARIABLE} is not set")]
pub struct NoTable;

impl Aws {
    /// Opens the ports as the environment says: region, credentials and endpoints in the SDK's own
    /// variables, the table in [`TABLE_VARIABLE`], report groups in [`REPORT_GROUPS_VARIABLE`], what
    /// probes may ask in [`PRIVATE_PROBES_VARIABLE`].
    pub async fn from_env() -> Result<Self, NoTable> {
        let table = std::env::var(TABLE_VARIABLE).map_err(|_| NoTable)?;
        let mut aws = Self::new(&sdk_config().await, table);
        aws.report_groups = std::env::var(REPORT_GROUPS_VARIABLE).ok();
        aws.probing = Probing::from_env();
        Ok(aws)
    }

    /// Opens the ports with this configuration and table.
    pub fn new(sdk: &SdkConfig, table: String) -> Self {
        let (calls, server_time) = (Calls::default(), ServerTime::default());
        Self {
            table,
            report_groups: None,
            probing: Probing::default(),
            dynamodb: client!(aws_sdk_dynamodb, sdk, calls, server_time),
            codepipeline: client!(aws_sdk_codepipeline, sdk, calls),
            cloudwatch: client!(aws_sdk_cloudwatch, sdk, calls),
            elb: client!(aws_sdk_elasticloadbalancingv2, sdk, calls),
            ecs: client!(aws_sdk_ecs, sdk, calls),
            codebuild: OnceLock::new(),
            codedeploy: OnceLock::new(),
            eventbridge: OnceLock::new(),
            ecr: OnceLock::new(),
            lambda: OnceLock::new(),
            synthetics: OnceLock::new(),
            sdk: sdk.clone(),
            server_time,
            calls,
        }
    }

    /// Made when first used.
    fn codebuild(&self) -> &aws_sdk_codebuild::Client {
        let make = || client!(aws_sdk_codebuild, &self.sdk, self.calls);
        self.codebuild.get_or_init(make)
    }

    /// Made when first used.
    fn codedeploy(&self) -> &aws_sdk_codedeploy::Client {
        let make = || client!(aws_sdk_codedeploy, &self.sdk, self.calls);
        self.codedeploy.get_or_init(make)
    }

    /// Made when first used.
    fn eventbridge(&self) -> &aws_sdk_eventbridge::Client {
        let make = || client!(aws_sdk_eventbridge, &self.sdk, self.calls);
        self.eventbridge.get_or_init(make)
    }

    /// Made when first used.
    fn ecr(&self) -> &aws_sdk_ecr::Client {
        let make = || client!(aws_sdk_ecr, &self.sdk, self.calls);
        self.ecr.get_or_init(make)
    }

    /// Made when first used.
    fn lambda(&self) -> &aws_sdk_lambda::Client {
        let make = || client!(aws_sdk_lambda, &self.sdk, self.calls);
        self.lambda.get_or_init(make)
    }

    /// Made when first used.
    fn synthetics(&self) -> &aws_sdk_synthetics::Client {
        let make = || client!(aws_sdk_synthetics, &self.sdk, self.calls);
        self.synthetics.get_or_init(make)
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
