//! How much of anything is read. A report comes from whoever can push to the repository, so each of
//! these is a promise about the memory and the time that a hostile one can cost.

use std::io::{self, Read};

/// Most entries in an artifact's zip: what CodePipeline itself allows in one artifact. The artifact's
/// own size has no bound here: its parts are fetched as they are asked for, so the 7 GB that
/// CodePipeline allows cost no more than what is read of them.
pub const ENTRIES_MAX: usize = 100_000;

/// Largest list of entries in a zip, in bytes: [`ENTRIES_MAX`] entries with 280 bytes each for name
/// and extra fields. The names are kept, so it bounds the memory that an open artifact takes.
pub const DIRECTORY_BYTES_MAX: u64 = 32 * MIB;

/// How many of a zip's last bytes are fetched first: enough for the record that ends it with its
/// comment (64 KiB at most), and for the list of 2 000 files besides, so that one request opens
/// most artifacts.
pub const TAIL_BYTES: u64 = 256 * 1024;

/// Most bytes between two files of a zip, wanted one after the other, that are fetched and thrown
/// away rather than have a request of its own made for each of the two.
pub const GAP_BYTES_MAX: u64 = 256 * 1024;

/// Largest entry of a zip that is read, once inflated, in bytes. None is read but as a report.
pub const ENTRY_BYTES_MAX: u64 = REPORT_BYTES_MAX;

/// Largest sum of all entries that are read of one zip, once inflated, in bytes: four reports of the
/// largest size. It bounds time; what is not asked for is not inflated and does not count.
pub const TOTAL_BYTES_MAX: u64 = 4 * REPORT_BYTES_MAX;

/// Most bytes that one stored byte of an entry may inflate to. Deflate's own ceiling is 1032, which
/// only a file of one repeated byte comes near; logs stay below 100.
pub const COMPRESSION_RATIO_MAX: u64 = 250;

/// Entries that inflate to no more than this many bytes may have any ratio.
pub const COMPRESSION_RATIO_EXEMPT_BYTES: u64 = 16 * MIB;

/// Largest report, in bytes. It is streamed, so this bounds the time it takes and not the memory.
pub const REPORT_BYTES_MAX: u64 = 2048 * MIB;

/// How many of a report's first bytes decide its format.
pub const HEAD_BYTES: u64 = 64 * 1024;

/// Deepest nesting of XML elements.
pub const XML_DEPTH_MAX: usize = 100;

/// Longest name of an XML element, in bytes.
pub const XML_NAME_BYTES_MAX: usize = 1024;

/// Largest XML tag with all its attributes, in bytes.
pub const XML_TAG_BYTES_MAX: usize = 1024 * 1024;

/// Longest run of text that is kept between two XML tags, in bytes. What goes beyond (the output of
/// a test, a stack trace) is skipped without being held.
pub const XML_TEXT_BYTES_MAX: usize = 16 * 1024;

/// How many failed tests of a report are remembered, to recognise a later case as a retry.
pub const RETRIES_REMEMBERED_MAX: usize = 100_000;

/// Most tests whose pass is remembered, to recognise names that repeat. A name that first repeats
/// beyond them may be taken for a retry.
pub const PASSED_REMEMBERED_MAX: usize = 500_000;

/// Deepest nesting of JSON arrays and objects.
pub const JSON_DEPTH_MAX: u32 = 100;

/// Longest JSON string that is kept, in bytes as written. What goes beyond is cut off.
pub const JSON_STRING_BYTES_MAX: usize = 16 * 1024;

/// Longest JSON number, in bytes.
pub const JSON_NUMBER_BYTES_MAX: usize = 1024;

/// Longest line of a format that is read by lines, in bytes. What goes beyond is cut off.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// Most files in one report of coverage.
pub const COVERAGE_FILES_MAX: usize = 100_000;

/// Most files of the same path in all reports of coverage, each of a module of its own.
pub const SAME_PATH_MAX: usize = 1_000;

/// Most lines in one report of coverage, of all files together. A way out of a condition counts for
/// 2 of them, and a line of whose ways only the number is known for 10: so much memory they take.
pub const COVERAGE_LINES_MAX: usize = 4_000_000;

/// Most blocks of statements in one Go coverage profile.
pub const GO_BLOCKS_MAX: usize = 1_000_000;

/// The last line of a file that a report of coverage may name.
pub const LINE_MAX: u32 = 1_000_000;

/// Most changed files in a diff.
pub const DIFF_FILES_MAX: usize = 100_000;

/// Most runs of changed lines in a diff.
pub const DIFF_RANGES_MAX: usize = 1_000_000;

/// Longest path of a file in a report, in characters; what goes beyond is cut off.
pub const PATH_CHARS_MAX: usize = 1024;

const MIB: u64 = 1024 * 1024;

/// A limit was reached. Inside an [`io::Error`] where a reader reached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {what} is larger than the {limit} allowed")]
pub struct TooMuch {
    /// What is too large, with its unit.
    pub what: &'static str,
    /// The largest allowed.
    pub limit: u64,
}

impl TooMuch {
    pub(crate) fn inside(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl From<TooMuch> for io::Error {
    fn from(too_much: TooMuch) -> Self {
        io::Error::other(too_much)
    }
}

/// A reader that fails, rather than ends, when its input goes on beyond a limit.
pub(crate) struct Limited<R> {
    inner: R,
    left: u64,
    too_much: TooMuch,
}

impl<R> Limited<R> {
    pub(crate) fn new(inner: R, what: &'static str, limit: u64) -> Self {
        let too_much = TooMuch { what, limit };
        Self {
            inner,
            left: limit,
            too_much,
        }
    }
}

/// As XML's visitors report it.
impl From<TooMuch> for quick_xml::Error {
    fn from(too_much: TooMuch) -> Self {
        io::Error::from(too_much).into()
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let mut probe = [0];
            return match self.inner.read(&mut probe[..buffer.len().min(1)])? {
                0 => Ok(0),
                _ => Err(self.too_much.into()),
            };
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        let count = self.inner.read(&mut buffer[..room])?;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8], limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        Limited::new(input, "input", limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn an_input_as_long_as_its_limit_passes_and_one_byte_more_fails() {
        assert_eq!(read(b"1234", 4).unwrap(), b"1234");
        let error = read(b"12345", 4).unwrap_err();
        assert_eq!(TooMuch::inside(&error).unwrap().limit, 4);
    }
}
