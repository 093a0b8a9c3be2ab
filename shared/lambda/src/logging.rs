//! JSON lines on standard output, each with the release or event it belongs to.

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Lambda's own variable for a function's log level.
const LEVEL_VARIABLE: &str = "AWS_LAMBDA_LOG_LEVEL";

/// Starts logging; a second start changes nothing.
pub(crate) fn start() {
    let level = std::env::var(LEVEL_VARIABLE).unwrap_or_else(|_| "info".to_owned());
    // The libraries would log requests, with headers, at debug.
    let quiet = "aws_config=warn,aws_smithy=warn,aws_runtime=warn,hyper=warn,rustls=warn";
    let targets: Result<Targets, _> = format!("{},{quiet}", level.to_lowercase()).parse();
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false);
    let _already_started = tracing_subscriber::registry()
        .with(targets.unwrap_or_else(|_| Targets::new().with_default(tracing::Level::INFO)))
        .with(lines)
        .try_init();
}
