//! The continuation token: which story, and how often it was tried in vain.

use std::fmt;

use release::ReleaseId;

/// Jobs in a row that may meet a fault before the action fails.
pub(crate) const TRIES_MAX: u32 = 20;

/// A continuation token: `web-0f0e...`, or `web-0f0e...~3` after three jobs that met a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) id: ReleaseId,
    pub(crate) tries: u32,
}

impl Token {
    /// The token of this story, with the tries of the token that came with the job.
    pub(crate) fn of(id: ReleaseId, came: Option<Self>) -> Self {
        let tries = came.map_or(0, |token| token.tries);
        Self { id, tries }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (id, tries) = match text.rsplit_once('~') {
            Some((id, tries)) => (id, tries.parse().ok()?),
            None => (text, 0),
        };
        let id = ReleaseId::try_from(id.to_owned()).ok()?;
        Some(Self { id, tries })
    }

    /// The token after one more try; `None` when these were enough.
    pub(crate) fn next(&self) -> Option<Self> {
        let tries = self.tries.saturating_add(1);
        (tries < TRIES_MAX).then(|| Self {
            id: self.id.clone(),
            tries,
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tries {
            0 => write!(f, "{}", self.id),
            tries => write!(f, "{}~{tries}", self.id),
        }
    }
}
