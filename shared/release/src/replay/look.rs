//! What a look must have seen, told from what it led to.
//!
//! The log has what a look found new, not what it could not see. So a look is taken to be the one
//! under which the recorded plan decides what was recorded: the whole world seen, or the first thing
//! missing that explains it. What no look explains came from outside.

use std::collections::BTreeSet;
use std::mem::discriminant;

use jiff::Timestamp;

use super::{moves, watched};
use crate::{
    Checked, Effect, Event, Live, Observation, Proof, Reason, Release, Weight, Window, decide,
};

/// The most decisions on one look.
pub(super) const ROUNDS_MAX: usize = 24;

/// How many of these events come from one look: those of the same time, until something is
/// performed or ordered.
pub(super) fn run(events: &[Event]) -> usize {
    let at = events.first().map(Event::at);
    let is_of_it = |event: &&Event| Some(event.at()) == at && !is_of_no_look(event);
    events.iter().take_while(is_of_it).count()
}

fn is_of_no_look(event: &Event) -> bool {
    match event {
        Event::Performed { .. }
        | Event::CleanupFailed { .. }
        | Event::RollbackStuck { .. }
        | Event::Ordered { .. }
        | Event::Started(_) => true,
        Event::Intended { .. }
        | Event::Observed { .. }
        | Event::AlarmsChanged { .. }
        | Event::CandidateReady { .. }
        | Event::Checked { .. }
        | Event::Frozen { .. }
        | Event::StepDone { .. }
        | Event::RollbackDecided { .. }
        | Event::Ended { .. } => false,
    }
}

/// One look, for whoever looks.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) at: Timestamp,
    pub(super) windows: Vec<Window>,
    /// Whether other alarms were firing than before.
    has_alarms: bool,
    /// Every alarm that was firing; `None` when they could not be read.
    firing: Option<BTreeSet<String>>,
    target: Target,
    /// Whether the execution was still in its stage: until the stage was rolled back.
    in_stage: bool,
    /// What the step's probes or function said.
    checked: Option<Checked>,
    /// Why the recorded release turned round, if it did.
    turned_by: Option<Reason>,
    /// Why the recorded release did what it did.
    pub(super) because: Reason,
    /// How many decisions were taken on it: fewer than there could be where a run was cut off.
    pub(super) rounds: usize,
    /// Whether the recorded plan decides what was recorded.
    is_explained: bool,
}

/// What the target looked like.
#[derive(Debug, Clone, Copy)]
enum Target {
    /// As it was set, with so many healthy hosts on either side.
    AsSet { healthy: u32 },
    /// Somebody else had moved it, where to nobody wrote down.
    Moved,
    /// Somebody else had given the candidate this weight.
    MovedTo(Weight),
    /// It could not be read.
    Unseen,
}

impl Seen {
    /// The look that led to these events of one time.
    pub(super) fn by(recorded: &Release, run: &[Event]) -> Self {
        let mut whole = Self {
            at: run.first().map_or(recorded.started.at, Event::at),
            windows: Vec::new(),
            has_alarms: false,
            firing: Some(recorded.alarms_firing.clone()),
            target: Target::AsSet { healthy: 1 },
            in_stage: true,
            checked: None,
            turned_by: None,
            because: Reason::ReadingBack,
            rounds: ROUNDS_MAX,
            is_explained: false,
        };
        for event in run {
            match event {
                Event::Observed { windows, .. } => whole.windows.extend(windows.iter().cloned()),
                Event::AlarmsChanged { firing, .. } => {
                    whole.firing = Some(firing.clone());
                    whole.has_alarms = true;
                }
                Event::Ended {
                    proof: Proof { healthy_hosts, .. },
                    ..
                } => {
                    whole.target = Target::AsSet {
                        healthy: *healthy_hosts,
                    };
                }
                Event::RollbackDecided { because, .. } => {
                    whole.because = because.clone();
                    whole.turned_by = Some(because.clone());
                    if let Reason::Drifted { live, .. } = because {
                        whole.target = Target::MovedTo(*live);
                    } else if *because == Reason::TurnedBack {
                        whole.target = Target::MovedTo(Weight::ZERO);
                    }
                }
                Event::StepDone { because, .. } => whole.because = because.clone(),
                Event::Checked { checked, .. } => whole.checked = Some(checked.clone()),
                Event::Intended {
                    effect: Effect::HoldStage,
                    ..
                } => whole.in_stage = false,
                Event::Intended { .. }
                | Event::CandidateReady { .. }
                | Event::Frozen { .. }
                | Event::CleanupFailed { .. }
                | Event::RollbackStuck { .. }
                | Event::Started(_)
                | Event::Performed { .. }
                | Event::Ordered { .. } => {}
            }
        }
        let explained = whole
            .guesses()
            .find_map(|guess| guess.explains(recorded, run));
        explained.unwrap_or(whole)
    }

    /// What may have been missing, the likeliest first.
    fn guesses(&self) -> impl Iterator<Item = Self> {
        let targets = [
            self.target,
            Target::AsSet { healthy: 0 },
            Target::Unseen,
            Target::Moved,
        ];
        let alarms = [self.firing.clone(), None];
        let both = alarms
            .into_iter()
            .flat_map(move |firing| targets.map(|target| (firing.clone(), target)));
        both.map(|(firing, target)| Self {
            firing,
            target,
            ..self.clone()
        })
    }

    /// This look, when the recorded release decides on it what was recorded.
    fn explains(mut self, recorded: &Release, run: &[Event]) -> Option<Self> {
        let wanted = moves(run);
        let is_whole = |rounds| {
            let (events, because) = decide_on(recorded, &self, rounds);
            // Turned round for another reason is explained by nothing of this.
            let same = |turned_by: &Reason| discriminant(turned_by) == discriminant(&because);
            let is_so = moves(&events) == wanted && self.turned_by.as_ref().is_none_or(same);
            is_so.then_some((rounds, because))
        };
        let (rounds, because) = is_whole(ROUNDS_MAX).or_else(|| (1..4).find_map(is_whole))?;
        (self.rounds, self.because, self.is_explained) = (rounds, because, true);
        Some(self)
    }

    /// Whether it has found nothing new.
    pub(super) fn is_empty(&self) -> bool {
        self.windows.is_empty() && !self.has_alarms
    }

    /// Why somebody outside turned the release round in this run.
    pub(super) fn asked_outside(&self, run: &[Event]) -> Option<Reason> {
        if self.is_explained {
            return None;
        }
        run.iter().find_map(|event| match event {
            Event::RollbackDecided { because, .. } => Some(because.clone()),
            Event::Started(_)
            | Event::Intended { .. }
            | Event::Performed { .. }
            | Event::Observed { .. }
            | Event::AlarmsChanged { .. }
            | Event::CandidateReady { .. }
            | Event::CleanupFailed { .. }
            | Event::RollbackStuck { .. }
            | Event::Checked { .. }
            | Event::Frozen { .. }
            | Event::StepDone { .. }
            | Event::Ordered { .. }
            | Event::Ended { .. } => None,
        })
    }

    /// As this release sees it.
    fn of(&self, release: &Release) -> Observation {
        let live = |weight, healthy| Live {
            weight,
            stable_healthy: healthy,
            candidate_healthy: healthy,
            candidate_ready: healthy > 0,
        };
        Observation {
            now: self.at,
            windows: Some(self.windows.clone()),
            alarms: self
                .firing
                .as_ref()
                .map(|firing| watched(release.plan(), firing)),
            live: match self.target {
                Target::AsSet { healthy } => Some(live(release.weight, healthy)),
                Target::Moved if release.weight == Weight::ZERO => Some(live(Weight::FULL, 1)),
                Target::Moved => Some(live(Weight::ZERO, 1)),
                Target::MovedTo(weight) => Some(live(weight, 1)),
                Target::Unseen => None,
            },
            checked: self.checked.clone(),
            approval: None,
            in_stage: Some(self.in_stage),
        }
    }
}

/// What a release decides on one look, until something is to be performed; and why that, or why
/// nothing.
pub(super) fn decide_on(release: &Release, seen: &Seen, rounds: usize) -> (Vec<Event>, Reason) {
    let mut release = release.clone();
    let mut events = Vec::new();
    let mut why = None;
    for _ in 0..rounds {
        let decision = decide(&release, &seen.of(&release));
        if decision.events.is_empty() {
            why.get_or_insert(decision.because);
            break;
        }
        why = Some(decision.because);
        decision.events.iter().for_each(|event| release.take(event));
        events.extend(decision.events);
    }
    (events, why.unwrap_or(Reason::ReadingBack))
}
