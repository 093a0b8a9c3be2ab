//! The formats, one file each.
//!
//! To add one, write `x.rs` with a `pub(super) const FORMAT: Format`, and put `mod x;` and
//! `x::FORMAT` in the two lists below. Its `sniff` is to say yes only to its own reports: where two
//! say yes, the first in the list reads.

mod cargo_audit;
mod checkstyle;
mod clover;
mod cobertura;
mod ctrf;
mod cucumber;
mod cyclonedx;
mod dart;
mod gocover;
mod gotest;
mod grype;
mod jacoco;
mod junit;
mod lcov;
mod llvm_cov;
mod mocha_json;
mod npm_audit;
mod nunit;
mod sarif;
mod simplecov;
mod tap;
mod testng;
mod trivy;
mod trx;
mod xunit;

use std::borrow::Cow;
use std::fmt;
use std::io::BufRead;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::ReadError;
use crate::json::Outline;
use crate::limits::HEAD_BYTES;
use crate::report::{Parsed, Report};
use crate::text;
use crate::xml::Root;

const FORMATS: &[Format] = &[
    junit::FORMAT,
    trx::FORMAT,
    nunit::FORMAT,
    xunit::FORMAT,
    testng::FORMAT,
    cucumber::FORMAT,
    ctrf::FORMAT,
    mocha_json::FORMAT,
    gotest::FORMAT,
    dart::FORMAT,
    tap::FORMAT,
    cobertura::FORMAT,
    jacoco::FORMAT,
    clover::FORMAT,
    lcov::FORMAT,
    simplecov::FORMAT,
    gocover::FORMAT,
    llvm_cov::FORMAT,
    sarif::FORMAT,
    cyclonedx::FORMAT,
    trivy::FORMAT,
    grype::FORMAT,
    cargo_audit::FORMAT,
    npm_audit::FORMAT,
    checkstyle::FORMAT,
];

/// A format of reports. Written by its name, as in `junit`.
#[derive(Clone, Copy, Serialize)]
#[serde(into = "String")]
pub struct Format {
    name: &'static str,
    /// Whether a report that begins like this is in the format.
    sniff: fn(&Head<'_>) -> bool,
    read: fn(Source<'_>) -> Result<Parsed, ReadError>,
}

impl Format {
    /// The formats known, in the order in which they are tried.
    pub fn all() -> impl Iterator<Item = Self> {
        FORMATS.iter().copied()
    }

    /// What `format` is set to, to ask for this one.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    /// All names, as an error lists them.
    pub(crate) fn list() -> String {
        let names: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
        names.join(", ")
    }

    /// The format of a report that begins with `head`.
    pub(crate) fn detect(name: &str, head: &[u8]) -> Result<Self, ReadError> {
        let head = Head::new(name, head);
        match FORMATS.iter().find(|format| (format.sniff)(&head)) {
            Some(format) => Ok(*format),
            None => Err(head.why_unmatched(name)),
        }
    }

    pub(crate) fn read(
        self,
        name: &str,
        head: &[u8],
        body: &mut dyn BufRead,
    ) -> Result<Report, ReadError> {
        let parsed = (self.read)(Source {
            name,
            format: self.name,
            head,
            body,
        })?;
        Ok(Report {
            format: self,
            content: parsed.content,
            provenance: parsed.provenance,
        })
    }
}

impl fmt::Debug for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Format({})", self.name)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Format {}

/// A name that is no format's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a format; set `format` to one of {}", Format::list())]
pub struct UnknownFormat {
    /// The name given.
    pub name: String,
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::all()
            .find(|format| format.name == name)
            .ok_or_else(|| UnknownFormat {
                name: text::line(name, crate::NAME_CHARS_MAX),
            })
    }
}

/// By hand: the derive would ask for input that lives as long as `name`.
impl<'de> Deserialize<'de> for Format {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        name.parse().map_err(D::Error::custom)
    }
}

impl From<Format> for String {
    fn from(format: Format) -> Self {
        format.name.to_owned()
    }
}

/// The report that a format is to read.
pub(crate) struct Source<'a> {
    /// What errors call the report.
    pub(crate) name: &'a str,
    /// The name of the format that reads it.
    pub(crate) format: &'static str,
    /// Its first bytes, for what has to be known before reading, such as its encoding.
    pub(crate) head: &'a [u8],
    /// All of it, from its first byte.
    pub(crate) body: &'a mut dyn BufRead,
}

/// The first bytes of a report, to tell its format by.
struct Head<'a> {
    bytes: &'a [u8],
    /// The root element of an XML document; an error when there should be one and is not.
    root: Option<Result<Root, ReadError>>,
    /// The outline of a JSON document, and why it ends before the document does.
    json: Option<(Outline, Option<ReadError>)>,
    /// The beginning as text, where it is no XML.
    text: Cow<'a, str>,
}

impl<'a> Head<'a> {
    fn new(name: &str, bytes: &'a [u8]) -> Self {
        let first = bytes.iter().find(|&&byte| !is_filler(byte));
        let is_xml = first == Some(&b'<');
        let is_json = matches!(first, Some(b'{' | b'['));
        let text = match is_xml {
            true => Cow::default(),
            false => text::decoded(bytes),
        };
        Self {
            bytes,
            root: is_xml.then(|| Root::find(name, bytes)),
            json: is_json.then(|| Outline::of(name, bytes)),
            text,
        }
    }

    /// The root element, of an XML document.
    fn root(&self) -> Option<&Root> {
        self.root.as_ref()?.as_ref().ok()
    }

    /// The outline, of a JSON document or of the first of several.
    fn json(&self) -> Option<&Outline> {
        self.json.as_ref().map(|(outline, _)| outline)
    }

    /// The lines, of what is no XML; the last may be cut.
    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.lines()
    }

    fn why_unmatched(self, name: &str) -> ReadError {
        let is_whole = (self.bytes.len() as u64) < HEAD_BYTES;
        let error = self.root.and_then(Result::err);
        match error.or(self.json.and_then(|(_, error)| error)) {
            // The end of the head is not the end of the report.
            Some(ReadError::Truncated { .. }) if !is_whole => {}
            Some(error) => return error,
            None => {}
        }
        let name = ReadError::name(name);
        ReadError::NoFormat { name }
    }
}

/// Whether a report that begins like this (and, being shorter than a head, also ends) says nothing.
pub(crate) fn is_blank(head: &[u8]) -> bool {
    (head.len() as u64) < HEAD_BYTES && head.iter().all(|&byte| is_filler(byte))
}

/// Blanks, zeros and the bytes of a byte order mark: what comes before the first character in any
/// encoding.
fn is_filler(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, 0 | 0xef | 0xbb | 0xbf | 0xfe | 0xff)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn files(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => files(&path, into),
                false => into.push(path),
            }
        }
    }

    #[test]
    fn no_fixture_is_taken_for_its_own_by_two_formats() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut paths = Vec::new();
        files(&folder, &mut paths);
        for path in paths {
            let bytes = fs::read(&path).unwrap();
            let length = bytes.len().min(HEAD_BYTES as usize);
            let head = Head::new("out", &bytes[..length]);
            let takers: Vec<_> = FORMATS
                .iter()
                .filter(|format| (format.sniff)(&head))
                .collect();
            assert!(takers.len() <= 1, "{}: {takers:?}", path.display());
        }
    }
}
