//! What looks and shifts of releases cost, for each kind of target: AWS requests, how many of them had
//! to wait for one another, and their time. Read from what the functions sent (`penstock`'s recorder).
//!
//! Requests in a row are the longest chain of requests of one invocation of which each began after the
//! one before was answered. So the answers must take longer than it takes to send what goes side by
//! side: `make bench-calls` has the recorder hold them back.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use crate::sample::Sample;

/// The kinds of targets, each by the operations that only its releases ask for, the most special
/// first: a release is of the first kind whose operations it all had.
const TARGETS: [(&str, &[&str]); 6] = [
    ("ECS task sets", &["CreateTaskSet"]),
    (
        "ECS services behind a rule",
        &["UpdateService", "ModifyRule"],
    ),
    ("ECS rolling service", &["UpdateService"]),
    ("Lambda alias", &["UpdateAlias"]),
    ("ALB default rule", &["ModifyListener"]),
    ("ALB rule", &["ModifyRule"]),
];
/// What moves traffic or what serves it.
const EFFECTS: [&str; 8] = [
    "CreateTaskSet",
    "DeleteTaskSet",
    "ModifyListener",
    "ModifyRule",
    "UpdateAlias",
    "UpdateService",
    "UpdateServicePrimaryTaskSet",
    "UpdateTaskSet",
];
/// What adds to the release log.
const WRITES: [&str; 3] = ["PutItem", "TransactWriteItems", "UpdateItem"];
/// The function whose jobs are releases.
const FUNCTION: &str = "canary-shift";

/// A line of a recording, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) began_us: i64,
    pub(crate) ended_us: i64,
    #[serde(default)]
    pub(crate) function: String,
    #[serde(default)]
    pub(crate) invocation: String,
    method: String,
    uri: String,
    headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) body: String,
    /// A body that is no text, in hexadecimal digits.
    #[serde(default)]
    pub(crate) body_hex: String,
}

impl Request {
    /// The operation, such as `PutItem`.
    pub(crate) fn operation(&self) -> &str {
        if let Some((_, name)) = self
            .headers
            .get("x-amz-target")
            .and_then(|target| target.split_once('.'))
        {
            return name;
        }
        if let Some((_, name)) = self.uri.rsplit_once("/operation/") {
            return name;
        }
        let form = self.body.strip_prefix("Action=");
        let query = self.uri.split_once("x-id=").map(|(_, name)| name);
        match form.or(query).and_then(|text| text.split('&').next()) {
            Some(name) => name,
            None if self.method == "PUT" && self.uri.contains("/aliases/") => "UpdateAlias",
            None => &self.uri,
        }
    }

    /// The release whose log it is about.
    fn release(&self) -> Option<&str> {
        let (_, rest) = self.body.split_once("\"release#")?;
        rest.split('"').next()
    }
}

/// What a job did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// It began the release.
    First,
    /// It found nothing new.
    Quiet,
    /// It wrote down what it saw, and left the traffic as it was.
    Records,
    /// It moved traffic, and there is more to come.
    Shifts,
    /// It gave the action's last answer.
    Last,
    /// Not a job but all jobs of a release.
    Whole,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::First => "first job",
            Self::Quiet => "tick, nothing new",
            Self::Records => "tick that records",
            Self::Shifts => "tick that shifts",
            Self::Last => "last job",
            Self::Whole => "whole release",
        })
    }
}

/// What it cost.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cost {
    calls: u32,
    in_a_row: u32,
    /// From the first request to the last answer.
    millis: f64,
}

impl Cost {
    fn of(requests: &[&Request]) -> Self {
        let began = requests.iter().map(|request| request.began_us).min();
        let ended = requests.iter().map(|request| request.ended_us).max();
        let micros = ended.unwrap_or_default() - began.unwrap_or_default();
        Self {
            calls: count(requests.len()),
            in_a_row: in_a_row(requests),
            #[expect(clippy::cast_precision_loss, reason = "an invocation takes seconds")]
            millis: micros as f64 / 1_000.0,
        }
    }

    fn sum(costs: impl Iterator<Item = Self>) -> Self {
        let nothing = Self {
            calls: 0,
            in_a_row: 0,
            millis: 0.0,
        };
        costs.fold(nothing, |sum, cost| Self {
            calls: sum.calls + cost.calls,
            in_a_row: sum.in_a_row + cost.in_a_row,
            millis: sum.millis + cost.millis,
        })
    }
}

fn count(many: usize) -> u32 {
    u32::try_from(many).unwrap_or(u32::MAX)
}

/// The longest chain of requests of which none overlaps another: always take the one that ends first.
pub(crate) fn in_a_row(requests: &[&Request]) -> u32 {
    let mut by_end: Vec<_> = requests.iter().collect();
    by_end.sort_by_key(|request| request.ended_us);
    let mut chain = 0;
    let mut last_end = i64::MIN;
    for request in by_end {
        if request.began_us >= last_end {
            chain += 1;
            last_end = request.ended_us;
        }
    }
    chain
}

/// One row of the table.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// The kind of target.
    pub target: &'static str,
    /// What the jobs did.
    pub part: Part,
    /// How many there were.
    pub runs: usize,
    /// AWS requests: the median, and the most.
    pub calls: (f64, f64),
    /// Requests in a row: the least, the median, and the most.
    pub in_a_row: (f64, f64, f64),
    /// Milliseconds: the median.
    pub millis: f64,
}

/// Reads a recording: for each kind of target what the jobs of its releases cost. The recording has
/// each job once: in one of duplicate deliveries the duplicates would count as ticks.
///
/// # Errors
/// When a line is no request, such as the last one of a recording that was full.
pub fn read(recording: &str) -> Result<Vec<Row>, serde_json::Error> {
    let requests: Vec<Request> = recording
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let mut costs: BTreeMap<_, Vec<Cost>> = BTreeMap::new();
    for jobs in by_release(&requests).values() {
        let Some(target) = target_of(jobs) else {
            continue;
        };
        let told: Vec<_> = jobs.iter().map(|job| Cost::of(job)).collect();
        for (number, (job, cost)) in jobs.iter().zip(&told).enumerate() {
            costs
                .entry((target, part(job, number == 0)))
                .or_default()
                .push(*cost);
        }
        costs
            .entry((target, Part::Whole))
            .or_default()
            .push(Cost::sum(told.into_iter()));
    }
    Ok(costs.into_iter().filter_map(row).collect())
}

/// The requests of each job, in order, by release.
type Releases<'a> = BTreeMap<&'a str, Vec<Vec<&'a Request>>>;

fn by_release(requests: &[Request]) -> Releases<'_> {
    let mut invocations: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    for request in requests {
        if request.function.ends_with(FUNCTION) {
            invocations
                .entry(&request.invocation)
                .or_default()
                .push(request);
        }
    }
    let mut releases = Releases::new();
    for job in invocations.into_values() {
        if let Some(release) = job.iter().find_map(|request| request.release()) {
            releases.entry(release).or_default().push(job);
        }
    }
    for jobs in releases.values_mut() {
        jobs.sort_by_key(|job| job.iter().map(|request| request.began_us).min());
    }
    releases
}

/// The kind of target; `None` when the release moved nothing.
fn target_of(jobs: &[Vec<&Request>]) -> Option<&'static str> {
    let had = |operation: &&str| {
        let mut requests = jobs.iter().flatten();
        requests.any(|request| request.operation() == *operation)
    };
    let mut kinds = TARGETS.iter();
    let (name, _) = kinds.find(|(_, operations)| operations.iter().all(had))?;
    Some(name)
}

fn part(job: &[&Request], first: bool) -> Part {
    let any = |operations: &[&str]| {
        job.iter()
            .any(|request| operations.contains(&request.operation()))
    };
    let goes_on = job
        .iter()
        .any(|request| request.body.contains("\"continuationToken\""));
    match (first, goes_on) {
        (true, _) => Part::First,
        (false, false) => Part::Last,
        (false, true) if any(&EFFECTS) => Part::Shifts,
        (false, true) if any(&WRITES) => Part::Records,
        (false, true) => Part::Quiet,
    }
}

fn row(((target, part), costs): ((&'static str, Part), Vec<Cost>)) -> Option<Row> {
    let sample = |number: fn(&Cost) -> f64| Sample::new(costs.iter().map(number));
    let calls = sample(|cost| cost.calls.into())?;
    let in_a_row = sample(|cost| cost.in_a_row.into())?;
    Some(Row {
        target,
        part,
        runs: costs.len(),
        calls: (calls.median(), calls.max()),
        in_a_row: (in_a_row.min(), in_a_row.median(), in_a_row.max()),
        millis: sample(|cost| cost.millis)?.median(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A line: an operation of DynamoDB or CodePipeline from one millisecond to another.
    fn line(job: &str, operation: &str, (began, ended): (i64, i64), body: &str) -> String {
        json!({
            "began_us": began * 1_000, "ended_us": ended * 1_000, "service": "any",
            "function": "penstock-canary-shift", "invocation": job, "method": "POST", "uri": "/",
            "headers": {"x-amz-target": format!("Any.{operation}")}, "body": body,
        })
        .to_string()
    }

    const LOG: &str = r#"{":pk":{"S":"release#web-1"}}"#;
    const GOES_ON: &str = r#"{"continuationToken":"t"}"#;

    fn read_lines(lines: &[String]) -> Vec<Row> {
        read(&lines.join("\n")).unwrap()
    }

    #[test]
    fn requests_side_by_side_are_one_round_trip() {
        let rows = read_lines(&[
            line("a", "Query", (0, 10), LOG),
            line("a", "GetMetricData", (11, 30), ""),
            line("a", "DescribeAlarms", (12, 20), ""),
            line("a", "ModifyRule", (21, 40), ""),
            line("a", "PutJobSuccessResult", (41, 45), GOES_ON),
        ]);
        let first = &rows[0];
        assert_eq!((first.part, first.calls.0), (Part::First, 5.0));
        // The log, the alarms, the rule, the answer: the metrics were on their way all the time.
        assert_eq!(first.in_a_row, (4.0, 4.0, 4.0));
        assert!((first.millis - 45.0).abs() < 1e-9);
    }

    #[test]
    fn a_job_is_what_it_did_and_a_release_is_all_its_jobs() {
        let job = |name: &str, at: i64, did: &[&str], answer: &str| -> Vec<String> {
            let mut lines = vec![line(name, "Query", (at, at + 1), LOG)];
            lines.extend(
                did.iter()
                    .map(|operation| line(name, operation, (at + 2, at + 3), "")),
            );
            lines.push(line(name, "PutJobSuccessResult", (at + 4, at + 5), answer));
            lines
        };
        let lines = [
            job("z", 0, &["TransactWriteItems", "ModifyRule"], GOES_ON),
            job("y", 100, &[], GOES_ON),
            job("x", 200, &["PutItem"], GOES_ON),
            job("w", 300, &["PutItem", "ModifyRule"], GOES_ON),
            job("v", 400, &["TransactWriteItems"], "{}"),
        ];
        let rows = read_lines(&lines.concat());
        let told: Vec<_> = rows.iter().map(|row| (row.part, row.calls.0)).collect();
        let expected = [
            (Part::First, 4.0),
            (Part::Quiet, 2.0),
            (Part::Records, 3.0),
            (Part::Shifts, 4.0),
            (Part::Last, 3.0),
            (Part::Whole, 16.0),
        ];
        assert_eq!(told, expected);
        assert!(rows.iter().all(|row| row.target == "ALB rule"));
    }

    #[test]
    fn each_way_of_writing_an_operation_is_read() {
        let operation = |uri: &str, method: &str, body: &str| {
            let request = json!({
                "began_us": 0, "ended_us": 0, "method": method, "uri": uri, "headers": {},
                "body": body,
            });
            let request: Request = serde_json::from_value(request).unwrap();
            request.operation().to_owned()
        };
        let cbor = "/service/GraniteServiceVersion20100801/operation/GetMetricData";
        assert_eq!(operation(cbor, "POST", ""), "GetMetricData");
        assert_eq!(
            operation("/", "POST", "Action=ModifyRule&Version=1"),
            "ModifyRule"
        );
        assert_eq!(operation("/b/k?x-id=GetObject", "GET", ""), "GetObject");
        let alias = "/2015-03-31/functions/shop/aliases/live";
        assert_eq!(operation(alias, "PUT", "{}"), "UpdateAlias");
        assert_eq!(operation(alias, "GET", ""), alias);
    }

    #[test]
    fn a_full_recording_is_no_measurement() {
        assert!(read("{\"left_off\":\"the recording is full\"}").is_err());
    }
}
