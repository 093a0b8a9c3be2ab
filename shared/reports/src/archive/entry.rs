//! The bytes of one file in a zip.

use std::io::{self, Read};

use crc32fast::Hasher;
use flate2::read::DeflateDecoder;

use super::directory::{Fields, File, LOCAL_BYTES};
use super::source::{Input, Source};
use crate::error::Cause;

const LOCAL: [u8; 4] = *b"PK\x03\x04";
/// Where its own header says how long its name and extra fields are.
const LENGTHS_AT: usize = 26;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// Opens a file's bytes, which are inflated as they are read.
pub(super) fn open<'a, I: Input>(
    file: &File,
    source: &'a mut Source<I>,
) -> Result<impl Read + use<'a, I>, Cause> {
    let mut bytes = source.bytes(file.start..file.end, file.until)?;
    let mut header = [0; LOCAL_BYTES as usize];
    bytes.read_exact(&mut header)?;
    let mut lengths = Fields(&header[LENGTHS_AT..]);
    let (Some(name), Some(extra), true) =
        (lengths.u16(), lengths.u16(), header.starts_with(&LOCAL))
    else {
        return Err("it is not where the list of entries says".into());
    };
    let between = u64::from(name) + u64::from(extra);
    io::copy(&mut (&mut bytes).take(between), &mut io::sink())?;
    let stored = bytes.take(file.stored);
    let inner = match file.method {
        STORED => Inflate::Stored(stored),
        DEFLATED => Inflate::Deflated(DeflateDecoder::new(stored)),
        other => return Err(format!("compression {other} is not known; zip with deflate").into()),
    };
    Ok(Checked {
        inner,
        left: file.size,
        checksum: Hasher::new(),
        expected: file.crc,
    })
}

enum Inflate<R> {
    Stored(R),
    Deflated(DeflateDecoder<R>),
}

impl<R: Read> Read for Inflate<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(inner) => inner.read(buffer),
            Self::Deflated(inner) => inner.read(buffer),
        }
    }
}

/// A reader that fails when its input is not as long as the list of entries says, or has another
/// checksum, so that what was judged there holds.
struct Checked<R> {
    inner: R,
    left: u64,
    checksum: Hasher,
    expected: u32,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let damaged = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        let count = self.inner.read(buffer)?;
        let Some(left) = self.left.checked_sub(count as u64) else {
            return damaged("it is larger than the list of entries says");
        };
        self.left = left;
        self.checksum.update(&buffer[..count]);
        let at_end = count == 0 && !buffer.is_empty();
        if at_end && left > 0 {
            return damaged("it is smaller than the list of entries says");
        }
        if at_end && self.checksum.clone().finalize() != self.expected {
            return damaged("its checksum is wrong");
        }
        Ok(count)
    }
}
