//! The findings.

use release::gate::{GateVerdict, JudgedFinding, Standing};
use reports::Severity;

use super::{FINDINGS_ROWS_MAX, KIB, Room, escaped};
use crate::listing::Listing;
use crate::words;

const ROOM: Room = Room {
    rows: FINDINGS_ROWS_MAX,
    bytes: 700 * KIB,
};

/// The markup of a row, in bytes.
const ROW_BYTES: usize = 330;

/// The findings, those that count first, the worst of them first.
pub(super) struct Findings {
    pub(super) rows: Listing<Finding>,
    /// How many count.
    pub(super) counted: String,
}

/// One finding.
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) id: String,
    pub(super) aliases: String,
    pub(super) message: String,
    pub(super) package: String,
    /// The path and the line.
    pub(super) place: String,
    pub(super) fixed_in: String,
    pub(super) standing: &'static str,
    pub(super) counts: bool,
    /// Why it does not count, where somebody gave a reason.
    pub(super) reason: String,
}

impl Findings {
    pub(super) fn of(verdict: &GateVerdict) -> Option<Self> {
        let counts = verdict.findings.as_ref()?;
        let counted = counts
            .values()
            .fold(0_u64, |sum, count| sum.saturating_add(*count));
        let (those, excused): (Vec<_>, Vec<_>) = verdict
            .found
            .iter()
            .partition(|judged| judged.standing == Standing::Counts);
        // Those that are not listed all count.
        let total = counted.saturating_add(excused.len() as u64);
        let all = those.into_iter().chain(excused).map(Finding::of);
        Some(Self {
            rows: Listing::of(all, total, ROOM, Finding::bytes),
            counted: words::count(counted),
        })
    }
}

impl Finding {
    fn of(judged: &JudgedFinding) -> Self {
        let finding = &judged.finding;
        let (standing, reason) = match &judged.standing {
            Standing::Counts => ("counts", ""),
            Standing::Suppressed => ("suppressed", ""),
            Standing::Allowed { reason } => ("allowed", reason.as_str()),
            Standing::Known => ("known", ""),
            Standing::NotFixable => ("not fixable", ""),
        };
        let place = match finding.line {
            Some(line) if !finding.path.is_empty() => format!("{}:{line}", finding.path),
            Some(_) | None => finding.path.clone(),
        };
        Self {
            severity: finding.severity,
            id: finding.id.clone(),
            aliases: finding.aliases.join(", "),
            message: finding.message.clone(),
            package: finding.package.clone(),
            place,
            fixed_in: finding.fixed_in.clone(),
            standing,
            counts: judged.standing == Standing::Counts,
            reason: words::cut(reason, 500),
        }
    }

    fn bytes(&self) -> usize {
        let texts = [
            &self.id,
            &self.aliases,
            &self.message,
            &self.package,
            &self.place,
            &self.fixed_in,
            &self.reason,
        ];
        ROW_BYTES + texts.into_iter().map(|text| escaped(text)).sum::<usize>()
    }
}
