//! Where the cast plays: who goes on next, what happens to the call, and what was seen of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use engine::fakes::{Actor, Answer, CLOCK_ERROR_MAX, Call, FENCE_SLACK, Fault, Mutant, World};
use jiff::{SignedDuration, Timestamp};
use release::{Phase, Reason, ReleaseId, SWEEP_PAUSE};

use crate::cast::{ALARM, LIFE, Played, Role, alone, on_stage};
use crate::laws::{Broken, ROLLBACK_DRIVES_MAX, Witness, quiescent, undisturbed};

/// Undisturbed runs after which every release has ended, however it was left.
const RUNS_TO_END_MAX: usize = 60;
/// How far a machine's clock may be wrong, either way.
pub const SKEWS: [SignedDuration; 2] =
    [SignedDuration::from_mins(3), SignedDuration::from_mins(-3)];

/// What becomes of a pipeline once the play is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pipeline {
    /// It asks until it is told the end.
    Asks,
    /// It never asks again.
    Quiet,
}

/// A world, those who are at work in it, and everything that is counted.
pub struct Stage<'w> {
    /// What the runs are made with; they play in `world`.
    home: &'w World,
    pub world: Rc<World>,
    pub witness: Witness,
    pub mutant: Option<Mutant>,
    /// In order of their entrance.
    pub seats: Vec<Seat<'w>>,
    /// What has happened to calls.
    pub faults: Vec<Fault>,
    /// How many began with a clock that is wrong.
    pub skewed: usize,
    /// What happened; None when nobody will read it.
    pub trace: Option<Vec<String>>,
    /// Whether runs are told apart by all that they have ever heard.
    pub is_plain: bool,
    /// Whether a pipeline has ever been quiet for so long that its release may be taken back.
    pub was_quiet: bool,
    troupe: Troupe<'w>,
}

/// Runs that have come to some point, by what they have heard, for whoever gets there again.
type Troupe<'w> = Rc<RefCell<HashMap<u64, Rc<Actor<'w, Played>>>>>;

/// So many are kept.
const TROUPE_MAX: usize = 20_000;

/// One who is at work.
#[derive(Clone)]
pub struct Seat<'w> {
    pub role: Rc<Role>,
    pub actor: Rc<Actor<'w, Played>>,
    /// The platform ends it then.
    lives_until: Timestamp,
    is_dead: bool,
    /// What happened to its last call.
    pub met: Option<Fault>,
    /// The releases that were registered for an alarm when it was handed over.
    registered: Rc<BTreeSet<ReleaseId>>,
    is_heeded: bool,
}

impl Seat<'_> {
    /// The call that it makes next; none once it is over.
    pub fn next_call(&self) -> Option<Call> {
        self.actor.next_call().filter(|_| !self.is_dead)
    }

    /// Whether it has not come to its end.
    pub fn is_playing(&self) -> bool {
        self.next_call().is_some()
    }

    /// Stands for all that it will do. One that is over does nothing more, however it came to that.
    fn digest(&self) -> u64 {
        match self.is_playing() {
            true => self.actor.digest(),
            false => u64::MAX,
        }
    }
}

impl<'w> Stage<'w> {
    /// A stage in a world like this.
    pub fn new(home: &'w World, mutant: Option<Mutant>, is_told: bool) -> Self {
        Self {
            home,
            world: Rc::new(home.clone()),
            witness: Witness::new(home),
            mutant,
            seats: Vec::new(),
            faults: Vec::new(),
            skewed: 0,
            trace: is_told.then(Vec::new),
            is_plain: false,
            was_quiet: false,
            troupe: Troupe::default(),
        }
    }

    /// Another stage, which goes on from here.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            home: self.home,
            world: Rc::new(World::clone(&self.world)),
            witness: self.witness.clone(),
            mutant: self.mutant,
            seats: self.seats.clone(),
            faults: self.faults.clone(),
            skewed: self.skewed,
            trace: self.trace.clone(),
            is_plain: self.is_plain,
            was_quiet: self.was_quiet,
            troupe: Rc::clone(&self.troupe),
        }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    /// Somebody begins, with a clock that is so far ahead.
    pub fn enter(&mut self, role: Role, owner: String, skew: SignedDuration) {
        self.tell(|| match skew.is_zero() {
            true => format!("{owner} begins: {role}"),
            false => format!("{owner} begins, its clock {skew:#} ahead: {role}"),
        });
        self.skewed += usize::from(!skew.is_zero());
        let (now, role) = (self.world.look().now, Rc::new(role));
        let actor = on_stage(self.home, now, Rc::clone(&role), owner, self.mutant, skew);
        let actor = match self.is_plain {
            true => actor.forgets_nothing(),
            false => actor,
        };
        self.seats.push(Seat {
            role,
            actor: Rc::new(actor),
            lives_until: now + LIFE,
            is_dead: false,
            met: None,
            registered: Rc::default(),
            is_heeded: false,
        });
    }

    /// Those who have not come to their end.
    pub fn playing(&self) -> Vec<usize> {
        let seats = self.seats.iter().enumerate();
        let playing = seats.filter(|(_, seat)| seat.is_playing());
        playing.map(|(at, _)| at).collect()
    }

    /// The call that this one makes next, to which `fault` happens; then the laws.
    pub fn go_on(&mut self, at: usize, fault: Option<Fault>) -> Result<(), Broken> {
        let seat = &mut self.seats[at];
        let call = seat.next_call().unwrap_or(Call::Other);
        if call == Call::Watching {
            let watches = &self.world.look().watches;
            let registered = watches.get(&release::watches::alarm(ALARM));
            seat.registered = Rc::new(registered.cloned().unwrap_or_default());
        }
        seat.met = fault;
        match seat.actor.make(&self.world, fault) {
            Some(answer) => Self::hears(&self.troupe, &mut seat.actor, answer),
            None => seat.is_dead = true,
        }
        self.faults.extend(fault);
        self.seen(|stage| {
            let actor = &stage.seats[at].actor;
            let name = actor.name();
            match (fault, actor.done()) {
                (None, None) => format!("{name}: {call:?}"),
                (Some(fault), None) => format!("{name}: {call:?}, {fault:?}"),
                (fault, Some(ended)) => format!("{name}: {call:?}, {fault:?}, ends {ended:?}"),
            }
        })?;
        self.heeded(at)
    }

    /// The one who hears this, be it another one who has been there before.
    fn hears(troupe: &Troupe<'w>, actor: &mut Rc<Actor<'w, Played>>, answer: Answer) {
        if let Some(actor) = Rc::get_mut(actor) {
            return actor.hear(answer); // nobody else will need it where it is now
        }
        let mut troupe = troupe.borrow_mut();
        if troupe.len() > TROUPE_MAX {
            troupe.clear();
        }
        let next = troupe.entry(actor.digest_after(&answer));
        let next = next.or_insert_with(|| {
            let mut next = actor.again();
            next.hear(answer);
            Rc::new(next)
        });
        *actor = Rc::clone(next);
    }

    /// Whether the laws hold after something happened.
    pub fn seen(&mut self, what: impl FnOnce(&Self) -> String) -> Result<(), Broken> {
        let mut told = Vec::new();
        let listens = self.trace.is_some().then_some(&mut told);
        let looked = self.witness.look(&self.world, listens);
        if self.trace.is_some() {
            let what = what(self);
            self.tell(|| match told.is_empty() {
                true => what,
                false => format!("{what} -> {}", told.join(", ")),
            });
        }
        looked
    }

    /// An alarm that was handed over has turned every release round that was registered for it.
    fn heeded(&mut self, at: usize) -> Result<(), Broken> {
        let seat = &mut self.seats[at];
        let Role::Alarm(fired) = *seat.role else {
            return Ok(());
        };
        if seat.is_heeded || !matches!(seat.actor.done(), Some(Ok(()))) {
            return Ok(());
        }
        seat.is_heeded = true;
        let goes_on = self.witness.releases().find(|release| {
            let is_registered = seat.registered.contains(&release.started.release);
            let is_up = release.phase == Phase::Shifting && !release.retiring;
            is_registered && is_up && release.started.at <= fired
        });
        match goes_on {
            Some(release) => Err(Broken {
                law: "an alarm that was heeded has turned its release round",
                how: format!("{} goes on", release.started.release),
            }),
            None => Ok(()),
        }
    }

    /// Stands for everything that can happen from here on, when those in these seats are at work.
    pub fn digest(&self, seats: &[Option<usize>]) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.world.digest().hash(&mut hasher);
        for seat in seats {
            seat.map(|at| self.seats[at].digest()).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: SignedDuration) -> Result<(), Broken> {
        self.world.pass(time);
        let now = self.world.look().now;
        for seat in &mut self.seats {
            seat.is_dead |= now > seat.lives_until;
        }
        self.seen(|_| format!("{time:#} pass"))
    }

    /// Nothing more goes wrong: whoever still had to do something has died long ago, and what asks
    /// again and again does so, until every release is over. Then all the laws hold.
    pub fn quiesce(&mut self, pipeline: Pipeline) -> Result<(), Broken> {
        self.seats.clear();
        let mut turned: BTreeMap<ReleaseId, usize> = BTreeMap::new();
        for number in 0..RUNS_TO_END_MAX {
            let open: BTreeSet<ReleaseId> = self.open();
            if open.is_empty() {
                return quiescent(&self.world, &self.witness);
            }
            // A decision wakes the sweep by the clock of whoever decided.
            let pause = (LIFE + FENCE_SLACK).max(SWEEP_PAUSE) + CLOCK_ERROR_MAX;
            self.pass(pause + SignedDuration::from_secs(1))?;
            for id in open {
                self.one_more(&id, number, pipeline)?;
                let release = self.witness.release(&id);
                if release.is_some_and(|release| release.phase == Phase::RollingBack) {
                    let drives = turned.entry(id.clone()).or_default();
                    *drives += 1;
                    if *drives >= ROLLBACK_DRIVES_MAX {
                        return Err(Broken {
                            law: "a rollback is over after a few undisturbed runs",
                            how: format!("{id} still rolls back after {drives}"),
                        });
                    }
                }
            }
        }
        Err(Broken {
            law: "every release comes to an end",
            how: format!(
                "{:?} have not ended after {RUNS_TO_END_MAX} runs",
                self.open()
            ),
        })
    }

    fn open(&self) -> BTreeSet<ReleaseId> {
        let active = self
            .witness
            .releases()
            .filter(|release| release.is_active());
        active
            .map(|release| release.started.release.clone())
            .collect()
    }

    /// One more undisturbed look at a release that is not over.
    fn one_more(
        &mut self,
        id: &ReleaseId,
        number: usize,
        pipeline: Pipeline,
    ) -> Result<(), Broken> {
        let held = self
            .witness
            .release(id)
            .is_some_and(|release| release.held.is_some());
        // Whoever holds it sees in the end that it is bad.
        let role = match (pipeline, held && number > RUNS_TO_END_MAX / 4) {
            (_, true) => Role::Abort(id.clone()),
            (Pipeline::Asks, false) => Role::Tick(id.clone()),
            (Pipeline::Quiet, false) => Role::Sweep,
        };
        let is_driven = role != Role::Sweep
            || self
                .witness
                .release(id)
                .is_some_and(|r| r.phase == Phase::RollingBack);
        let (owner, mutant) = (format!("end-{number}"), self.mutant);
        if pipeline == Pipeline::Asks {
            // It comes every minute, and has nothing to do with what is looked after.
            _ = alone(
                &self.world,
                &Role::Sweep,
                &format!("sweep-{number}"),
                mutant,
            );
            self.seen(|_| "sweep".to_owned())?;
        }
        let played = alone(&self.world, &role, &owner, mutant);
        self.seen(|_| format!("{role}: {played:?}"))?;
        if let (Role::Tick(_), Err(error)) = (&role, &played) {
            return Err(Broken {
                law: "an undisturbed run meets nothing",
                how: error.clone(),
            });
        }
        match is_driven {
            true => undisturbed(&self.world, &self.witness, id),
            false => Ok(()),
        }?;
        self.is_left_alone(id, pipeline)
    }

    /// What asks is not taken for abandoned.
    fn is_left_alone(&self, id: &ReleaseId, pipeline: Pipeline) -> Result<(), Broken> {
        let because = self
            .witness
            .release(id)
            .and_then(|release| release.because.as_ref());
        let is_abandoned = matches!(because, Some(Reason::Abandoned { .. }));
        match pipeline == Pipeline::Asks && is_abandoned && !self.was_quiet {
            true => Err(Broken {
                law: "a pipeline that asks is not abandoned",
                how: format!("{id} went back: {because:?}"),
            }),
            false => Ok(()),
        }
    }
}
