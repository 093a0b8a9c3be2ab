//! What a report of a scanner or a linter says.

use std::collections::BTreeMap;

use cvss::Cvss;
use serde::{Deserialize, Serialize};

use crate::text;

/// Most findings that a [`FindingsReport`] lists.
pub const FINDINGS_LISTED_MAX: usize = 20_000;

/// Most further names of a finding that are kept.
pub const ALIASES_MAX: usize = 16;

/// Longest name, package, path or version kept, in characters.
pub(crate) const TERM_CHARS_MAX: usize = 200;

/// Longest message kept, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// Most bytes of text that the listed findings may have.
const LISTED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How bad a finding is, the worst last.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing. SARIF's `note` and `none`, checkstyle's `info` and `ignore`.
    Info,
    /// CVSS 0.1 to 3.9.
    Low,
    /// CVSS 4.0 to 6.9. SARIF's and checkstyle's `warning`.
    Medium,
    /// The report does not say.
    #[default]
    Unknown,
    /// CVSS 7.0 to 8.9. SARIF's and checkstyle's `error`.
    High,
    /// CVSS 9.0 to 10.0.
    Critical,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Self; 6] = [
        Self::Info,
        Self::Low,
        Self::Medium,
        Self::Unknown,
        Self::High,
        Self::Critical,
    ];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::Unknown => "unknown",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Of a score from 0 to 10, by the scale of CVSS 3 (its specification, section 5), which is also
    /// what SARIF's `security-severity` is read by. None for what is not such a score.
    #[must_use]
    pub fn of_score(score: f64) -> Option<Self> {
        match score {
            9.0..=10.0 => Some(Self::Critical),
            7.0..9.0 => Some(Self::High),
            4.0..7.0 => Some(Self::Medium),
            0.1..4.0 => Some(Self::Low),
            0.0..0.1 => Some(Self::Info),
            _ => None,
        }
    }

    /// Of a CVSS vector, such as `CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H`, of version 2, 3.0,
    /// 3.1 or 4.0, by its score. None for what is no vector, or not a whole one.
    #[must_use]
    pub fn of_vector(vector: &str) -> Option<Self> {
        let vector: Cvss = vector.trim().parse().ok()?;
        // The crate checks this for versions 2 and 4, and scores what is missing in 3 as harmless.
        let is_whole = match &vector {
            Cvss::CvssV30(base) | Cvss::CvssV31(base) => {
                let exploit = base.av.is_some() && base.ac.is_some() && base.pr.is_some();
                let impact = base.c.is_some() && base.i.is_some() && base.a.is_some();
                exploit && base.ui.is_some() && base.s.is_some() && impact
            }
            _ => true,
        };
        is_whole.then(|| Self::of_score(vector.score())).flatten()
    }

    /// Of a word that scanners use, in any case: `critical`, `important`, `moderate`, `negligible`,
    /// and so on. What is no such word is [`Severity::Unknown`].
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        match word.trim().to_ascii_lowercase().as_str() {
            "critical" | "blocker" => Self::Critical,
            "high" | "important" | "major" | "error" => Self::High,
            "medium" | "moderate" | "warning" => Self::Medium,
            "low" | "minor" => Self::Low,
            "info" | "informational" | "information" | "negligible" | "none" | "note"
            | "ignore" => Self::Info,
            _ => Self::Unknown,
        }
    }
}

/// One finding. All its text is one line, bounded, free of control characters and terminal escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The vulnerability (`CVE-2024-3094`, `RUSTSEC-2021-0001`) or the rule (`no-eval`).
    pub id: String,
    /// Other names of the same vulnerability; [`ALIASES_MAX`] at most.
    pub aliases: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub message: String,
    /// The file it is in; empty when the report does not say.
    pub path: String,
    /// The line it is in, from 1.
    pub line: Option<u32>,
    /// The package that has it, as `name@version`; empty when it is in the code itself.
    pub package: String,
    /// The version that mends it; empty when there is none, or none is known.
    pub fixed_in: String,
    /// Somebody has marked it as accepted where the scanner can see it.
    pub suppressed: bool,
    /// The report says that it is not new: SARIF's baselineState `unchanged` or `updated`.
    pub known: bool,
    /// What the report says to recognise it by in another run; empty when it says nothing.
    pub fingerprint: String,
}

impl Finding {
    /// The same finding's name in every run of the same scanner: what the report says to recognise
    /// it by, or else what it is and where. Lines move, so they are not part of it.
    #[must_use]
    pub fn key(&self) -> String {
        let parts: [&str; 3] = match self.fingerprint.is_empty() {
            true => [&self.id, &self.package, &self.path],
            false => [&self.id, &self.fingerprint, ""],
        };
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts.collect::<Vec<_>>().join("|")
    }

    /// Where it is, for a person: the package that has it, or else the path; None when the report
    /// names neither.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        let places = [self.package.as_str(), &self.path];
        places.into_iter().find(|place| !place.is_empty())
    }

    /// A package as a finding names it.
    pub(crate) fn package(name: &str, version: &str) -> String {
        match version.is_empty() {
            true => name.to_owned(),
            false => format!("{name}@{version}"),
        }
    }

    /// Every text made fit to print and to keep.
    pub(crate) fn neutral(mut self) -> Self {
        self.aliases.truncate(ALIASES_MAX);
        let terms = [
            &mut self.id,
            &mut self.path,
            &mut self.package,
            &mut self.fixed_in,
            &mut self.fingerprint,
        ];
        for term in terms.into_iter().chain(&mut self.aliases) {
            *term = text::line(term, TERM_CHARS_MAX);
        }
        self.message = text::line(&self.message, MESSAGE_CHARS_MAX);
        self
    }

    fn text_bytes(&self) -> usize {
        let aliases: usize = self.aliases.iter().map(String::len).sum();
        let terms = [&self.id, &self.path, &self.package, &self.fixed_in];
        let terms: usize = terms.into_iter().map(String::len).sum();
        aliases + terms + self.fingerprint.len() + self.message.len()
    }
}

/// What a scanner or a linter found. A report without findings is a good one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingsReport {
    /// What was scanned by, such as `Trivy`; empty when the report does not say.
    pub tool: String,
    /// The first findings, [`FINDINGS_LISTED_MAX`] at most.
    pub listed: Vec<Finding>,
    /// How many more there are, by how bad they are.
    pub unlisted: BTreeMap<Severity, u64>,
    listed_bytes: usize,
}

impl FindingsReport {
    /// An empty report of this tool.
    #[must_use]
    pub fn of(tool: &str) -> Self {
        Self {
            tool: text::line(tool, TERM_CHARS_MAX),
            ..Self::default()
        }
    }

    /// Adds a finding, its text made fit to print.
    pub fn add(&mut self, finding: Finding) {
        let severity = finding.severity;
        if !self.list(finding) {
            self.more(severity, 1);
        }
    }

    /// Adds a finding as far as there is room; false, and not counted, when there is none.
    pub(crate) fn list(&mut self, finding: Finding) -> bool {
        let finding = finding.neutral();
        let bytes = self.listed_bytes.saturating_add(finding.text_bytes());
        let has_room = self.listed.len() < FINDINGS_LISTED_MAX && bytes <= LISTED_BYTES_MAX;
        if has_room {
            self.listed_bytes = bytes;
            self.listed.push(finding);
        }
        has_room
    }

    /// Counts findings that are not listed.
    pub fn more(&mut self, severity: Severity, count: u64) {
        if count == 0 {
            return;
        }
        let sum = self.unlisted.entry(severity).or_default();
        *sum = sum.saturating_add(count);
    }

    /// The findings of both reports, under the first tool's name.
    pub fn merge(&mut self, other: Self) {
        if self.tool.is_empty() {
            self.tool = other.tool;
        }
        other
            .listed
            .into_iter()
            .for_each(|finding| self.add(finding));
        for (severity, count) in other.unlisted {
            self.more(severity, count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_score_is_read_by_the_scale_of_cvss() {
        for (score, severity) in [
            (10.0, Some(Severity::Critical)),
            (9.0, Some(Severity::Critical)),
            (8.9, Some(Severity::High)),
            (6.9, Some(Severity::Medium)),
            (0.1, Some(Severity::Low)),
            (0.0, Some(Severity::Info)),
            (10.1, None),
            (-1.0, None),
            (f64::NAN, None),
        ] {
            assert_eq!(Severity::of_score(score), severity, "{score}");
        }
    }

    #[test]
    fn a_whole_cvss_vector_is_scored_and_part_of_one_is_not() {
        for (vector, severity) in [
            (
                "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
                Some(Severity::Critical),
            ),
            (
                "CVSS:3.0/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N",
                Some(Severity::Medium),
            ),
            (
                "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N",
                Some(Severity::Critical),
            ),
            ("AV:N/AC:L/Au:N/C:P/I:P/A:P", Some(Severity::High)),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H/E", None),
            ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H", None),
            ("CVSS:3.1/AV:N", None),
            ("CVSS:4.0/AV:N", None),
            ("CVSS:9.9/AV:N", None),
            ("", None),
        ] {
            assert_eq!(Severity::of_vector(vector), severity, "{vector}");
        }
    }

    fn metric() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "AV", "AC", "AT", "PR", "UI", "S", "C", "I", "A", "Au", "VC", "VI", "VA", "SC", "SI",
            "SA", "E", "MSI", "MAV", "CR", "RL", "U",
        ])
    }

    fn value() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "N", "L", "H", "P", "R", "U", "C", "S", "A", "X", "ä", "",
        ])
    }

    proptest! {
        #[test]
        fn no_vector_makes_scoring_panic(
            prefix in prop::sample::select(vec!["CVSS:3.0", "CVSS:3.1", "CVSS:4.0", "AV:N"]),
            metrics in prop::collection::vec((metric(), value()), 0..24),
            rest in any::<String>(),
        ) {
            let metrics = metrics.iter().map(|(metric, value)| format!("/{metric}:{value}"));
            let metrics: String = metrics.collect();
            let _ = Severity::of_vector(&format!("{prefix}{metrics}"));
            let _ = Severity::of_vector(&format!("{prefix}{metrics}{rest}"));
        }

        #[test]
        fn every_whole_vector_of_version_4_is_scored(
            base in prop::collection::vec(0..3usize, 11),
            threat in prop::sample::select(vec!["", "/E:X", "/E:A", "/E:P", "/E:U"]),
        ) {
            let ways: [(&str, [&str; 3]); 11] = [
                ("AV", ["N", "A", "P"]),
                ("AC", ["L", "H", "L"]),
                ("AT", ["N", "P", "N"]),
                ("PR", ["N", "L", "H"]),
                ("UI", ["N", "P", "A"]),
                ("VC", ["H", "L", "N"]),
                ("VI", ["H", "L", "N"]),
                ("VA", ["H", "L", "N"]),
                ("SC", ["H", "L", "N"]),
                ("SI", ["H", "L", "N"]),
                ("SA", ["H", "L", "N"]),
            ];
            let metrics: String = ways
                .iter()
                .zip(base)
                .map(|((metric, values), way)| format!("/{metric}:{}", values[way]))
                .collect();
            let vector = format!("CVSS:4.0{metrics}{threat}");
            prop_assert!(Severity::of_vector(&vector).is_some(), "{}", vector);
        }
    }

    #[test]
    fn a_severity_is_read_back_from_its_name() {
        for severity in Severity::ALL {
            assert_eq!(Severity::of_word(severity.name()), severity);
        }
        assert_eq!(Severity::of_word("whatever"), Severity::Unknown);
    }

    #[test]
    fn findings_beyond_the_bound_are_counted_by_severity() {
        let mut report = FindingsReport::of("scan\u{1b}[2Jner");
        assert_eq!(report.tool, "scanner");
        for number in 0..FINDINGS_LISTED_MAX + 3 {
            report.add(Finding {
                id: format!("{number}\n"),
                severity: Severity::High,
                ..Finding::default()
            });
        }
        assert_eq!(report.listed.len(), FINDINGS_LISTED_MAX);
        assert_eq!(report.listed[7].id, "7");
        assert_eq!(report.unlisted[&Severity::High], 3);
    }

    #[test]
    fn the_text_of_all_findings_is_bounded() {
        let mut report = FindingsReport::default();
        let long = "ä".repeat(1_000);
        for _ in 0..FINDINGS_LISTED_MAX {
            report.add(Finding {
                message: long.clone(),
                aliases: vec![long.clone(); 100],
                ..Finding::default()
            });
        }
        assert!(report.listed.len() < FINDINGS_LISTED_MAX / 2);
        let bytes: usize = report.listed.iter().map(Finding::text_bytes).sum();
        assert!(bytes <= LISTED_BYTES_MAX);
    }

    #[test]
    fn a_finding_keeps_its_key_when_its_line_moves() {
        let finding = |line| Finding {
            id: "no-eval".to_owned(),
            path: "src/a.js".to_owned(),
            line,
            ..Finding::default()
        };
        assert_eq!(finding(Some(1)).key(), finding(Some(2)).key());
        assert_eq!(finding(None).key(), "no-eval|src/a.js");
    }
}
