//! How long it takes from an alarm to the stable weight live, and what is asked of AWS on the way. Read
//! from a recording that has both ends: the alarm, or its event, as it was sent, and the `ModifyRule`
//! that was answered, from which on the load balancer has the weight.

use std::collections::BTreeMap;

use crate::round_trips::{Request, in_a_row};
use crate::sample::Sample;

/// What a rollback begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// The alarm's event is put on the event bus.
    Event,
    /// The alarm's state changes. On a laptop somebody looks for that twice a second.
    Alarm,
}

impl Told {
    /// By a request of somebody outside: what functions announce is no alarm.
    fn by(request: &Request) -> Option<Self> {
        match request.operation() {
            _ if !request.function.is_empty() => None,
            "PutEvents" => Some(Self::Event),
            "SetAlarmState" => Some(Self::Alarm),
            _ => None,
        }
    }
}

/// What names a lane, and the digits after it, with which the traces of its requests end.
const LANE: &str = "lane-";
const LANE_DIGITS: usize = 16;
/// Who rolls back.
const FUNCTION: &str = "rollback-trigger";
/// What gives the stable version the traffic.
const EFFECT: &str = "ModifyRule";
/// What may not be left out before it: the decision is stored, and the target fenced.
const INTENT: &str = "TransactWriteItems";

/// Rollbacks of one beginning. All times are in milliseconds.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// What they began with.
    pub told: Told,
    /// From then to the stable weight.
    pub whole: Sample,
    /// From the function's first request to the stable weight.
    pub function: Sample,
    /// The function's time as a multiple of what the decision and the weight alone took in the same run.
    pub ratio: Sample,
    /// AWS requests until the stable weight.
    pub calls: Sample,
    /// Those of them that waited for one another.
    pub in_a_row: Sample,
}

struct Path {
    told: Told,
    whole: f64,
    function: f64,
    bare: f64,
    calls: f64,
    in_a_row: f64,
}

/// Reads a recording.
///
/// # Errors
/// When a line is no request.
pub fn read(recording: &str) -> Result<Vec<Row>, serde_json::Error> {
    let lines = recording.lines().map(serde_json::from_str);
    let requests: Vec<Request> = lines.collect::<Result<_, _>>()?;
    let mut told: BTreeMap<String, (Told, i64)> = BTreeMap::new();
    let mut runs: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    for request in &requests {
        if let (Some(by), Some(lane)) = (Told::by(request), lane(request)) {
            told.insert(lane, (by, request.began_us));
        }
        if request.function.ends_with(FUNCTION) {
            runs.entry(&request.invocation).or_default().push(request);
        }
    }
    let mut paths: BTreeMap<Told, Vec<Path>> = BTreeMap::new();
    for (invocation, run) in runs {
        let lane = told.iter().find(|(lane, _)| invocation.ends_with(*lane));
        if let Some(path) = lane.and_then(|(_, (by, at))| path(*by, *at, &run)) {
            paths.entry(path.told).or_default().push(path);
        }
    }
    Ok(paths.into_iter().filter_map(row).collect())
}

/// The lane that an alarm's name in the request tells; it may be in hexadecimal digits.
fn lane(request: &Request) -> Option<String> {
    let text = match request.body.is_empty() {
        false => request.body.clone(),
        true => readable(&request.body_hex),
    };
    let (_, rest) = text.split_once(LANE)?;
    rest.get(..LANE_DIGITS).map(str::to_owned)
}

/// The text in a body that is written in hexadecimal digits.
fn readable(hex: &str) -> String {
    let pairs = (0..hex.len())
        .step_by(2)
        .filter_map(|at| hex.get(at..at + 2));
    let bytes: Vec<u8> = pairs
        .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `None` for a run that set no weight: another one was faster.
fn path(told: Told, at: i64, run: &[&Request]) -> Option<Path> {
    let first = run.iter().map(|request| request.began_us).min()?;
    let took = |request: &Request| millis(request.ended_us - request.began_us);
    let effect = run.iter().find(|request| request.operation() == EFFECT)?;
    let intent = run.iter().find(|request| request.operation() == INTENT)?;
    let before: Vec<_> = run
        .iter()
        .filter(|request| request.began_us <= effect.began_us)
        .copied()
        .collect();
    Some(Path {
        told,
        whole: millis(effect.ended_us - at),
        function: millis(effect.ended_us - first),
        bare: took(intent) + took(effect),
        calls: f64::from(u32::try_from(before.len()).ok()?),
        in_a_row: in_a_row(&before).into(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "a rollback takes seconds")]
fn millis(micros: i64) -> f64 {
    micros as f64 / 1_000.0
}

fn row((told, paths): (Told, Vec<Path>)) -> Option<Row> {
    let sample = |number: fn(&Path) -> f64| Sample::new(paths.iter().map(number));
    Some(Row {
        told,
        whole: sample(|path| path.whole)?,
        function: sample(|path| path.function)?,
        ratio: sample(|path| path.function / path.bare)?,
        calls: sample(|path| path.calls)?,
        in_a_row: sample(|path| path.in_a_row)?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A request of this function, or of somebody outside.
    fn line(
        (function, job): (&str, &str),
        operation: &str,
        (began, ended): (i64, i64),
        body: &str,
    ) -> String {
        json!({
            "began_us": began * 1_000, "ended_us": ended * 1_000, "service": "any",
            "function": function, "invocation": job, "method": "POST", "uri": "/",
            "headers": {"x-amz-target": format!("Any.{operation}")}, "body": body,
        })
        .to_string()
    }

    #[test]
    fn a_rollback_is_timed_from_its_event_to_the_weight_that_was_answered() {
        let lane = "0000000000000007";
        let (outside, job) = (("", ""), format!("1-6b048d6d-d59d1c1c{lane}"));
        let run = ("penstock-rollback-trigger", job.as_str());
        let announced = ("penstock-announce", "1-6b048d6d-d59d1c1cd59d1c1cd59d1c1c");
        let alarm = format!("alarm lane-{lane}-alarm");
        let lines = [
            line(outside, "PutEvents", (0, 1), &alarm),
            line(run, "Query", (10, 12), ""),
            line(run, "Query", (13, 15), ""),
            line(run, "TransactWriteItems", (16, 18), ""),
            line(run, "DescribeRules", (16, 19), ""),
            line(run, "ModifyRule", (20, 22), ""),
            line(run, "DescribeRules", (23, 25), ""),
            line(
                announced,
                "PutEvents",
                (26, 27),
                &format!("it went back: {alarm}"),
            ),
        ];
        let rows = read(&lines.join("\n")).unwrap();
        let [row] = rows.as_slice() else {
            panic!("one row: {rows:?}");
        };
        assert_eq!(row.told, Told::Event);
        let told = [
            &row.whole,
            &row.function,
            &row.ratio,
            &row.calls,
            &row.in_a_row,
        ];
        assert_eq!(told.map(Sample::median), [22.0, 12.0, 3.0, 5.0, 4.0]);
    }

    #[test]
    fn a_name_is_found_in_hexadecimal_digits_too() {
        assert_eq!(readable("6c616e652d"), "lane-");
        assert_eq!(readable("6c6"), "l");
    }
}
