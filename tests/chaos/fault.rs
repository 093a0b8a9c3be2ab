//! What can go wrong with an AWS request.

use std::collections::BTreeMap;
use std::fmt;

use cli::faults::{Faults, Rule};
use fastrand::Rng;
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

/// What every trace has: for requests that are of no release in particular, or of any.
pub const ANY: &str = "Root=";
/// So many requests of a kind pass from one fault to the next.
const BETWEEN: std::ops::Range<u64> = 0..3;

/// Each of these calls of a function, by service and operation, fails in each way, once and until the
/// SDK gives it up, one after the other.
pub fn each_way(function: &str, calls: &[(&str, &str)], rng: &mut Rng) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (service, operation) in calls {
        let mut kinds = Kind::ALL.map(|kind| [(kind, false), (kind, true)]).concat();
        rng.shuffle(&mut kinds);
        let mut occurrence = 0;
        for (kind, outlasts) in kinds {
            occurrence += rng.u64(BETWEEN);
            let call = Call {
                function: function.to_owned(),
                service: (*service).to_owned(),
                operation: (*operation).to_owned(),
                occurrence,
            };
            let fault = Fault {
                call,
                kind,
                outlasts,
            };
            occurrence += fault.times();
            faults.push(fault);
        }
    }
    faults
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

    /// Ends all that was set for this function and lane; how many of them something has met.
    pub async fn end(
        self,
        proxies: &[&Faults],
        function: &str,
        lane: &str,
    ) -> anyhow::Result<usize> {
        let met = self.met(proxies).await?;
        for proxy in proxies {
            proxy.remove(&headers(function, lane)).await?;
        }
        Ok(met)
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
