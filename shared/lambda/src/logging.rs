//! JSON lines on standard output, each with the release or event it belongs to.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Lambda's own variable for a function's log level.
const LEVEL_VARIABLE: &str = "AWS_LAMBDA_LOG_LEVEL";

/// Libraries that would log requests, with credentials and headers, at debug or trace.
const QUIET: &[&str] = &[
    "aws_config",
    "aws_credential",
    "aws_runtime",
    "aws_sdk",
    "aws_sigv4",
    "aws_smithy",
    "h2",
    "hyper",
    "lambda_runtime",
    "reqwest",
    "rustls",
    "tower",
];

/// Starts logging; a second start changes nothing.
pub(crate) fn start() {
    let level = std::env::var(LEVEL_VARIABLE)
        .ok()
        .and_then(|level| level.parse().ok());
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false);
    let _already_started = tracing_subscriber::registry()
        .with(targets(level.unwrap_or(LevelFilter::INFO)))
        .with(lines)
        .try_init();
}

fn targets(level: LevelFilter) -> Targets {
    let quiet = QUIET
        .iter()
        .map(|library| (*library, level.min(LevelFilter::WARN)));
    Targets::new().with_default(level).with_targets(quiet)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn no_log_level_makes_a_library_print_what_it_sends_or_gets() {
        let most = targets(LevelFilter::TRACE);
        for library in [
            "lambda_runtime::layers",
            "aws_sigv4::http_request",
            "aws_sdk_s3::client",
        ] {
            assert!(!most.would_enable(library, &Level::INFO), "{library}");
            assert!(most.would_enable(library, &Level::WARN), "{library}");
        }
        assert!(most.would_enable("lambda", &Level::TRACE));
    }
}
