//! How long the functions take to start, against a function that is nothing but the runtime and
//! against Python, all measured in turns in the same run.

use std::iter;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use bench::sample::Sample;
use bench::start::{self, Contender, Size, Start};
use bench::table;
use clap::Parser;
use serde::Serialize;

/// Measure cold starts: from making the process to its request for a first event.
///
/// What Lambda adds to every start (fetching the zip, making the sandbox) is not in it.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where NAME/bootstrap is for each function, and for runtime-only.
    #[arg(long, default_value = "target/lambda", value_name = "DIRECTORY")]
    functions: PathBuf,
    /// A Python that has boto3.
    #[arg(long, default_value = ".venv/bin/python", value_name = "FILE")]
    python: PathBuf,
    /// Its script.
    #[arg(long, default_value = "bench/cold_start.py", value_name = "FILE")]
    script: PathBuf,
    /// Starts of each.
    #[arg(long, default_value = "31")]
    rounds: NonZeroUsize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is told of one contender.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    starts: usize,
    median_ms: f64,
    p90_ms: f64,
    /// Medians of the rounds' ratios.
    of_runtime_only: f64,
    of_python: f64,
    /// The median of the most that was resident; absent where the system does not tell.
    memory_bytes: Option<f64>,
    file_bytes: u64,
    zip_bytes: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let contenders = contenders(&arguments)?;
    let starts = start::race(&contenders, arguments.rounds.get())?;
    let [runtime_only, python, ..] = &starts;
    let rows = contenders.iter().zip(&starts).map(|(contender, starts)| {
        let row = row(
            &contender.name,
            contender.size()?,
            starts,
            runtime_only,
            python,
        );
        row.context("there were no rounds")
    });
    let rows = rows.collect::<anyhow::Result<Vec<_>>>()?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
        return Ok(());
    }
    print!("{}", table::lay_out(1, &table_of(&rows)));
    println!(
        "\n{} starts of each, in turns: from making the process to its request for a first event.\n\
         Ratios are medians over the rounds. Memory is the most that was resident; MB are 10^6 bytes.\n\
         Python's file is its script alone: boto3 comes with Lambda's own image.",
        arguments.rounds
    );
    Ok(())
}

/// The two that are compared with, and the functions.
fn contenders(arguments: &Arguments) -> anyhow::Result<[Contender; 6]> {
    let built = |name, command| Contender::built(&arguments.functions, name, command);
    Ok([
        built("runtime-only", "run `make bench-start`")?,
        Contender::script(
            "python + boto3",
            &arguments.python,
            &arguments.script,
            "run `make setup`, and this in the project's directory",
        )?,
        built("test-gate", "run `make build`")?,
        built("canary-shift", "run `make build`")?,
        built("health-check", "run `make build`")?,
        built("rollback-trigger", "run `make build`")?,
    ])
}

/// `None` when there were no rounds.
fn row(
    name: &str,
    size: Size,
    starts: &[Start],
    runtime_only: &[Start],
    python: &[Start],
) -> Option<Row> {
    let seconds = |starts: &[Start]| starts.iter().map(|start| start.seconds).collect::<Vec<_>>();
    let own = seconds(starts);
    let of = |other| Sample::of_ratios(&own, &seconds(other)).map(|ratios| ratios.median());
    // A float is exact up to 2^53 bytes.
    let memory = starts
        .iter()
        .filter_map(|start| Some(start.memory_bytes? as f64));
    let milliseconds = Sample::new(own.iter().map(|seconds| seconds * 1e3))?;
    Some(Row {
        name: name.to_owned(),
        starts: milliseconds.count(),
        median_ms: milliseconds.median(),
        p90_ms: milliseconds.p90(),
        of_runtime_only: of(runtime_only)?,
        of_python: of(python)?,
        memory_bytes: Sample::new(memory).map(|memory| memory.median()),
        file_bytes: size.file_bytes,
        zip_bytes: size.zip_bytes,
    })
}

fn table_of(rows: &[Row]) -> Vec<[String; 8]> {
    let heading = [
        "",
        "median ms",
        "p90 ms",
        "x runtime-only",
        "x python",
        "memory MB",
        "file MB",
        "zip MB",
    ];
    let megabytes = |bytes: f64| format!("{:.2}", bytes / 1e6);
    let cells = |row: &Row| {
        [
            row.name.clone(),
            format!("{:.2}", row.median_ms),
            format!("{:.2}", row.p90_ms),
            format!("{:.2}", row.of_runtime_only),
            format!("{:.4}", row.of_python),
            row.memory_bytes.map_or("-".to_owned(), megabytes),
            megabytes(row.file_bytes as f64),
            megabytes(row.zip_bytes as f64),
        ]
    };
    iter::once(heading.map(str::to_owned))
        .chain(rows.iter().map(cells))
        .collect()
}
