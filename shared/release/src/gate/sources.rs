//! Reports that AWS itself keeps: which ones a gate looks at, and how long it waits for them.

use jiff::SignedDuration;
use serde::Deserialize;

use crate::config::read_duration;

/// Most report groups of one gate. A CodeBuild project has at most five.
const GROUPS_MAX: usize = 20;

/// Longest name of a report group, in characters (CodeBuild's API reference, CreateReportGroup).
const GROUP_CHARS_MAX: usize = 128;

/// Longest ARN of a report group, in characters: its name, and as much again for the rest.
const GROUP_ARN_CHARS_MAX: usize = 2 * GROUP_CHARS_MAX;

/// The least and the most that a gate may wait.
const WITHIN_MIN: SignedDuration = SignedDuration::from_mins(1);
const WITHIN_MAX: SignedDuration = SignedDuration::from_hours(8);

/// The CodeBuild report groups that a gate looks at, for the reports of one build.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CodeBuildReports {
    /// Their names (in the function's account and region) or ARNs.
    pub report_groups: Vec<String>,
    /// How long the gate waits for each, from its first job on; 1 m to 8 h.
    #[serde(default = "ten_minutes", deserialize_with = "read_duration")]
    pub within: SignedDuration,
}

/// The images in ECR whose scan a gate looks at.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageScan {
    /// The path of a file in the input artifacts that names them: `imageDetail.json`,
    /// `imagedefinitions.json`, or any other in one of their shapes (see
    /// [`images`](super::images)).
    pub file: String,
    /// How long the gate waits for each scan, from its first job on; 1 m to 8 h.
    #[serde(default = "fifteen_minutes", deserialize_with = "read_duration")]
    pub within: SignedDuration,
}

fn ten_minutes() -> SignedDuration {
    SignedDuration::from_mins(10)
}

fn fifteen_minutes() -> SignedDuration {
    SignedDuration::from_mins(15)
}

impl CodeBuildReports {
    pub(super) fn check(&self) -> Result<(), String> {
        let count = self.report_groups.len();
        if !(1..=GROUPS_MAX).contains(&count) {
            return Err(format!(
                "`report-groups` has {count} entries: 1 to {GROUPS_MAX} are allowed, such as \
                 checkout-unit"
            ));
        }
        for (index, group) in self.report_groups.iter().enumerate() {
            if !is_group(group) {
                return Err(format!(
                    "'{group}' is no report group: write its name, which for one that the \
                     buildspec makes is PROJECT-GROUP, or its ARN, arn:aws:codebuild:REGION:\
                     ACCOUNT:report-group/NAME"
                ));
            }
            if self.report_groups[..index].contains(group) {
                return Err(format!(
                    "report group '{group}' is named twice: name it once"
                ));
            }
        }
        check_within(self.within)
    }
}

impl ImageScan {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.file.trim().is_empty() {
            return Err(
                "`file` is empty: name the file in the input artifacts that names the image, such \
                 as imageDetail.json"
                    .to_owned(),
            );
        }
        check_within(self.within)
    }
}

fn check_within(within: SignedDuration) -> Result<(), String> {
    match (WITHIN_MIN..=WITHIN_MAX).contains(&within) {
        true => Ok(()),
        false => Err(format!(
            "`within` is {within:#}: {WITHIN_MIN:#} to {WITHIN_MAX:#} is allowed"
        )),
    }
}

fn is_group(group: &str) -> bool {
    match group.strip_prefix("arn:") {
        Some(rest) => {
            let parts: Vec<_> = rest.splitn(5, ':').collect();
            let name = match parts.as_slice() {
                [_partition, "codebuild", _region, _account, resource] => {
                    resource.strip_prefix("report-group/")
                }
                _ => None,
            };
            group.len() <= GROUP_ARN_CHARS_MAX && name.is_some_and(is_group_name)
        }
        None => is_group_name(group),
    }
}

fn is_group_name(name: &str) -> bool {
    let plain = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    (2..=GROUP_CHARS_MAX).contains(&name.len()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::super::Gate;
    use crate::config::Check;

    fn read(yaml: &str) -> Result<Gate, String> {
        let gate: Gate = serde_saphyr::from_str(yaml).map_err(|error| error.to_string())?;
        gate.check().map(|()| gate)
    }

    #[test]
    fn a_gate_needs_no_files_when_it_looks_at_what_aws_keeps() {
        let arn = "arn:aws-cn:codebuild:cn-north-1:123456789012:report-group/shop-unit";
        let gate = read(&format!(
            "codebuild: {{report-groups: [shop-e2e, \"{arn}\"]}}"
        ))
        .unwrap();
        let codebuild = gate.codebuild.unwrap();
        assert_eq!(codebuild.report_groups, ["shop-e2e", arn]);
        assert_eq!(codebuild.within.as_mins(), 10);
        let gate = read("image-scan: {file: imageDetail.json}").unwrap();
        assert_eq!(gate.image_scan.unwrap().within.as_mins(), 15);
        assert!(read("rules: {min-tests: 1}").is_err());
    }

    #[test]
    fn what_cannot_be_looked_at_is_refused_with_the_fix() {
        for (yaml, part) in [
            (
                "codebuild: {report-groups: []}",
                "`report-groups` has 0 entries",
            ),
            (
                "codebuild: {report-groups: [a b]}",
                "is no report group: write its name",
            ),
            ("codebuild: {report-groups: [x]}", "is no report group"),
            (
                "codebuild: {report-groups: [\"arn:aws:s3:::report-group/shop\"]}",
                "no report group",
            ),
            ("codebuild: {report-groups: [shop, shop]}", "named twice"),
            (
                "codebuild: {report-groups: [shop], within: 59s}",
                "1m to 8h",
            ),
            ("codebuild: {groups: [shop]}", "report-groups"),
            ("image-scan: {file: \" \"}", "`file` is empty"),
            ("image-scan: {file: a.json, within: 9h}", "1m to 8h"),
            ("image-scan: {}", "file"),
        ] {
            let why = read(yaml).unwrap_err();
            assert!(why.contains(part), "{yaml}: {why}");
        }
    }
}
