//! How long it takes from an alarm to the stable weight live, and how many AWS calls that takes.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use bench::rollback::{self, Row, Told};
use bench::sample::Sample;
use bench::table;
use clap::Parser;

/// Time the rollbacks in a recording of AWS requests.
#[derive(Debug, Parser)]
struct Arguments {
    /// What `make bench-rollback` leaves behind.
    #[arg(
        long,
        default_value = "target/rollback-requests.jsonl",
        value_name = "FILE"
    )]
    requests: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let path = Arguments::parse().requests;
    let text = std::fs::read_to_string(&path);
    let text = text.with_context(|| format!("could not read {}", path.display()))?;
    let rows = rollback::read(&text);
    let rows = rows.with_context(|| format!("could not read the recording {}", path.display()))?;
    ensure!(
        !rows.is_empty(),
        "could not find a rollback in {}",
        path.display()
    );
    println!("From the alarm to the stable weight live; times in milliseconds\n");
    let heading = ["from", "what", "runs", "p50", "p90", "p99"].map(str::to_owned);
    let cells: Vec<_> = std::iter::once(heading)
        .chain(rows.iter().flat_map(told))
        .collect();
    print!("{}", table::lay_out(2, &cells));
    Ok(())
}

fn told(row: &Row) -> [[String; 6]; 5] {
    let from = match row.told {
        Told::Event => "event on the bus",
        Told::Alarm => "alarm, polled",
    };
    let line = |what: &str, sample: &Sample| {
        let [p50, p90, p99] =
            [sample.median(), sample.p90(), sample.p99()].map(|n| format!("{n:.1}"));
        [
            from.to_owned(),
            what.to_owned(),
            sample.count().to_string(),
            p50,
            p90,
            p99,
        ]
    };
    [
        line("until the stable weight", &row.whole),
        line("of that, the function", &row.function),
        line("as a multiple of decision and weight alone", &row.ratio),
        line("AWS calls", &row.calls),
        line("in a row", &row.in_a_row),
    ]
}
