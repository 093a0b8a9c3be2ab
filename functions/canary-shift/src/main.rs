//! CodePipeline action: moves traffic step by step, judging each window.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    lambda::serve(
        actions::CanaryShift::from_env(),
        aws::Aws::from_env().await?,
    )
    .await
}
