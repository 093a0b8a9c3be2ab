//! Holds tests only; see the files beside this one.
