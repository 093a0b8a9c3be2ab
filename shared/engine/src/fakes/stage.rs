//! Several runs at once, of which one at a time makes one port call: whoever directs them decides
//! whose turn it is, and what happens to the call.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use release::{TargetId, Weight};

use super::{Fault, Moved, World};

/// A port call, as far as it matters to whom it may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// [`crate::ReleaseLog::load`] and the like.
    Load,
    /// [`crate::ReleaseLog::append`].
    Append,
    /// [`crate::ReleaseLog::append_and_fence`].
    AppendAndFence,
    /// [`crate::ReleaseLog::watching`].
    Watching,
    /// [`crate::ReleaseLog::beat`].
    Beat,
    /// [`crate::ReleaseLog::due`].
    Due,
    /// [`crate::ReleaseLog::take_due`].
    TakeDue,
    /// [`crate::ReleaseLog::fence`].
    Fence,
    /// [`crate::ReleaseLog::unfence`].
    Unfence,
    /// [`crate::TrafficTarget::set_weight`].
    SetWeight,
    /// The other effects on a target.
    Act,
    /// [`crate::TrafficTarget::weight`].
    Weight,
    /// [`crate::TrafficTarget::live`].
    Live,
    /// What is only looked at: metrics, alarms, probes.
    Look,
    /// [`crate::JobReporter::answer`].
    Answer,
    /// [`crate::Clock::sleep`].
    Sleep,
    /// Any other.
    Other,
}

impl Call {
    /// What may happen to it, besides nothing. An answer that is lost of a call without an effect is
    /// one that was never given.
    pub fn faults(self) -> &'static [Fault] {
        use Fault::{AnswerLost, Arrives, DieAfter, DieBefore, Ignored, Stale, Throttled};
        match self {
            Self::Load | Self::Watching | Self::Look => &[DieBefore, Throttled],
            Self::Weight | Self::Live | Self::Due => &[DieBefore, Throttled, Stale],
            Self::Append
            | Self::AppendAndFence
            | Self::Beat
            | Self::TakeDue
            | Self::Fence
            | Self::Unfence
            | Self::Act
            | Self::Answer
            | Self::Other => &[DieBefore, DieAfter, AnswerLost, Throttled],
            Self::SetWeight => &[DieBefore, DieAfter, AnswerLost, Throttled, Ignored, Arrives],
            Self::Sleep => &[DieBefore],
        }
    }
}

/// What a run and its director tell each other.
#[derive(Debug, Default)]
pub struct Cue {
    waits_at: Cell<Option<Call>>,
    goes_on: Cell<Option<Option<Fault>>>,
    is_dead: Cell<bool>,
    heard: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

impl Cue {
    /// Waits for this run's turn: what happens to the call then.
    pub(super) async fn turn(&self, call: Call) -> Option<Fault> {
        poll_fn(|context| match self.goes_on.take() {
            Some(fault) => Poll::Ready(fault),
            None => {
                // Of calls that are made at once, the first is the next.
                self.waits_at.set(self.waits_at.get().or(Some(call)));
                self.wakers.borrow_mut().push(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    pub(super) fn die(&self) {
        self.is_dead.set(true);
    }

    /// Takes into account what the run has just been told: it follows from these.
    pub(super) fn hears(&self, told: impl Hash) {
        let mut hasher = DefaultHasher::new();
        (self.heard.get(), told).hash(&mut hasher);
        self.heard.set(hasher.finish());
    }
}

/// One run on the stage, and what becomes of it.
pub struct Actor<'w, T> {
    /// As a trace names it.
    pub name: String,
    cue: Rc<Cue>,
    plays: Plays<'w, T>,
}

type Playing<'w, T> = Pin<Box<dyn Future<Output = T> + 'w>>;

enum Plays<'w, T> {
    On(Playing<'w, T>),
    Done(T),
    Dead,
}

impl<'w, T> Actor<'w, T> {
    /// A run that has begun and waits at its first port call. `play` makes it, with the cue that its
    /// [`super::Run`] is to go [`super::Run::on_stage`] with.
    pub fn new(name: String, play: impl FnOnce(Rc<Cue>) -> Playing<'w, T>) -> Self {
        let cue = Rc::new(Cue::default());
        let plays = Plays::On(play(Rc::clone(&cue)));
        let mut actor = Self { name, cue, plays };
        actor.poll();
        actor
    }

    fn poll(&mut self) {
        let Plays::On(playing) = &mut self.plays else {
            return;
        };
        self.cue.waits_at.set(None);
        // Combinators that keep a list of who is ready poll nobody else.
        self.cue.wakers.take().into_iter().for_each(Waker::wake);
        match playing
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(done) => self.plays = Plays::Done(done),
            Poll::Pending if self.cue.is_dead.get() => self.plays = Plays::Dead,
            Poll::Pending => {}
        }
    }

    /// The call that it waits at; none once it is over.
    pub fn next_call(&self) -> Option<Call> {
        match self.plays {
            Plays::On(_) => self.cue.waits_at.get(),
            Plays::Done(_) | Plays::Dead => None,
        }
    }

    /// Lets it make the call that it waits at, to which this happens, and come to the next one.
    pub fn go_on(&mut self, fault: Option<Fault>) {
        self.cue.goes_on.set(Some(fault));
        self.poll();
    }

    /// What it came to, if it came to its end.
    pub fn done(&self) -> Option<&T> {
        match &self.plays {
            Plays::Done(done) => Some(done),
            Plays::On(_) | Plays::Dead => None,
        }
    }

    /// Stands for all that it will do: it follows from what it has been told. One that is over does
    /// nothing more, however it came to that.
    pub fn digest(&self) -> u64 {
        match self.plays {
            Plays::On(_) => self.cue.heard.get(),
            Plays::Done(_) | Plays::Dead => u64::MAX,
        }
    }
}

impl World {
    /// Stands for all that is in the world and matters to a release.
    pub fn digest(&self) -> u64 {
        let state = self.look();
        let mut hasher = DefaultHasher::new();
        for part in [Self::LOG, Self::TRAFFIC, Self::FENCES, Self::ACTIVE] {
            self.part(part).hash(&mut hasher);
        }
        (&state.now, &state.watches, &state.alarms, &state.late).hash(&mut hasher);
        (&state.test_traffic.is_some(), state.answers.len()).hash(&mut hasher);
        hasher.finish()
    }

    const LOG: u8 = 0;
    const TRAFFIC: u8 = 1;
    const FENCES: u8 = 2;
    const ACTIVE: u8 = 3;

    fn part(&self, part: u8) -> u64 {
        let state = self.look();
        let mut hasher = DefaultHasher::new();
        match part {
            Self::LOG => self.hashes.borrow().hash(&mut hasher),
            Self::TRAFFIC => (&state.weights, &state.up, state.ready_at).hash(&mut hasher),
            Self::FENCES => state.held.hash(&mut hasher),
            _ => (&state.active, &state.active_before, &state.woken).hash(&mut hasher),
        }
        hasher.finish()
    }

    /// Stands for what `call` has just been told, besides whether it was done.
    pub(super) fn told_to(&self, call: Call) -> u64 {
        let state = self.look();
        let mut hasher = DefaultHasher::new();
        match call {
            Call::Load | Call::Append => self.part(Self::LOG).hash(&mut hasher),
            Call::AppendAndFence => {
                (self.part(Self::LOG), self.part(Self::FENCES)).hash(&mut hasher);
            }
            Call::Weight => {
                let last: BTreeMap<_, _> = state.weights.iter().map(Moved::live).collect();
                last.hash(&mut hasher);
            }
            Call::Live => {
                let last: BTreeMap<_, _> = state.weights.iter().map(Moved::live).collect();
                (last, state.ready_at <= state.now).hash(&mut hasher);
            }
            Call::Look => (&state.weights, &state.alarms).hash(&mut hasher),
            Call::Watching => state.watches.hash(&mut hasher),
            Call::Due | Call::TakeDue => self.part(Self::ACTIVE).hash(&mut hasher),
            Call::Other => (&state.weights, &state.held).hash(&mut hasher),
            Call::Fence
            | Call::Beat
            | Call::Unfence
            | Call::SetWeight
            | Call::Act
            | Call::Answer
            | Call::Sleep => {}
        }
        hasher.finish()
    }
}

impl Moved {
    fn live(&self) -> (&TargetId, (&str, Weight)) {
        (&self.target, (&self.candidate, self.weight))
    }
}
