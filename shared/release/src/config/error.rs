//! What is wrong with a configuration, where, and how to mend it.

use serde_saphyr::Error as YamlError;

use super::CONFIG_BYTES_MAX;

/// The longest message, in characters.
const MESSAGE_CHARS_MAX: usize = 2_000;

/// A mistake in a `penstock.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", self.place())]
pub struct ConfigError {
    /// Line and column, counted from 1, when the mistake has a place.
    pub at: Option<(u64, u64)>,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl ConfigError {
    fn place(&self) -> String {
        match self.at {
            Some((line, column)) => format!("line {line}, column {column}: "),
            None => String::new(),
        }
    }

    /// Keys, values and names of sections come from outside and go to a terminal or into a
    /// pipeline's console, so every message is made fit to print.
    fn new(at: Option<(u64, u64)>, message: &str) -> Self {
        let line = message.replace(['\n', '\r'], " ");
        let message = reports::printable(&line, MESSAGE_CHARS_MAX);
        Self { at, message }
    }

    fn general(message: String) -> Self {
        Self::new(None, &message)
    }

    pub(super) fn too_large(bytes: usize) -> Self {
        Self::general(format!(
            "the file has {bytes} bytes: at most {CONFIG_BYTES_MAX} are read"
        ))
    }

    pub(super) fn version(found: u32) -> Self {
        Self::general(format!(
            "version {found} is not known: this Penstock reads `version: 1`"
        ))
    }

    pub(super) fn section(kind: &str, name: Option<&str>, known: &[&str]) -> Self {
        let have = match known {
            [] => format!("the file has no `{kind}`"),
            names => format!("`{kind}` has {}", names.join(", ")),
        };
        Self::general(match name {
            Some(name) => format!(
                "no section '{name}': {have}; correct \"section\" in the action's UserParameters"
            ),
            None => {
                format!("{have}: name one as \"section\" in the action's UserParameters")
            }
        })
    }

    pub(super) fn yaml(error: &YamlError) -> Self {
        let error = error.without_snippet();
        let message = match error {
            YamlError::SerdeUnknownField {
                field, expected, ..
            } => unknown("key", field, expected),
            YamlError::SerdeUnknownVariant {
                variant, expected, ..
            } => unknown("value", variant, expected),
            YamlError::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
            other => without_place(&other.to_string()),
        };
        let at = error.location().map(|l| (l.line(), l.column()));
        Self::new(at, &message)
    }
}

/// The parser ends its messages with the place, which we say first.
fn without_place(message: &str) -> String {
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|name| (strsim::jaro_winkler(found, name), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((_, name)) => format!("unknown {what} `{found}`: did you mean `{name}`?"),
        None => format!(
            "unknown {what} `{found}`: known are {}",
            known
                .iter()
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}
