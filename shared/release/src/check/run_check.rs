//! A check that somebody else's function makes.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::config::{duration, read_duration};

/// A Lambda function that is asked whether a release may go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunCheck {
    /// Its ARN.
    pub function: String,
    /// What it is told besides what Penstock tells it.
    #[serde(default)]
    pub payload: serde_json::Value,
    /// How long it is asked again while it says `wait` or cannot be asked.
    #[serde(default = "RunCheck::five_minutes", deserialize_with = "read_duration")]
    pub within: SignedDuration,
}

impl RunCheck {
    fn five_minutes() -> SignedDuration {
        SignedDuration::from_mins(5)
    }

    /// The function's name.
    pub fn name(&self) -> &str {
        self.function.split(':').nth(6).unwrap_or(&self.function)
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        duration("within", self.within, SignedDuration::from_secs(1))
    }
}
