//! What reading a report out of an artifact costs, against merely inflating it and against Python,
//! all measured in turns in the same run, each in a process of its own.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use bench::sample::Sample;
use bench::table;
use clap::{Parser, Subcommand, ValueEnum};
use reports::{Archive, Content, Input};
use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{ZipArchive, ZipWriter};

/// The report in the artifact.
const REPORT: &str = "target/TEST-all.xml";
/// What else a build puts into its artifact, and nobody reads.
const BALLAST: &str = "dist/app.bin";
/// How large that is.
const BALLAST_BYTES: usize = 64 * 1024 * 1024;
const MIB: f64 = 1024.0 * 1024.0;

/// Measure how test-gate reads a report out of a zip: time and memory, and the bytes it fetches.
#[derive(Debug, Parser)]
struct Arguments {
    /// A Python that has junitparser and lxml.
    #[arg(long, default_value = ".venv/bin/python", value_name = "FILE")]
    python: PathBuf,
    /// Its script.
    #[arg(long, default_value = "bench/junit.py", value_name = "FILE")]
    script: PathBuf,
    /// Readings by each.
    #[arg(long, default_value = "5")]
    rounds: NonZeroUsize,
    /// Where the artifacts are made.
    #[arg(long, default_value = "target/bench-gate", value_name = "DIRECTORY")]
    folder: PathBuf,
    #[command(subcommand)]
    one: Option<One>,
}

#[derive(Debug, Subcommand)]
enum One {
    /// Read one artifact and print what it took, as JSON.
    #[command(hide = true)]
    Read { how: How, artifact: PathBuf },
}

/// By what an artifact is read in this program.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum How {
    Penstock,
    Inflate,
}

/// What one reading took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Reading {
    seconds: f64,
    /// The most that was resident in its process.
    peak_bytes: f64,
    tests: u64,
    /// What was read of the artifact.
    fetched_bytes: u64,
}

/// A suite of tests.
struct Suite {
    name: &'static str,
    tests: u32,
    /// What each test prints, in bytes.
    output_bytes: usize,
    /// Python needs gigabytes for the largest.
    by_python: bool,
}

const SUITES: [Suite; 3] = [
    Suite {
        name: "100 000 tests",
        tests: 100_000,
        output_bytes: 0,
        by_python: true,
    },
    Suite {
        name: "20 000 tests that print 2 kB each",
        tests: 20_000,
        output_bytes: 2_000,
        by_python: true,
    },
    Suite {
        name: "100 000 tests in 1 GiB",
        tests: 100_000,
        output_bytes: 10_600,
        by_python: false,
    },
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if let Some(One::Read { how, artifact }) = &arguments.one {
        println!("{}", serde_json::to_string(&read(*how, artifact)?)?);
        return Ok(());
    }
    std::fs::create_dir_all(&arguments.folder)?;
    for (number, suite) in SUITES.iter().enumerate() {
        let artifact = arguments.folder.join(format!("{number}.zip"));
        let report_bytes = make(suite, &artifact)?;
        compare(&arguments, suite, &artifact, report_bytes)?;
        std::fs::remove_file(&artifact)?;
    }
    println!(
        "{} readings of each, in turns, each in a process of its own and without its start. Ratios are \n\
         medians over the rounds. Memory is the most that was resident. 'inflate' is what the same\n\
         library takes to inflate the same entry and throw it away.",
        arguments.rounds
    );
    Ok(())
}

fn compare(
    arguments: &Arguments,
    suite: &Suite,
    artifact: &Path,
    report_bytes: u64,
) -> anyhow::Result<()> {
    let me = std::env::current_exe()?;
    let own = |how: &str| {
        let mut command = Command::new(&me);
        command.arg("read").arg(how).arg(artifact);
        command
    };
    let python = |how: &str| {
        let mut command = Command::new(&arguments.python);
        command
            .arg(&arguments.script)
            .arg(how)
            .arg(artifact)
            .arg(REPORT);
        command
    };
    let mut contenders = vec![("inflate", own("inflate")), ("penstock", own("penstock"))];
    if suite.by_python {
        contenders.push(("lxml iterparse", python("lxml")));
        contenders.push(("junitparser", python("junitparser")));
    }
    let mut readings: Vec<Vec<Reading>> = vec![Vec::new(); contenders.len()];
    for _ in 0..arguments.rounds.get() {
        for ((name, command), readings) in contenders.iter_mut().zip(&mut readings) {
            let reading = run(command).with_context(|| format!("could not read by {name}"))?;
            let counted = *name == "inflate" || reading.tests == u64::from(suite.tests);
            ensure!(counted, "{name} counted {} tests", reading.tests);
            readings.push(reading);
        }
    }
    let names = contenders.iter().map(|(name, _)| *name);
    let seconds = |readings: &[Reading]| readings.iter().map(|r| r.seconds).collect::<Vec<_>>();
    let floor = seconds(&readings[0]);
    let mut rows = vec![["", "s", "MB/s", "of inflate", "peak MiB"].map(str::to_owned)];
    for (name, readings) in names.zip(&readings) {
        let seconds = seconds(readings);
        let ratio = Sample::of_ratios(&seconds, &floor).context("no rounds")?;
        let median = Sample::new(seconds).context("no rounds")?.median();
        let peak = Sample::new(readings.iter().map(|r| r.peak_bytes)).context("no rounds")?;
        rows.push([
            name.to_owned(),
            format!("{median:.3}"),
            format!("{:.0}", megabytes(report_bytes) / median),
            format!("{:.2}", ratio.median()),
            format!("{:.1}", peak.median() / MIB),
        ]);
    }
    let fetched = readings[1][0].fetched_bytes;
    let whole = std::fs::metadata(artifact)?.len();
    println!(
        "{}: a report of {:.0} MB in an artifact of {:.1} MB, of which penstock fetches {:.1} MB",
        suite.name,
        megabytes(report_bytes),
        megabytes(whole),
        megabytes(fetched),
    );
    println!("{}", table::lay_out(1, &rows));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a size for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn run(command: &mut Command) -> anyhow::Result<Reading> {
    let output = command.output().context("could not start it")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    serde_json::from_slice(&output.stdout).context("could not understand what it printed")
}

/// Writes an artifact with one report of this suite; gives the size of the report.
fn make(suite: &Suite, path: &Path) -> anyhow::Result<u64> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut zip = ZipWriter::new(BufWriter::new(File::create(path)?));
    let options = SimpleFileOptions::default();
    zip.start_file(BALLAST, options)?;
    let mut block = vec![0; 1024 * 1024];
    for _ in 0..BALLAST_BYTES / block.len() {
        random.fill(&mut block);
        zip.write_all(&block)?;
    }
    zip.start_file(REPORT, options.large_file(true))?;
    let mut report = Counting::new(BufWriter::new(zip));
    write_suite(suite, &mut random, &mut report)?;
    let bytes = report.count;
    let zip = report
        .inner
        .into_inner()
        .map_err(|error| error.into_error())?;
    zip.finish()?.flush()?;
    Ok(bytes)
}

/// As Surefire writes it, one test in a hundred failing with a stack trace.
fn write_suite(suite: &Suite, random: &mut fastrand::Rng, to: &mut impl Write) -> io::Result<()> {
    let words = [
        "order", "charges", "card", "retry", "expired", "refund", "balance", "cart",
    ];
    writeln!(to, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
    writeln!(
        to,
        "<testsuite name=\"com.example.AllTests\" tests=\"{}\" time=\"93.1\">",
        suite.tests
    )?;
    for number in 0..suite.tests {
        let mut word = || words[random.usize(..words.len())];
        writeln!(
            to,
            "  <testcase name=\"{}{}When{}_{number}\" classname=\"com.example.shop.{}Test{}\" time=\"0.{:03}\">",
            word(),
            word(),
            word(),
            word(),
            number / 50,
            number % 1000,
        )?;
        if number % 100 == 0 {
            writeln!(
                to,
                "    <failure message=\"expected: &lt;{number}&gt; but was: &lt;0&gt;\" type=\"java.lang.AssertionError\"><![CDATA[java.lang.AssertionError: expected"
            )?;
            for line in 0..20 {
                writeln!(
                    to,
                    "\tat com.example.shop.{}Test.{}(Shop.java:{line})",
                    word(),
                    word()
                )?;
            }
            writeln!(to, "]]></failure>")?;
        }
        if suite.output_bytes > 0 {
            write!(to, "    <system-out><![CDATA[")?;
            let mut written = 0;
            while written < suite.output_bytes {
                let line = format!("{:012} INFO {} {} {}\n", number, word(), word(), word());
                to.write_all(line.as_bytes())?;
                written += line.len();
            }
            writeln!(to, "]]></system-out>")?;
        }
        writeln!(to, "  </testcase>")?;
    }
    writeln!(to, "</testsuite>")
}

fn read(how: How, artifact: &Path) -> anyhow::Result<Reading> {
    let file = File::open(artifact)?;
    let began = Instant::now();
    let fetched = Rc::new(Cell::new(0));
    let tests = match how {
        How::Penstock => {
            let input = Fetched {
                file,
                bytes: Rc::clone(&fetched),
            };
            let report = Archive::open(input)?.report(REPORT, None)?;
            match report.content {
                Content::Tests(tests) => tests.totals.tests,
                Content::Coverage(_) | Content::Findings(_) => bail!("it is no report of tests"),
            }
        }
        How::Inflate => {
            let mut zip = ZipArchive::new(io::BufReader::new(file))?;
            io::copy(&mut zip.by_name(REPORT)?, &mut io::sink())?;
            0
        }
    };
    Ok(Reading {
        seconds: began.elapsed().as_secs_f64(),
        peak_bytes: peak_bytes()?,
        tests,
        fetched_bytes: fetched.get(),
    })
}

/// The most that was resident of this process so far.
fn peak_bytes() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: f64 = kib.context("the system does not tell")?.parse()?;
    Ok(kib * 1024.0)
}

/// A file of which it is counted what is read. Over S3 each opening is one ranged request.
struct Fetched {
    file: File,
    bytes: Rc<Cell<u64>>,
}

impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes.set(self.bytes.get() + count as u64);
        Ok(count)
    }
}

impl Input for Fetched {
    fn open_tail(&mut self, most: u64) -> io::Result<u64> {
        self.file.open_tail(most)
    }

    fn open(&mut self, bytes: Range<u64>) -> io::Result<()> {
        self.file.open(bytes)
    }
}

/// A writer that counts.
struct Counting<W> {
    inner: W,
    count: u64,
}

impl<W> Counting<W> {
    fn new(inner: W) -> Self {
        Self { inner, count: 0 }
    }
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
