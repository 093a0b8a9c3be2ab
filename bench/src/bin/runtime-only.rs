//! What `bench-start` compares with: a function that is nothing but the runtime.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_runtime::run(service_fn(async |_event: LambdaEvent<Value>| {
        Ok::<(), Error>(())
    }))
    .await
}
