//! How many AWS calls a job costs, and a whole release: counted in the log of a demo that was run. How
//! many round trips in a row a release of each target takes: counted in a recording of its requests.

use std::fmt::Display;
use std::iter;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use bench::calls::{self, Row};
use bench::{round_trips, table};
use clap::Parser;

/// Count the AWS calls of every job of the last demo.
///
/// Requests count, so retries and the job's answer are in the numbers. rollback-trigger answers no job
/// and tells no numbers.
#[derive(Debug, Parser)]
struct Arguments {
    /// The log that `make demo` leaves behind.
    #[arg(
        long,
        default_value = ".penstock/demo/emulator.log",
        value_name = "FILE"
    )]
    log: PathBuf,
    /// Also count round trips in this recording of AWS requests, in which every job was delivered once
    /// and every answer took some time.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    requests: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let path = arguments.log.display();
    let log = std::fs::read_to_string(&arguments.log);
    let log = log.with_context(|| format!("could not read {path}: run `make demo` first"))?;
    let runs = calls::read(&log);
    ensure!(
        !runs.answered.is_empty(),
        "could not find an answered job in {path}: run `make demo` again"
    );
    if runs.unanswered > 0 {
        eprintln!(
            "{} jobs were not answered before the log ended; they are not counted",
            runs.unanswered
        );
    }
    let rows = calls::count(&runs.answered);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("AWS calls in {path}\n");
        print!("{}", table::lay_out(2, &table_of(&rows)));
    }
    arguments
        .requests
        .as_deref()
        .map_or(Ok(()), print_round_trips)
}

fn print_round_trips(recording: &Path) -> anyhow::Result<()> {
    let path = recording.display();
    let text = std::fs::read_to_string(recording);
    let text = text.with_context(|| format!("could not read {path}: run the end-to-end tests"))?;
    let rows = round_trips::read(&text);
    let rows = rows.with_context(|| format!("could not read the recording {path}"))?;
    ensure!(!rows.is_empty(), "could not find a release in {path}");
    println!("\nAWS requests of releases in {path}\n");
    print!("{}", table::lay_out(2, &round_trips_table(&rows)));
    Ok(())
}

fn round_trips_table(rows: &[round_trips::Row]) -> Vec<[String; 9]> {
    let heading = [
        "target", "job", "runs", "calls", "most", "in a row", "median", "most", "ms",
    ];
    let cells = |row: &round_trips::Row| {
        let (least, median, most) = row.in_a_row;
        let millis = row.millis.round();
        let cells: [&dyn Display; 9] = [
            &row.target,
            &row.part,
            &row.runs,
            &row.calls.0,
            &row.calls.1,
            &least,
            &median,
            &most,
            &millis,
        ];
        cells.map(|cell| cell.to_string())
    };
    iter::once(heading.map(str::to_owned))
        .chain(rows.iter().map(cells))
        .collect()
}

fn table_of(rows: &[Row]) -> Vec<[String; 6]> {
    let heading = ["function", "job", "runs", "min", "median", "max"];
    let cells = |row: &Row| {
        let Row {
            function,
            jobs,
            runs,
            min,
            median,
            max,
        } = row;
        let cells: [&dyn Display; 6] = [function, jobs, runs, min, median, max];
        cells.map(|cell| cell.to_string())
    };
    iter::once(heading.map(str::to_owned))
        .chain(rows.iter().map(cells))
        .collect()
}
