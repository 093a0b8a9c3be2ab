//! Who bets: panels of experts, each with a belief and a mass of the prior.

/// One expert of a panel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expert {
    /// What it believes: a relative risk above 1, or in robust mode the part of its fortune that
    /// it stakes on each window.
    pub(crate) belief: f64,
    /// Its weight in the prior, in any unit; see [`log_masses`].
    mass: f64,
}

const fn expert(belief: f64, mass: f64) -> Expert {
    Expert { belief, mass }
}

/// Relative risks of failing: an outage multiplies a small rate by a thousand.
const ERRORS: [Expert; 8] = [
    expert(1.5, 6.0),
    expert(2.0, 6.0),
    expert(3.0, 5.0),
    expert(5.0, 4.0),
    expert(10.0, 3.0),
    expert(30.0, 2.0),
    expert(100.0, 1.4),
    expert(1000.0, 1.0),
];

/// Relative risks of being slow: the thresholds are percentiles, so even if every request were
/// slow, the risk of passing p90 would grow tenfold only.
const SLOWNESS: [Expert; 6] = [
    expert(1.25, 4.0),
    expert(1.5, 4.0),
    expert(2.0, 4.0),
    expert(3.0, 3.0),
    expert(5.0, 2.0),
    expert(10.0, 1.0),
];

/// Stakes for robust mode, all below 1 so that no window can ruin an expert.
const STAKES: [Expert; 7] = [
    expert(0.05, 1.0),
    expert(0.1, 1.0),
    expert(0.2, 1.0),
    expert(0.4, 1.0),
    expert(0.6, 1.0),
    expert(0.8, 1.0),
    expert(0.95, 1.0),
];

/// Metrics whose name begins so count slow requests; all others count errors.
const SLOWNESS_PREFIX: &str = "slow";

/// The panel of relative risks for the metric of this name.
pub(crate) fn risks(metric: &str) -> &'static [Expert] {
    if metric.starts_with(SLOWNESS_PREFIX) {
        &SLOWNESS
    } else {
        &ERRORS
    }
}

/// The panel for robust mode, of stakes instead of risks.
pub(crate) fn stakes() -> &'static [Expert] {
    &STAKES
}

/// The log of each expert's mass, once the masses of the panel sum to 1.
pub(crate) fn log_masses(panel: &[Expert]) -> impl Iterator<Item = f64> {
    let total: f64 = panel.iter().map(|expert| expert.mass).sum();
    panel.iter().map(move |expert| (expert.mass / total).ln())
}
