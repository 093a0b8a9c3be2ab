//! The terminal: lines that are redrawn where they stand.

use std::io::{self, Write};

/// Shows a picture in place of the one before, without clearing what does not change. The cursor is
/// hidden meanwhile, and comes back however this ends.
#[derive(Debug)]
pub(super) struct Screen {
    term: console::Term,
    /// The lines of the picture that stands.
    drawn: usize,
    size: (u16, u16),
}

/// Terminals that know how hold the picture back until it is whole; the others ignore it.
const BEGIN_PICTURE: &str = "\x1b[?2026h";
const END_PICTURE: &str = "\x1b[?2026l";
const CLEAR_TO_END_OF_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";
const CLEAR_ALL: &str = "\x1b[H\x1b[2J";

impl Screen {
    pub(super) fn new(term: console::Term) -> io::Result<Self> {
        term.hide_cursor()?;
        let size = term.size();
        Ok(Self {
            term,
            drawn: 0,
            size,
        })
    }

    /// The columns and rows that there are now.
    pub(super) fn size(&self) -> (usize, usize) {
        let (rows, columns) = self.term.size();
        (usize::from(columns), usize::from(rows))
    }

    /// Draws these lines, as many as there are rows for. None may be wider than the columns.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let size = self.term.size();
        let rows = usize::from(size.0).saturating_sub(1).max(1);
        let lines = &lines[..lines.len().min(rows)];
        let mut picture = BEGIN_PICTURE.to_owned();
        if size != self.size {
            picture += CLEAR_ALL; // lines may have been wrapped: nobody knows where they stand
        } else if self.drawn > 0 {
            picture += &format!("\x1b[{}A\r", self.drawn);
        }
        for line in lines {
            picture += line;
            picture += CLEAR_TO_END_OF_LINE;
            picture += "\r\n";
        }
        picture += CLEAR_BELOW;
        picture += END_PICTURE;
        (self.drawn, self.size) = (lines.len(), size);
        let mut stdout = io::stdout().lock();
        stdout.write_all(picture.as_bytes())?;
        stdout.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _nobody_is_left_to_tell = self.term.show_cursor();
    }
}
