//! The `penstock` command: reads the arguments and hands over to [`penstock::commands`].

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use penstock::commands::{
    abort, by_hand, check, demo, gate, judge, load, local, releases, replay, report, run, status,
    tell,
};
use tracing::level_filters::LevelFilter;

/// Releases that judge themselves: run a pipeline on a laptop, with the functions that run on AWS.
#[derive(Debug, Parser)]
#[command(name = "penstock", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Local(local::Local),
    Run(run::Run),
    Check(check::Check),
    Gate(gate::GateCommand),
    Judge(judge::JudgeCommand),
    Releases(releases::Releases),
    Status(status::Status),
    Report(report::Report),
    Replay(replay::ReplayCommand),
    #[command(flatten)]
    ByHand(by_hand::ByHand),
    Abort(abort::Abort),
    Load(load::Load),
    Demo(demo::Demo),
}

#[tokio::main]
async fn main() -> ExitCode {
    let level = std::env::var("PENSTOCK_LOG")
        .ok()
        .and_then(|level| level.parse().ok());
    let level = level.unwrap_or(LevelFilter::WARN);
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .init();
    let done = match Cli::parse().command {
        Command::Local(command) => command.run().await.map(|()| ExitCode::SUCCESS),
        Command::Run(command) => command.run().await,
        Command::Check(command) => command.run(),
        Command::Gate(command) => Ok(command.run()),
        Command::Judge(command) => command.run(),
        Command::Releases(command) => command.run().await.map(|()| ExitCode::SUCCESS),
        Command::Status(command) => command.run().await,
        Command::Report(command) => command.run().await.map(|()| ExitCode::SUCCESS),
        Command::Replay(command) => Ok(command.run().await),
        Command::ByHand(command) => command.run().await.map(|()| ExitCode::SUCCESS),
        Command::Abort(command) => command.run().await.map(|()| ExitCode::SUCCESS),
        Command::Load(command) => load::run(command).await.map(|()| ExitCode::SUCCESS),
        Command::Demo(command) => command.run().await,
    };
    done.unwrap_or_else(|error| {
        tell(&error);
        ExitCode::FAILURE
    })
}
