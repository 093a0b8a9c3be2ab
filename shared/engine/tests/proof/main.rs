//! The protocol, proven in process: the real `begin`, `drive`, `roll_back`, `give_order` and `sweep`
//! over a world in memory, in which everything that can go wrong does.
//!
//! - [`explore`] goes through every order of port calls of a few runs, with every fault;
//! - [`sim`] draws long histories of many releases by lot;
//! - [`sweep`] breaks each call of whole releases, one at a time;
//! - [`mutants`] breaks each rule of the protocol, which the others must notice.
//!
//! [`laws`] says what must hold, [`cast`] who plays, [`stage`] lets them play.

mod cast;
mod explore;
mod laws;
mod mutants;
mod sim;
mod stage;
mod sweep;
