//! `penstock demo`.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::demo::{self, DemoConfig};
use crate::run::{Screen, Style};

/// Release a real service three times: a good version, a bad one, and one that meets an alarm.
///
/// Everything runs on this machine: the emulator, the player, two versions of a web service behind a
/// weighted proxy, and a load generator. `make demo` builds the functions first and then runs this.
/// The exit status is 0 only when all three releases ended as they should.
#[derive(Debug, Args)]
pub struct Demo {
    /// The project's directory, with its tools in .venv.
    #[arg(long, default_value = ".")]
    project: PathBuf,
    /// Where NAME/bootstrap is for each function.
    #[arg(long, default_value = "target/lambda", value_name = "DIRECTORY")]
    functions: PathBuf,
    /// For logs, the service's repository and its running versions; made anew.
    #[arg(long, default_value = ".penstock/demo", value_name = "DIRECTORY")]
    work: PathBuf,
    /// Requests a second to the service.
    #[arg(long, default_value = "300")]
    rps: NonZeroU32,
    /// Print the events as JSON, one a line.
    #[arg(long)]
    json: bool,
    /// Also print what builds print.
    #[arg(long, short, conflicts_with = "json")]
    verbose: bool,
}

impl Demo {
    /// Runs the command; gives the exit status.
    ///
    /// # Errors
    /// When the demo could not be run at all.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let style = if self.json {
            Style::Json
        } else {
            Style::detect()
        };
        let mut screen = Screen::new(style, self.verbose);
        let absolute = |path: &PathBuf| {
            path.canonicalize()
                .with_context(|| format!("could not find {}", path.display()))
        };
        let config = DemoConfig {
            project: absolute(&self.project)?,
            bootstraps: absolute(&self.functions)
                .context("the functions are not built: run `make build`")?,
            work: self.work,
            rps: self.rps,
        };
        let as_expected = demo::run(&config, &mut screen).await?;
        Ok(if as_expected {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
