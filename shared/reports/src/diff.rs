//! Which lines a change touches: reads what `git diff` writes.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::ops::RangeInclusive;

use crate::error::{Position, ReadError};
use crate::formats::{self, Source};
use crate::limits::{
    self, DIFF_FILES_MAX, DIFF_RANGES_MAX, LINE_MAX, Limited, PATH_CHARS_MAX, REPORT_BYTES_MAX,
    TooMuch,
};
use crate::lines::{self, Fault, Line};
use crate::text;

/// The lines that a change adds or rewrites, by file, as they are numbered after it.
///
/// Read from a unified diff: `git diff BASE...HEAD`, with or without `a/` and `b/`, a patch of `git
/// format-patch` or `git show`, `svn diff`, `hg diff`, `diff
/// -ruN`. It is streamed, and no file is
/// ever opened. Lines that are only removed, renamed files, changed modes and binary files touch no
/// line. Empty input is a change of nothing, which is what `git diff` writes when nothing changed.
///
/// A diff that ends within a hunk is cut off; one that ends between two hunks cannot be told from a
/// whole one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diff {
    changed: BTreeMap<String, Vec<RangeInclusive<u32>>>,
}

impl Diff {
    /// Reads a diff. `name` is what an error calls it; nothing is opened by it.
    ///
    /// ```
    /// let diff = "--- a/cart.rs\n+++ b/cart.rs\n@@ -7,2 +7,3 @@\n }\n+new();\n {\n";
    /// let diff = reports::Diff::read("changes.diff", diff.as_bytes())?;
    /// let files: Vec<_> = diff.files().collect();
    /// assert_eq!(files, [("cart.rs", &[8..=8][..])]);
    /// # Ok::<(), reports::ReadError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ReadError::Truncated`] when it ends within a hunk.
    /// - [`ReadError::Malformed`] when it is no unified diff, when a hunk has other lines than its
    ///   head says, when it is the combined diff of a merge, and when it has a file twice, as a
    ///   series of patches does: where a line ends up is then not said.
    /// - [`ReadError::TooLarge`] beyond [`REPORT_BYTES_MAX`], [`DIFF_FILES_MAX`] or
    ///   [`DIFF_RANGES_MAX`].
    pub fn read(name: &str, input: impl Read) -> Result<Self, ReadError> {
        let limited = Limited::new(input, "size in bytes of the diff", REPORT_BYTES_MAX);
        let mut input = BufReader::new(limited);
        let mut head = Vec::new();
        (&mut input)
            .take(limits::HEAD_BYTES)
            .read_to_end(&mut head)
            .map_err(|error| ReadError::from_io(name, error))?;
        if formats::is_blank(&head) {
            return Ok(Self::default());
        }
        let source = Source {
            name,
            format: "diff",
            head: &head,
            body: &mut head.as_slice().chain(input),
        };
        read(source)
    }

    /// The files in order of their paths, each with its changed lines in order, from 1. A path is
    /// relative to the root of the repository, with `/` between its parts.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[RangeInclusive<u32>])> {
        self.changed
            .iter()
            .map(|(path, lines)| (path.as_str(), lines.as_slice()))
    }

    /// Whether no line is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }
}

fn read(source: Source<'_>) -> Result<Diff, ReadError> {
    let name = source.name.to_owned();
    let mut reading = Reading::default();
    let mut at = Position::START;
    lines::each(source, |line| {
        at = line.at();
        reading.line(line).map_err(|fault| fault.explain(&name, at))
    })?;
    if reading.hunk.is_some() {
        let name = ReadError::name(&name);
        return Err(ReadError::Truncated { name, at });
    }
    if !reading.is_diff {
        let what = "it is no unified diff; write it with `git diff BASE...HEAD`";
        return Err(ReadError::malformed(&name, Position::START, what));
    }
    let ended = reading.end_file();
    ended.map_err(|fault| fault.explain(&name, at))?;
    Ok(reading.diff)
}

#[derive(Default)]
struct Reading {
    diff: Diff,
    /// It has shown itself to be a diff.
    is_diff: bool,
    /// The rest of the line `diff --git a/x b/x`.
    git: Option<String>,
    /// The path after `rename to` or `copy to`, which never has a prefix.
    moved_to: Option<String>,
    /// What was after `---` on the line before.
    old: Option<String>,
    file: Option<File>,
    /// The hunk being read.
    hunk: Option<Hunk>,
    ranges: usize,
}

/// The file whose hunks come next.
#[derive(Default)]
struct File {
    /// None when it is deleted.
    path: Option<String>,
    changed: Vec<RangeInclusive<u32>>,
}

/// What of a hunk is still to come.
struct Hunk {
    old_left: u64,
    new_left: u64,
    /// The number of the next line, after the change.
    next: u64,
}

impl Reading {
    fn line(&mut self, line: Line<'_>) -> Result<(), Fault> {
        if let Some(hunk) = self.hunk.take() {
            return self.within(hunk, line.text);
        }
        let text = line.text;
        let old = self.old.take();
        if let Some(rest) = text.strip_prefix("diff --git ") {
            self.end_file()?;
            self.git = Some(rest.to_owned());
        } else if text.starts_with("diff --cc ") || text.starts_with("diff --combined ") {
            return Err(COMBINED);
        } else if let Some(to) = text
            .strip_prefix("rename to ")
            .or_else(|| text.strip_prefix("copy to "))
        {
            self.moved_to = self.git.is_some().then(|| path_of(to));
        } else if let Some(to) = text.strip_prefix("--- ") {
            self.old = Some(to.to_owned());
        } else if let (Some(new), Some(old)) = (text.strip_prefix("+++ "), old) {
            self.begin_file(&old, new)?;
        } else if let Some(head) = text.strip_prefix("@@ ") {
            self.begin_hunk(head)?;
        } else if text.starts_with("@@@ ") {
            return Err(COMBINED);
        } else if text.starts_with("Index: ") {
            // All that Subversion says of a binary file.
            self.end_file()?;
        }
        Ok(())
    }

    /// The next file begins, or the diff ends.
    fn end_file(&mut self) -> Result<(), Fault> {
        self.is_diff = true;
        (self.git, self.moved_to) = (None, None);
        let Some(File { path, changed }) = self.file.take() else {
            return Ok(());
        };
        if let Some(path) = path.filter(|_| !changed.is_empty())
            && self.diff.changed.insert(path, changed).is_some()
        {
            return Err(Fault::Broken(
                "it has a file twice; write one diff of all changes with `git diff BASE...HEAD`",
            ));
        }
        bounded(
            "number of changed files",
            self.diff.changed.len(),
            DIFF_FILES_MAX,
        )
    }

    fn begin_file(&mut self, old: &str, new: &str) -> Result<(), Fault> {
        let (git, moved_to) = (self.git.take(), self.moved_to.take());
        self.end_file()?;
        let (old, new) = (path_of(old), path_of(new));
        if new == "/dev/null" {
            self.file = Some(File::default());
            return Ok(());
        }
        // A new file has no old name to compare with, except on the first line of its diff.
        let old = match &git {
            Some(git) if old == "/dev/null" => old_of(git, &new),
            _ => old,
        };
        let path = moved_to.unwrap_or_else(|| without_prefix(&old, &new).to_owned());
        self.file = Some(File {
            path: Some(text::line(&path, PATH_CHARS_MAX)),
            ..File::default()
        });
        Ok(())
    }

    /// `-7,2 +7,3 @@`: where the hunk begins and how many lines it has, before and after.
    fn begin_hunk(&mut self, head: &str) -> Result<(), Fault> {
        if self.file.is_none() {
            return Err(Fault::Broken("a hunk belongs to no file"));
        }
        let hunk = || {
            let (old, rest) = head.strip_prefix('-')?.split_once(" +")?;
            let (new, _) = rest.split_once(" @@")?;
            let (_, old_left) = span(old)?;
            let (next, new_left) = span(new)?;
            Some(Hunk {
                old_left,
                new_left,
                next,
            })
        };
        let hunk = hunk().ok_or(Fault::Broken("a hunk's head is not like @@ -1,2 +1,3 @@"))?;
        self.hunk = hunk.or_done();
        Ok(())
    }

    fn within(&mut self, mut hunk: Hunk, line: &str) -> Result<(), Fault> {
        let (old, new) = match line.as_bytes().first() {
            Some(b'+') => (0, 1),
            Some(b'-') => (1, 0),
            // Some editors and mailers take the blank of an empty line away.
            Some(b' ') | None => (1, 1),
            Some(b'\\') => (0, 0),
            Some(_) => return Err(Fault::Broken("a hunk has fewer lines than its head says")),
        };
        let left = (
            hunk.old_left.checked_sub(old),
            hunk.new_left.checked_sub(new),
        );
        let (Some(old_left), Some(new_left)) = left else {
            return Err(Fault::Broken("a hunk has other lines than its head says"));
        };
        (hunk.old_left, hunk.new_left) = (old_left, new_left);
        if (old, new) == (0, 1) {
            self.note(hunk.next)?;
        }
        hunk.next = hunk.next.saturating_add(new);
        self.hunk = hunk.or_done();
        Ok(())
    }

    /// Notes a changed line. No report knows of lines beyond [`LINE_MAX`].
    fn note(&mut self, line: u64) -> Result<(), Fault> {
        let line = u32::try_from(line).ok().filter(|&line| line <= LINE_MAX);
        let (Some(line), Some(file)) = (line, &mut self.file) else {
            return Ok(());
        };
        match file.changed.last_mut() {
            Some(last) if last.end() + 1 == line => *last = *last.start()..=line,
            Some(last) if *last.end() >= line => {
                return Err(Fault::Broken("the hunks of a file are not in order"));
            }
            Some(_) | None => {
                file.changed.push(line..=line);
                self.ranges += 1;
            }
        }
        bounded("number of changes", self.ranges, DIFF_RANGES_MAX)
    }
}

fn bounded(what: &'static str, size: usize, limit: usize) -> Result<(), Fault> {
    let too_much = TooMuch {
        what,
        limit: limit as u64,
    };
    (size <= limit).then_some(()).ok_or(too_much.into())
}

const COMBINED: Fault =
    Fault::Broken("it is the combined diff of a merge; write it with `git diff BASE...HEAD`");

impl Hunk {
    /// Itself; None when nothing of it is to come.
    fn or_done(self) -> Option<Self> {
        (self.old_left > 0 || self.new_left > 0).then_some(self)
    }
}

/// `7,2`: a line and how many; `7` is one line.
fn span(text: &str) -> Option<(u64, u64)> {
    let (line, count) = text.split_once(',').unwrap_or((text, "1"));
    Some((line.parse().ok()?, count.parse().ok()?))
}

/// A path as a header has it: quoted like a string in C, or as it is up to a tab, behind which are
/// times or revisions.
fn path_of(header: &str) -> String {
    match header.strip_prefix('"') {
        Some(quoted) => unquoted(quoted),
        None => header.split('\t').next().unwrap_or_default().to_owned(),
    }
}

/// The string up to the closing quote, with `\t`, `\"`, `\\` and octal bytes such as `\303` resolved.
fn unquoted(quoted: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = quoted.bytes().peekable();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'"' => break,
            b'\\' => match rest.next() {
                Some(b'a') => 7,
                Some(b'b') => 8,
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'v') => 11,
                Some(b'f') => 12,
                Some(b'r') => b'\r',
                Some(first @ b'0'..=b'7') => {
                    let mut value = first - b'0';
                    for _ in 0..2 {
                        let Some(digit) = rest.next_if(|byte| matches!(byte, b'0'..=b'7')) else {
                            break;
                        };
                        value = value.wrapping_mul(8).wrapping_add(digit - b'0');
                    }
                    value
                }
                Some(other) => other,
                None => break,
            },
            byte => byte,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first of the two paths after `diff --git`, of which the second is known.
fn old_of(git: &str, new: &str) -> String {
    if git.starts_with('"') {
        return path_of(git);
    }
    let old = git.strip_suffix(new).map(str::trim_end);
    old.unwrap_or_default().to_owned()
}

/// The new path without the prefix that git puts before it, when the old one shows that there is
/// one: `a/x` and `b/x`, `i/x` and `w/x`, but not `x` and `x`. A folder that is compared with
/// another (`diff -r`) is a prefix, too.
fn without_prefix<'a>(old: &str, new: &'a str) -> &'a str {
    let Some((new_prefix, rest)) = new.split_once('/') else {
        return new;
    };
    let is_prefix = match old.split_once('/') {
        // A new file of which no more is said.
        _ if old == "/dev/null" => new_prefix == "b",
        Some((old_prefix, old_rest)) => old_prefix != new_prefix && old_rest == rest,
        None => false,
    };
    if is_prefix { rest } else { new }
}
