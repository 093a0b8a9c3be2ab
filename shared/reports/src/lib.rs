//! Reports of tests, coverage and findings: bytes in, a [`Report`] out.
//!
//! Pure: no AWS, no clock, no file system. A report is streamed, so the memory it takes does not
//! grow with its size, and everything that is read from the outside is bounded by a constant:
//! [`limits`] lists them all.
//!
//! | to | use |
//! |---|---|
//! | read a report in an artifact | [`Archive::open`], [`Archive::find`], [`Archive::report`] |
//! | read a report that is at hand | [`read()`] |
//! | know how much of a change ran | [`Diff::read`], [`CoverageReport::of_changed`] |
//! | add a format | `formats/x.rs` and its line in `formats/mod.rs` |
//!
//! Reading never decides. A well-formed report of zero tests is a [`Report`] of zero tests, and the
//! gate judges it; a report that is [empty](ReadError::Empty), [cut off](ReadError::Truncated) or
//! [broken](ReadError::Malformed) is an error, so that nobody mistakes it for one that passed.

mod archive;
mod case;
mod changed;
mod coverage;
mod diff;
mod error;
mod findings;
mod formats;
mod json;
pub mod limits;
mod lines;
mod nesting;
mod report;
mod tally;
mod text;
mod xml;

use std::io::{BufReader, Read};

pub use archive::{Archive, Input, glob};
pub use case::{
    FAILING_LISTED_MAX, MESSAGE_CHARS_MAX, NAME_CHARS_MAX, OTHER_SUITES, OTHERS_LISTED_MAX,
    Outcome, SUITES_MAX, TestCase, TestReport, Totals,
};
pub use changed::{CANDIDATES_MAX, ChangedCoverage, MISSED_LISTED_MAX};
pub use coverage::{CoverageReport, FileCoverage, LineMap, Module, Ratio};
pub use diff::Diff;
pub use error::{Cause, Hostile, Position, ReadError};
pub use findings::{ALIASES_MAX, FINDINGS_LISTED_MAX, Finding, FindingsReport, Severity};
pub use formats::{Format, UnknownFormat};
pub use limits::TooMuch;
pub use report::{Content, Provenance, Report};
pub use text::{decoded, line as printable};

/// Reads one report: in `format`, or else in the format that its first bytes show.
///
/// `name` is what an error calls the report; nothing is opened by it.
///
/// ```
/// let xml = b"<testsuite><testcase name='adds'/></testsuite>";
/// let report = reports::read("out.xml", &xml[..], None)?;
/// let reports::Content::Tests(tests) = report.content else {
///     panic!("a testsuite holds tests")
/// };
/// assert_eq!((report.format.name(), tests.totals.passed), ("junit", 1));
/// # Ok::<(), reports::ReadError>(())
/// ```
///
/// # Errors
///
/// Any [`ReadError`] that is about a report. The input's own errors come back as
/// [`ReadError::Unreadable`].
pub fn read(name: &str, input: impl Read, format: Option<Format>) -> Result<Report, ReadError> {
    read_within(limits::REPORT_BYTES_MAX, name, input, format)
}

fn read_within(
    bytes_max: u64,
    name: &str,
    input: impl Read,
    format: Option<Format>,
) -> Result<Report, ReadError> {
    let limited = limits::Limited::new(input, "size in bytes of the report", bytes_max);
    let mut input = BufReader::new(limited);
    let mut head = Vec::new();
    (&mut input)
        .take(limits::HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(|error| ReadError::from_io(name, error))?;
    let format = match format {
        _ if formats::is_blank(&head) => return Err(ReadError::empty(name)),
        Some(format) => format,
        None => Format::detect(name, &head)?,
    };
    let body = &mut head.as_slice().chain(input);
    format.read(name, &head, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_without_end_is_given_up_at_its_bound() {
        let bytes_max = 4 * limits::HEAD_BYTES;
        for head in [
            "<testsuite><system-out><![CDATA[",
            "<testsuite>",
            "<testsuite/><!--",
        ] {
            let endless = head.as_bytes().chain(std::io::repeat(b']'));
            let error = read_within(bytes_max, "out.xml", endless, None).unwrap_err();
            let is_bound = matches!(error, ReadError::TooLarge { limit, .. } if limit == bytes_max);
            assert!(is_bound, "{head}: {error}");
        }
    }
}
