//! What can go wrong with an AWS request.

use std::collections::BTreeMap;
use std::fmt;

use cli::faults::{Faults, Rule};
use serde_json::{Map, Value, json};

/// An attempt of the functions' SDK ends after 4 s.
const HELD_MS: u64 = 5_000;
/// One more than the SDK tries, so that the first try of the next run meets the fault as well.
const OUTLASTS: u64 = 4;
/// The header with a function's name, and the one with the lane.
const FUNCTION: &str = "x-amz-user-agent";
const LANE: &str = "x-amzn-trace-id";

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It is refused because there are too many.
    Throttled,
    /// The service fails, 500.
    Fails,
    /// It is held, and nobody ever acts on it.
    TimedOut,
    /// The connection is cut before anybody acts.
    Reset,
    /// It is carried out, and the connection is cut before the answer.
    AnswerLost,
}

impl Kind {
    pub const ALL: [Self; 5] = [
        Self::Throttled,
        Self::Fails,
        Self::TimedOut,
        Self::Reset,
        Self::AnswerLost,
    ];

    fn rule(self, service: &str) -> Value {
        match (self, service) {
            (Self::Throttled, "s3") => json!({"error": {"code": "SlowDown", "status": 503}}),
            (Self::Throttled, _) => {
                json!({"error": {"code": "ThrottlingException", "status": 400}})
            }
            (Self::Fails, _) => json!({"error": {"code": "InternalFailure", "status": 500}}),
            (Self::TimedOut, _) => json!({"timeout_ms": HELD_MS}),
            (Self::Reset, _) => json!({"reset": true}),
            (Self::AnswerLost, _) => json!({"response": {"abort_bytes": 0}}),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Throttled => "throttled",
            Self::Fails => "500",
            Self::TimedOut => "timeout",
            Self::Reset => "reset",
            Self::AnswerLost => "answer lost",
        })
    }
}

/// A call that a release makes: the `occurrence`-th of its operation by one function, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub function: String,
    pub service: String,
    pub operation: String,
    pub occurrence: u64,
}

/// A call that fails, once or until the SDK has given it up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    pub call: Call,
    pub kind: Kind,
    pub outlasts: bool,
}

impl Fault {
    /// So many requests in a row fail.
    pub fn times(&self) -> u64 {
        match self.outlasts {
            true => OUTLASTS,
            false => 1,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Call {
            function,
            operation,
            occurrence,
            ..
        } = &self.call;
        let (kind, times) = (self.kind, self.times());
        write!(
            f,
            "{function} {operation} no. {} {kind} x{times}",
            occurrence + 1
        )
    }
}

/// The headers by which requests of one function for one lane are known.
pub fn headers(function: &str, lane: &str) -> BTreeMap<String, String> {
    [
        (FUNCTION, format!("app/penstock-{function}")),
        (LANE, lane.to_owned()),
    ]
    .map(|(name, part)| (name.to_owned(), part))
    .into()
}

/// The rules that make these calls of a lane fail: for each operation, how many pass, how many fail, how
/// many pass again ..
pub fn rules(faults: &[&Fault], lane: &str) -> Vec<Rule> {
    let mut ordered = faults.to_vec();
    ordered.sort();
    let mut rules = Vec::new();
    let mut gone: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for fault in ordered {
        let call = &fault.call;
        let rule = |times, fault: Map<String, Value>| Rule {
            service: Some(call.service.clone()),
            operation: Some(call.operation.clone()),
            headers: headers(&call.function, lane),
            times: Some(times),
            fault,
        };
        let gone = gone.entry((&call.function, &call.operation)).or_default();
        let pass = call.occurrence.saturating_sub(*gone);
        if pass > 0 {
            rules.push(rule(pass, Map::new()));
        }
        let fails = fault.kind.rule(&call.service);
        let fails = fails.as_object().cloned().unwrap_or_default();
        rules.push(rule(fault.times(), fails));
        *gone += pass + fault.times();
    }
    rules
}

/// Rules in force, of which only those that make something fail count.
pub struct InForce(Vec<Vec<u64>>);

impl InForce {
    /// Puts these rules into force at each proxy.
    pub async fn begin(proxies: &[&Faults], rules: &[Rule]) -> anyhow::Result<Self> {
        let mut failing = Vec::new();
        for proxy in proxies {
            let active = proxy.add(rules).await?;
            let fails = active
                .iter()
                .zip(rules)
                .filter(|(_, rule)| !rule.fault.is_empty());
            failing.push(fails.map(|(active, _)| active.id).collect());
        }
        Ok(Self(failing))
    }

    /// How many of them something has met.
    pub async fn met(&self, proxies: &[&Faults]) -> anyhow::Result<usize> {
        let mut met = 0;
        for (proxy, failing) in proxies.iter().zip(&self.0) {
            let rules = proxy.rules().await?;
            let fired = rules
                .iter()
                .filter(|rule| failing.contains(&rule.id) && rule.fired_count > 0);
            met += fired.count();
        }
        Ok(met)
    }
}
