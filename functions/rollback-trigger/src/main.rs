//! EventBridge: turns an alarm, or another outside event, into a rollback.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::serve_events(actions::RollbackTrigger, aws::Aws::from_env().await?).await
}
