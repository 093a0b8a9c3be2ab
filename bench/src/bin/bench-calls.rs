//! How many AWS calls a job costs, and a whole release: counted in the log of a demo that was run.

use std::fmt::Display;
use std::iter;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use bench::calls::{self, Row};
use bench::table;
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
    Ok(())
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
