//! The small types that keep a release's numbers and names from being mixed up.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest release id in characters; with its prefix it fits every AWS field that carries it.
pub const RELEASE_ID_CHARS_MAX: usize = 140;

/// Why a text is not a release id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not a release id: 1 to {RELEASE_ID_CHARS_MAX} letters, digits, '-', '_' and '.' are"
)]
pub struct IdError(String);

/// Names one release: the config section and the id of the CodePipeline job that began it.
///
/// The first job's id is the same for every delivery of that job and new for every retry of the
/// stage, so duplicates find the same release and a retry begins its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReleaseId(String);

impl ReleaseId {
    /// The id of the release that job `job` begins for `section`.
    pub fn for_job(section: &str, job: &str) -> Result<Self, IdError> {
        Self::try_from(format!("{section}-{job}"))
    }

    /// The id as text, as it appears in logs, tokens and keys.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ReleaseId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        let fits = (1..=RELEASE_ID_CHARS_MAX).contains(&text.len());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if fits && text.chars().all(plain) {
            Ok(Self(text))
        } else {
            Err(IdError(text.chars().take(RELEASE_ID_CHARS_MAX).collect()))
        }
    }
}

impl From<ReleaseId> for String {
    fn from(id: ReleaseId) -> Self {
        id.0
    }
}

impl fmt::Display for ReleaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names what a release moves; at most one active release holds a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetId(pub String);

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Counts a release's intents: each intended effect has the next one, so a later intent (a
/// rollback above all) outranks every earlier one, and a stale invocation can be refused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation of the next intent.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Why a text or number is not a weight.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WeightError {
    /// Neither `5%` nor `0.5%`.
    #[error("'{0}' is not a weight: write a share of the requests such as 5% or 0.5%")]
    NotAPercentage(String),
    /// Below 0 % or above 100 %.
    #[error("a weight of {0} is out of range: 0% to 100% is allowed")]
    OutOfRange(String),
    /// Finer than a basis point.
    #[error("a weight of {0} is too fine: the smallest step is 0.01%")]
    TooFine(String),
}

/// The candidate's share of the requests in basis points, 0..=10 000. Written `5%` in the config.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Weight(u16);

impl Weight {
    /// No request goes to the candidate.
    pub const ZERO: Self = Self(0);
    /// Every request goes to the candidate.
    pub const FULL: Self = Self(10_000);

    /// A weight of so many basis points (hundredths of a percent), 0..=10 000.
    pub fn from_basis_points(points: u16) -> Result<Self, WeightError> {
        if points > Self::FULL.0 {
            return Err(WeightError::OutOfRange(format!("{points} basis points")));
        }
        Ok(Self(points))
    }

    /// The share in basis points, 0..=10 000.
    pub fn basis_points(self) -> u16 {
        self.0
    }
}

impl TryFrom<String> for Weight {
    type Error = WeightError;

    fn try_from(text: String) -> Result<Self, WeightError> {
        let number = text.strip_suffix('%').map(str::trim_end);
        let percent = number
            .and_then(|n| n.parse::<f64>().ok())
            .filter(|p| p.is_finite())
            .ok_or_else(|| WeightError::NotAPercentage(text.clone()))?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(WeightError::OutOfRange(text));
        }
        let points = percent * 100.0;
        if (points - points.round()).abs() > 1e-6 {
            return Err(WeightError::TooFine(text));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0..=10 000 was checked above"
        )]
        Ok(Self(points.round() as u16))
    }
}

impl From<Weight> for String {
    fn from(weight: Weight) -> Self {
        weight.to_string()
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.0) / 100.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_survives_being_written_and_read() {
        for points in 0..=10_000 {
            let weight = Weight::from_basis_points(points).unwrap();
            assert_eq!(Weight::try_from(weight.to_string()), Ok(weight));
        }
    }

    #[test]
    fn a_weight_that_is_no_share_of_requests_is_refused_with_the_fix() {
        for (text, part) in [
            ("5", "such as 5%"),
            ("five%", "such as 5%"),
            ("NaN%", "such as 5%"),
            ("101%", "0% to 100%"),
            ("-1%", "0% to 100%"),
            ("0.001%", "0.01%"),
        ] {
            let error = Weight::try_from(text.to_owned()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_release_id_holds_nothing_that_a_key_or_a_token_could_trip_over() {
        assert!(ReleaseId::for_job("web", "0f0e0d0c-1111-4222-8333-444455556666").is_ok());
        for bad in ["", "a b", "a#b", "ä", &"x".repeat(RELEASE_ID_CHARS_MAX + 1)] {
            assert!(ReleaseId::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
