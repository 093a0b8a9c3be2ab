//! Keeps what the JSON parser has to hold at once small.
//!
//! The parser collects a whole string or number before it hands it out. [`Skim`] sits below it and
//! cuts strings at [`JSON_STRING_BYTES_MAX`], leaving the document well-formed. A number cannot be
//! shortened: one above [`JSON_NUMBER_BYTES_MAX`] is an error.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

use crate::limits::{JSON_NUMBER_BYTES_MAX, JSON_STRING_BYTES_MAX, TooMuch};

/// A reader of UTF-8 with the ends of overlong strings taken out.
pub(super) struct Skim<R> {
    inner: R,
    place: Place,
    /// How many bytes were handed out.
    kept: u64,
    /// After how many of them the word (a literal or a number) begins that is the last so far.
    word: u64,
    /// The same, once the end was seen.
    last_word: Rc<Cell<Option<u64>>>,
}

/// Where in the document the next byte is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Between strings, after so many bytes that can be a number's.
    Outside(usize),
    /// In a string, of which so many bytes were kept.
    Within(usize, Escape),
    /// In a string of which enough was kept; true after a backslash.
    Beyond(bool),
}

/// What was last in a string.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Escape {
    No,
    /// A backslash, and of what follows it so many characters are still to come.
    Open(u8),
    /// A whole escape, which could be the first half of a pair.
    Closed,
}

impl<R> Skim<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            place: Place::Outside(0),
            kept: 0,
            word: 0,
            last_word: Rc::default(),
        }
    }

    /// Where the last word begins (at the end, if none does), once the end was seen.
    pub(super) fn last_word(&self) -> Rc<Cell<Option<u64>>> {
        Rc::clone(&self.last_word)
    }
}

impl Place {
    /// Goes past `byte`; says whether it is kept.
    fn pass(&mut self, byte: u8) -> io::Result<bool> {
        let mut kept = true;
        *self = match *self {
            Self::Outside(_) if byte == b'"' => Self::Within(0, Escape::No),
            Self::Outside(length) => match byte {
                b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E' => {
                    let what = "size in bytes of a number";
                    Self::Outside(grown(length, what, JSON_NUMBER_BYTES_MAX)?)
                }
                _ => Self::Outside(0),
            },
            Self::Within(_, escape) if byte == b'"' && !matches!(escape, Escape::Open(_)) => {
                Self::Outside(0)
            }
            Self::Within(length, escape) if can_end(length, escape, byte) => {
                kept = false;
                Self::Beyond(byte == b'\\')
            }
            Self::Within(length, escape) => {
                // Only a string of nothing but escapes comes near twice the length.
                let what = "size in bytes of a string";
                let length = grown(length, what, 2 * JSON_STRING_BYTES_MAX)?;
                Self::Within(length, escape.after(byte))
            }
            Self::Beyond(false) if byte == b'"' => Self::Outside(0),
            Self::Beyond(escaped) => {
                kept = false;
                Self::Beyond(!escaped && byte == b'\\')
            }
        };
        Ok(kept)
    }
}

/// Whether a string may end before `byte`: not within a character, an escape or a pair of them.
fn can_end(length: usize, last: Escape, byte: u8) -> bool {
    let is_continuation = byte & 0b1100_0000 == 0b1000_0000;
    let is_between = match last {
        Escape::No => true,
        Escape::Open(_) => false,
        Escape::Closed => byte != b'\\',
    };
    length >= JSON_STRING_BYTES_MAX && is_between && !is_continuation
}

fn grown(length: usize, what: &'static str, max: usize) -> io::Result<usize> {
    if length < max {
        return Ok(length + 1);
    }
    let limit = max as u64;
    Err(TooMuch { what, limit }.into())
}

impl Escape {
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Open(5), b'u') => Self::Open(4),
            (Self::Open(5 | 1), _) => Self::Closed,
            (Self::Open(left), _) => Self::Open(left - 1),
            (Self::No | Self::Closed, b'\\') => Self::Open(5),
            (Self::No | Self::Closed, _) => Self::No,
        }
    }
}

impl<R: BufRead> Read for Skim<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let buffer = self.inner.fill_buf()?;
            let (mut used, mut written) = (0, 0);
            while used < buffer.len() && written < into.len() {
                let byte = buffer[used];
                used += 1;
                if self.place.pass(byte)? {
                    into[written] = byte;
                    written += 1;
                    self.kept += 1;
                    if !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'-' | b'.') {
                        self.word = self.kept;
                    }
                }
            }
            let at_end = buffer.is_empty();
            self.inner.consume(used);
            if at_end {
                self.last_word.set(Some(self.word));
            }
            if written > 0 || at_end {
                return Ok(written);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn skim(text: &str) -> io::Result<String> {
        let mut kept = String::new();
        Skim::new(text.as_bytes()).read_to_string(&mut kept)?;
        Ok(kept)
    }

    #[test]
    fn a_string_beyond_its_bound_is_cut_and_all_else_stays() {
        let long = "x".repeat(JSON_STRING_BYTES_MAX);
        let text = format!(r#"{{"a\"":"{long}yz\"\\","b":["{long}",1]}}"#);
        assert_eq!(
            skim(&text).unwrap(),
            format!(r#"{{"a\"":"{long}","b":["{long}",1]}}"#)
        );
    }

    #[test]
    fn what_cannot_be_cut_is_refused() {
        assert!(skim(&"1".repeat(JSON_NUMBER_BYTES_MAX)).is_ok());
        assert!(skim(&"1".repeat(JSON_NUMBER_BYTES_MAX + 1)).is_err());
        assert!(skim(&format!("\"{}", "\\n".repeat(JSON_STRING_BYTES_MAX + 1))).is_err());
    }

    proptest! {
        #[test]
        fn a_document_stays_well_formed_and_short_strings_stay_whole(
            units in prop::collection::vec(
                prop::sample::select(vec!["a", "ä", "😀", "\\n", "\\\"", "\\\\", "\\u00e4", "\\ud83d\\ude00"]),
                0..40,
            ),
            before in JSON_STRING_BYTES_MAX - 30..JSON_STRING_BYTES_MAX + 3,
        ) {
            let units = units.concat();
            let text = format!("[\"{units}\",\"{}{units}\"]", "x".repeat(before));
            let whole: Value = serde_json::from_str(&text).unwrap();
            let cut: Value = serde_json::from_str(&skim(&text).unwrap()).unwrap();
            prop_assert_eq!(&cut[0], &whole[0]);
            let [cut, whole] = [&cut, &whole].map(|value| value[1].as_str().unwrap());
            prop_assert!(whole.starts_with(cut));
        }
    }
}
