//! Which vulnerabilities, found while an image is being released, turn its release round.

use reports::Severity;
use serde::{Deserialize, Serialize};

/// How bad a finding must be. Written `rollback-on-finding: high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingPolicy {
    /// Critical ones roll back.
    #[default]
    Critical,
    /// Critical ones and high ones do.
    High,
    /// None does: what is found is for the next release to mend.
    Never,
}

impl FindingPolicy {
    /// Whether a finding of this severity turns the release round. One of unknown severity never
    /// does: there is a version in front of users that was good enough a minute ago.
    pub fn heeds(self, finding: Severity) -> bool {
        match (self, finding) {
            (Self::Critical | Self::High, Severity::Critical) | (Self::High, Severity::High) => {
                true
            }
            (Self::Critical, Severity::High)
            | (Self::Never, Severity::Critical | Severity::High)
            | (_, Severity::Info | Severity::Low | Severity::Medium | Severity::Unknown) => false,
        }
    }
}
