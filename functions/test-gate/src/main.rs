//! CodePipeline action: a verdict over test and coverage reports.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::serve(actions::TestGate, aws::Aws::from_env().await?).await
}
