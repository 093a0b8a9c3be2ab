//! The ranges of the settings, each with its words for a person.

use std::fmt::Display;

use crate::config::ConfigError;

/// A set of allowed numbers. None contains NaN or an infinity.
pub(crate) struct Range {
    contains: fn(f64) -> bool,
    words: &'static str,
}

/// A probability of error that somebody may call a promise.
pub(crate) const ERROR_PROBABILITY: Range = Range {
    contains: |p| 0.0 < p && p <= 0.5,
    words: "above 0 and at most 0.5",
};

/// A part, but neither nothing nor all.
pub(crate) const PROPER_PART: Range = Range {
    contains: |part| 0.0 < part && part < 1.0,
    words: "above 0 and below 1",
};

/// A part, but not all.
pub(crate) const NOT_ALL: Range = Range {
    contains: |part| (0.0..1.0).contains(&part),
    words: "at least 0 and below 1",
};

/// A part, but not nothing.
pub(crate) const NOT_NOTHING: Range = Range {
    contains: |part| 0.0 < part && part <= 1.0,
    words: "above 0 and at most 1",
};

/// Any part.
pub(crate) const PART: Range = Range {
    contains: |part| (0.0..=1.0).contains(&part),
    words: "from 0 to 1",
};

/// A ratio of rates that may still be called no harm.
pub(crate) const RATIO: Range = Range {
    contains: |ratio| (1.0..=10.0).contains(&ratio),
    words: "from 1 to 10",
};

/// A rise of a rate. Below, the information of one request drowns in rounding errors.
pub(crate) const RISE: Range = Range {
    contains: |rise| (1e-5..=1.0).contains(&rise),
    words: "from 0.00001 to 1",
};

/// Evidence, as odds to 1.
pub(crate) const ODDS: Range = Range {
    contains: |odds| (1.0..=1e9).contains(&odds),
    words: "from 1 to 10^9",
};

/// Evidence, as odds to 1, or 0 for never.
pub(crate) const ODDS_OR_NEVER: Range = Range {
    contains: |odds| odds == 0.0 || (1.0..=1e9).contains(&odds),
    words: "0 (for never), or from 1 to 10^9",
};

/// A number of windows, at most a day of minutes.
pub(crate) const WINDOWS: Range = Range {
    contains: |windows| (1.0..=1440.0).contains(&windows),
    words: "from 1 to 1440",
};

impl Range {
    /// The range for a person.
    pub(crate) fn words(&self) -> &'static str {
        self.words
    }

    /// Refuses a value outside the range, naming the key it came from.
    pub(crate) fn check(&self, key: impl Display, value: f64) -> Result<(), ConfigError> {
        if (self.contains)(value) {
            return Ok(());
        }
        Err(ConfigError::OutOfRange {
            key: key.to_string(),
            value,
            allowed: self.words,
        })
    }
}
