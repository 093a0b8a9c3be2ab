//! The part of a document that is at hand.

use std::io::{self, Read};
use std::mem;
use std::str;

use quick_xml::encoding::EncodingError;

use crate::error::Position;

/// How much of a document is at hand at most, in bytes.
const WINDOW_BYTES: usize = 64 * 1024;

/// Looks at a document in UTF-8 through a window that moves over it. What is at hand is checked to
/// be UTF-8 and is handed out where it lies.
pub(super) struct Window<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// Where in `buffer` the next byte is.
    start: usize,
    /// The end of what is known to be UTF-8.
    end: usize,
    /// The end of what has been read: beyond `end` is the beginning of a character, if anything.
    read: usize,
    stopped: Stopped,
    /// The place of `buffer` in the document.
    origin: Position,
}

/// Why there is no more behind what is at hand.
enum Stopped {
    No,
    AtEnd,
    /// The document ends within a character.
    WithinCharacter,
    /// The next byte does not belong to a character.
    AtInvalid,
    /// The reader underneath failed.
    ByFailure(io::Error),
}

impl<R> Window<R> {
    /// The most that can be asked for at once, in bytes.
    pub(super) const REACH_BYTES_MAX: usize = WINDOW_BYTES / 2;

    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            buffer: vec![0; WINDOW_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            read: 0,
            stopped: Stopped::No,
            origin: Position::START,
        }
    }

    /// Where the next byte is in the document.
    pub(super) fn position(&self) -> Position {
        let mut position = self.origin;
        position.advance(&self.buffer[..self.start]);
        position
    }

    /// What is at hand.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Moves on. `count` is at most what is at hand.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
    }
}

impl<R: Read> Window<R> {
    /// What is at hand, after reading until that is `count` bytes ([`Self::REACH_BYTES_MAX`] at
    /// most) or there are no more.
    pub(super) fn reach(&mut self, count: usize) -> &[u8] {
        if self.end - self.start < count {
            self.read_until(count);
        }
        self.bytes()
    }

    /// What is at hand; nothing at the end of the document only. What keeps it from going on is an
    /// error when all before has been consumed.
    pub(super) fn next(&mut self) -> io::Result<&[u8]> {
        if self.reach(1).is_empty() {
            let not_utf8 = EncodingError::Other(encoding_rs::UTF_8);
            let not_utf8 = Err(io::Error::new(io::ErrorKind::InvalidData, not_utf8));
            match mem::replace(&mut self.stopped, Stopped::AtEnd) {
                Stopped::No | Stopped::AtEnd => {}
                Stopped::WithinCharacter => return not_utf8,
                Stopped::AtInvalid => {
                    self.stopped = Stopped::AtInvalid;
                    return not_utf8;
                }
                Stopped::ByFailure(error) => {
                    self.stopped = Stopped::No;
                    return Err(error);
                }
            }
        }
        Ok(self.bytes())
    }

    #[cold]
    fn read_until(&mut self, count: usize) {
        while self.end - self.start < count && matches!(self.stopped, Stopped::No) {
            self.read_more();
        }
    }

    fn read_more(&mut self) {
        if self.buffer.len() - self.read < Self::REACH_BYTES_MAX {
            self.move_to_front();
        }
        match self.inner.read(&mut self.buffer[self.read..]) {
            Ok(0) if self.read > self.end => self.stopped = Stopped::WithinCharacter,
            Ok(0) => self.stopped = Stopped::AtEnd,
            Ok(count) => {
                self.read += count;
                self.check();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.stopped = Stopped::ByFailure(error),
        }
    }

    fn move_to_front(&mut self) {
        self.origin = self.position();
        self.buffer.copy_within(self.start..self.read, 0);
        self.end -= self.start;
        self.read -= self.start;
        self.start = 0;
    }

    fn check(&mut self) {
        let unchecked = &self.buffer[self.end..self.read];
        match str::from_utf8(unchecked) {
            Ok(text) => self.end += text.len(),
            Err(error) => {
                self.end += error.valid_up_to();
                if error.error_len().is_some() {
                    self.stopped = Stopped::AtInvalid;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives one piece at each read, and then fails once if it is to.
    struct Pieces<'a>(Vec<&'a [u8]>, bool);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.first_mut() {
                Some(piece) => {
                    let count = piece.read(into)?;
                    self.0.retain(|piece| !piece.is_empty());
                    Ok(count)
                }
                None if mem::take(&mut self.1) => Err(io::Error::other("it broke")),
                None => Ok(0),
            }
        }
    }

    /// All that can be had, consumed `step` bytes at a time, and the error that ended it.
    fn drain(bytes: &[u8], read_bytes: usize, step: usize) -> (Vec<u8>, Option<io::Error>) {
        let mut window = Window::new(Pieces(bytes.chunks(read_bytes).collect(), false));
        let mut seen = Vec::new();
        loop {
            match window.next() {
                Ok([]) => return (seen, None),
                Ok(part) => {
                    let part = &part[..part.len().min(step)];
                    seen.extend_from_slice(part);
                    let count = part.len();
                    window.consume(count);
                }
                Err(error) => return (seen, Some(error)),
            }
        }
    }

    #[test]
    fn the_window_moves_over_what_is_larger_than_itself() {
        let text = "naïve\n".repeat(WINDOW_BYTES);
        for (read_bytes, step) in [(WINDOW_BYTES, 1_000), (7_001, 65_536), (100_000, 30_000)] {
            let (seen, error) = drain(text.as_bytes(), read_bytes, step);
            assert!(seen == text.as_bytes() && error.is_none());
        }
    }

    #[test]
    fn as_much_as_may_be_asked_for_comes_at_once() {
        let text = "x".repeat(3 * WINDOW_BYTES);
        let reach = Window::<&[u8]>::REACH_BYTES_MAX;
        let mut window = Window::new(Pieces(text.as_bytes().chunks(1_000).collect(), false));
        for _ in 0..4 {
            assert!(window.reach(reach).len() >= reach);
            window.consume(reach - 1);
        }
        assert_eq!(window.position().byte, 4 * (reach as u64 - 1));
    }

    #[test]
    fn half_a_character_at_the_end_is_an_error_once_and_what_is_no_character_always() {
        for (bytes, ends) in [(&b"a\xc3"[..], true), (b"a\xc3b", false)] {
            let mut window = Window::new(bytes);
            assert_eq!(window.next().unwrap(), b"a");
            window.consume(1);
            assert_eq!(
                window.next().unwrap_err().kind(),
                io::ErrorKind::InvalidData
            );
            assert_eq!(matches!(window.next(), Ok([])), ends);
        }
    }

    #[test]
    fn what_came_before_a_failure_is_handed_out_first() {
        let mut window = Window::new(Pieces(vec![b"a", b"b"], true));
        assert_eq!(window.reach(10), b"ab");
        window.consume(2);
        assert_eq!(window.next().unwrap_err().to_string(), "it broke");
        assert!(window.next().unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn what_is_handed_out_is_all_that_is_utf8(
            parts in prop::collection::vec(
                prop::sample::select(vec![&b"a"[..], b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"\xc3", b"\xff"]),
                0..20,
            ),
            read_bytes in 1..10_usize,
            step in 1..10_usize,
        ) {
            let bytes = parts.concat();
            let valid = str::from_utf8(&bytes).map_or_else(|error| error.valid_up_to(), str::len);
            let (seen, error) = drain(&bytes, read_bytes, step);
            prop_assert_eq!(&seen, &bytes[..valid]);
            prop_assert_eq!(error.is_some(), valid < bytes.len());
        }
    }
}
