//! What the judge itself costs, against others that do as much in the same run.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use anyhow::Context;
use bench::judge::deciders::kayenta::Kayenta;
use bench::judge::deciders::penstock::{metrics, observe, with_slowness};
use bench::judge::ladder::PLANNED_MINUTES;
use bench::judge::world::{Minute, Scenario};
use bench::sample::Sample;
use serde::Deserialize;
use serde_json::{Value, json};
use stats::{Counts, Judge, JudgeConfig};

/// Rounds, in each of which all take their turn.
const ROUNDS: u32 = 301;
/// Releases judged in each turn: few, so that most turns are not interrupted by the system.
const RELEASES: u32 = 3;
/// The canary's part of the requests.
const WEIGHT: f64 = 0.05;

/// Of the judge on three metrics, for one window of all three.
#[derive(Debug)]
pub struct Cost {
    /// Nanoseconds: the median of the rounds.
    pub nanoseconds: f64,
    /// As a multiple of reading the window's counts from JSON.
    pub of_json: f64,
    /// As a multiple of Kayenta's look at the windows so far.
    pub of_kayenta: f64,
    /// Calls of the allocator.
    pub allocations: f64,
    /// Its state after a release, as JSON.
    pub state_bytes: usize,
    /// How many numbers that is.
    pub state_numbers: usize,
}

/// Both arms of a metric in one window, as the log has them.
#[derive(Debug, Deserialize)]
struct Arms {
    canary: Counts,
    baseline: Counts,
}

/// Measures it.
pub fn measure() -> anyhow::Result<Cost> {
    let config = with_slowness();
    let scenario = Scenario::calm(100.0, 0.001);
    let minutes: Vec<Minute> = (1..=PLANNED_MINUTES)
        .map(|number| scenario.minute(1, number, WEIGHT))
        .collect();
    let lines: Vec<String> = minutes.iter().map(line).collect();
    let mut times: [Vec<f64>; 3] = Default::default();
    for _ in 0..ROUNDS {
        times[0].push(nanoseconds(|| _ = black_box(judged(&config, &minutes))));
        times[1].push(nanoseconds(|| read(&lines)));
        times[2].push(nanoseconds(|| looked(&minutes)));
    }
    let [judge, json, kayenta] = times;
    let of = |others: &[f64]| Sample::of_ratios(&judge, others).map(|ratios| ratios.median());
    let state = serde_json::to_value(judged(&config, &minutes))?;
    Ok(Cost {
        of_json: of(&json).context("no rounds")?,
        of_kayenta: of(&kayenta).context("no rounds")?,
        nanoseconds: Sample::new(judge).context("no rounds")?.median(),
        allocations: allocations(&config, &minutes),
        state_bytes: state.to_string().len(),
        state_numbers: numbers(&state),
    })
}

/// Of one window.
fn nanoseconds(release: impl Fn()) -> f64 {
    let began = Instant::now();
    (0..RELEASES).for_each(|_| release());
    let windows = f64::from(RELEASES) * f64::from(PLANNED_MINUTES);
    began.elapsed().as_secs_f64() * 1e9 / windows
}

/// A judge who has seen all minutes, and was asked after each.
fn judged(config: &JudgeConfig, minutes: &[Minute]) -> Judge {
    let mut judge = Judge::new(config);
    for minute in minutes {
        black_box(observe(&mut judge, config, minute));
    }
    judge
}

/// Kayenta, asked after each minute about all so far.
fn looked(minutes: &[Minute]) {
    let mut kayenta = Kayenta::default();
    for minute in minutes {
        kayenta.record(minute);
        black_box(kayenta.judge());
    }
}

fn read(lines: &[String]) {
    for line in lines {
        let window: Result<BTreeMap<String, Arms>, _> = serde_json::from_str(line);
        let window = window.expect("it was written by `line`");
        for arms in window.values() {
            black_box((arms.canary, arms.baseline));
        }
    }
}

/// A window as it is stored.
fn line(minute: &Minute) -> String {
    let arms = metrics(minute)
        .map(|(name, canary, baseline)| (name, json!({ "canary": canary, "baseline": baseline })));
    json!(BTreeMap::from(arms)).to_string()
}

fn allocations(config: &JudgeConfig, minutes: &[Minute]) -> f64 {
    let mut judge = Judge::new(config);
    let counted = allocation_counter::measure(|| {
        for minute in minutes {
            black_box(observe(&mut judge, config, minute));
        }
    });
    counted.count_total as f64 / f64::from(PLANNED_MINUTES)
}

/// Numbers anywhere in the value.
fn numbers(value: &Value) -> usize {
    match value {
        Value::Number(_) => 1,
        Value::Array(values) => values.iter().map(numbers).sum(),
        Value::Object(fields) => fields.values().map(numbers).sum(),
        Value::Null | Value::Bool(_) | Value::String(_) => 0,
    }
}
