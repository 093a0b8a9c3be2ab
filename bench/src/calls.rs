//! The AWS calls of jobs, read from what the functions logged into the emulator's log.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::sample::Sample;

/// What the functions' names begin with: the name of the stack and a hyphen.
const STACK: &str = "penstock-";

/// What a job was there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It began something and ended it.
    StartsAndEnds,
    /// It began something that goes on.
    Starts,
    /// It looked, and left the traffic as it was.
    Watches,
    /// It moved traffic, and there is more to come.
    Shifts,
    /// It gave the action's last answer.
    Ends,
    /// Not a job but all jobs of one action's work, such as a release.
    Whole,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::StartsAndEnds => "starts and ends",
            Self::Starts => "starts",
            Self::Watches => "watches",
            Self::Shifts => "shifts",
            Self::Ends => "ends",
            Self::Whole => "all of its jobs",
        })
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One run of a function that answered its job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Such as `canary-shift`.
    pub function: String,
    /// The release, or whatever else the action's jobs have in common.
    pub release: String,
    /// What the job was there for.
    pub kind: Kind,
    /// Requests to AWS, retries and the answer included.
    pub calls: u32,
}

/// What a log tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// The runs that answered, in order.
    pub answered: Vec<Run>,
    /// Jobs that began and were not answered before the log ended, so nobody knows their calls.
    pub unanswered: usize,
}

/// A line of a function's log that matters here.
#[derive(Deserialize)]
#[serde(tag = "message")]
enum Said {
    #[serde(rename = "job begins")]
    Begins { continued: bool, span: Span },
    #[serde(rename = "weight set")]
    WeightSet { span: Span },
    #[serde(rename = "job answered", alias = "job was closed already")]
    Answered {
        answer: Answer,
        aws_calls: u32,
        span: Span,
    },
}

#[derive(Deserialize)]
struct Span {
    job: String,
    release: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Answer {
    Continue,
    Succeed,
    Fail,
}

/// What a job has done until now.
struct Open {
    continued: bool,
    shifted: bool,
}

impl Open {
    fn kind(&self, answer: Answer) -> Kind {
        match (answer, self.continued, self.shifted) {
            (Answer::Continue, false, _) => Kind::Starts,
            (Answer::Continue, true, true) => Kind::Shifts,
            (Answer::Continue, true, false) => Kind::Watches,
            (Answer::Succeed | Answer::Fail, false, _) => Kind::StartsAndEnds,
            (Answer::Succeed | Answer::Fail, true, _) => Kind::Ends,
        }
    }
}

/// Reads the emulator's log: a line that names the function, then what one run of it logged.
pub fn read(log: &str) -> Runs {
    let mut function = None;
    let mut open = HashMap::new();
    let mut answered = Vec::new();
    for line in log.lines() {
        function = function_named_in(line).or(function);
        match serde_json::from_str(line) {
            Ok(Said::Begins { continued, span }) => {
                let begun = Open {
                    continued,
                    shifted: false,
                };
                open.insert(span.job, begun);
            }
            Ok(Said::WeightSet { span }) => {
                open.entry(span.job).and_modify(|job| job.shifted = true);
            }
            Ok(Said::Answered {
                answer,
                aws_calls,
                span,
            }) => {
                if let (Some(job), Some(function)) = (open.remove(&span.job), function) {
                    answered.push(Run {
                        function: function.to_owned(),
                        release: span.release,
                        kind: job.kind(answer),
                        calls: aws_calls,
                    });
                }
            }
            Err(_other_lines) => {}
        }
    }
    Runs {
        answered,
        unanswered: open.len(),
    }
}

/// The function in a line like `.. INFO [lambda] Lambda penstock-test-gate async output (attempt 1):`.
fn function_named_in(line: &str) -> Option<&str> {
    let (_, named) = line.split_once(" [lambda] Lambda ")?;
    let (name, _) = named.split_once(" async output ")?;
    Some(name.strip_prefix(STACK).unwrap_or(name))
}

/// One row of the table: the calls of a function's jobs of one kind.
#[derive(Debug, PartialEq, Serialize)]
pub struct Row {
    /// The function.
    pub function: String,
    /// The kind of its jobs.
    pub jobs: Kind,
    /// How many there were.
    pub runs: usize,
    /// The fewest calls of one of them.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The most.
    pub max: f64,
}

/// Each function's calls by kind of job, and for the whole of its work.
pub fn count(runs: &[Run]) -> Vec<Row> {
    let mut whole: BTreeMap<_, u32> = BTreeMap::new();
    let mut calls: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for run in runs {
        *whole.entry((&run.function, &run.release)).or_default() += run.calls;
        calls
            .entry((&run.function, run.kind))
            .or_default()
            .push(run.calls);
    }
    for ((function, _), sum) in whole {
        calls.entry((function, Kind::Whole)).or_default().push(sum);
    }
    let row = |((function, jobs), calls): ((&String, Kind), Vec<u32>)| {
        let calls = Sample::new(calls.into_iter().map(f64::from))?;
        Some(Row {
            function: function.clone(),
            jobs,
            runs: calls.count(),
            min: calls.min(),
            median: calls.median(),
            max: calls.max(),
        })
    };
    calls.into_iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CANARY: &str =
        "2026-01-01 INFO [lambda] Lambda penstock-canary-shift async output (attempt 1):";

    fn span(job: &str) -> serde_json::Value {
        json!({"job": job, "release": "web-1", "name": "job"})
    }

    fn begins(job: &str, continued: bool) -> String {
        json!({"message": "job begins", "continued": continued, "span": span(job)}).to_string()
    }

    fn weight_set(job: &str) -> String {
        json!({"message": "weight set", "weight": "5%", "span": span(job)}).to_string()
    }

    fn answered(job: &str, answer: &str, calls: u32) -> String {
        json!({"message": "job answered", "answer": answer, "aws_calls": calls, "span": span(job)})
            .to_string()
    }

    fn log(lines: &[String]) -> String {
        format!("{CANARY}\n{}\n", lines.join("\n"))
    }

    #[test]
    fn a_job_is_what_it_did_and_what_it_answered() {
        for (continued, shifts, answer, kind) in [
            (false, true, "continue", Kind::Starts),
            (true, false, "continue", Kind::Watches),
            (true, true, "continue", Kind::Shifts),
            (true, true, "succeed", Kind::Ends),
            (true, false, "fail", Kind::Ends),
            (false, false, "fail", Kind::StartsAndEnds),
        ] {
            let mut lines = vec![begins("a", continued)];
            lines.extend(shifts.then(|| weight_set("a")));
            lines.push(answered("a", answer, 5));
            let run = Run {
                function: "canary-shift".into(),
                release: "web-1".into(),
                kind,
                calls: 5,
            };
            let expected = Runs {
                answered: vec![run],
                unanswered: 0,
            };
            assert_eq!(
                read(&log(&lines)),
                expected,
                "{continued} {shifts} {answer}"
            );
        }
    }

    #[test]
    fn jobs_between_each_other_keep_their_own_deeds() {
        let runs = read(&log(&[
            begins("a", true),
            begins("b", true),
            weight_set("b"),
            answered("a", "continue", 1),
            answered("b", "continue", 2),
        ]));
        let kinds: Vec<_> = runs
            .answered
            .iter()
            .map(|run| (run.kind, run.calls))
            .collect();
        assert_eq!(kinds, [(Kind::Watches, 1), (Kind::Shifts, 2)]);
    }

    #[test]
    fn a_duplicate_delivery_is_a_run_of_its_own() {
        let closed = answered("a", "continue", 2).replace("job answered", "job was closed already");
        let lines = [
            begins("a", false),
            answered("a", "continue", 9),
            begins("a", false),
            closed,
        ];
        let calls: Vec<_> = read(&log(&lines))
            .answered
            .iter()
            .map(|run| run.calls)
            .collect();
        assert_eq!(calls, [9, 2]);
    }

    #[test]
    fn a_job_without_an_answer_is_not_passed_over() {
        let runs = read(&log(&[
            "no json".into(),
            "{\"gate\":1}".into(),
            begins("a", true),
        ]));
        assert_eq!(
            runs,
            Runs {
                answered: vec![],
                unanswered: 1
            }
        );
    }

    #[test]
    fn the_calls_of_a_release_are_those_of_all_its_jobs() {
        let run = |release: &str, kind, calls| Run {
            function: "canary-shift".into(),
            release: release.into(),
            kind,
            calls,
        };
        let rows = count(&[
            run("one", Kind::Starts, 10),
            run("one", Kind::Watches, 4),
            run("one", Kind::Watches, 5),
            run("two", Kind::Starts, 12),
            run("two", Kind::Ends, 8),
        ]);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.jobs, row.runs, row.min, row.median, row.max))
            .collect();
        assert_eq!(
            told,
            [
                (Kind::Starts, 2, 10.0, 11.0, 12.0),
                (Kind::Watches, 2, 4.0, 4.5, 5.0),
                (Kind::Ends, 1, 8.0, 8.0, 8.0),
                (Kind::Whole, 2, 19.0, 19.5, 20.0),
            ]
        );
    }
}
