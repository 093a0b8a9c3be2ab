//! Many experts as one fortune, with a reserve for those who start late.

use serde::{Deserialize, Serialize};

use crate::experts::{Expert, log_masses};
use crate::logspace::{log_add, log_sum};

/// The fortune of a panel: an e-process, in log space.
///
/// It starts at 1. A part of it is bet from the first window on, the rest waits in reserve, and
/// each window draws the same fraction of the reserve into new bets. So whenever a release turns
/// bad, part of the fortune has not yet been lost on the good time before.
///
/// An average of fortunes that are not expected to grow is not expected to grow.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Wealth {
    /// ln A_k: what each expert of the panel owns.
    experts: Vec<f64>,
    /// ln R: what is not yet bet.
    reserve: f64,
}

impl Wealth {
    /// The fortune 1, of which the part `pi0` (0 to 1, both exclusive) is bet at once.
    pub(crate) fn new(panel: &[Expert], pi0: f64) -> Self {
        Self {
            experts: log_masses(panel).map(|mass| pi0.ln() + mass).collect(),
            reserve: (-pi0).ln_1p(),
        }
    }

    /// One window: draw the part `hazard` (0 to 1, 1 excluded) of the reserve, share it among the
    /// panel, and let every expert bet. `log_growth` tells what the window does to a belief.
    pub(crate) fn bet(&mut self, panel: &[Expert], hazard: f64, log_growth: impl Fn(f64) -> f64) {
        let drawn = self.reserve + hazard.ln();
        let masses = log_masses(panel);
        for ((wealth, expert), mass) in self.experts.iter_mut().zip(panel).zip(masses) {
            *wealth = log_add(*wealth, mass + drawn) + log_growth(expert.belief);
        }
        self.reserve += (-hazard).ln_1p();
    }

    /// ln E: everything owned, bet or not.
    pub(crate) fn log_e(&self) -> f64 {
        log_add(log_sum(self.experts.iter().copied()), self.reserve)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experts::risks;

    #[test]
    fn a_window_that_says_nothing_changes_no_total() {
        let panel = risks("errors");
        let mut wealth = Wealth::new(panel, 0.6);
        assert!(wealth.log_e().abs() < 1e-12);
        for _ in 0..100 {
            wealth.bet(panel, 0.05, |_| 0.0);
        }
        assert!(wealth.log_e().abs() < 1e-12, "{}", wealth.log_e());
    }

    #[test]
    fn the_reserve_catches_a_late_regression() {
        let panel = risks("errors");
        let log_e_after_good_then_bad = |hazard| {
            let mut wealth = Wealth::new(panel, 0.6);
            (0..50).for_each(|_| wealth.bet(panel, hazard, |_| -1.0));
            (0..10).for_each(|_| wealth.bet(panel, hazard, |_| 1.0));
            wealth.log_e()
        };
        assert!(log_e_after_good_then_bad(0.0) < 0.0);
        assert!(log_e_after_good_then_bad(0.05) > 1.0);
    }
}
