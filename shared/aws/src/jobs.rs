//! Answers to CodePipeline jobs.

use aws_sdk_codepipeline::types::{ExecutionDetails, FailureDetails, FailureType};
use engine::{JobReporter, PortError, Telemetry};
use release::{FailureKind, JobReply};

use crate::Aws;
use crate::error::failed;

/// CodePipeline's limits (service model, `ExecutionSummary` and `Message`), in characters.
const SUMMARY_CHARS_MAX: usize = 2_048;
const MESSAGE_CHARS_MAX: usize = 5_000;

impl JobReporter for Aws {
    async fn answer(&self, job: &str, reply: &JobReply) -> Result<(), PortError> {
        let doing = || format!("answer job {job}");
        let (answer, what) = match reply {
            JobReply::Continue {
                token,
                summary,
                percent,
            } => {
                let details = details(summary, Some(token.story.as_str()), *percent);
                let call = self.codepipeline.put_job_success_result().job_id(job);
                let call = call
                    .continuation_token(token.to_string())
                    .execution_details(details);
                (
                    call.send().await.map(drop).map_err(|e| failed(doing(), e)),
                    "continue",
                )
            }
            JobReply::Succeed { summary, outputs } => {
                let call = self.codepipeline.put_job_success_result().job_id(job);
                let call = call
                    .execution_details(details(
                        summary,
                        outputs.get("release").map(String::as_str),
                        100,
                    ))
                    .set_output_variables(Some(outputs.clone().into_iter().collect()));
                (
                    call.send().await.map(drop).map_err(|e| failed(doing(), e)),
                    "succeed",
                )
            }
            JobReply::Fail { kind, message } => {
                let details = FailureDetails::builder()
                    .r#type(failure_type(*kind))
                    .message(clip(message, MESSAGE_CHARS_MAX))
                    .build()
                    .map_err(|e| PortError::new(engine::Class::Permanent, doing(), e))?;
                let call = self.codepipeline.put_job_failure_result().job_id(job);
                let call = call.failure_details(details);
                (
                    call.send().await.map(drop).map_err(|e| failed(doing(), e)),
                    "fail",
                )
            }
        };
        let aws_calls = self.calls.take();
        let artifact_bytes_fetched = self.calls.take_artifact_bytes();
        match answer {
            Ok(()) => tracing::info!(
                job,
                answer = what,
                aws_calls,
                artifact_bytes_fetched,
                peak_memory_bytes = peak_memory_bytes(),
                "job answered"
            ),
            Err(error) if is_closed(&error) => {
                tracing::info!(job, answer = what, aws_calls, %error, "job was closed already");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The most that was resident of this process so far; None where the system does not tell (proc(5):
/// `VmHWM` of `/proc/self/status`, in kB of 1024 bytes).
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib: u64 = line?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// CloudWatch takes a line of metrics out of the log by itself, when it stands alone.
impl Telemetry for Aws {
    fn measure(&self, line: &str) {
        println!("{line}");
    }
}

/// A duplicate delivery, a job that timed out, or an abandoned execution: there is nobody left to
/// answer. Which of the two errors CodePipeline gives when is not documented.
fn is_closed(error: &PortError) -> bool {
    error.said("InvalidJobStateException") || error.said("JobNotFoundException")
}

fn details(summary: &str, id: Option<&str>, percent: u8) -> ExecutionDetails {
    ExecutionDetails::builder()
        .summary(clip(summary, SUMMARY_CHARS_MAX))
        .set_external_execution_id(id.map(str::to_owned))
        .percent_complete(i32::from(percent))
        .build()
}

fn failure_type(kind: FailureKind) -> FailureType {
    match kind {
        FailureKind::JobFailed => FailureType::JobFailed,
        FailureKind::ConfigurationError => FailureType::ConfigurationError,
        FailureKind::PermissionError => FailureType::PermissionError,
        FailureKind::SystemUnavailable => FailureType::SystemUnavailable,
    }
}

/// At most `most` characters, never none: CodePipeline refuses an empty text.
fn clip(text: &str, most: usize) -> String {
    match text.chars().count() {
        0 => "-".to_owned(),
        count if count <= most => text.to_owned(),
        _ => text.chars().take(most - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_longer_or_shorter_than_codepipeline_takes() {
        for (text, chars) in [("", 1), ("abc", 3), ("äöüß", 3), ("abcdef", 3)] {
            let clipped = clip(text, 3);
            assert_eq!(clipped.chars().count(), chars.min(3), "{clipped}");
        }
    }
}
