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
use crate::{AppendError, Class, PortError};

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
    is_log: bool,
    /// Whether what was asked for may still happen.
    is_unknown: bool,
    digest: u64,
}

impl Answer {
    /// `stands_for` tells it, an error aside, from all others.
    pub(super) fn new<T: 'static, E: Again>(
        at: Timestamp,
        is_dated: bool,
        (call, stands_for): (Call, u64),
        told: Result<T, E>,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        let error = told.as_ref().err();
        let is_unknown = error.is_some_and(Again::is_unknown);
        let error = error.map(ToString::to_string);
        (at, is_dated, call, stands_for, error).hash(&mut hasher);
        Self {
            told: Rc::new(told),
            at,
            is_dated,
            is_log: call == Call::Load,
            is_unknown,
            digest: hasher.finish(),
        }
    }
}

/// An error of which there can be another one that says the same.
pub(super) trait Again: std::fmt::Display + 'static {
    fn again(&self) -> Self;
    /// Whether what was asked for may still happen.
    fn is_unknown(&self) -> bool;
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

    fn is_unknown(&self) -> bool {
        self.class == Class::Retryable
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

    fn is_unknown(&self) -> bool {
        matches!(self, Self::Port(error) if error.is_unknown())
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
    /// How often something did not read back as it had been set.
    doubts: Cell<u32>,
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

    /// Something does not read back as it was set: it may still come to be so.
    pub(super) fn doubts(&self) {
        self.doubts.set(self.doubts.get() + 1);
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
    /// Stands for what it remembers whatever else it hears.
    scars: u64,
    has_loaded: bool,
    digest: u64,
    cue: Rc<Cue>,
    plays: RefCell<Plays<'w, T>>,
}

type Playing<'w, T> = Pin<Box<dyn Future<Output = T> + 'w>>;

/// What it takes to begin the run anew.
struct Play<'w, T> {
    name: String,
    at: Timestamp,
    digest: u64,
    /// See [`Actor::forgets_nothing`].
    forgets: Cell<bool>,
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
        let digest = hasher.finish();
        Self::begun(Rc::new(Play {
            name,
            at,
            digest,
            forgets: Cell::new(true),
            begin,
        }))
    }

    /// The same run, which [`digest`](Self::digest) takes to remember all that it has ever heard.
    #[must_use]
    pub fn forgets_nothing(self) -> Self {
        self.play.forgets.set(false);
        self
    }

    fn begun(play: Rc<Play<'w, T>>) -> Self {
        let cue = Rc::new(Cue::default());
        cue.now.set(play.at);
        let plays = Plays::On((play.begin)(Rc::clone(&cue)));
        let actor = Self {
            scars: 0,
            has_loaded: false,
            digest: play.digest,
            play,
            heard: None,
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
        if answer.is_unknown {
            self.scars = hash((self.scars, answer.digest));
        }
        let forgets = answer.is_log && self.has_loaded && self.play.forgets.get();
        let before = match forgets {
            true => hash((
                self.play.digest,
                self.scars,
                self.cue.doubts.get(),
                self.cue.is_dated(),
            )),
            false => self.digest,
        };
        self.has_loaded |= answer.is_log;
        self.digest = hash((before, answer.digest));
        let before = self.heard.take();
        let heard = answer.clone();
        self.heard = Some(Rc::new(Heard { answer, before }));
        self.poll(Some(Prompt::Hear(heard)));
        if forgets {
            self.digest = hash((self.digest, self.next_call()));
        }
    }

    /// Another one that has come to the same point: it has heard the same.
    #[must_use]
    pub fn again(&self) -> Self {
        let all = std::iter::successors(self.heard.as_deref(), |heard| heard.before.as_deref());
        let all: Vec<_> = all.map(|heard| heard.answer.clone()).collect();
        let mut actor = Self::begun(Rc::clone(&self.play));
        all.into_iter().rev().for_each(|answer| actor.hear(answer));
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
    ///
    /// A run that loads the log once more, because others were faster, goes on from what is in it,
    /// from where it is in the code (the next call tells), and from what it has sent off and does not
    /// know the end of. What else it was told before does not matter any more: it is over, or was
    /// read to decide what the log has overtaken. That holds as long as it is not so often overtaken
    /// that it gives up ([`crate::ROUNDS_MAX`]).
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Stands for all that it has heard once it has heard this as well.
    pub fn digest_after(&self, answer: &Answer) -> u64 {
        hash((self.digest, answer.digest))
    }
}

fn hash(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
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
            Self::TRAFFIC => {
                (&state.weights, &state.up, state.ready_at).hash(&mut hasher);
                (&state.ignored, &state.believed).hash(&mut hasher);
            }
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
            Call::Look => {
                // Windows that are over tell nothing of what has just moved.
                let past = state.weights.iter().filter(|moved| moved.at < state.now);
                past.for_each(|moved| moved.hash(&mut hasher));
                (&state.alarms, state.in_stage).hash(&mut hasher);
            }
            Call::Watching => state.watches.hash(&mut hasher),
            Call::Due | Call::TakeDue => self.part(Self::ACTIVE).hash(&mut hasher),
            Call::Other => {
                let last: BTreeMap<_, _> = state.weights.iter().map(Moved::live).collect();
                let holders: BTreeMap<_, _> = state
                    .held
                    .iter()
                    .map(|(target, held)| (target, &held.by))
                    .collect();
                (last, holders).hash(&mut hasher);
            }
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
