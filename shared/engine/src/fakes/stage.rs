//! Several runs at once, of which one at a time makes one port call: whoever directs them decides
//! whose turn it is, and what happens to the call.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use jiff::Timestamp;
use release::{TargetId, Weight};

use super::{Fault, Log, Moved, World};
use crate::{AppendError, PortError};

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

/// What a call came to. It may be told more than once: to the run that made the call, and to others
/// that are to come to the same point.
#[derive(Clone)]
pub struct Answer {
    /// A `Result`.
    told: Rc<dyn Any>,
    /// The world's time then.
    at: Timestamp,
    /// Whether it tells the time.
    is_dated: bool,
    digest: u64,
}

impl Answer {
    /// `stands_for` tells it, an error aside, from all others.
    pub(super) fn new<T: 'static, E: Again>(
        at: Timestamp,
        is_dated: bool,
        stands_for: impl Hash,
        told: Result<T, E>,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        let error = told.as_ref().err().map(ToString::to_string);
        (at, is_dated, stands_for, error).hash(&mut hasher);
        Self {
            told: Rc::new(told),
            at,
            is_dated,
            digest: hasher.finish(),
        }
    }
}

/// An error of which there can be another one that says the same.
pub(super) trait Again: std::fmt::Display + 'static {
    fn again(&self) -> Self;
}

impl Again for PortError {
    fn again(&self) -> Self {
        let cause = self.cause.as_ref();
        Self {
            class: self.class,
            doing: self.doing.clone(),
            cause: cause.map(|cause| cause.to_string().into()),
        }
    }
}

impl Again for AppendError {
    fn again(&self) -> Self {
        match self {
            Self::Moved => Self::Moved,
            Self::Busy { target, holder } => Self::Busy {
                target: target.clone(),
                holder: holder.clone(),
            },
            Self::Port(error) => Self::Port(error.again()),
        }
    }
}

/// What a run and its director tell each other.
#[derive(Default)]
pub struct Cue {
    waits_at: Cell<Option<Call>>,
    prompt: RefCell<Option<Prompt>>,
    /// What the call came to that was made.
    answer: RefCell<Option<Answer>>,
    now: Cell<Timestamp>,
    is_dated: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
}

enum Prompt {
    /// Make the call in this world, and wait.
    Make(Rc<World>, Option<Fault>),
    /// This is what it came to: go on.
    Hear(Answer),
}

impl Cue {
    /// Waits for this run's turn, and makes the call whenever it is told to.
    pub(super) async fn turn<T, E>(
        &self,
        call: Call,
        make: impl Fn(&World, Option<Fault>) -> Option<Answer>,
    ) -> Result<T, E>
    where
        T: Clone + 'static,
        E: Again,
    {
        let answer = poll_fn(|context| {
            match self.prompt.take() {
                Some(Prompt::Hear(answer)) => {
                    self.now.set(answer.at);
                    self.is_dated.set(self.is_dated.get() || answer.is_dated);
                    return Poll::Ready(answer);
                }
                Some(Prompt::Make(world, fault)) => {
                    self.answer.replace(make(&world, fault));
                }
                None => {}
            }
            // Of calls that are made at once, the first is the next.
            self.waits_at.set(self.waits_at.get().or(Some(call)));
            self.wakers.borrow_mut().push(context.waker().clone());
            Poll::Pending
        });
        let told = answer.await.told;
        match told.downcast_ref() {
            Some(Ok(told)) => Ok(T::clone(told)),
            Some(Err(error)) => Err(E::again(error)),
            None => panic!("{call:?} hears what another call came to"),
        }
    }

    /// Whether this run has heard what time it is.
    pub(super) fn is_dated(&self) -> bool {
        self.is_dated.get()
    }

    /// The world's time when this run heard something last.
    pub(super) fn now(&self) -> Timestamp {
        self.now.get()
    }
}

/// One run on the stage, which waits at a port call, or is over.
pub struct Actor<'w, T> {
    play: Rc<Play<'w, T>>,
    /// What it has been told so far, the latest first.
    heard: Option<Rc<Heard>>,
    digest: u64,
    cue: Rc<Cue>,
    plays: RefCell<Plays<'w, T>>,
}

type Playing<'w, T> = Pin<Box<dyn Future<Output = T> + 'w>>;

/// What it takes to begin the run anew.
struct Play<'w, T> {
    name: String,
    at: Timestamp,
    begin: Box<dyn Fn(Rc<Cue>) -> Playing<'w, T> + 'w>,
}

struct Heard {
    answer: Answer,
    before: Option<Rc<Heard>>,
}

enum Plays<'w, T> {
    On(Playing<'w, T>),
    Done(T),
}

impl<'w, T> Actor<'w, T> {
    /// A run that begins `at` and waits at its first port call. `begin` makes it, the same one each
    /// time, with the cue that its [`super::Run`] is to go [`super::Run::on_stage`] with.
    /// `stands_for` tells it from all others.
    pub fn new(
        name: String,
        at: Timestamp,
        stands_for: impl Hash,
        begin: impl Fn(Rc<Cue>) -> Playing<'w, T> + 'w,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        (&name, at, stands_for).hash(&mut hasher);
        let begin = Box::new(begin);
        Self::begun(Rc::new(Play { name, at, begin }), hasher.finish())
    }

    fn begun(play: Rc<Play<'w, T>>, digest: u64) -> Self {
        let cue = Rc::new(Cue::default());
        cue.now.set(play.at);
        let plays = Plays::On((play.begin)(Rc::clone(&cue)));
        let actor = Self {
            play,
            heard: None,
            digest,
            cue,
            plays: RefCell::new(plays),
        };
        actor.poll(None);
        actor
    }

    /// As a trace names it.
    pub fn name(&self) -> &str {
        &self.play.name
    }

    fn poll(&self, prompt: Option<Prompt>) {
        let mut plays = self.plays.borrow_mut();
        let Plays::On(playing) = &mut *plays else {
            return;
        };
        self.cue.waits_at.set(None);
        self.cue.prompt.replace(prompt);
        // Combinators that keep a list of who is ready poll nobody else.
        self.cue.wakers.take().into_iter().for_each(Waker::wake);
        let mut context = Context::from_waker(Waker::noop());
        if let Poll::Ready(done) = playing.as_mut().poll(&mut context) {
            *plays = Plays::Done(done);
        }
    }

    /// The call that it waits at; none once it is over.
    pub fn next_call(&self) -> Option<Call> {
        match &*self.plays.borrow() {
            Plays::On(_) => self.cue.waits_at.get(),
            Plays::Done(_) => None,
        }
    }

    /// Makes the call that it waits at in this world, and goes on waiting there: what the call came
    /// to when this happens to it; None: the run died of it.
    pub fn make(&self, world: &Rc<World>, fault: Option<Fault>) -> Option<Answer> {
        self.poll(Some(Prompt::Make(Rc::clone(world), fault)));
        self.cue.answer.take()
    }

    /// Goes on with what its call came to, up to the next call.
    pub fn hear(&mut self, answer: Answer) {
        self.digest = self.digest_after(&answer);
        let before = self.heard.take();
        let heard = answer.clone();
        self.heard = Some(Rc::new(Heard { answer, before }));
        self.poll(Some(Prompt::Hear(heard)));
    }

    /// Another one that has come to the same point: it has heard the same.
    #[must_use]
    pub fn again(&self) -> Self {
        let all = std::iter::successors(self.heard.as_deref(), |heard| heard.before.as_deref());
        let all: Vec<_> = all.map(|heard| heard.answer.clone()).collect();
        let mut actor = Self::begun(Rc::clone(&self.play), 0);
        all.into_iter()
            .rev()
            .for_each(|answer| actor.hear(answer));
        actor.digest = self.digest;
        actor
    }

    /// What it came to, if it came to its end.
    pub fn done(&self) -> Option<T>
    where
        T: Clone,
    {
        match &*self.plays.borrow() {
            Plays::Done(done) => Some(done.clone()),
            Plays::On(_) => None,
        }
    }

    /// Stands for all that it will do: it follows from what it has been told.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Stands for all that it has heard once it has heard this as well.
    pub fn digest_after(&self, answer: &Answer) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.digest, answer.digest).hash(&mut hasher);
        hasher.finish()
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
        (state.test_traffic.is_some(), state.answers.len()).hash(&mut hasher);
        (&state.alongside, &state.stage_closed).hash(&mut hasher);
        (state.in_stage, state.stage_rolled_back).hash(&mut hasher);
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
            Self::LOG => {
                let digests = state.logs.values().map(Log::digest);
                digests.for_each(|digest| digest.hash(&mut hasher));
            }
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
            Call::Look => (&state.weights, &state.alarms, state.in_stage).hash(&mut hasher),
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
