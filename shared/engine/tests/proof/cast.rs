//! Who touches a release: one run of a function each, of the real code.

use std::rc::Rc;

use engine::fakes::{Actor, Cue, Mutant, Run, World};
use engine::{
    AppendError, Class, Clock, HealthProbe, Invocation, JobReporter, PortError, ReleaseLog,
    TrafficTarget, begin, drive, give_order, roll_back, sweep,
};
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use release::config::{Config, Plan};
use release::sources::{HeededBy, RollbackRequest};
use release::{By, FailureKind, Head, JobReply, Order, Reason, Release, ReleaseId, Started};

/// How long a run may last; the platform ends it then.
pub const LIFE: SignedDuration = SignedDuration::from_secs(30);
/// The alarm that every release watches.
pub const ALARM: &str = "slow";
/// Ends of an exploration come sooner with few steps, each of which still raises, waits and judges.
const STEPS: &str = "[{set-weight: 10%}, {wait: 20s}, {set-weight: 50%}, {wait: 20s}, \
                     {set-weight: 100%}]";

/// One run of a function, or of a command.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// The job of a pipeline, for this release.
    Tick(ReleaseId),
    /// The alarm fired then.
    Alarm(Timestamp),
    /// Somebody orders this, of this release.
    Order(ReleaseId, Order),
    /// Somebody aborts this release.
    Abort(ReleaseId),
    /// The schedule.
    Sweep,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tick(id) => write!(f, "job of {id}"),
            Self::Alarm(at) => write!(f, "alarm of {at:.0}"),
            Self::Order(id, order) => write!(f, "{order} {id}"),
            Self::Abort(id) => write!(f, "abort {id}"),
            Self::Sweep => f.write_str("sweep"),
        }
    }
}

/// What a run came to: an error is one that a further run may mend.
pub type Played = Result<(), String>;

pub fn id(name: &str) -> ReleaseId {
    ReleaseId::try_from(name.to_owned()).unwrap()
}

/// A release `web-3` is of the target `web`.
pub fn plan(release: &ReleaseId) -> Plan {
    thread_local! {
        // Reading YAML takes longer than the run that needs it.
        static PLANS: std::cell::RefCell<std::collections::BTreeMap<String, Plan>> =
            std::cell::RefCell::default();
    }
    let name = release.as_str();
    let section = name.rsplit_once('-').map_or(name, |(section, _)| section);
    PLANS.with_borrow_mut(|plans| {
        let known = plans.entry(section.to_owned());
        known.or_insert_with(|| read_plan(section)).clone()
    })
}

fn read_plan(section: &str) -> Plan {
    let arn = "arn:aws:elasticloadbalancing:eu-west-1:1";
    let text = format!(
        "version: 1\nreleases: {{web: {{target: {{alb-rule: {{rule: \
         '{arn}:listener-rule/app/{section}/1/2/3', target-groups: ['{arn}:targetgroup/b/1', \
         '{arn}:targetgroup/g/1']}}}}, settle: 0s, window: 10s, alarms: [{ALARM}], steps: {STEPS}}}}}"
    );
    let config = Config::parse(&text).unwrap_or_else(|e| panic!("{}", e.message));
    config.release(None).unwrap().1.clone()
}

/// A run of its own, which nothing happens to, from its beginning to its end.
pub fn alone(world: &World, role: &Role, owner: &str, mutant: Option<Mutant>) -> Played {
    let call = invocation(world, owner);
    let run = Run::new(world, call.clone()).with_mutant(mutant);
    let played = play(&run, &call, role, mutant).now_or_never();
    played.unwrap_or_else(|| Err("it never ends".to_owned()))
}

/// A run that waits for its turn at each call; its clock is so far ahead.
pub fn on_stage<'w>(
    world: &'w World,
    role: Role,
    owner: String,
    mutant: Option<Mutant>,
    skew: SignedDuration,
) -> Actor<'w, Played> {
    let call = invocation(world, &owner);
    Actor::new(owner, |cue: Rc<Cue>| {
        let run = Run::new(world, call.clone()).with_mutant(mutant);
        let run = run.on_stage(cue).with_skew(skew);
        async move { play(&run, &call, &role, mutant).await }.boxed_local()
    })
}

fn invocation(world: &World, owner: &str) -> Invocation {
    Invocation::new(owner, world.look().now + LIFE)
}

async fn play(run: &Run<'_>, call: &Invocation, role: &Role, mutant: Option<Mutant>) -> Played {
    let played = match role {
        Role::Tick(id) => tick(run, call, id).await,
        Role::Alarm(at) => alarm(run, call, *at, mutant).await,
        Role::Order(id, order) => {
            let by = By::new("ann", "", run.now());
            match give_order(run, id, *order, &by).await {
                Ok(_) | Err(engine::OrderError::Refused(_)) => Ok(()),
                Err(engine::OrderError::Port(error)) => Err(error),
            }
        }
        Role::Abort(id) => {
            let because = |_: &Release| {
                Some(Reason::Asked {
                    why: "it is bad".to_owned(),
                    by: None,
                })
            };
            roll_back(run, call, id, because).await.map(drop)
        }
        Role::Sweep => sweep(run, call).await.map(drop),
    };
    played.map_err(|error| error.to_string())
}

/// As canary-shift does it: begins the release or goes on with it, tells the sweep, and answers. The
/// sweep is told before, and not while, the release is driven.
async fn tick(run: &Run<'_>, call: &Invocation, id: &ReleaseId) -> Result<(), PortError> {
    let mut head: Head<Option<Release>> = run.load(id).await?;
    if head.state.is_none() {
        head = match first(run, id).await {
            Ok(head) => head,
            Err(AppendError::Port(error)) => return Err(error),
            Err(refused @ (AppendError::Busy { .. } | AppendError::Moved)) => {
                let reply = JobReply::Fail {
                    kind: FailureKind::JobFailed,
                    message: refused.to_string(),
                };
                return run.answer(&job(call, id), &reply).await;
            }
        };
    }
    if let Some(release) = &head.state {
        let now = run.now();
        // If it fails, the next job tells it.
        _ = run.beat(id, now, release.left_alone_until(now)).await;
    }
    let driven = drive(run, call, id, head).await?;
    let reply = driven.release.reply(&driven.because);
    run.answer(&job(call, id), &reply).await
}

/// Jobs are told apart by their runs, and say whose they are.
fn job(call: &Invocation, id: &ReleaseId) -> String {
    format!("{id}/{}", call.owner)
}

async fn first(run: &Run<'_>, id: &ReleaseId) -> Result<Head<Option<Release>>, AppendError> {
    let plan = plan(id);
    let arms = match run.arms(&plan.target).await {
        Ok(arms) => arms,
        Err(error) => {
            let target = plan.target.id();
            return Err(match run.holder(&target).await? {
                Some(holder) if holder != *id => AppendError::Busy { target, holder },
                Some(_) | None => error.into(),
            });
        }
    };
    let at = run.now();
    let alarms_firing = run.firing(&plan.alarms).await?;
    let started = Started {
        at,
        release: id.clone(),
        execution: None,
        pipeline: None,
        plan,
        arms,
        alarms_firing,
        images: [].into(),
        warnings: Vec::new(),
        slower_than: [].into(),
        judge: None,
    };
    begin(run, id, started).await
}

/// As rollback-trigger does it, but for its waiting while others are at work: that is left to
/// whoever comes next.
async fn alarm(
    run: &Run<'_>,
    call: &Invocation,
    at: Timestamp,
    mutant: Option<Mutant>,
) -> Result<(), PortError> {
    let request = RollbackRequest {
        watches: vec![release::watches::alarm(ALARM)],
        heeded_by: HeededBy::All,
        at,
        because: Reason::AlarmFired {
            alarm: ALARM.to_owned(),
            detail: Some(at.to_string()),
        },
    };
    let mut met = Ok(());
    for id in run.watching(&request.watches[0]).await? {
        let because = |release: &Release| {
            let is_concerned = mutant == Some(Mutant::NotConcerned) || request.concerns(release);
            is_concerned.then(|| request.because.clone())
        };
        match roll_back(run, call, &id, because).await {
            Ok(_) => {}
            // Decided, but another run is at work: it, or whoever comes next, sees to it.
            Err(error) if error.class == Class::Conflict => {}
            Err(error) => met = Err(error),
        }
    }
    met
}
