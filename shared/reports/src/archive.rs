//! The zip that a pipeline hands over.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::sync::Arc;

use globset::{GlobBuilder, GlobSetBuilder};
use zip::ZipReadOptions;
use zip::read::{ZipArchive, ZipArchiveMetadata, ZipFileEntry};
use zip::result::ZipError;

use crate::error::{Hostile, ReadError};
use crate::formats::Format;
use crate::limits::{
    COMPRESSION_RATIO_EXEMPT_BYTES, COMPRESSION_RATIO_MAX, DIRECTORY_BYTES_MAX, ENTRIES_MAX,
    ENTRY_BYTES_MAX, Limited, TOTAL_BYTES_MAX, TooMuch,
};
use crate::report::Report;

/// A zip whose list of entries has been judged harmless. Nothing is inflated before it is asked for,
/// no entry inflates to more than it says, and nothing is ever written to a disk.
///
/// Only its files count: directories and symbolic links are not there, and a zip within the zip is a
/// file like any other and is not opened. The list at the end of the zip is what counts; the
/// entries' own headers are not compared with it.
pub struct Archive<R> {
    input: R,
    metadata: Arc<ZipArchiveMetadata>,
    /// The files by name, with their place in the metadata.
    files: BTreeMap<String, usize>,
}

impl<R: Read + Seek> Archive<R> {
    /// Reads and judges the list of entries.
    ///
    /// # Errors
    ///
    /// [`ReadError::NotAZip`], and [`ReadError::Hostile`] with the reason.
    pub fn open(mut input: R) -> Result<Self, ReadError> {
        // Each entry of the list costs memory, so it is bounded while it is being read.
        let limited = Limited::new(&mut input, "list of entries", DIRECTORY_BYTES_MAX);
        let metadata = ZipArchive::new(limited).map_err(not_a_zip)?.metadata();
        let files = judge(&metadata)?;
        Ok(Self {
            input,
            metadata,
            files,
        })
    }

    /// The names of all files, in order, with `/` between their parts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// The names of the files that match any of `globs`, in order.
    ///
    /// `*` and `?` stay within one part of a path, `**` spans any number of them, `{a,b}` and
    /// `[a-z]` mean what they do in a shell.
    ///
    /// # Errors
    ///
    /// [`ReadError::Glob`] for what is not a pattern.
    pub fn find<G: AsRef<str>>(
        &self,
        globs: impl IntoIterator<Item = G>,
    ) -> Result<Vec<String>, ReadError> {
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
        let set = set.build().map_err(|error| bad(&last, error))?;
        let found = self.names().filter(|name| set.is_match(name));
        Ok(found.map(str::to_owned).collect())
    }

    /// The whole of a small file, such as `penstock.yaml`; None when there is no such file.
    ///
    /// # Errors
    ///
    /// [`ReadError::TooLarge`] above `bytes_max`, [`ReadError::Unreadable`] when the entry is damaged.
    pub fn read_small(&mut self, name: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let Some(entry) = self.entry(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        Limited::new(entry, "size in bytes of the file", bytes_max)
            .read_to_end(&mut bytes)
            .map_err(|error| ReadError::from_io(name, error))?;
        Ok(Some(bytes))
    }

    /// Reads a report as it is inflated, in `format` or else in the one that its first bytes show.
    ///
    /// # Errors
    ///
    /// [`ReadError::Missing`], and all that [`read()`](crate::read()) returns.
    pub fn report(&mut self, name: &str, format: Option<Format>) -> Result<Report, ReadError> {
        match self.entry(name)? {
            Some(entry) => crate::read(name, entry, format),
            None => Err(ReadError::Missing {
                name: ReadError::name(name),
            }),
        }
    }

    /// A file's bytes. The zip library fails on an entry with more of them than the list says, so
    /// what was judged there holds.
    fn entry(&mut self, name: &str) -> Result<Option<impl Read>, ReadError> {
        let Some(&index) = self.files.get(name) else {
            return Ok(None);
        };
        let entry = self.metadata.entry(index);
        entry
            .and_then(|entry| entry.with_reader(&mut self.input, ZipReadOptions::new()))
            .map(Some)
            .map_err(|error| ReadError::unreadable(name, error))
    }
}

fn not_a_zip(error: ZipError) -> ReadError {
    if let ZipError::Io(error) = &error
        && let Some(&TooMuch { limit, .. }) = TooMuch::inside(error)
    {
        return Hostile::Directory { limit }.into();
    }
    let source = error.into();
    ReadError::NotAZip { source }
}

/// The files among the entries, unless there is reason to refuse the whole.
fn judge(metadata: &ZipArchiveMetadata) -> Result<BTreeMap<String, usize>, ReadError> {
    let entries = metadata.len();
    if entries > ENTRIES_MAX {
        let limit = ENTRIES_MAX;
        return Err(Hostile::Entries { entries, limit }.into());
    }
    if metadata.has_duplicate_names() {
        return Err(Hostile::Duplicate.into());
    }
    let mut files = BTreeMap::new();
    let mut total: u64 = 0;
    for index in 0..entries {
        let entry = metadata.entry(index).map_err(not_a_zip)?;
        let raw = entry.name().map_err(not_a_zip)?.into_owned();
        let shown = ReadError::name(&raw);
        let Some(name) = relative(&raw) else {
            return Err(Hostile::Escapes { name: shown }.into());
        };
        judge_entry(&entry, shown)?;
        total = total.saturating_add(entry.size());
        if total > TOTAL_BYTES_MAX {
            let limit = TOTAL_BYTES_MAX;
            return Err(Hostile::TotalBytes { limit }.into());
        }
        if entry.is_file() && files.insert(name, index).is_some() {
            return Err(Hostile::Duplicate.into());
        }
    }
    Ok(files)
}

fn judge_entry(entry: &ZipFileEntry<'_>, name: String) -> Result<(), Hostile> {
    let bytes = entry.size();
    let stored = entry.compressed_size().max(1);
    if entry.encrypted() {
        return Err(Hostile::Encrypted { name });
    }
    if bytes > ENTRY_BYTES_MAX {
        let limit = ENTRY_BYTES_MAX;
        return Err(Hostile::EntryBytes { name, bytes, limit });
    }
    if bytes > COMPRESSION_RATIO_EXEMPT_BYTES && bytes / stored > COMPRESSION_RATIO_MAX {
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
