//! The one place that asks the machine for the time.

use engine::Clock;
use jiff::{SignedDuration, Timestamp};

use crate::Aws;

impl Clock for Aws {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, time: SignedDuration) {
        tokio::time::sleep(time.unsigned_abs()).await;
    }
}
