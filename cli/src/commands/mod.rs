//! The commands of `penstock`, one file each.

pub mod abort;
pub mod by_hand;
pub mod check;
pub mod demo;
pub mod gate;
pub mod judge;
pub mod load;
pub mod local;
pub mod releases;
pub mod replay;
pub mod report;
pub mod run;
pub mod status;
pub(crate) mod story;
pub mod which;

/// Says what went wrong, and what it came from.
pub fn tell(error: &anyhow::Error) {
    let label = console::style("error:").red().bold().for_stderr();
    eprintln!("{label} {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
}
