//! CodePipeline action: waits until the target is healthy, or fails.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::serve(
        actions::HealthCheck::from_env(),
        aws::Aws::from_env().await?,
    )
    .await
}
