//! What only the laptop needs: the parts of AWS that the emulator has the API of, but not the habit.
//!
//! On AWS a load balancer publishes its own metrics ([`metrics`]), Lambda those of each version behind
//! an alias ([`invocations`]), and CloudWatch tells EventBridge about every alarm ([`alarms`]). The
//! emulator does none of it by itself, so the player does it here. And a person wants to know which
//! releases there are ([`listing`]).

pub mod alarms;
pub mod bus;
pub mod invocations;
pub mod listing;
pub mod metrics;
pub mod pipeline;

pub use aws_config::SdkConfig;
pub use aws_sdk_cloudwatch as cloudwatch;
pub use aws_sdk_ecs as ecs;
pub use aws_sdk_elasticloadbalancingv2 as elbv2;
pub use aws_sdk_lambda as lambda;

use std::error::Error;

use aws_config::SdkConfig as Sdk;
use engine::PortError;

use crate::error::{failed, odd_answer};

/// Whose credentials these are: an ARN.
///
/// # Errors
/// When STS does not say.
pub async fn identity(sdk: &Sdk) -> Result<String, PortError> {
    const DOING: &str = "ask STS for the identity behind these credentials";
    let call = aws_sdk_sts::Client::new(sdk).get_caller_identity();
    let answer = call.send().await.map_err(|e| failed(DOING, e))?;
    answer
        .arn
        .ok_or_else(|| odd_answer(DOING, "the answer has no ARN"))
}

/// Logs a task's failures: the first of a row, and its end. An emulator that is down for a minute is
/// one line and not a hundred, and one that has not started yet is none.
#[derive(Debug)]
struct Outage {
    task: &'static str,
    failing: bool,
}

impl Outage {
    fn new(task: &'static str) -> Self {
        Self {
            task,
            failing: true,
        }
    }

    fn note<T, E: Error>(&mut self, result: &Result<T, E>) {
        let task = self.task;
        match result {
            Ok(_) if self.failing => tracing::info!("{task}: working again"),
            Err(error) if !self.failing => tracing::warn!("{task}: {}", engine::chain(error)),
            Ok(_) | Err(_) => {}
        }
        self.failing = result.is_err();
    }
}
