//! The release log's stream: tells EventBridge what happened to releases.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::serve_stream(actions::Announce, aws::Aws::from_env().await?).await
}
