//! Those who decide, one file each.

pub mod alarm;
pub mod argo;
pub mod flagger;
pub mod kayenta;
mod mann_whitney;
pub mod oracle;
pub mod penstock;

use super::release::Decider;
use super::world::Scenario;
use alarm::{Alarm, Breach};
use argo::Argo;
use flagger::Flagger;
use kayenta::Kayenta;
use oracle::Oracle;
use penstock::{Inconclusive, Penstock};

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contender {
    /// Penstock as canary-shift runs it by default: it judges errors.
    Penstock,
    /// Penstock on errors and slowness.
    PenstockSlowness,
    /// Penstock that takes the next step when there were too few requests to tell.
    PenstockGoesOn,
    /// Penstock that has been told the size of a cluster of errors.
    PenstockToldClusters,
    /// Penstock that has been told that errors come in clusters.
    PenstockRobust,
    /// Wald's test, which knows both true rates.
    Oracle,
    /// Kayenta's NetflixACAJudge.
    Kayenta,
    /// Flagger.
    Flagger,
    /// Argo Rollouts.
    Argo,
    /// CodeDeploy with an alarm on the error rate.
    AlarmOnRate,
    /// CodeDeploy with the alarm of SAM's example.
    AlarmOnErrors,
}

impl Contender {
    /// Those of the main comparison.
    pub const MAIN: [Self; 8] = [
        Self::Penstock,
        Self::PenstockSlowness,
        Self::Kayenta,
        Self::Flagger,
        Self::Argo,
        Self::AlarmOnRate,
        Self::AlarmOnErrors,
        Self::Oracle,
    ];

    /// For a heading.
    pub fn name(self) -> &'static str {
        match self {
            Self::Penstock => "Penstock",
            Self::PenstockSlowness => "and slowness",
            Self::PenstockGoesOn => "go-on",
            Self::PenstockToldClusters => "size told",
            Self::PenstockRobust => "robust",
            Self::Oracle => "oracle",
            Self::Kayenta => "Kayenta",
            Self::Flagger => "Flagger",
            Self::Argo => "Argo",
            Self::AlarmOnRate => "alarm >1%",
            Self::AlarmOnErrors => "alarm >0",
        }
    }

    /// One who is about to begin the release of this seed.
    pub fn begin(self, scenario: &Scenario, seed: u64) -> Box<dyn Decider> {
        let penstock = |config, inconclusive| Box::new(Penstock::new(config, inconclusive));
        let wait = Inconclusive::Wait;
        match self {
            Self::Penstock => penstock(penstock::by_default(), wait),
            Self::PenstockSlowness => penstock(penstock::with_slowness(), wait),
            Self::PenstockGoesOn => penstock(penstock::by_default(), Inconclusive::GoOn),
            Self::PenstockToldClusters => penstock(penstock::clusters_of(scenario.cluster), wait),
            Self::PenstockRobust => penstock(penstock::robust(), wait),
            Self::Oracle => Box::new(Oracle::new(scenario, seed)),
            Self::Kayenta => Box::new(Kayenta::default()),
            Self::Flagger => Box::new(Flagger::default()),
            Self::Argo => Box::new(Argo::default()),
            Self::AlarmOnRate => Box::new(Alarm::new(Breach::Rate(0.01))),
            Self::AlarmOnErrors => Box::new(Alarm::new(Breach::AnyError)),
        }
    }
}

/// Minutes written down by hand.
#[cfg(test)]
mod script {
    use crate::judge::release::{Decider, Ending};
    use crate::judge::world::{Arm, Minute};

    pub fn arm(count: u64, errors: u64) -> Arm {
        Arm {
            count,
            errors,
            ..Arm::default()
        }
    }

    /// What a decider says after each of these minutes of the canary.
    pub fn endings(decider: &mut dyn Decider, canary: &[Arm]) -> Vec<Option<Ending>> {
        let minutes = canary.iter().zip(1..);
        minutes
            .map(|(canary, number)| {
                decider.look(&Minute {
                    number,
                    canary: *canary,
                    baseline: arm(100_000, 10),
                })
            })
            .collect()
    }
}
