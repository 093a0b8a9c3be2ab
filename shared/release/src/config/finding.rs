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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn read(line: &str) -> Result<FindingPolicy, String> {
        let text = include_str!("../../tests/good.yaml");
        let text = text.replacen("    alarms:", &format!("{line}    alarms:"), 1);
        let config = Config::parse(&text).map_err(|e| e.to_string())?;
        Ok(config.release(None).unwrap().1.rollback_on_finding)
    }

    #[test]
    fn critical_findings_roll_back_unless_the_plan_says_otherwise() {
        for (line, policy) in [
            ("", FindingPolicy::Critical),
            (
                "    rollback-on-finding: critical\n",
                FindingPolicy::Critical,
            ),
            ("    rollback-on-finding: high\n", FindingPolicy::High),
            ("    rollback-on-finding: never\n", FindingPolicy::Never),
        ] {
            assert_eq!(read(line), Ok(policy));
        }
        let why = read("    rollback-on-finding: medium\n").unwrap_err();
        for part in ["medium", "critical", "high", "never"] {
            assert!(why.contains(part), "{why}");
        }
    }
}
