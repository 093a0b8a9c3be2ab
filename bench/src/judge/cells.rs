//! Which scenarios are simulated.

use super::world::{Harm, Scenario, Weather};

/// A scenario and what it is called in a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// For people.
    pub name: String,
    /// The law of its traffic.
    pub scenario: Scenario,
}

/// The traffic and base error rate at which most harms are compared.
const USUAL: Scenario = Scenario::calm(100.0, 0.001);
/// How many errors come together where they come in clusters.
const CLUSTER: u32 = 10;
/// The first bad minute of a late leak: one planned minute into the third step.
const LEAK_SINCE: u32 = 12;

fn cell(name: &str, scenario: Scenario) -> Cell {
    let rps = scenario.requests_per_second;
    let base = 100.0 * scenario.base;
    Cell {
        name: format!("{name}, {rps} rps, {base} %"),
        scenario,
    }
}

fn does(harm: Harm, scenario: Scenario) -> Scenario {
    Scenario { harm, ..scenario }
}

/// Versions that do no harm, and must not be rolled back.
pub fn good() -> Vec<Cell> {
    let under = |weather, scenario| Scenario {
        weather,
        ..scenario
    };
    let mut cells = Vec::new();
    for rps in [10.0, 100.0, 1000.0] {
        for base in [0.0001, 0.001, 0.01] {
            cells.push(cell("same version", Scenario::calm(rps, base)));
        }
    }
    for scenario in [USUAL, Scenario::calm(1000.0, 0.001)] {
        cells.push(cell("drift of both", under(Weather::Drift, scenario)));
        cells.push(cell("bursts in both", under(Weather::Bursts, scenario)));
    }
    cells
}

/// Versions that do harm, and must be rolled back.
pub fn bad() -> Vec<Cell> {
    let times = Harm::Times;
    let leak = Scenario {
        since: LEAK_SINCE,
        ..does(times(5.0), USUAL)
    };
    vec![
        cell("x1.5", does(times(1.5), USUAL)),
        cell("x1.5", does(times(1.5), Scenario::calm(1000.0, 0.001))),
        cell("x2", does(times(2.0), USUAL)),
        cell("x2", does(times(2.0), Scenario::calm(1000.0, 0.001))),
        cell("x5", does(times(5.0), Scenario::calm(10.0, 0.001))),
        cell("x5", does(times(5.0), Scenario::calm(100.0, 0.0001))),
        cell("x5", does(times(5.0), USUAL)),
        cell("x5", does(times(5.0), Scenario::calm(100.0, 0.01))),
        cell("x5", does(times(5.0), Scenario::calm(1000.0, 0.001))),
        cell("+1 point", does(Harm::Plus(0.01), USUAL)),
        cell("+10 points", does(Harm::Plus(0.1), USUAL)),
        cell("outage", does(Harm::Outage, Scenario::calm(10.0, 0.001))),
        cell("outage", does(Harm::Outage, USUAL)),
        cell("slow", does(Harm::Slow, USUAL)),
        cell("very slow", does(Harm::VerySlow, USUAL)),
        cell("x5 from minute 12", leak),
    ]
}

/// Errors that come in clusters, each in one arm: a good version, and two that do harm.
pub fn clustered() -> Vec<Cell> {
    let clustered = |harm, rps| Scenario {
        cluster: CLUSTER,
        ..does(harm, Scenario::calm(rps, 0.001))
    };
    vec![
        cell("same version", clustered(Harm::None, 100.0)),
        cell("same version", clustered(Harm::None, 1000.0)),
        cell("x5", clustered(Harm::Times(5.0), 100.0)),
        cell("outage", clustered(Harm::Outage, 100.0)),
    ]
}

/// One request a second: 3 requests to the canary in the first five minutes.
pub fn little_traffic() -> Vec<Cell> {
    let few = Scenario::calm(1.0, 0.001);
    vec![
        cell("same version", few),
        cell("+10 points", does(Harm::Plus(0.1), few)),
        cell("outage", does(Harm::Outage, few)),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn good_versions_do_no_harm_and_bad_ones_do() {
        assert!(good().iter().all(|cell| cell.scenario.harm == Harm::None));
        assert!(bad().iter().all(|cell| cell.scenario.harm != Harm::None));
    }

    #[test]
    fn no_two_rows_of_a_table_have_one_name() {
        for cells in [good(), bad(), clustered(), little_traffic()] {
            let names: BTreeSet<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
            assert_eq!(names.len(), cells.len());
        }
    }
}
