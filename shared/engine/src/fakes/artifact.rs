//! An artifact in memory.

use std::io::{self, Cursor, Read};
use std::ops::Range;

use reports::Input;

use crate::{Class, PortError};

/// An artifact of which only so many parts can be fetched now.
#[derive(Debug, Clone)]
pub struct Throttled {
    bytes: Cursor<Vec<u8>>,
    requests_left: usize,
}

impl Throttled {
    pub(super) fn new(bytes: Vec<u8>, requests_left: usize) -> Self {
        let bytes = Cursor::new(bytes);
        Self {
            bytes,
            requests_left,
        }
    }

    fn request(&mut self) -> io::Result<()> {
        let left = self.requests_left.checked_sub(1).ok_or_else(|| {
            let doing = "fetch the artifact";
            io::Error::other(PortError::new(Class::Retryable, doing, "SlowDown"))
        });
        self.requests_left = left?;
        Ok(())
    }
}

impl Read for Throttled {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(buffer)
    }
}

impl Input for Throttled {
    fn open_tail(&mut self, most: u64) -> io::Result<u64> {
        self.request()?;
        self.bytes.open_tail(most)
    }

    fn open(&mut self, bytes: Range<u64>) -> io::Result<()> {
        self.request()?;
        self.bytes.open(bytes)
    }
}
