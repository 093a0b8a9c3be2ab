//! A release as a person at a terminal sees it, now and while it goes on.
//!
//! | file | holds |
//! |---|---|
//! | `words.rs` | how a release's parts are named and written in few words |
//! | `view.rs` | what is shown, line by line. Pure |
//! | `screen.rs` | the terminal: redrawn in place, and left as it was found |
//! | `watch.rs` | reads the log again and again until the release is over |

mod screen;
mod view;
mod watch;
pub(crate) mod words;

pub use view::View;
pub use watch::{Watch, watch};

/// The columns of the terminal; without one, as many as anything has.
pub fn width() -> usize {
    let term = console::Term::stdout();
    match term.is_term() {
        true => usize::from(term.size().1),
        false => usize::MAX,
    }
}
