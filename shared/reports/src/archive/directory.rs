//! The list of entries at the end of a zip (APPNOTE 6.3.10, sections 4.3.12 to 4.3.16 and 4.5.3).
//!
//! It is read as it arrives, and of each entry no more is kept than it takes to find and inflate it:
//! an artifact may have 100 000 of them, of which a job wants a few.

use std::io::{self, BufReader, Read};

use jiff::civil::{Date, DateTime, Time};

use super::relative;
use super::source::{Input, Source};
use crate::error::{Cause, Hostile, ReadError};
use crate::limits::{DIRECTORY_BYTES_MAX, ENTRIES_MAX};

const END: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;
const LOCATOR_64: [u8; 4] = *b"PK\x06\x07";
const LOCATOR_64_BYTES: usize = 20;
const END_64: [u8; 4] = *b"PK\x06\x06";
const END_64_BYTES: usize = 56;
const HEADER: [u8; 4] = *b"PK\x01\x02";
const HEADER_BYTES: usize = 46;
/// An entry's own header is at least as long as this, and at most.
pub(super) const LOCAL_BYTES: u64 = 30;
const LOCAL_BYTES_MAX: u64 = LOCAL_BYTES + 2 * u16::MAX as u64;
/// The extra field with the sizes that do not fit into 32 bits.
const EXTRA_64: u16 = 1;
/// Bit 0 of the flags.
const ENCRYPTED: u16 = 1;
/// The high byte of 'version made by' whose entries have a Unix file mode.
const MADE_ON_UNIX: u16 = 3;
const MODE_KIND: u32 = 0o170_000;
const MODE_LINK: u32 = 0o120_000;

/// A file in the zip, as the list describes it.
pub(super) struct File {
    /// With `/` between its parts.
    pub(super) name: Box<str>,
    /// Where its own header begins, after which its bytes follow.
    pub(super) start: u64,
    /// Where they end at the latest: at the next entry, or at the list.
    pub(super) end: u64,
    /// How far a request for it goes: on to `end`, or further when its neighbours are wanted next.
    pub(super) until: u64,
    /// Bytes in the zip.
    pub(super) stored: u64,
    /// Bytes once inflated.
    pub(super) size: u64,
    /// CRC-32 of the inflated bytes.
    pub(super) crc: u32,
    /// How it is compressed.
    pub(super) method: u16,
    pub(super) encrypted: bool,
    /// When it was last changed; None for what is no time.
    pub(super) changed: Option<DateTime>,
    /// It is a symbolic link, and its bytes are where it leads to.
    pub(super) is_link: bool,
}

/// Reads the list: the files and links: the files, in order of their names.
pub(super) fn read<I: Input>(source: &mut Source<I>) -> Result<Vec<File>, ReadError> {
    let end = End::find(source)?;
    if end.entries > ENTRIES_MAX as u64 {
        let entries = usize::try_from(end.entries).unwrap_or(usize::MAX);
        let limit = ENTRIES_MAX;
        return Err(Hostile::Entries { entries, limit }.into());
    }
    if end.size > DIRECTORY_BYTES_MAX {
        let limit = DIRECTORY_BYTES_MAX;
        return Err(Hostile::Directory { limit }.into());
    }
    let start = end.at.checked_sub(end.size);
    let start = start.ok_or_else(|| not_a_zip("its list of entries begins before it"))?;
    // Something may have been put before the zip, which nothing in it knows about.
    let shift = start.checked_sub(end.offset);
    let shift = shift.ok_or_else(|| not_a_zip("its list of entries is not where its end says"))?;

    let mut list = BufReader::new(source.bytes(start..end.at, end.at).map_err(not_a_zip)?);
    let mut files = Vec::new();
    let mut starts = vec![start];
    for _ in 0..end.entries {
        let entry = Header::read(&mut list).map_err(not_a_zip)?;
        let name = relative(&entry.name).ok_or_else(|| {
            let name = ReadError::name(&entry.name);
            Hostile::Escapes { name }
        })?;
        let at = entry.offset.checked_add(shift);
        let at = at.filter(|at| at.saturating_add(LOCAL_BYTES) <= start);
        let at = at.ok_or_else(|| not_a_zip("an entry is not before the list of entries"))?;
        starts.push(at);
        if !entry.is_directory() {
            files.push(entry.file(name, at));
        }
    }
    if list.read(&mut [0]).map_err(not_a_zip)? > 0 {
        return Err(not_a_zip("its list has more entries than its end says"));
    }
    starts.sort_unstable();
    for file in &mut files {
        let next = starts.partition_point(|&other| other <= file.start);
        let next = starts.get(next).copied().unwrap_or(start);
        // What lies between the entries, if anything, is not asked for.
        let longest = file.start.saturating_add(LOCAL_BYTES_MAX);
        file.end = next.min(longest.saturating_add(file.stored));
        file.until = file.end;
    }
    files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if !files.is_sorted_by(|a, b| a.name < b.name) {
        return Err(Hostile::Duplicate.into());
    }
    Ok(files)
}

pub(super) fn not_a_zip(source: impl Into<Cause>) -> ReadError {
    let source = source.into();
    ReadError::NotAZip { source }
}

/// What the end of a zip says of its list of entries.
struct End {
    entries: u64,
    /// Bytes of the list.
    size: u64,
    /// Where the list begins, as the zip's writer counted.
    offset: u64,
    /// Where it really ends.
    at: u64,
}

impl End {
    /// The record ends the zip but for a comment, which ends where the zip does.
    fn find<I: Input>(source: &Source<I>) -> Result<Self, ReadError> {
        let (tail_start, tail) = source.tail();
        let places = (0..tail.len().saturating_sub(END_BYTES - 1)).rev();
        let at = places
            .map(|at| (at, &tail[at..]))
            .find(|(_, rest)| rest.starts_with(&END) && is_whole(rest))
            .map(|(at, _)| at)
            .ok_or_else(|| not_a_zip("the record that ends a zip is not there"))?;
        let (before, record) = tail.split_at(at);
        let end = match Self::in_64_bits(before, tail_start) {
            Some(end) => Some(end),
            None => Self::in_32_bits(record, tail_start + at as u64),
        };
        end.ok_or_else(|| not_a_zip("it is one of several parts, or its end is damaged"))
    }

    fn in_32_bits(record: &[u8], at: u64) -> Option<Self> {
        let mut fields = Fields(record.get(END.len()..)?);
        let disks = [fields.u16()?, fields.u16()?];
        let entries = [fields.u16()?, fields.u16()?];
        let (size, offset) = (fields.u32()?, fields.u32()?);
        (disks == [0, 0] && entries[0] == entries[1]).then(|| Self {
            entries: entries[0].into(),
            size: size.into(),
            offset: offset.into(),
            at,
        })
    }

    /// The record with longer fields. It is there when its locator is right before the end.
    fn in_64_bits(before: &[u8], start: u64) -> Option<Self> {
        let locator = before.len().checked_sub(LOCATOR_64_BYTES)?;
        let at = locator.checked_sub(END_64_BYTES)?;
        let record = &before[at..locator];
        if !before[locator..].starts_with(&LOCATOR_64) || !record.starts_with(&END_64) {
            return None;
        }
        let mut fields = Fields(&record[END_64.len()..]);
        let _size_and_versions = (fields.u64()?, fields.u32()?);
        let disks = [fields.u32()?, fields.u32()?];
        let entries = [fields.u64()?, fields.u64()?];
        let (size, offset) = (fields.u64()?, fields.u64()?);
        (disks == [0, 0] && entries[0] == entries[1]).then(|| Self {
            entries: entries[0],
            size,
            offset,
            at: start + at as u64,
        })
    }
}

/// Whether the comment of the record that begins here ends where the zip does.
fn is_whole(record: &[u8]) -> bool {
    let (_, comment) = record.split_at(END_BYTES - 2);
    Fields(comment).u16().map(usize::from) == Some(record.len() - END_BYTES)
}

/// A time as MS-DOS has it: two seconds, minutes, hours, then days, months and years since 1980, from
/// the lowest bit on.
fn dos_time(bits: u32) -> Option<DateTime> {
    let part = |from: u32, width: u32| bits >> from & ((1 << width) - 1);
    let small = |from, width| i8::try_from(part(from, width)).ok();
    let year = i16::try_from(1980 + part(25, 7)).ok()?;
    let date = Date::new(year, small(21, 4)?, small(16, 5)?).ok()?;
    let time = Time::new(small(11, 5)?, small(5, 6)?, 2 * small(0, 5)?, 0).ok()?;
    Some(date.to_datetime(time))
}

/// One entry of the list.
struct Header {
    changed: u32,
    made_by: u16,
    flags: u16,
    method: u16,
    crc: u32,
    stored: u64,
    size: u64,
    attributes: u32,
    offset: u64,
    name: String,
}

impl Header {
    fn read(list: &mut impl Read) -> io::Result<Self> {
        let mut fixed = [0; HEADER_BYTES];
        list.read_exact(&mut fixed)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its list is damaged");
        let (mut header, [name, extra, comment]) = Self::fixed(&fixed).ok_or_else(damaged)?;
        let mut variable = vec![0; usize::from(name) + usize::from(extra) + usize::from(comment)];
        list.read_exact(&mut variable)?;
        let (name, rest) = variable.split_at(usize::from(name));
        header.name = decode(name);
        let extra = &rest[..usize::from(extra)];
        header.lengthen(extra).ok_or_else(damaged)?;
        Ok(header)
    }

    /// The part of fixed length, and the lengths of what follows: name, extra fields, comment.
    fn fixed(bytes: &[u8; HEADER_BYTES]) -> Option<(Self, [u16; 3])> {
        let mut fields = Fields(bytes.strip_prefix(&HEADER)?);
        let (made_by, _needed) = (fields.u16()?, fields.u16()?);
        let (flags, method) = (fields.u16()?, fields.u16()?);
        let (changed, crc) = (fields.u32()?, fields.u32()?);
        let (stored, size) = (fields.u32()?, fields.u32()?);
        let lengths = [fields.u16()?, fields.u16()?, fields.u16()?];
        let _disk_and_internal = (fields.u16()?, fields.u16()?);
        let header = Self {
            changed,
            made_by,
            flags,
            method,
            crc,
            stored: stored.into(),
            size: size.into(),
            attributes: fields.u32()?,
            offset: fields.u32()?.into(),
            name: String::new(),
        };
        Some((header, lengths))
    }

    /// Takes from the extra fields what did not fit into 32 bits. None when it is not there.
    fn lengthen(&mut self, extra: &[u8]) -> Option<()> {
        let too_long = |field: &&mut u64| **field == u64::from(u32::MAX);
        let all = [&mut self.size, &mut self.stored, &mut self.offset];
        let mut wanted = all.into_iter().filter(too_long).peekable();
        if wanted.peek().is_none() {
            return Some(());
        }
        let mut fields = Fields(extra);
        loop {
            let (id, length) = (fields.u16()?, fields.u16()?);
            let mut field = Fields(fields.take(usize::from(length))?);
            if id == EXTRA_64 {
                for value in wanted {
                    *value = field.u64()?;
                }
                return Some(());
            }
        }
    }

    fn is_directory(&self) -> bool {
        self.name.ends_with(['/', '\\'])
    }

    fn file(&self, name: String, start: u64) -> File {
        let mode = self.attributes >> 16;
        File {
            name: name.into_boxed_str(),
            start,
            end: start,
            until: start,
            stored: self.stored,
            size: self.size,
            crc: self.crc,
            method: self.method,
            encrypted: self.flags & ENCRYPTED != 0,
            changed: dos_time(self.changed),
            is_link: self.made_by >> 8 == MADE_ON_UNIX && mode & MODE_KIND == MODE_LINK,
        }
    }
}

/// A name that is not UTF-8 is in some code page of its writer's, which nobody knows: its bytes
/// become the characters of the same numbers, so that names that differ stay so.
fn decode(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(name) => name.to_owned(),
        Err(_) => name.iter().copied().map(char::from).collect(),
    }
}

/// Little-endian fields, one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
