//! Where the cast plays: who goes on next, what happens to the call, and what was seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use engine::fakes::{Actor, Call, Choices, FENCE_SLACK, Fault, Mutant, World};
use jiff::SignedDuration;
use release::{Phase, Reason, ReleaseId, SWEEP_PAUSE};

use crate::cast::{ALARM, LIFE, Played, Role, alone, on_stage};
use crate::laws::{Broken, ROLLBACK_DRIVES_MAX, Witness, quiescent, undisturbed};

/// Undisturbed runs after which every release has ended, however it was left.
const RUNS_TO_END_MAX: usize = 60;
/// How far a clock may be ahead: less than [`FENCE_SLACK`], which is what the fence stands.
pub const SKEW: SignedDuration = SignedDuration::from_secs(4);

/// The same, behind.
pub const SKEW_BACK: SignedDuration = SignedDuration::from_secs(-4);

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
    pub world: &'w World,
    pub choices: Choices,
    pub witness: Witness<'w>,
    pub mutant: Option<Mutant>,
    /// In order of their entrance.
    pub seats: Vec<Seat<'w>>,
    /// How often each fault has happened.
    pub faults: BTreeMap<String, usize>,
    /// What happened; None when nobody will read it.
    pub trace: Option<Vec<String>>,
    /// Whether a pipeline has ever been quiet for so long that its release may be taken back.
    pub was_quiet: bool,
    entered: usize,
}

/// One who is at work.
pub struct Seat<'w> {
    pub role: Role,
    pub actor: Actor<'w, Played>,
    /// The releases that were registered for an alarm when it was handed over.
    registered: BTreeSet<ReleaseId>,
    is_heeded: bool,
}

impl Seat<'_> {
    /// Whether it has not come to its end.
    pub fn is_playing(&self) -> bool {
        self.actor.next_call().is_some()
    }
}

impl<'w> Stage<'w> {
    pub fn new(world: &'w World, choices: Choices, mutant: Option<Mutant>, is_told: bool) -> Self {
        Self {
            world,
            choices,
            witness: Witness::new(world),
            mutant,
            seats: Vec::new(),
            faults: BTreeMap::new(),
            trace: is_told.then(Vec::new),
            was_quiet: false,
            entered: 0,
        }
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    /// Somebody begins, with a clock that is so far ahead.
    pub fn enter(&mut self, role: Role, skew: SignedDuration) {
        self.entered += 1;
        let owner = format!("run-{}", self.entered);
        self.tell(|| match skew.is_zero() {
            true => format!("{owner} begins: {role}"),
            false => format!("{owner} begins, its clock {skew:#} ahead: {role}"),
        });
        let actor = on_stage(self.world, role.clone(), owner, self.mutant, skew);
        self.seats.push(Seat {
            role,
            actor,
            registered: BTreeSet::new(),
            is_heeded: false,
        });
    }

    /// Those who have not come to their end.
    pub fn playing(&self) -> Vec<usize> {
        let seats = self.seats.iter().enumerate();
        seats
            .filter(|(_, seat)| seat.actor.next_call().is_some())
            .map(|(at, _)| at)
            .collect()
    }

    /// The call that this one makes next, to which `fault` happens; then the laws.
    pub fn go_on(&mut self, at: usize, fault: Option<Fault>) -> Result<(), Broken> {
        let seat = &mut self.seats[at];
        let call = seat.actor.next_call().unwrap_or(Call::Other);
        if call == Call::Watching {
            let watches = &self.world.look().watches;
            let registered = watches.get(&release::watches::alarm(ALARM));
            seat.registered = registered.cloned().unwrap_or_default();
        }
        seat.actor.go_on(fault);
        if let Some(fault) = fault {
            *self.faults.entry(format!("{fault:?}")).or_default() += 1;
        }
        let name = seat.actor.name.clone();
        let ended = seat.actor.done().cloned();
        self.seen(|| match (fault, ended) {
            (None, None) => format!("{name}: {call:?}"),
            (Some(fault), None) => format!("{name}: {call:?}, {fault:?}"),
            (fault, Some(ended)) => format!("{name}: {call:?}, {fault:?}, ends {ended:?}"),
        })?;
        self.heeded(at)
    }

    /// Whether the laws hold after something happened.
    pub fn seen(&mut self, what: impl FnOnce() -> String) -> Result<(), Broken> {
        match self.witness.look() {
            Ok(told) => {
                self.tell(|| match told.is_empty() {
                    true => what(),
                    false => format!("{} -> {}", what(), told.join(", ")),
                });
                Ok(())
            }
            Err(broken) => {
                self.tell(what);
                Err(broken)
            }
        }
    }

    /// An alarm that was handed over has turned every release round that was registered for it.
    fn heeded(&mut self, at: usize) -> Result<(), Broken> {
        let seat = &mut self.seats[at];
        let (Role::Alarm(fired), Some(Ok(())), false) =
            (&seat.role, seat.actor.done(), seat.is_heeded)
        else {
            return Ok(());
        };
        seat.is_heeded = true;
        let fired = *fired;
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
            seat.map(|at| self.seats[at].actor.digest())
                .hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: SignedDuration) -> Result<(), Broken> {
        self.world.pass(time);
        self.seen(|| format!("{time:#} pass"))
    }

    /// Nothing more goes wrong: whoever still had to do something has died long ago, and what asks
    /// again and again does so, until every release is over. Then all the laws hold.
    pub fn quiesce(&mut self, pipeline: Pipeline) -> Result<(), Broken> {
        self.seats.clear();
        let mut turned: BTreeMap<ReleaseId, usize> = BTreeMap::new();
        for number in 0..RUNS_TO_END_MAX {
            let open: BTreeSet<ReleaseId> = self.open();
            if open.is_empty() {
                return quiescent(&self.witness);
            }
            // A decision wakes the sweep by the clock of whoever decided.
            let pause = (LIFE + FENCE_SLACK).max(SWEEP_PAUSE) + SKEW;
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
            _ = alone(self.world, &Role::Sweep, &format!("sweep-{number}"), mutant);
            self.seen(|| "sweep".to_owned())?;
        }
        let played = alone(self.world, &role, &owner, mutant);
        self.seen(|| format!("{role}: {played:?}"))?;
        if let (Role::Tick(_), Err(error)) = (&role, &played) {
            return Err(Broken {
                law: "an undisturbed run meets nothing",
                how: error.clone(),
            });
        }
        match is_driven {
            true => undisturbed(&self.witness, id),
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
