//! The zip that a pipeline hands over.
//!
//! It is read by ranges: its last bytes, which hold the list of entries or most of it, then the rest
//! of the list if there is one, then the files that are asked for, each from its header on. The zip
//! library reads and seeks as it likes and keeps all that it knows of every entry, so it only writes
//! the zips that the tests read.

mod directory;
mod entry;
mod source;

use std::io::Read;

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::diff::Diff;
use crate::error::{Hostile, ReadError};
use crate::formats::Format;
use crate::limits::{
    COMPRESSION_RATIO_EXEMPT_BYTES, COMPRESSION_RATIO_MAX, ENTRY_BYTES_MAX, GAP_BYTES_MAX, Limited,
    TOTAL_BYTES_MAX,
};
use crate::report::Report;
use directory::File;
use source::Source;

pub use source::Input;

/// A zip whose list of entries has been judged harmless. Nothing is fetched or inflated before it is
/// asked for, no file inflates to more than the list says, and nothing is written to a disk.
///
/// Directories are not there. A symbolic link is found like a file, so that nobody takes it for
/// absent, and is not read. A zip within the zip is a file like any other and is not opened. The list at the end of the zip is what counts; the
/// entries' own headers are not compared with it.
pub struct Archive<I> {
    source: Source<I>,
    /// In order of their names.
    files: Vec<File>,
    /// What all files that were asked for inflate to, in bytes.
    asked_for: u64,
}

impl<I: Input> Archive<I> {
    /// Reads and judges the list of entries.
    ///
    /// # Errors
    ///
    /// [`ReadError::Input`], [`ReadError::NotAZip`], and [`ReadError::Hostile`] with the reason.
    pub fn open(input: I) -> Result<Self, ReadError> {
        let mut source = Source::new(input).map_err(|source| ReadError::Input { source })?;
        let files = directory::read(&mut source);
        let files = or_failure(&mut source, files)?;
        Ok(Self {
            source,
            files,
            asked_for: 0,
        })
    }

    /// The names of all files, in order, with `/` between their parts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| &*file.name)
    }

    /// The names of the files that match any of `globs`, in the order in which they are stored.
    /// Whoever reads them in this order has neighbours fetched together.
    ///
    /// `*` and `?` stay within one part of a path, `**` spans any number of them, `{a,b}` and
    /// `[a-z]` mean what they do in a shell.
    ///
    /// # Errors
    ///
    /// [`ReadError::Glob`] for what is not a pattern.
    pub fn find<G: AsRef<str>>(
        &mut self,
        globs: impl IntoIterator<Item = G>,
    ) -> Result<Vec<String>, ReadError> {
        let set = set_of(globs)?;
        let all = self.files.iter_mut();
        let mut found: Vec<_> = all.filter(|file| set.is_match(&*file.name)).collect();
        found.sort_by_key(|file| file.start);
        let mut next: Option<&File> = None;
        for file in found.iter_mut().rev() {
            let gap = next.and_then(|next| next.start.checked_sub(file.end));
            file.until = match (next, gap) {
                (Some(next), Some(gap)) if gap <= GAP_BYTES_MAX => next.until,
                _ => file.end,
            };
            next = Some(file);
        }
        Ok(found.iter().map(|file| file.name.to_string()).collect())
    }

    /// The whole of a small file, such as `penstock.yaml`; None when there is no such file.
    ///
    /// # Errors
    ///
    /// [`ReadError::TooLarge`] above `bytes_max`, [`ReadError::Unreadable`] when the entry is
    /// damaged, [`ReadError::Hostile`], and [`ReadError::Input`].
    pub fn read_small(&mut self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let read = self.entry(name).and_then(|entry| {
            let Some(entry) = entry else {
                return Ok(None);
            };
            let mut bytes = Vec::new();
            Limited::new(entry, "size in bytes of the file", bytes_max)
                .read_to_end(&mut bytes)
                .map_err(|error| ReadError::from_io(name, error))?;
            Ok(Some(bytes))
        });
        or_failure(&mut self.source, read)
    }

    /// Reads a report as it is inflated, in `format` or else in the one that its first bytes show.
    ///
    /// # Errors
    ///
    /// [`ReadError::Missing`], [`ReadError::Link`], [`ReadError::Hostile`], [`ReadError::Input`], and all that
    /// [`read()`](crate::read()) returns.
    pub fn report(&mut self, name: &str, format: Option<Format>) -> Result<Report, ReadError> {
        let read = self.entry(name).and_then(|entry| match entry {
            Some(entry) => crate::read(name, entry, format),
            None => Err(ReadError::Missing {
                name: ReadError::name(name),
            }),
        });
        or_failure(&mut self.source, read)
    }

    /// Reads a unified diff as it is inflated; None when there is no such file.
    ///
    /// # Errors
    ///
    /// [`ReadError::Hostile`], [`ReadError::Input`], and all that [`Diff::read`] returns.
    pub fn diff(&mut self, name: &str) -> Result<Option<Diff>, ReadError> {
        let read = self.entry(name).and_then(|entry| {
            let diff = entry.map(|entry| Diff::read(name, entry));
            diff.transpose()
        });
        or_failure(&mut self.source, read)
    }

    /// When a file was last changed, as the zip has it: without a zone, which is taken to be UTC, in
    /// steps of two seconds. None when there is no such file, or no such time.
    #[must_use]
    pub fn modified(&self, name: &str) -> Option<Timestamp> {
        let changed = self.file(name)?.changed?;
        let zoned = changed.to_zoned(TimeZone::UTC).ok()?;
        Some(zoned.timestamp())
    }

    fn file(&self, name: &str) -> Option<&File> {
        let place = self.files.binary_search_by(|file| (*file.name).cmp(name));
        place.ok().and_then(|index| self.files.get(index))
    }

    /// A file's bytes, unless there is reason to leave them alone.
    fn entry(&mut self, name: &str) -> Result<Option<impl Read + use<'_, I>>, ReadError> {
        let place = self.files.binary_search_by(|file| (*file.name).cmp(name));
        let Some(file) = place.ok().and_then(|index| self.files.get(index)) else {
            return Ok(None);
        };
        if file.is_link {
            return Err(ReadError::link(name));
        }
        judge(file)?;
        self.asked_for = self.asked_for.saturating_add(file.size);
        if self.asked_for > TOTAL_BYTES_MAX {
            let limit = TOTAL_BYTES_MAX;
            return Err(Hostile::TotalBytes { limit }.into());
        }
        let opened = entry::open(file, &mut self.source);
        opened
            .map(Some)
            .map_err(|error| ReadError::unreadable(name, error))
    }
}

/// What was read, unless the input failed meanwhile: then that is what happened, whatever it looked
/// like to the reader.
fn or_failure<T, I: Input>(
    source: &mut Source<I>,
    read: Result<T, ReadError>,
) -> Result<T, ReadError> {
    match source.take_failure() {
        Some(source) => Err(ReadError::Input { source }),
        None => read,
    }
}

/// A pattern as [`Archive::find`] takes it, to be matched elsewhere.
///
/// # Errors
///
/// [`ReadError::Glob`] for what is no pattern.
pub fn glob(pattern: &str) -> Result<GlobMatcher, ReadError> {
    let relative = pattern.strip_prefix("./").unwrap_or(pattern);
    let built = GlobBuilder::new(relative).literal_separator(true).build();
    let matcher = built.map(|glob| glob.compile_matcher());
    matcher.map_err(|error| ReadError::Glob {
        glob: ReadError::name(pattern),
        source: error.into(),
    })
}

fn set_of<G: AsRef<str>>(globs: impl IntoIterator<Item = G>) -> Result<GlobSet, ReadError> {
    let mut set = GlobSetBuilder::new();
    let mut last = String::new();
    let bad = |glob: &str, error: globset::Error| ReadError::Glob {
        glob: ReadError::name(glob),
        source: error.into(),
    };
    for glob in globs {
        let glob = glob.as_ref();
        let relative = glob.strip_prefix("./").unwrap_or(glob);
        let mut builder = GlobBuilder::new(relative);
        let built = builder.literal_separator(true).build();
        set.add(built.map_err(|error| bad(glob, error))?);
        glob.clone_into(&mut last);
    }
    set.build().map_err(|error| bad(&last, error))
}

/// Judged when it is asked for: what nobody wants is never inflated, so it may be anything.
fn judge(file: &File) -> Result<(), Hostile> {
    let name = ReadError::name(&file.name);
    let bytes = file.size;
    if file.encrypted {
        return Err(Hostile::Encrypted { name });
    }
    if bytes > ENTRY_BYTES_MAX {
        let limit = ENTRY_BYTES_MAX;
        return Err(Hostile::EntryBytes { name, bytes, limit });
    }
    if bytes > COMPRESSION_RATIO_EXEMPT_BYTES && bytes / file.stored.max(1) > COMPRESSION_RATIO_MAX
    {
        let limit = COMPRESSION_RATIO_MAX;
        return Err(Hostile::Ratio { name, limit });
    }
    Ok(())
}

/// A name with `/` between its parts and no `.` among them; None when it could lead out of the zip.
/// Some zips made on Windows have `\` between them.
fn relative(raw: &str) -> Option<String> {
    let name = raw.replace('\\', "/");
    let has_drive = name.as_bytes().get(1) == Some(&b':');
    if name.starts_with('/') || has_drive || name.contains('\0') {
        return None;
    }
    let parts: Vec<_> = name
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    (!parts.contains(&"..")).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_out_is_none() {
        for raw in [
            "/etc/passwd",
            "../a",
            "a/../../b",
            "a\\..\\b",
            "C:\\a",
            "c:a",
            "\\\\host\\a",
            "a\0b",
        ] {
            assert_eq!(relative(raw), None, "{raw}");
        }
    }

    #[test]
    fn every_way_to_write_a_relative_name_gives_the_same() {
        for raw in ["a/b.xml", "a\\b.xml", "./a/b.xml", "a//b.xml", "a/./b.xml"] {
            assert_eq!(relative(raw).as_deref(), Some("a/b.xml"), "{raw}");
        }
    }
}
