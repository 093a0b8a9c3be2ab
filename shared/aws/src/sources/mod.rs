//! Reports that AWS itself keeps. One file a service.

mod build_reports;
mod image_findings;

use aws_sdk_codebuild::primitives::DateTime;
use engine::{PortError, ReportSource, Sourced};
use jiff::Timestamp;
use release::gate::ImageRef;

use crate::Aws;

impl ReportSource for Aws {
    async fn build_reports(&self, group: &str, build: &str) -> Result<Sourced, PortError> {
        build_reports::look(self, group, build).await
    }

    async fn image_findings(&self, image: &ImageRef) -> Result<Sourced, PortError> {
        image_findings::look(self, image).await
    }
}

/// A time of AWS's; None for one that is out of any range.
fn instant(time: Option<&DateTime>) -> Option<Timestamp> {
    let time = time?;
    let nanos = i32::try_from(time.subsec_nanos()).ok()?;
    Timestamp::new(time.secs(), nanos).ok()
}

#[cfg(test)]
mod tests;
