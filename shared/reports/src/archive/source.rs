//! Where an archive's bytes come from, so that each is fetched at most once and few requests do it.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::Range;

use crate::limits::{GAP_BYTES_MAX, TAIL_BYTES};

/// An artifact's bytes, wherever they are kept. Only those that were opened are ever read, in order,
/// so each opening can be one ranged request, and the bytes can be handed on as they arrive.
pub trait Input: Read {
    /// Opens the last `most` bytes, or all of them where there are fewer: reads give these next.
    /// Returns how many bytes there are in all.
    ///
    /// # Errors
    ///
    /// Whatever keeps the bytes; it comes back as [`ReadError::Input`](crate::ReadError::Input).
    fn open_tail(&mut self, most: u64) -> io::Result<u64>;

    /// Opens these bytes, which lie within what there is: reads give these next. Nobody reads
    /// beyond them, and whoever has seen enough opens others without reading up to their end.
    ///
    /// # Errors
    ///
    /// As for [`Input::open_tail`].
    fn open(&mut self, bytes: Range<u64>) -> io::Result<()>;
}

impl<T: AsRef<[u8]>> Input for Cursor<T> {
    fn open_tail(&mut self, most: u64) -> io::Result<u64> {
        let all = self.get_ref().as_ref().len() as u64;
        self.set_position(all.saturating_sub(most));
        Ok(all)
    }

    fn open(&mut self, bytes: Range<u64>) -> io::Result<()> {
        self.set_position(bytes.start);
        Ok(())
    }
}

impl Input for File {
    fn open_tail(&mut self, most: u64) -> io::Result<u64> {
        let all = self.seek(SeekFrom::End(0))?;
        self.seek(SeekFrom::Start(all.saturating_sub(most)))?;
        Ok(all)
    }

    fn open(&mut self, bytes: Range<u64>) -> io::Result<()> {
        self.seek(SeekFrom::Start(bytes.start)).map(drop)
    }
}

impl<I: Input + ?Sized> Input for &mut I {
    fn open_tail(&mut self, most: u64) -> io::Result<u64> {
        (**self).open_tail(most)
    }

    fn open(&mut self, bytes: Range<u64>) -> io::Result<()> {
        (**self).open(bytes)
    }
}

/// An input whose last bytes are at hand.
pub(super) struct Source<I> {
    stream: Stream<I>,
    /// Where the bytes at hand begin.
    tail_start: u64,
    tail: Vec<u8>,
}

impl<I: Input> Source<I> {
    /// Fetches the tail.
    pub(super) fn new(mut input: I) -> io::Result<Self> {
        let all = input.open_tail(TAIL_BYTES)?;
        let mut tail = Vec::new();
        (&mut input).take(TAIL_BYTES).read_to_end(&mut tail)?;
        if tail.len() as u64 != all.min(TAIL_BYTES) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self {
            tail_start: all - tail.len() as u64,
            tail,
            stream: Stream {
                input,
                open: 0..0,
                failed: None,
            },
        })
    }

    /// The last bytes, and where they begin.
    pub(super) fn tail(&self) -> (u64, &[u8]) {
        (self.tail_start, &self.tail)
    }

    /// These bytes. A request that must be made for them goes on to `until`, so that those after
    /// them can come out of the same one.
    pub(super) fn bytes(
        &mut self,
        bytes: Range<u64>,
        until: u64,
    ) -> io::Result<impl Read + use<'_, I>> {
        let fetched = bytes.start..bytes.end.min(self.tail_start);
        if !fetched.is_empty() {
            self.stream.go_to(&fetched, until.min(self.tail_start))?;
        }
        let place = |at: u64| usize::try_from(at.saturating_sub(self.tail_start)).ok();
        let at_hand = place(bytes.start)
            .zip(place(bytes.end))
            .and_then(|(start, end)| self.tail.get(start..end));
        let fetched = Fetched {
            left: fetched.end.saturating_sub(fetched.start),
            stream: &mut self.stream,
        };
        Ok(fetched.chain(at_hand.unwrap_or_default()))
    }

    /// What went wrong with the input, whatever its readers made of it.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.stream.failed.take()
    }
}

/// The input, and what of it is open.
struct Stream<I> {
    input: I,
    /// What reads still give.
    open: Range<u64>,
    /// A parser may turn an error of its reader into one of its own, so this is kept aside.
    failed: Option<io::Error>,
}

impl<I: Input> Stream<I> {
    /// Makes the next read give the byte at `bytes.start`.
    fn go_to(&mut self, bytes: &Range<u64>, until: u64) -> io::Result<()> {
        let skipped = bytes.start.checked_sub(self.open.start);
        match skipped.filter(|&gap| gap <= GAP_BYTES_MAX && bytes.end <= self.open.end) {
            Some(gap) => {
                let left = gap;
                io::copy(&mut Fetched { stream: self, left }, &mut io::sink()).map(drop)
            }
            None => {
                let open = bytes.start..until.max(bytes.end);
                let opened = self.input.open(open.clone());
                opened.map_err(|error| self.fail(error))?;
                self.open = open;
                Ok(())
            }
        }
    }

    /// Keeps the error; what its reader gets in place of it only makes it stop.
    fn fail(&mut self, error: io::Error) -> io::Error {
        self.open = 0..0;
        self.failed = Some(error);
        io::Error::other("the input failed")
    }
}

/// The next bytes of the stream.
struct Fetched<'a, I> {
    stream: &'a mut Stream<I>,
    left: u64,
}

impl<I: Input> Read for Fetched<'_, I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        match self.stream.input.read(&mut buffer[..room]) {
            Ok(0) => Err(self.stream.fail(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => {
                self.left -= count as u64;
                self.stream.open.start += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(self.stream.fail(error)),
        }
    }
}
