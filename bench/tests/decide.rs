//! The simulated Penstock is the real one: minute by minute it gives the canary the weight that
//! `release::decide` gives it, and ends as and when that ends.

use std::collections::{BTreeMap, BTreeSet};

use bench::judge::deciders::Contender;
use bench::judge::deciders::penstock::{by_default, clusters_of, metrics, robust, with_slowness};
use bench::judge::release::{Decider, Ending, Outcome, carry_out};
use bench::judge::world::{Harm, Minute, Scenario, Weather};
use jiff::{SignedDuration, Timestamp};
use release::config::Config;
use release::{
    ArmCounts, Arms, Effect, Event, Head, Live, Observation, Phase, Reason, Release, ReleaseId,
    Started, Weight, Window, decide,
};

/// The ladder of the simulation. Its minutes are settled at once; all else is the default.
const CONFIG: &str = "
version: 1
releases:
  web:
    target:
      alb-rule:
        rule: arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/shop/1/2/3
        target-groups:
          - arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/blue/1
          - arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/green/2
    steps:
      - set-weight: 1%
      - judge: {windows: 5}
      - set-weight: 5%
      - judge: {windows: 5}
      - set-weight: 25%
      - judge: {windows: 10}
      - set-weight: 50%
      - judge: {windows: 10}
      - set-weight: 100%
    settle: 0s
";
/// What `metrics` is for each variant of the simulation.
const DEFAULT: &str = "";
const SLOWNESS: &str = "    metrics: {errors: {}, slow:p90: {}, slow:p99: {}}";
const CLUSTERS: &str = "    metrics: {errors: {cluster-size: 10}}";
const ROBUST: &str = "    metrics: {errors: {cluster-size: unknown}}";

/// Releases of each scenario.
const RELEASES: u64 = 40;
/// More than the events of one minute: a step done, the next weight, and that it was performed.
const ROUNDS_MAX: usize = 10;

/// A release carried out by `release::decide`.
struct Production {
    head: Head<Option<Release>>,
    now: Timestamp,
}

impl Production {
    fn new(metrics: &str) -> Self {
        let config = Config::parse(&format!("{CONFIG}{metrics}\n")).unwrap();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let begun = Event::Started(Box::new(Started {
            at: now,
            release: ReleaseId::for_job("web", "1").unwrap(),
            execution: None,
            pipeline: None,
            plan: config.release(Some("web")).unwrap().1.clone(),
            arms: Arms {
                stable: "blue".to_owned(),
                candidate: "green".to_owned(),
            },
            alarms_firing: BTreeSet::new(),
            images: Default::default(),
            warnings: Vec::new(),
            slower_than: BTreeMap::new(),
            judge: None,
        }));
        let mut production = Self {
            head: Head::default().after(&[begun]),
            now,
        };
        production.drive(Vec::new());
        production
    }

    fn release(&self) -> &Release {
        self.head.state.as_ref().unwrap()
    }

    /// Decides and performs until there is nothing to do but wait.
    fn drive(&mut self, windows: Vec<Window>) {
        let mut windows = Some(windows);
        for _ in 0..ROUNDS_MAX {
            let seen = Observation {
                now: self.now,
                windows: Some(windows.take().unwrap_or_default()),
                alarms: Some(BTreeSet::new()),
                live: Some(Live {
                    weight: self.release().weight,
                    stable_healthy: 1,
                    candidate_healthy: 1,
                    candidate_ready: true,
                }),
                ..Observation::at(self.now)
            };
            let decided = decide(self.release(), &seen).events;
            if decided.is_empty() {
                return;
            }
            self.head = self.head.after(&decided);
            self.perform();
        }
        panic!("a minute has more events than it can have");
    }

    fn perform(&mut self) {
        if let Some(effect) = self.release().intended {
            let performed = Event::Performed {
                at: self.now,
                generation: self.release().generation,
                effect,
            };
            self.head = self.head.after(&[performed]);
        }
    }

    fn ending(&self) -> Option<Ending> {
        let release = self.release();
        match release.phase {
            Phase::Promoted => Some(Ending::Promoted),
            // What follows once the traffic is back is proof, and serves no request.
            Phase::Shifting | Phase::RollingBack if !release.is_back() => None,
            Phase::Shifting | Phase::RollingBack | Phase::RolledBack => {
                let looked_worse = matches!(release.because, Some(Reason::Regression { .. }));
                Some(match looked_worse {
                    true => Ending::RolledBack,
                    false => Ending::GaveUp,
                })
            }
        }
    }
}

impl Decider for Production {
    fn weight(&self) -> f64 {
        f64::from(self.release().weight.basis_points()) / 10_000.0
    }

    fn look(&mut self, minute: &Minute) -> Option<Ending> {
        let counts = metrics(minute).into_iter();
        let window = Window {
            start: self.now,
            metrics: counts
                .map(|(name, canary, baseline)| (name.to_owned(), ArmCounts { canary, baseline }))
                .collect(),
        };
        self.now += SignedDuration::from_mins(1);
        self.drive(vec![window]);
        self.ending()
    }
}

/// A decider whose weights are written down.
struct Traced<'a> {
    decider: &'a mut dyn Decider,
    weights: Vec<f64>,
}

impl Decider for Traced<'_> {
    fn weight(&self) -> f64 {
        self.decider.weight()
    }

    fn look(&mut self, minute: &Minute) -> Option<Ending> {
        self.weights.push(self.decider.weight());
        self.decider.look(minute)
    }
}

fn traced(decider: &mut dyn Decider, scenario: &Scenario, seed: u64) -> (Outcome, Vec<f64>) {
    let mut traced = Traced {
        decider,
        weights: Vec::new(),
    };
    let outcome = carry_out(&mut traced, scenario, seed);
    (outcome, traced.weights)
}

#[test]
fn the_simulated_penstock_does_what_the_real_one_does() {
    let usual = Scenario::calm(100.0, 0.001);
    let scenarios = [
        usual,
        Scenario::calm(0.0, 0.001),
        Scenario::calm(1.0, 0.001),
        Scenario::calm(10.0, 0.01),
        Scenario {
            weather: Weather::Bursts,
            ..usual
        },
        Scenario {
            harm: Harm::Times(2.0),
            ..usual
        },
        Scenario {
            cluster: 10, // doubts that hold a step
            ..usual
        },
    ];
    let variants = [
        (Contender::Penstock, DEFAULT),
        (Contender::PenstockSlowness, SLOWNESS),
    ];
    let mut endings = Vec::new();
    for (contender, metrics) in variants {
        for (scenario, seed) in scenarios
            .iter()
            .flat_map(|s| (0..RELEASES).map(move |r| (s, r)))
        {
            let mut simulated = contender.begin(scenario, seed);
            let simulated = traced(simulated.as_mut(), scenario, seed);
            let real = traced(&mut Production::new(metrics), scenario, seed);
            assert_eq!(simulated, real, "{contender:?}, {scenario:?}, seed {seed}");
            endings.push(real.0.ending);
        }
    }
    for ending in [Ending::Promoted, Ending::RolledBack, Ending::GaveUp] {
        assert!(endings.contains(&ending), "{ending:?} was never reached");
    }
}

#[test]
fn the_simulated_judge_judges_as_the_real_one_does() {
    for (metrics, simulated) in [
        (DEFAULT, by_default()),
        (SLOWNESS, with_slowness()),
        (CLUSTERS, clusters_of(10)),
        (ROBUST, robust()),
    ] {
        let mut real = Production::new(metrics).release().judge_config();
        // A plan writes down what the judge takes for granted.
        real.r0_of.retain(|_, ratio| *ratio != real.r0);
        real.eta.retain(|_, eta| *eta != 1.0);
        assert_eq!(simulated, real, "{metrics}");
    }
}

#[test]
fn an_intended_weight_is_performed_at_once() {
    let production = Production::new(DEFAULT);
    let one_per_cent = Weight::from_basis_points(100).unwrap();
    assert_eq!(production.release().weight, one_per_cent);
    assert_eq!(production.release().intended, None::<Effect>);
}
