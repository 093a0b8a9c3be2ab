//! CodePipeline on a laptop: what the emulator lacks.
//!
//! A pipeline is read from the template that AWS gets ([`Pipeline::parse`]), checked by AWS's rules ([`rules`]) and
//! run by the [`engine`]: sources from local git repositories, builds in a shell, Lambda functions in the emulator,
//! which answer through the [`api`] exactly as they would on AWS. [`submit`] is the door for `penstock run`.
//!
//! What differs from AWS, on purpose: one version of a pipeline is kept; conditions, automatic rollbacks, retries and
//! triggers are not run; a build is a process of yours, not a container.

mod actions;
pub mod api;
pub mod artifact;
pub mod buildspec;
pub(crate) mod clock;
pub mod cloud;
pub mod declaration;
pub mod document;
pub mod engine;
pub mod event;
pub mod execution;
pub mod jobs;
mod news;
pub mod rules;
pub mod shell;
pub mod submit;
pub mod template;
mod transitions;
pub mod variables;

pub use declaration::{ParseError, Pipeline};
pub use engine::{Engine, Settings};
pub use template::Scope;
