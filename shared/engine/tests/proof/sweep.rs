//! The fault sweep: every port call of whole releases is broken in every way, and the outside
//! world must end as it would have ended without the fault. Then each rule of the protocol is
//! broken, and the same sweep must notice.

use std::collections::{BTreeMap, BTreeSet};

use engine::fakes::{FENCE_SLACK, Fault, Mutant, Run, World};
use engine::{AppendError, Class, Invocation, begin, drive, roll_back};
use futures::FutureExt;
use jiff::SignedDuration;
use release::config::{
    AlbRule, JudgePolicy, Metrics, Plan, Policy, RollbackPolicy, Step, TargetSpec,
};
use release::{Arms, Head, JobReply, Outcome, Reason, Release, ReleaseId, Started, Token, Weight};
use serde_json::json;

/// How long a function may run; its fence lasts as long.
const LIFE: SignedDuration = SignedDuration::from_secs(20);
/// From one job to the next.
const PAUSE: SignedDuration = SignedDuration::from_secs(2);
/// A release that has not ended by then never will.
const TICKS_MAX: usize = 200;
/// The tick before which the alarm fires.
const ALARM_TICK: usize = 2;

#[derive(Debug, Clone, Copy)]
struct Scenario {
    name: &'static str,
    candidate_fails: f64,
    alarm: bool,
    rival: Rival,
    /// Whether it puts the candidate up, shows it to test traffic, and takes one side down at its end.
    deploys: bool,
    /// What goes along with it.
    company: Company,
    ends: Ends,
}

/// What goes along with a release.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Company {
    None,
    /// Deployments alongside, and a stage that is closed.
    Closes,
    /// Deployments alongside, and a stage that is rolled back.
    RollsBack,
}

/// How the release must have ended, whatever was broken.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ends {
    As(Outcome),
    /// Either way, as long as world, log and answer agree.
    Consistently,
}

#[derive(Debug, Clone, Copy)]
enum Rival {
    /// The same job is delivered twice.
    Duplicate,
    /// The run is frozen while so many others go on.
    Frozen(u32),
    /// An alarm turns the release round.
    Alarm,
}

const GOOD: Scenario = Scenario {
    name: "a good version",
    candidate_fails: 0.0,
    alarm: false,
    rival: Rival::Duplicate,
    deploys: false,
    company: Company::None,
    ends: Ends::As(Outcome::Promoted),
};

const SCENARIOS: [Scenario; 10] = [
    GOOD,
    Scenario {
        name: "an alarm in the middle, with company whose stage is closed",
        alarm: true,
        deploys: true,
        company: Company::Closes,
        ends: Ends::As(Outcome::RolledBack),
        ..GOOD
    },
    Scenario {
        name: "an alarm at any moment, with company whose stage is rolled back",
        rival: Rival::Alarm,
        company: Company::RollsBack,
        ends: Ends::Consistently,
        ..GOOD
    },
    Scenario {
        name: "a good version that the release puts up",
        deploys: true,
        ..GOOD
    },
    Scenario {
        name: "an alarm in the middle of a release that puts its version up",
        alarm: true,
        deploys: true,
        ends: Ends::As(Outcome::RolledBack),
        ..GOOD
    },
    Scenario {
        name: "a good version, runs frozen for a step",
        rival: Rival::Frozen(3),
        ..GOOD
    },
    Scenario {
        name: "a good version, runs frozen to its end",
        rival: Rival::Frozen(8),
        ..GOOD
    },
    Scenario {
        name: "a bad version",
        candidate_fails: 0.3,
        ends: Ends::As(Outcome::RolledBack),
        ..GOOD
    },
    Scenario {
        name: "an alarm in the middle",
        alarm: true,
        ends: Ends::As(Outcome::RolledBack),
        ..GOOD
    },
    Scenario {
        name: "an alarm at any moment",
        rival: Rival::Alarm,
        ends: Ends::Consistently,
        ..GOOD
    },
];

fn weight(percent: u16) -> Weight {
    Weight::from_basis_points(percent * 100).unwrap()
}

fn plan(scenario: Scenario) -> Plan {
    let mut plan = plain_plan();
    plan.rollback = rollback(scenario.company);
    if scenario.deploys {
        let service = |name| {
            json!({
                "service": format!("arn:aws:ecs:eu-west-1:123456789012:service/shop/{name}"),
                "target-group": format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{name}/1"),
            })
        };
        plan.target = serde_json::from_value(json!({"ecs-services": {
            "rule": "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/a/1/2/3",
            "services": [service("blue"), service("green")],
            "task-definition": "shop:7",
        }}))
        .unwrap();
        let test = json!({"header-route": {"query": {"key": "canary", "value": "1"}}});
        plan.steps.insert(0, serde_json::from_value(test).unwrap());
    }
    plan
}

const ALONGSIDE: &str = "arn:aws:codedeploy:eu-west-1:123456789012:deploymentgroup:shop/workers";

fn rollback(company: Company) -> RollbackPolicy {
    let policy = match company {
        Company::None => return RollbackPolicy::default(),
        Company::Closes => "disable-transition",
        Company::RollsBack => "roll-back-stage",
    };
    serde_json::from_value(json!({
        "alongside": [{ "codedeploy": ALONGSIDE }],
        "pipeline": { policy: "arn:aws:codepipeline:eu-west-1:123456789012:shop/Deploy" },
    }))
    .unwrap()
}

fn plain_plan() -> Plan {
    Plan {
        target: TargetSpec::AlbRule(AlbRule {
            rule: "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/a/1/2/3".to_owned(),
            target_groups: ["blue", "green"]
                .map(|g| format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{g}/1")),
        }),
        steps: vec![
            Step::SetWeight(weight(10)),
            Step::Judge { windows: 4 },
            Step::SetWeight(weight(50)),
            Step::Judge { windows: 4 },
            Step::SetWeight(Weight::FULL),
        ],
        window: SignedDuration::from_secs(1),
        settle: SignedDuration::ZERO,
        patience: SignedDuration::from_mins(10),
        inconclusive: Policy::GoOn,
        could_not_observe: Policy::Wait,
        watch: None,
        hotfix: None,
        ready_within: SignedDuration::from_mins(15),
        retire_after: SignedDuration::ZERO,
        abandon_after: SignedDuration::from_mins(10),
        rollback_on_finding: Default::default(),
        alarms: vec!["slow".to_owned()],
        metrics: Metrics::default(),
        judge: JudgePolicy::default(),
        freeze: Vec::new(),
        rollback: RollbackPolicy::default(),
    }
}

fn started(world: &World, release: &ReleaseId, scenario: Scenario) -> Started {
    Started {
        at: world.look().now,
        release: release.clone(),
        execution: Some("e".to_owned()),
        pipeline: None,
        plan: plan(scenario),
        arms: Arms {
            stable: "blue".to_owned(),
            candidate: "green".to_owned(),
        },
        alarms_firing: BTreeSet::new(),
        images: Default::default(),
        warnings: Vec::new(),
        slower_than: BTreeMap::new(),
        judge: None,
    }
}

fn id(name: &str) -> ReleaseId {
    ReleaseId::try_from(name.to_owned()).unwrap()
}

/// The whole life of one release, with at most one fault at one call.
struct Life {
    world: World,
    scenario: Scenario,
    mutant: Option<Mutant>,
    fault: Option<(usize, Fault)>,
    calls: usize,
    runs: usize,
    /// The first law that broke after an invocation.
    broken: Option<String>,
}

/// How one invocation ended.
#[derive(Debug)]
enum Ran {
    Died,
    Failed,
    Replied(JobReply),
}

impl Life {
    fn new(scenario: Scenario, mutant: Option<Mutant>, fault: Option<(usize, Fault)>) -> Self {
        let world = World::default();
        world.change().candidate_fails = scenario.candidate_fails;
        let alongside = (ALONGSIDE.to_owned(), true);
        world.change().alongside.extend([alongside]);
        Self {
            world,
            scenario,
            mutant,
            fault,
            calls: 0,
            runs: 0,
            broken: None,
        }
    }

    /// One invocation of canary-shift, or of rollback-trigger when the alarm has fired.
    fn invoke(&mut self, what: Rival) -> Ran {
        self.runs += 1;
        let owner = format!("run-{}", self.runs);
        let (mutant, scenario) = (self.mutant, self.scenario);
        let rival = move |world: &World| be_rival(world, scenario, mutant);
        let call = invocation(&self.world, owner);
        let mut run = Run::new(&self.world, call.clone()).with_mutant(mutant);
        if let Some((at, fault)) = self.fault
            && at >= self.calls
        {
            run = run.with_fault(at - self.calls, fault, &rival);
        }
        let ran = match what {
            Rival::Alarm => alarm(&run, &call),
            Rival::Duplicate | Rival::Frozen(_) => tick(&run, &call, &self.world, scenario),
        };
        self.calls += run.calls();
        if let (Ran::Replied(_), None) = (&ran, &self.broken) {
            self.broken = log_and_world_agree(&self.world).err();
        }
        ran
    }

    /// Runs to the end; `Err` says which law broke.
    fn live(&mut self) -> Result<(), String> {
        let mut alarm_due = self.scenario.alarm;
        for number in 0..TICKS_MAX {
            if alarm_due && number >= ALARM_TICK {
                // Lambda runs a failed event again.
                alarm_due = !matches!(self.invoke(Rival::Alarm), Ran::Replied(_));
            }
            let ran = self.invoke(Rival::Duplicate);
            self.world.pass(match ran {
                Ran::Died => LIFE + PAUSE,
                Ran::Failed | Ran::Replied(_) => PAUSE,
            });
            if let Ran::Replied(reply) = ran
                && !matches!(reply, JobReply::Continue { .. })
            {
                // The action has ended, and with it its stage. What waited for that is done by the
                // sweep, which drives the release like any other job.
                self.world.change().in_stage = false;
                self.sweep_until_over()?;
                // A duplicate long after the end must change nothing.
                let _late = self.invoke(Rival::Duplicate);
                return self.laws(&reply);
            }
        }
        Err(format!("it had not ended after {TICKS_MAX} ticks"))
    }

    fn sweep_until_over(&mut self) -> Result<(), String> {
        for _ in 0..TICKS_MAX {
            if self.world.look().held.is_empty() {
                return Ok(());
            }
            let ran = self.invoke(Rival::Duplicate);
            self.world.pass(match ran {
                Ran::Died => LIFE + PAUSE,
                Ran::Failed | Ran::Replied(_) => PAUSE,
            });
        }
        Err(format!("it was not over after {TICKS_MAX} sweeps"))
    }

    /// What goes along with a release goes back with it, and else is left alone.
    fn company_law(&self, outcome: Outcome) -> Result<(), String> {
        let state = self.world.look();
        let is_back = outcome == Outcome::RolledBack;
        let company = self.scenario.company;
        let expected = (
            !(is_back && company != Company::None),
            is_back && company == Company::Closes,
            is_back && company == Company::RollsBack,
        );
        let found = (
            state.alongside.values().any(|is_under_way| *is_under_way),
            state.stage_closed.is_some(),
            state.stage_rolled_back,
        );
        match found == expected {
            true => Ok(()),
            false => Err(format!(
                "under way, closed, rolled back are {found:?} instead of {expected:?}"
            )),
        }
    }

    fn laws(&self, reply: &JobReply) -> Result<(), String> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let live = self.world.weight();
        let outcome = match reply {
            JobReply::Succeed { .. } if live == Weight::FULL => Outcome::Promoted,
            JobReply::Fail { .. } if live == Weight::ZERO => Outcome::RolledBack,
            other => return Err(format!("answered {other:?} with {live} live")),
        };
        if self.scenario.ends != Ends::Consistently && self.scenario.ends != Ends::As(outcome) {
            return Err(format!("it ended as {outcome:?}"));
        }
        let state = self.world.look();
        if !state.held.is_empty() {
            return Err("the target is still held".to_owned());
        }
        if self.scenario.deploys {
            let serves = match outcome {
                Outcome::Promoted => "green",
                Outcome::RolledBack => "blue",
            };
            if !state.up.iter().eq([serves]) {
                return Err(format!("{:?} are up, not {serves} alone", state.up));
            }
            if state.test_traffic.is_some() {
                return Err("test traffic goes on".to_owned());
            }
        }
        let weights: Vec<_> = state.weights.iter().map(|moved| moved.weight).collect();
        let back = weights.windows(2).position(|w| w[1] < w[0]);
        if let Some(back) = back
            && weights[back + 1..].iter().any(|w| *w != Weight::ZERO)
        {
            return Err(format!("traffic came back after going down: {weights:?}"));
        }
        drop(state);
        self.company_law(outcome)?;
        log_and_world_agree(&self.world)
    }
}

fn invocation(world: &World, owner: String) -> Invocation {
    let deadline = world.look().now + LIFE;
    Invocation::new(owner, deadline)
}

fn tick(run: &Run<'_>, call: &Invocation, world: &World, scenario: Scenario) -> Ran {
    use engine::ReleaseLog;
    let id = id("web-1");
    let done = async {
        let mut head: Head<Option<Release>> = run.load(&id).await.ok()?;
        if head.state.is_none() {
            head = begin(run, &id, started(world, &id, scenario)).await.ok()?;
        }
        let driven = drive(run, call, &id, head).await.ok()?;
        Some(driven.release.reply(&driven.because))
    };
    match done.now_or_never() {
        None => Ran::Died,
        Some(None) => Ran::Failed,
        Some(Some(reply)) => Ran::Replied(reply),
    }
}

fn alarm(run: &Run<'_>, call: &Invocation) -> Ran {
    let because = |_: &Release| {
        Some(Reason::AlarmFired {
            alarm: "slow".to_owned(),
            detail: None,
        })
    };
    match roll_back(run, call, &id("web-1"), because).now_or_never() {
        None => Ran::Died,
        Some(Err(_)) => Ran::Failed,
        Some(Ok(None)) => Ran::Replied(JobReply::Continue {
            token: Token::of(id("web-1")),
            summary: String::new(),
            percent: 0,
        }),
        Some(Ok(Some(driven))) => Ran::Replied(driven.release.reply(&driven.because)),
    }
}

fn be_rival(world: &World, scenario: Scenario, mutant: Option<Mutant>) {
    let rival = scenario.rival;
    let rounds = match rival {
        Rival::Duplicate | Rival::Alarm => 1,
        Rival::Frozen(rounds) => rounds,
    };
    for round in 0..rounds {
        let call = invocation(world, format!("rival-{round}"));
        let run = Run::new(world, call.clone()).with_mutant(mutant);
        let _ran = match rival {
            Rival::Alarm => alarm(&run, &call),
            Rival::Duplicate | Rival::Frozen(_) => tick(&run, &call, world, scenario),
        };
        if rounds > 1 {
            world.pass(PAUSE);
        }
    }
}

/// What the log says of the target, and the target: the law after every completed invocation.
fn log_and_world_agree(world: &World) -> Result<(), String> {
    let call = invocation(world, "observer".to_owned());
    let run = Run::new(world, call);
    let web = id("web-1");
    let load = engine::ReleaseLog::load::<Option<Release>>(&run, &web);
    let release = load
        .now_or_never()
        .and_then(Result::ok)
        .and_then(|h| h.state);
    let Some(release) = release else {
        return Ok(());
    };
    let fenced = world.look().held.values().any(|held| held.fence.is_some());
    let (live, logged) = (world.weight(), release.weight);
    if release.intended.is_none() && !fenced && live != logged {
        return Err(format!("{live} is live, but the log says {logged}"));
    }
    Ok(())
}

/// Port calls of the scenario without a fault.
fn calls_of(scenario: Scenario) -> usize {
    let mut life = Life::new(scenario, None, None);
    if scenario.ends == Ends::Consistently {
        life.scenario.ends = Ends::As(Outcome::Promoted);
    }
    life.live()
        .unwrap_or_else(|broken| panic!("{}: {broken}", scenario.name));
    life.calls
}

/// Every fault at every call of every scenario: what each broke, if anything.
fn sweep(mutant: Option<Mutant>) -> impl Iterator<Item = Option<String>> {
    let calls = SCENARIOS.map(|scenario| (scenario, calls_of(scenario)));
    let faults = calls.into_iter().flat_map(|(scenario, calls)| {
        (0..calls).flat_map(move |at| Fault::ALL.map(|fault| (scenario, at, fault)))
    });
    faults.map(move |(scenario, at, fault)| {
        let broken = Life::new(scenario, mutant, Some((at, fault))).live().err();
        broken.map(|law| format!("{}, {fault:?} at call {at}: {law}", scenario.name))
    })
}

/// A second release on a target that is being moved.
fn second_release_on_a_busy_target(mutant: Option<Mutant>) -> Result<(), String> {
    let mut life = Life::new(GOOD, mutant, None);
    for _ in 0..2 {
        life.invoke(Rival::Duplicate);
        life.world.pass(PAUSE);
    }
    let before = life.world.look().weights.clone();
    let call = invocation(&life.world, "second".to_owned());
    let run = Run::new(&life.world, call).with_mutant(mutant);
    let second = id("web-2");
    let began = begin(&run, &second, started(&life.world, &second, GOOD)).now_or_never();
    match began {
        Some(Err(AppendError::Busy { holder, .. })) if holder == id("web-1") => {}
        other => return Err(format!("it was told {other:?}")),
    }
    if life.world.look().weights != before {
        return Err("it moved traffic all the same".to_owned());
    }
    Ok(())
}

/// What breaks first under a broken rule, if anything does.
pub fn notices(mutant: Mutant) -> Option<String> {
    let busy = second_release_on_a_busy_target(Some(mutant)).err();
    busy.or_else(|| sweep(Some(mutant)).flatten().next())
}

#[test]
fn no_single_fault_changes_where_a_release_ends() {
    let lives: Vec<_> = sweep(None).collect();
    println!("{} releases, each with another fault", lives.len());
    assert!(lives.len() > 500, "only {} faults were tried", lives.len());
    let broken: Vec<_> = lives.into_iter().flatten().collect();
    assert!(
        broken.is_empty(),
        "{} broke:\n{}",
        broken.len(),
        broken.join("\n")
    );
}

#[test]
fn a_second_release_on_a_busy_target_is_told_who_holds_it_and_moves_nothing() {
    second_release_on_a_busy_target(None).unwrap();
}

#[test]
fn a_target_whose_fence_another_run_has_is_left_alone_until_that_run_is_over() {
    let mut life = Life::new(GOOD, None, Some((2, Fault::DieAfter)));
    assert!(
        matches!(life.invoke(Rival::Duplicate), Ran::Died),
        "the first run has the fence"
    );
    let call = invocation(&life.world, "second".to_owned());
    let run = Run::new(&life.world, call.clone());
    let driven = async {
        let head = engine::ReleaseLog::load(&run, &id("web-1")).await?;
        drive(&run, &call, &id("web-1"), head).await
    };
    let error = driven.now_or_never().unwrap().unwrap_err();
    assert_eq!(error.class, Class::Conflict, "{error}");
    life.world.pass(LIFE + FENCE_SLACK + PAUSE);
    assert!(matches!(life.invoke(Rival::Duplicate), Ran::Replied(_)));
}
