//! `penstock judge`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;
use engine::chain;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use stats::{Counts, Judge, JudgeConfig, ObserveError, Verdict};

use super::tell;

/// The exit status for a configuration that cannot be used.
const UNUSABLE: u8 = 2;
/// The largest configuration that is read, in bytes.
const CONFIG_BYTES_MAX: u64 = 64 * 1024;
/// The longest line that is read, in bytes, without its end.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest name of a release, in bytes.
const RELEASE_LEN_MAX: usize = 256;
/// The most releases that are judged at the same time. One takes about 3 KiB.
const RELEASES_MAX: usize = 100_000;
/// How much is told of what is wrong with a line, in characters: the line may be part of it.
const WRONG_CHARS_MAX: usize = 300;
/// How much is told of where it is wrong.
const KEY_CHARS_MAX: usize = 60;
/// How much is read and written at once, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// How to write a line, for whoever got it wrong.
const WINDOW_EXAMPLE: &str = r#"{"release":"r1","minute":3,"metric":"errors","canary":{"count":60,"bad":1},"baseline":{"count":5940,"bad":3}}, where minutes and counts are whole numbers"#;
const END_EXAMPLE: &str = r#"{"release":"r1","end":true}"#;

/// Judge windows of counts that come as lines of JSON, with the judge that canary-shift runs.
///
/// Reads one window of one metric a line and answers each with one line: the verdict after it, the
/// evidence of harm as a natural logarithm, and the sentence that explains it. A line that cannot
/// be used is answered by what is wrong with it, and the next one is read.
///
/// The exit status is 0 at the end of the input and 2 when the configuration cannot be used.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub struct JudgeCommand {
    /// Read windows from standard input, write verdicts to standard output.
    #[arg(long, required = true)]
    stdio: bool,
    /// What the judge runs on, as JSON; the defaults below when absent.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

const HELP: &str = r#"Lines in:
  {"release":"r1","minute":3,"metric":"errors","canary":{"count":60,"bad":1},"baseline":{"count":5940,"bad":3}}
  {"release":"r1","end":true}         forgets the release; has no answer

Lines out:
  {"release":"r1","minute":3,"verdict":"continue","log_e":-0.1,"why":"errors 1.7 % against ..."}
  {"release":"r1","minute":3,"line":7,"error":"could not ..."}

  verdict is continue, hold, promote, rollback or inconclusive; a rollback stays until the end.
  Each line is a look of its own, over all lines of its release so far. (canary-shift looks once a
  minute, when all metrics are in, so that the promise holds however they depend on each other.)
  The minutes of a metric must rise: a window that comes twice, late or out of order changes
  nothing, and `why` says so.
  Releases may be mixed, 100 000 at a time.

Keys of FILE, all of them optional:
  alpha        0.01   chance of rolling back a canary that does no harm, over a whole release
  alpha_ni     0.05   chance of promoting early a canary at or beyond the margin
  hold         0      odds to 1 from which on the verdict is hold; 0 never holds
  suspicion    5      odds to 1 from which on nothing is promoted early
  r0           1      how many times the baseline's rate is still no harm
  r0_of        {}     what a metric has instead of r0, such as {"slow:p90":1.25}
  ni_ratio     1.25   margin of early promotion: below ni_ratio * baseline rate + ni_abs
  ni_abs       0.001
  min_windows  3      windows with traffic before an early promotion
  blind_abs    0.05   the rise of the rate that must be noticeable, or it is inconclusive
  pi0          0.6    part of the evidence that is bet from the first window on
  hazard       0.05   part of the rest that each window adds
  weights      {"errors":0.6,"slow:p90":0.2,"slow:p99":0.2}   the metrics and their shares
  slo          {}     limits such as {"errors":0.01}; each needs a share: "slo:errors" in weights
  eta          {}     1 / the size of a cluster of errors, such as {"errors":0.1}
  robust       []     metrics whose clusters have an unknown size
  required     []     metrics that must be seen; without any, every metric that has been observed

Examples:
  penstock judge --stdio < windows.jsonl
  penstock judge --stdio --config judge.json < windows.jsonl | jq -c 'select(.verdict == "rollback")'
  echo '{"release":"r1","minute":1,"metric":"errors","canary":{"count":60,"bad":9},"baseline":{"count":5940,"bad":3}}' |
    penstock judge --stdio"#;

impl JudgeCommand {
    /// Runs the command; gives the exit status.
    ///
    /// # Errors
    /// When the standard input or output fails.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let config = match self.config.as_deref().map(read_config).transpose() {
            Ok(config) => config.unwrap_or_default(),
            Err(error) => {
                tell(&error);
                return Ok(ExitCode::from(UNUSABLE));
            }
        };
        let input = BufReader::with_capacity(BUFFER_BYTES, io::stdin().lock());
        let output = BufWriter::with_capacity(BUFFER_BYTES, io::stdout().lock());
        match answer_all(Trials::new(config), input, output) {
            // Whoever reads the answers has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
            answered => answered
                .map(|()| ExitCode::SUCCESS)
                .context("could not go on reading windows and writing verdicts"),
        }
    }
}

fn read_config(path: &Path) -> anyhow::Result<JudgeConfig> {
    let name = path.display();
    let mut text = Vec::new();
    File::open(path)
        .and_then(|file| file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut text))
        .with_context(|| format!("could not read {name}; name the configuration by --config"))?;
    if text.len() as u64 > CONFIG_BYTES_MAX {
        let most = format!("could not use {name}: it may have {CONFIG_BYTES_MAX} bytes");
        return Err(anyhow!("{most}; leave out what is not a key of the judge"));
    }
    let config = parse_config(&text).with_context(|| format!("could not use {name}"))?;
    config
        .validate()
        .with_context(|| format!("could not use {name}"))?;
    Ok(config)
}

/// The error names the key, and what it may hold.
fn parse_config(text: &[u8]) -> anyhow::Result<JudgeConfig> {
    let json = &mut serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize::<_, Object<JudgeConfig>>(&mut *json);
    let Object(config) = read.map_err(|error| {
        let key = error.path().to_string();
        let wrong = error.into_inner();
        if let Some(allowed) = JudgeConfig::allowed(&key) {
            return anyhow!("{key}: {wrong}: it must be a number {allowed}");
        }
        let place = if key == "." {
            String::new()
        } else {
            format!("{key}: ")
        };
        anyhow!(
            "{place}{wrong}: write an object such as {{\"alpha\":0.01,\"hold\":5}}; \
             `penstock judge --help` has all keys"
        )
    })?;
    json.end()
        .context("write one JSON object and nothing else")?;
    Ok(config)
}

/// Answers every line, until the input ends.
///
/// Answers are written out before anything is waited for: whoever sends one line at a time has the
/// answer to each at once, and whoever sends millions does not pay for millions of writes.
fn answer_all(
    mut trials: Trials,
    mut input: BufReader<impl Read>,
    mut output: impl Write,
) -> io::Result<()> {
    let mut line = Vec::new();
    for number in 1.. {
        let answer = match next_line(&mut input, &mut output, &mut line)? {
            Next::End => break,
            Next::TooLong => Err(Refusal::of(format!(
                "could not read a line of more than {LINE_BYTES_MAX} bytes; write {WINDOW_EXAMPLE}"
            ))),
            Next::Line if line.trim_ascii().is_empty() => Ok(None),
            Next::Line => trials.answer(&line),
        };
        match answer {
            Ok(None) => continue,
            Ok(Some(answer)) => serde_json::to_writer(&mut output, &answer)?,
            Err(refusal) => {
                let line = number;
                serde_json::to_writer(&mut output, &Refusal { line, ..refusal })?;
            }
        }
        output.write_all(b"\n")?;
    }
    output.flush()
}

/// What the input has next.
enum Next {
    Line,
    TooLong,
    End,
}

/// Reads up to the end of a line, which is left out. What is too long is read and not kept.
fn next_line(
    input: &mut BufReader<impl Read>,
    output: &mut impl Write,
    line: &mut Vec<u8>,
) -> io::Result<Next> {
    line.clear();
    let mut next = Next::End;
    loop {
        if input.buffer().is_empty() {
            output.flush()?;
        }
        let read = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read.is_empty() {
            return Ok(next);
        }
        let end = read.iter().position(|&byte| byte == b'\n');
        let part = &read[..end.unwrap_or(read.len())];
        next = match next {
            Next::Line | Next::End if line.len() + part.len() <= LINE_BYTES_MAX => Next::Line,
            Next::Line | Next::End | Next::TooLong => Next::TooLong,
        };
        match next {
            Next::Line => line.extend_from_slice(part),
            Next::TooLong | Next::End => line.clear(),
        }
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(next);
        }
    }
}

/// What is written as a JSON object. The derived readers would take a list of values, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsMap<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for AsMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(AsMap(PhantomData))
    }
}

/// One window of one metric.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowLine<'a> {
    #[serde(borrow)]
    release: Cow<'a, str>,
    minute: u64,
    #[serde(borrow)]
    metric: Cow<'a, str>,
    canary: Object<Counts>,
    baseline: Object<Counts>,
}

/// The end of a release.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine<'a> {
    #[serde(borrow)]
    release: Cow<'a, str>,
    end: bool,
}

/// The part of a line that tells which kind it is meant to be, and whom to answer.
#[derive(Deserialize)]
struct Meant {
    release: Option<Value>,
    minute: Option<Value>,
    end: Option<Value>,
}

/// The answer to a window.
#[derive(Serialize)]
struct Answer<'a> {
    release: Cow<'a, str>,
    minute: u64,
    verdict: Verdict,
    /// ln E: of harm, by all metrics together.
    log_e: f64,
    why: String,
}

/// The answer to a line that cannot be used.
#[derive(Default, Serialize)]
struct Refusal {
    #[serde(skip_serializing_if = "Option::is_none")]
    release: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minute: Option<u64>,
    /// Which line of the input, counted from 1.
    line: u64,
    error: String,
}

impl Refusal {
    fn of(error: String) -> Self {
        Self {
            error,
            ..Self::default()
        }
    }

    /// What is wrong with a line that is neither a window nor an end.
    fn of_line(line: &[u8]) -> Self {
        let meant = serde_json::from_slice::<Object<Meant>>(line)
            .ok()
            .map(|meant| meant.0);
        let is_end = meant.as_ref().is_some_and(|meant| meant.end.is_some());
        let (wrong, example) = if is_end {
            (what_is_wrong::<EndLine<'_>>(line), END_EXAMPLE)
        } else {
            (what_is_wrong::<WindowLine<'_>>(line), WINDOW_EXAMPLE)
        };
        let wrong: String = wrong.chars().take(WRONG_CHARS_MAX).collect();
        let named = meant
            .as_ref()
            .and_then(|meant| meant.release.as_ref()?.as_str());
        Self {
            release: named.filter(|name| is_name(name)).map(str::to_owned),
            minute: meant.and_then(|meant| meant.minute?.as_u64()),
            ..Self::of(format!("could not read the line: {wrong}; write {example}"))
        }
    }
}

/// In the words of the parser, with the key and the column.
fn what_is_wrong<'a, T: Deserialize<'a>>(line: &'a [u8]) -> String {
    let json = &mut serde_json::Deserializer::from_slice(line);
    let read = serde_path_to_error::deserialize::<_, Object<T>>(&mut *json);
    let (key, wrong) = match read {
        Err(error) => (error.path().to_string(), error.into_inner()),
        Ok(_) => match json.end() {
            Err(error) => (".".to_owned(), error),
            Ok(()) => return "it is not what it seems".to_owned(),
        },
    };
    let (row, column) = (wrong.line(), wrong.column());
    let told = wrong.to_string();
    let place = format!(" at line {row} column {column}");
    let told = told.strip_suffix(&place).unwrap_or(&told);
    match &*key {
        "." => format!("{told} (column {column})"),
        key => format!("{key:.KEY_CHARS_MAX$}: {told} (column {column})"),
    }
}

fn is_name(release: &str) -> bool {
    (1..=RELEASE_LEN_MAX).contains(&release.len())
}

/// All releases that have begun and not ended.
struct Trials {
    config: JudgeConfig,
    by_release: HashMap<String, Trial>,
}

/// One release.
struct Trial {
    judge: Judge,
    /// The minute of the last window that was used, by metric.
    used_until: BTreeMap<String, u64>,
}

impl Trials {
    fn new(config: JudgeConfig) -> Self {
        Self {
            config,
            by_release: HashMap::new(),
        }
    }

    /// Takes in a line. Windows have an answer, ends have none.
    fn answer<'a>(&mut self, line: &'a [u8]) -> Result<Option<Answer<'a>>, Refusal> {
        if let Ok(Object(window)) = serde_json::from_slice::<Object<WindowLine<'a>>>(line) {
            return self.judge(window).map(Some);
        }
        match serde_json::from_slice::<Object<EndLine<'a>>>(line) {
            Ok(Object(EndLine { release, end: true })) => {
                self.by_release.remove(&*release);
                Ok(None)
            }
            Ok(Object(EndLine {
                release,
                end: false,
            })) => Err(Refusal {
                release: Some(release.into_owned()).filter(|name| is_name(name)),
                ..Refusal::of(format!(
                    "could not use an end that is false; write {END_EXAMPLE}"
                ))
            }),
            Err(_) => Err(Refusal::of_line(line)),
        }
    }

    fn judge<'a>(&mut self, window: WindowLine<'a>) -> Result<Answer<'a>, Refusal> {
        let refusal = |error: String| Refusal {
            release: Some(&*window.release)
                .filter(|name| is_name(name))
                .map(str::to_owned),
            minute: Some(window.minute),
            ..Refusal::of(error)
        };
        if !is_name(&window.release) {
            return Err(refusal(format!(
                "could not use the name of the release: it must have 1 to {RELEASE_LEN_MAX} bytes"
            )));
        }
        let config = &self.config;
        let seen = |error: ObserveError| refusal(chain(&error));
        if let Some(trial) = self.by_release.get_mut(&*window.release) {
            let why = trial.observe(config, &window).map_err(seen)?;
            return Ok(trial.answer(config, window, why));
        }
        if self.by_release.len() >= RELEASES_MAX {
            return Err(refusal(format!(
                "could not begin another release: {RELEASES_MAX} are open; \
                 end those that are over, by {END_EXAMPLE}"
            )));
        }
        let mut trial = Trial::new(config);
        let why = trial.observe(config, &window).map_err(seen)?;
        let name = window.release.clone().into_owned();
        let answer = trial.answer(config, window, why);
        self.by_release.insert(name, trial);
        Ok(answer)
    }
}

impl Trial {
    fn new(config: &JudgeConfig) -> Self {
        Self {
            judge: Judge::new(config),
            used_until: BTreeMap::new(),
        }
    }

    /// Takes in a window, once and in order, and explains the verdict after it.
    fn observe(
        &mut self,
        config: &JudgeConfig,
        window: &WindowLine<'_>,
    ) -> Result<String, ObserveError> {
        let WindowLine {
            metric,
            minute,
            canary,
            baseline,
            ..
        } = window;
        let used_until = self.used_until.get_mut(&**metric);
        if let Some(last) = used_until.as_deref()
            && minute <= last
        {
            let why = self.judge.explain(config);
            return Ok(format!(
                "not used: minute {minute} of {metric} is not after minute {last}, the last one used; {why}"
            ));
        }
        self.judge.observe(config, metric, canary.0, baseline.0)?;
        match used_until {
            Some(last) => *last = *minute,
            None => _ = self.used_until.insert((**metric).to_owned(), *minute),
        }
        Ok(self.judge.explain(config))
    }

    fn answer<'a>(&self, config: &JudgeConfig, window: WindowLine<'a>, why: String) -> Answer<'a> {
        Answer {
            release: window.release,
            minute: window.minute,
            verdict: self.judge.verdict(config),
            log_e: self.judge.log_e(config),
            why,
        }
    }
}
