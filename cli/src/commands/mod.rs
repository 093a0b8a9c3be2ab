//! The commands of `penstock`, one file each.

pub mod abort;
pub mod check;
pub mod demo;
pub mod load;
pub mod local;
pub mod run;
pub mod status;
