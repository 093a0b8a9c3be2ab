//! Reads a report line by line, for the formats that are written so.

use std::io::{self, BufRead};

use quick_xml::encoding::{DecodingReader, DetectedEncoding, detect_encoding};

use crate::error::{Position, ReadError};
use crate::formats::Source;
use crate::limits::{LINE_BYTES_MAX, TooMuch};

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: u64,
    /// Where it begins, in bytes from 0.
    pub(crate) byte: u64,
    /// Its text. Bytes that are no UTF-8 are replaced by U+FFFD.
    pub(crate) text: &'a str,
    /// There was more, beyond [`LINE_BYTES_MAX`].
    pub(crate) is_cut: bool,
    /// It has no end: the report ends within it, or right behind it.
    pub(crate) is_open: bool,
}

impl Line<'_> {
    /// Where it begins.
    pub(crate) fn at(&self) -> Position {
        Position {
            line: self.number,
            byte: self.byte,
        }
    }
}

/// Why a line could not be read.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A bound was reached.
    TooMuch(TooMuch),
    /// It breaks a rule of its format.
    Broken(&'static str),
}

impl From<TooMuch> for Fault {
    fn from(too_much: TooMuch) -> Self {
        Self::TooMuch(too_much)
    }
}

impl Fault {
    /// As the report's reader is told.
    pub(crate) fn explain(self, name: &str, at: Position) -> ReadError {
        match self {
            Self::TooMuch(TooMuch { what, limit }) => ReadError::too_large(name, what, limit),
            Self::Broken(what) => ReadError::malformed(name, at, what),
        }
    }
}

/// Shows each line to `each`.
pub(crate) fn each(
    source: Source<'_>,
    each: impl FnMut(Line<'_>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    use DetectedEncoding::{Utf16BeBom, Utf16LeBom};
    match matches!(detect_encoding(source.head), Some(Utf16BeBom | Utf16LeBom)) {
        true => each_of(source.name, &mut DecodingReader::new(source.body), each),
        false => each_of(source.name, source.body, each),
    }
}

fn each_of(
    name: &str,
    body: &mut dyn BufRead,
    mut each: impl FnMut(Line<'_>) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    let mut bytes = Vec::new();
    let (mut number, mut byte) = (0, 0);
    loop {
        bytes.clear();
        let read = next(body, &mut bytes).map_err(|error| ReadError::from_io(name, error))?;
        let Some(Next { length, ended }) = read else {
            return Ok(());
        };
        number += 1;
        let kept = match number {
            1 => bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes),
            _ => &bytes,
        };
        let text = String::from_utf8_lossy(kept);
        each(Line {
            number,
            byte,
            text: text.strip_suffix('\r').unwrap_or(&text),
            is_cut: length > bytes.len() as u64,
            is_open: !ended,
        })?;
        byte += length + u64::from(ended);
    }
}

struct Next {
    /// In bytes, without its end.
    length: u64,
    ended: bool,
}

/// Puts the next line into `bytes`, as far as it may be kept; None at the end.
fn next(body: &mut dyn BufRead, bytes: &mut Vec<u8>) -> io::Result<Option<Next>> {
    let mut length = 0;
    loop {
        let buffer = body.fill_buf()?;
        if buffer.is_empty() {
            let ended = false;
            return Ok((length > 0).then_some(Next { length, ended }));
        }
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let part = &buffer[..end.unwrap_or(buffer.len())];
        let room = LINE_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&part[..part.len().min(room)]);
        length += part.len() as u64;
        let used = part.len() + usize::from(end.is_some());
        body.consume(used);
        if end.is_some() {
            let ended = true;
            return Ok(Some(Next { length, ended }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<(u64, u64, String, bool, bool)> {
        let mut lines = Vec::new();
        let source = Source {
            name: "out.txt",
            format: "text",
            head: bytes,
            body: &mut &bytes[..],
        };
        let note = |line: Line<'_>| {
            let text = line.text.to_owned();
            lines.push((line.number, line.byte, text, line.is_cut, line.is_open));
            Ok(())
        };
        each(source, note).unwrap();
        lines
    }

    #[test]
    fn lines_come_without_their_ends_and_with_their_places() {
        let expected = [
            (1, 0, "a".to_owned(), false, false),
            (2, 6, String::new(), false, false),
            (3, 7, "b\u{fffd}".to_owned(), false, true),
        ];
        assert_eq!(lines(b"\xef\xbb\xbfa\r\n\nb\xff"), expected);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn utf16_is_read_by_its_mark() {
        let text = "\u{feff}ok 1\nä";
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let texts: Vec<_> = lines(&bytes).into_iter().map(|line| line.2).collect();
        assert_eq!(texts, ["ok 1", "ä"]);
    }

    #[test]
    fn a_line_beyond_its_bound_is_cut() {
        let long = "x".repeat(3 * LINE_BYTES_MAX);
        let lines = lines(format!("{long}\nb\n").as_bytes());
        assert_eq!(lines[0].2.len(), LINE_BYTES_MAX);
        assert!(lines[0].3);
        assert_eq!((lines[1].0, lines[1].1), (2, long.len() as u64 + 1));
    }
}
