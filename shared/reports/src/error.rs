//! Why a report could not be read.

use std::fmt;
use std::io;

use memchr::memchr_iter;

use crate::formats::Format;
use crate::limits::TooMuch;
use crate::text;

/// The error of a library underneath.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Longest file name repeated in an error, in characters.
const FILE_CHARS_MAX: usize = 300;

/// Why an artifact or a report in it could not be read. `name` is the report's, made safe to print.
/// The message is for whoever owns the pipeline and names the fix; the source, where there is one,
/// says what exactly the library underneath saw.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The artifact's bytes could not be had, or no more of them. The artifact may be fine.
    #[error("could not fetch the artifact")]
    Input {
        /// What the [`Input`](crate::Input) met.
        source: io::Error,
    },
    /// The artifact is not a zip, or a broken one.
    #[error("could not open the artifact: it is not a readable zip")]
    NotAZip {
        /// What the zip library saw.
        source: Cause,
    },
    /// The artifact is a zip as an attacker would make one.
    #[error("could not read the artifact: {reason}")]
    Hostile {
        /// What is wrong with it. Part of the text, so not also a `source()` of its own.
        reason: Hostile,
    },
    /// A pattern that is meant to find reports is not one.
    #[error("could not understand the pattern {glob}; write it like target/**/TEST-*.xml")]
    Glob {
        /// The pattern.
        glob: String,
        /// What is wrong with it.
        source: Cause,
    },
    /// The artifact has no such file. Directories are not files.
    #[error("could not find {name} in the artifact")]
    Missing {
        /// The file.
        name: String,
    },
    /// A symbolic link. What it leads to may be anything, so it is never followed.
    #[error(
        "could not read {name}: it is a symbolic link, which is not followed; put the file itself \
         there, or let no pattern match the link"
    )]
    Link {
        /// The link.
        name: String,
    },
    /// A file that has a name which is no text.
    #[error("could not read {name}: its name is not UTF-8; rename it")]
    Name {
        /// The name, as far as it is text.
        name: String,
    },
    /// There is nothing but blanks.
    #[error("could not read {name}: it is empty; did the tests run to their end?")]
    Empty {
        /// The report.
        name: String,
    },
    /// The report ends before its end, as when the process that wrote it was killed.
    #[error("could not read {name}: it is cut off after {at}; did the tests run to their end?")]
    Truncated {
        /// The report.
        name: String,
        /// Where it ends.
        at: Position,
    },
    /// The report breaks the rules of the language it is written in.
    #[error("could not read {name}: it is malformed at {at}")]
    Malformed {
        /// The report.
        name: String,
        /// How far it could be read.
        at: Position,
        /// Which rule is broken.
        source: Cause,
    },
    /// The report's first bytes are those of no known format.
    #[error("no format matched {name}; set `format` to one of {}", Format::list())]
    NoFormat {
        /// The report.
        name: String,
    },
    /// The report is not in the format that was asked for.
    #[error(
        "could not read {name} as {format}: its root element is `{found}`; \
         set `format` to one of {} or leave it out",
        Format::list()
    )]
    WrongFormat {
        /// The report.
        name: String,
        /// The format asked for.
        format: &'static str,
        /// The root element found.
        found: String,
    },
    /// The report brings its own entities (the internal subset of a DOCTYPE), which can grow without
    /// bound or fetch other files.
    #[error("could not read {name}: its DOCTYPE declares entities; write the report without them")]
    Entities {
        /// The report.
        name: String,
    },
    /// The report says it is written in an encoding that is not known.
    #[error("could not read {name}: its encoding `{label}` is not known; write it in UTF-8")]
    Encoding {
        /// The report.
        name: String,
        /// The encoding as declared.
        label: String,
    },
    /// Something in the report is larger than any honest report has it.
    #[error("could not read {name}: the {what} is larger than the {limit} allowed")]
    TooLarge {
        /// The report.
        name: String,
        /// What is too large, with its unit.
        what: &'static str,
        /// The largest allowed.
        limit: u64,
    },
    /// A damaged entry of the zip, or a failure of the reader given to [`read()`](crate::read()).
    #[error("could not read {name}: its bytes could not be had")]
    Unreadable {
        /// The report.
        name: String,
        /// What failed.
        source: Cause,
    },
}

/// What makes a zip, or a file in it, one that is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Hostile {
    /// More than [`ENTRIES_MAX`](crate::limits::ENTRIES_MAX) entries.
    #[error("it has {entries} entries, more than the {limit} allowed; put fewer files in it")]
    Entries {
        /// How many there are.
        entries: usize,
        /// How many may be.
        limit: usize,
    },
    /// A list of entries above [`DIRECTORY_BYTES_MAX`](crate::limits::DIRECTORY_BYTES_MAX).
    #[error("its list of entries is larger than the {limit} bytes allowed; put fewer files in it")]
    Directory {
        /// The bytes that may be read.
        limit: u64,
    },
    /// A name that leads out of the artifact: absolute, with a drive, or with `..` in it.
    #[error("the name of {name} leads out of it; zip the files by relative names")]
    Escapes {
        /// The entry.
        name: String,
    },
    /// Two entries of one name: which of them a tool reads is anybody's guess.
    #[error("two of its entries have the same name; zip each file once")]
    Duplicate,
    /// An encrypted entry.
    #[error("{name} is encrypted; zip it without a password")]
    Encrypted {
        /// The entry.
        name: String,
    },
    /// An entry above [`ENTRY_BYTES_MAX`](crate::limits::ENTRY_BYTES_MAX).
    #[error("{name} inflates to {bytes} bytes, more than the {limit} allowed; leave it out")]
    EntryBytes {
        /// The entry.
        name: String,
        /// What it says it inflates to.
        bytes: u64,
        /// What it may.
        limit: u64,
    },
    /// All files that were asked for above [`TOTAL_BYTES_MAX`](crate::limits::TOTAL_BYTES_MAX).
    #[error("its reports inflate to more than the {limit} bytes allowed; ask for fewer of them")]
    TotalBytes {
        /// What it may.
        limit: u64,
    },
    /// An entry above [`COMPRESSION_RATIO_MAX`](crate::limits::COMPRESSION_RATIO_MAX).
    #[error("{name} inflates to more than {limit} times its stored size; leave it out")]
    Ratio {
        /// The entry.
        name: String,
        /// The ratio that may be.
        limit: u64,
    },
}

/// A place in a report's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line, from 1.
    pub line: u64,
    /// The byte, from 0, counted after decoding to UTF-8.
    pub byte: u64,
}

impl Position {
    /// Before the first byte.
    pub(crate) const START: Self = Self { line: 1, byte: 0 };

    pub(crate) fn advance(&mut self, over: &[u8]) {
        self.line += memchr_iter(b'\n', over).count() as u64;
        self.byte += over.len() as u64;
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} (byte {})", self.line, self.byte)
    }
}

impl From<Hostile> for ReadError {
    fn from(reason: Hostile) -> Self {
        Self::Hostile { reason }
    }
}

impl ReadError {
    /// The failure of the [`Input`](crate::Input) itself, or else this error, which is about what
    /// the bytes say.
    ///
    /// # Errors
    ///
    /// Every error but [`ReadError::Input`].
    pub fn into_input(self) -> Result<io::Error, Self> {
        match self {
            Self::Input { source } => Ok(source),
            about_the_bytes => Err(about_the_bytes),
        }
    }

    /// A file name as an error repeats it.
    pub(crate) fn name(name: &str) -> String {
        text::line(name, FILE_CHARS_MAX)
    }

    /// For what is found to be a symbolic link.
    #[must_use]
    pub fn link(name: &str) -> Self {
        let name = Self::name(name);
        Self::Link { name }
    }

    /// For a file that has a name which is no text.
    #[must_use]
    pub fn odd_name(name: &str) -> Self {
        let name = Self::name(name);
        Self::Name { name }
    }

    pub(crate) fn empty(name: &str) -> Self {
        let name = Self::name(name);
        Self::Empty { name }
    }

    pub(crate) fn malformed(name: &str, at: Position, source: impl Into<Cause>) -> Self {
        Self::Malformed {
            name: Self::name(name),
            at,
            source: source.into(),
        }
    }

    pub(crate) fn too_large(name: &str, what: &'static str, limit: u64) -> Self {
        let name = Self::name(name);
        Self::TooLarge { name, what, limit }
    }

    pub(crate) fn unreadable(name: &str, source: impl Into<Cause>) -> Self {
        Self::Unreadable {
            name: Self::name(name),
            source: source.into(),
        }
    }

    /// An error of the input: a limit that was reached, or a failure.
    pub(crate) fn from_io(name: &str, error: io::Error) -> Self {
        match TooMuch::inside(&error) {
            Some(&TooMuch { what, limit }) => Self::too_large(name, what, limit),
            None => Self::unreadable(name, error),
        }
    }
}
