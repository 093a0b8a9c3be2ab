//! Keeps what the XML parser has to hold at once small.
//!
//! `quick-xml` collects a whole tag, text or CDATA section before it hands it out, so a test that
//! prints 200 MB would cost 200 MB. [`Skim`] sits below it and takes out what exceeds
//! [`XML_TEXT_BYTES_MAX`] of any text, CDATA section or comment, leaving the document well-formed.
//! A tag cannot be shortened: one above [`XML_TAG_BYTES_MAX`] is an error.

use std::io::{self, BufRead, Read};

use crate::error::Position;
use crate::limits::{TooMuch, XML_TAG_BYTES_MAX, XML_TEXT_BYTES_MAX};

/// Longest `&reference;` that is kept whole, in bytes.
const REFERENCE_BYTES_MAX: usize = 32;

/// A reader of UTF-8 with the middle of overlong sections taken out.
pub(super) struct Skim<R> {
    inner: R,
    place: Place,
    /// How many bytes at the front of the inner buffer are already known to be kept.
    ready: usize,
    /// The end of a shortened section, still to be handed out.
    owed: &'static [u8],
    position: Position,
    /// How many more bytes what the parser is collecting may have.
    room: usize,
}

impl<R> Skim<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            place: Place::text(),
            ready: 0,
            owed: &[],
            position: Position::START,
            room: XML_TAG_BYTES_MAX,
        }
    }

    /// How far the parser has read.
    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// The parser is about to collect something new.
    pub(super) fn begin_event(&mut self) {
        self.room = XML_TAG_BYTES_MAX;
    }
}

impl<R: BufRead> BufRead for Skim<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.ready == 0 && self.owed.is_empty() {
            let buffer = self.inner.fill_buf()?;
            if buffer.is_empty() {
                return Ok(&[]);
            }
            let (fate, count) = self.place.pass(buffer);
            match fate {
                Fate::Keep => self.ready = count,
                Fate::Drop { owed } => {
                    self.position.advance(&buffer[..count]);
                    self.inner.consume(count);
                    self.owed = owed;
                }
            }
        }
        if self.room == 0 {
            let what = "size in bytes of a tag";
            let limit = XML_TAG_BYTES_MAX as u64;
            return Err(TooMuch { what, limit }.into());
        }
        if self.owed.is_empty() {
            let count = self.ready.min(self.room);
            Ok(&self.inner.fill_buf()?[..count])
        } else {
            Ok(&self.owed[..self.owed.len().min(self.room)])
        }
    }

    fn consume(&mut self, count: usize) {
        self.room -= count;
        if !self.owed.is_empty() {
            self.owed = &self.owed[count..];
            return;
        }
        // Cannot fail: these bytes are in the buffer since `fill_buf` handed them out.
        if let Ok(buffer) = self.inner.fill_buf() {
            self.position.advance(&buffer[..count]);
        }
        self.ready -= count;
        self.inner.consume(count);
    }
}

impl<R: BufRead> Read for Skim<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

/// What becomes of a run of bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Keep,
    /// `owed` is the end of the section, when these bytes held it.
    Drop {
        owed: &'static [u8],
    },
}

/// Where in a document we are, as far as it matters to find the ends of texts and sections.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Text {
        seen: usize,
        /// Bytes since an unfinished `&`, zero when there is none.
        reference: usize,
        dropping: bool,
    },
    /// After `<`.
    Opening,
    /// After `<!`.
    Bang,
    Tag {
        quote: Option<u8>,
    },
    /// After `<?`.
    Instruction {
        question: bool,
    },
    /// A comment or a CDATA section.
    Verbatim {
        end: &'static [u8; 3],
        /// How many bytes of `end` the last bytes were.
        matched: usize,
        seen: usize,
        dropping: bool,
    },
}

impl Place {
    const fn text() -> Self {
        Self::Text {
            seen: 0,
            reference: 0,
            dropping: false,
        }
    }

    const fn verbatim(end: &'static [u8; 3]) -> Self {
        Self::Verbatim {
            end,
            matched: 0,
            seen: 0,
            dropping: false,
        }
    }

    /// Moves over the longest run of bytes that share a fate; `buffer` is not empty.
    fn pass(&mut self, buffer: &[u8]) -> (Fate, usize) {
        let drops = self.drops(buffer[0]);
        for (index, &byte) in buffer.iter().enumerate() {
            if self.drops(byte) != drops {
                return (Self::fate(drops, &[]), index);
            }
            let before = *self;
            *self = self.after(byte);
            if drops
                && let Self::Verbatim { end, .. } = before
                && matches!(self, Self::Text { .. })
            {
                return (Self::fate(drops, end), index + 1);
            }
        }
        (Self::fate(drops, &[]), buffer.len())
    }

    fn fate(drops: bool, owed: &'static [u8]) -> Fate {
        if drops {
            Fate::Drop { owed }
        } else {
            Fate::Keep
        }
    }

    /// Whether `byte`, coming next, is taken out. Once one is, so are all to the end of the section;
    /// the first one begins a character and does not cut a reference in two.
    fn drops(self, byte: u8) -> bool {
        let begins_char = byte & 0b1100_0000 != 0b1000_0000;
        match self {
            Self::Text {
                seen,
                reference,
                dropping,
            } => {
                let full = seen >= XML_TEXT_BYTES_MAX && reference == 0 && begins_char;
                byte != b'<' && (dropping || full)
            }
            Self::Verbatim { seen, dropping, .. } => {
                dropping || (seen >= XML_TEXT_BYTES_MAX && begins_char)
            }
            Self::Opening | Self::Bang | Self::Tag { .. } | Self::Instruction { .. } => false,
        }
    }

    /// Where we are after `byte`.
    fn after(self, byte: u8) -> Self {
        let dropping = self.drops(byte);
        match self {
            Self::Text { .. } if byte == b'<' => Self::Opening,
            Self::Text {
                seen, reference, ..
            } => Self::Text {
                seen: seen.saturating_add(1),
                reference: match (reference, byte) {
                    (_, b'&') => 1,
                    (0, _) | (_, b';') | (REFERENCE_BYTES_MAX.., _) => 0,
                    (count, _) => count + 1,
                },
                dropping,
            },
            Self::Opening => match byte {
                b'!' => Self::Bang,
                b'?' => Self::Instruction { question: false },
                b'>' => Self::text(),
                _ => Self::Tag { quote: None },
            },
            Self::Bang => match byte {
                b'-' => Self::verbatim(b"-->"),
                b'[' => Self::verbatim(b"]]>"),
                b'>' => Self::text(),
                _ => Self::Tag { quote: None },
            },
            Self::Tag { quote: None } => match byte {
                b'>' => Self::text(),
                b'"' | b'\'' => Self::Tag { quote: Some(byte) },
                _ => self,
            },
            Self::Tag { quote } if quote == Some(byte) => Self::Tag { quote: None },
            Self::Tag { .. } => self,
            Self::Instruction { question: true } if byte == b'>' => Self::text(),
            Self::Instruction { .. } => Self::Instruction {
                question: byte == b'?',
            },
            Self::Verbatim { matched: 2, .. } if byte == b'>' => Self::text(),
            Self::Verbatim {
                end, matched, seen, ..
            } => Self::Verbatim {
                end,
                matched: if byte == end[0] {
                    (matched + 1).min(2)
                } else {
                    0
                },
                seen: seen.saturating_add(1),
                dropping,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;
    use proptest::prelude::*;

    fn skim(document: &str, buffer_bytes: usize) -> String {
        let inner = BufReader::with_capacity(buffer_bytes, document.as_bytes());
        let mut skimmed = Skim::new(inner);
        let mut kept = String::new();
        loop {
            skimmed.begin_event();
            let buffer = skimmed.fill_buf().unwrap();
            if buffer.is_empty() {
                return kept;
            }
            // Whole characters only come out of the whole; collect bytes as the parser does.
            let count = buffer.len();
            kept.push_str(&String::from_utf8_lossy(buffer));
            skimmed.consume(count);
        }
    }

    #[test]
    fn what_is_short_passes_unchanged() {
        let document = "<?xml version='1.0'?><!-- it's > --><a b='>'>t &amp; <![CDATA[<]]]]>x</a>";
        for buffer_bytes in [1, 2, 7, 1000] {
            assert_eq!(skim(document, buffer_bytes), document);
        }
    }

    #[test]
    fn the_rest_of_a_long_section_is_taken_out_and_its_end_stays() {
        let long = "x]-".repeat(XML_TEXT_BYTES_MAX);
        let kept = &long[..XML_TEXT_BYTES_MAX];
        for (open, close) in [("<a>", "</a>"), ("<![", "]]>"), ("<!-", "-->")] {
            let document = format!("{open}{long}{close}<b/>");
            for buffer_bytes in [1, 4096] {
                let expected = format!("{open}{kept}{close}<b/>");
                // The texts are too long to be shown.
                assert!(skim(&document, buffer_bytes) == expected, "{open}");
            }
        }
    }

    #[test]
    fn neither_a_character_nor_a_reference_is_cut_in_two() {
        let fill = "x".repeat(XML_TEXT_BYTES_MAX - 1);
        let skimmed = skim(&format!("<a>{fill}éé</a>"), 4096);
        assert!(skimmed == format!("<a>{fill}é</a>"));
        let skimmed = skim(&format!("<a>{fill}&lt;&lt;</a>"), 4096);
        assert!(skimmed == format!("<a>{fill}&lt;</a>"));
    }

    #[test]
    fn a_reference_that_never_ends_does_not_keep_the_text() {
        let endless = "&".to_owned() + &"a".repeat(2 * XML_TEXT_BYTES_MAX);
        let kept = skim(&format!("<a>{endless}</a>"), 4096);
        assert!(kept.len() <= XML_TEXT_BYTES_MAX + REFERENCE_BYTES_MAX + "<a></a>".len());
    }

    #[test]
    fn a_tag_that_never_ends_is_an_error() {
        let document = "<".to_owned() + &"a".repeat(2 * XML_TAG_BYTES_MAX);
        let mut skimmed = Skim::new(BufReader::new(document.as_bytes()));
        let error = io::copy(&mut skimmed, &mut io::sink()).unwrap_err();
        assert!(TooMuch::inside(&error).is_some());
    }

    #[test]
    fn the_position_counts_what_was_taken_out() {
        let document = format!("<a>\n{}\n</a>", "x\n".repeat(XML_TEXT_BYTES_MAX));
        let mut skimmed = Skim::new(BufReader::new(document.as_bytes()));
        io::copy(&mut skimmed, &mut io::sink()).unwrap();
        let expected = Position {
            line: document.matches('\n').count() as u64 + 1,
            byte: document.len() as u64,
        };
        assert_eq!(skimmed.position(), expected);
    }

    proptest! {
        #[test]
        fn the_size_of_the_buffer_below_changes_nothing(
            parts in prop::collection::vec(
                prop::sample::select(vec!["<", ">", "!", "--", "[", "]]", "?", "&", ";", "'", "a"]),
                0..60,
            ),
            repeat in prop::sample::select(vec![1, XML_TEXT_BYTES_MAX]),
            buffer_bytes in 1..50usize,
        ) {
            let document = parts.concat().repeat(repeat / 20 + 1);
            prop_assert!(skim(&document, buffer_bytes) == skim(&document, 100_000));
        }
    }
}
