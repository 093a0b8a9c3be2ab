//! What must hold, whatever happens. One function a law.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use engine::fakes::{Held, Moved, World};
use release::config::TargetSpec;
use release::{
    Effect, Event, Head, JobReply, Order, Outcome, Phase, Reason, Release, ReleaseId, Story,
    TargetId, Weight,
};
use serde_json::Value;

/// Undisturbed runs until a release that has been turned round is over, the looks at what its
/// candidate still gets included. The first of them brings the traffic back.
pub const ROLLBACK_DRIVES_MAX: usize = 4;

/// A law that does not hold, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    pub law: &'static str,
    pub how: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.law, self.how)
    }
}

/// One log, as it has been stored.
#[derive(Debug, Default)]
pub struct Log {
    events: Vec<Rc<Event>>,
    release: Option<Release>,
    /// The law of a log's own that it breaks, if it does.
    broken: Option<Broken>,
}

/// All that has happened, and what of it is new.
#[derive(Clone)]
pub struct Witness {
    /// Logs as somebody saw them, by [`engine::fakes::Log::digest`]: reading takes long.
    known: Rc<RefCell<HashMap<u64, Rc<Log>>>>,
    logs: BTreeMap<ReleaseId, Rc<Log>>,
    /// In order of their beginning, which their own clocks need not tell.
    begun: Vec<ReleaseId>,
    moves_seen: usize,
    answers_seen: usize,
    /// Who held what at the last look.
    held: BTreeMap<TargetId, Held>,
}

/// So many logs are kept.
const KNOWN_MAX: usize = 20_000;

type Law = fn(&News<'_>) -> Result<(), String>;
type LogLaw = fn(&[Rc<Event>], Option<&Release>) -> Result<(), String>;

/// What has happened since the last look.
struct News<'a> {
    world: &'a World,
    all: &'a Witness,
    /// Logs with new events, and how many events they had.
    grown: &'a [(ReleaseId, usize)],
    moves: &'a [Moved],
    /// The live weights before each of the moves.
    before: &'a [Weight],
    answers: &'a [(String, JobReply)],
    /// Releases that have ended since the last look.
    ended: &'a [ReleaseId],
}

/// What holds at every moment.
const ALWAYS: &[(&str, Law)] = &[
    ("one active release on a target", one_release_on_a_target),
    ("who holds a target is active", holder_is_active),
    (
        "a release ends when no other run has its target's fence",
        ends_alone,
    ),
    ("what is logged as performed has been so", performed_was_so),
    (
        "what may still arrive is behind a fence",
        arrives_behind_a_fence,
    ),
    (
        "an active release is found by all that it watches",
        registered_for_all,
    ),
    (
        "a target is moved only as its holder's log intends",
        moved_as_intended,
    ),
    ("traffic that went down never goes up again", never_up_again),
    ("what somebody holds is not raised", held_is_not_raised),
    ("a job is answered in line with the log", answered_in_line),
];

/// What holds of every log at every moment.
const OF_EACH_LOG: &[(&str, LogLaw)] = &[
    ("every intent has the next generation", generations_rise),
    ("a rollback is final", a_rollback_is_final),
    ("nothing is stored after the end", nothing_after_the_end),
    ("what ended was read back", ended_means_read_back),
    (
        "an event that is older than a release does not turn it round",
        heeds_no_old_event,
    ),
];

impl Log {
    /// The log with what has been stored after it.
    fn after(&self, stored: &engine::fakes::Log) -> Self {
        let mut events = self.events.clone();
        let mut head = Head {
            seq: 0,
            state: self.release.clone(),
        };
        for event in stored.iter().skip(events.len()) {
            let event: Event = serde_json::from_value(event.clone()).unwrap();
            head.state.apply(&event);
            events.push(Rc::new(event));
        }
        let release = head.state;
        let broken = OF_EACH_LOG.iter().find_map(|(law, holds)| {
            let how = holds(&events, release.as_ref()).err()?;
            Some(Broken { law, how })
        });
        Self {
            events,
            release,
            broken,
        }
    }
}

impl Log {
    fn target(&self) -> Option<TargetId> {
        Some(self.release.as_ref()?.plan().target.id())
    }
}

impl Witness {
    /// Somebody who sees all that happens from now on.
    pub fn new(world: &World) -> Self {
        let mut witness = Self {
            known: Rc::default(),
            logs: BTreeMap::new(),
            begun: Vec::new(),
            moves_seen: world.look().weights.len(),
            answers_seen: world.look().answers.len(),
            held: world.look().held.clone(),
        };
        witness.read(world);
        witness
    }

    /// Takes note of new events; says whose they are, and how many events there were.
    fn read(&mut self, world: &World) -> Vec<(ReleaseId, usize)> {
        let mut grown = Vec::new();
        for ((_, id), stored) in &world.look().logs {
            let seen = self.logs.get(id).map_or(0, |log| log.events.len());
            if seen == stored.len() {
                continue;
            }
            let mut known = self.known.borrow_mut();
            if known.len() > KNOWN_MAX {
                known.clear();
            }
            let log = known.entry(stored.digest()).or_insert_with(|| {
                let before = self.logs.get(id);
                let before = before.map_or_else(Rc::default, Rc::clone);
                Rc::new(before.after(stored))
            });
            if seen == 0 {
                self.begun.push(id.clone());
            }
            grown.push((id.clone(), seen));
            self.logs.insert(id.clone(), Rc::clone(log));
        }
        grown
    }

    /// Whether all laws still hold; tells in words what has happened since the last look.
    pub fn look(&mut self, world: &World, told: Option<&mut Vec<String>>) -> Result<(), Broken> {
        let (moves_seen, answers_seen) = (self.moves_seen, self.answers_seen);
        let active = self.releases().filter(|release| release.is_active());
        let active: Vec<_> = active
            .map(|release| release.started.release.clone())
            .collect();
        let grown = self.read(world);
        let is_over = |id: &ReleaseId| self.release(id).is_some_and(|r| !r.is_active());
        let ended: Vec<_> = active.into_iter().filter(is_over).collect();
        let state = world.look();
        let (moves, answers) = (&state.weights[moves_seen..], &state.answers[answers_seen..]);
        let is_same = grown.is_empty() && moves.is_empty() && answers.is_empty();
        if is_same && state.late.is_empty() && state.held == self.held {
            return Ok(());
        }
        let before: Vec<_> = (moves_seen..state.weights.len())
            .map(|number| {
                let moved = &state.weights[number];
                live(&state.weights[..number], &moved.target, &moved.candidate)
            })
            .collect();
        let news = News {
            world,
            all: self,
            grown: &grown,
            moves,
            before: &before,
            answers,
            ended: &ended,
        };
        if let Some(told) = told {
            news.tell(told);
        }
        news.keep_every_law()?;
        self.held.clone_from(&state.held);
        let seen = (state.weights.len(), state.answers.len());
        (self.moves_seen, self.answers_seen) = seen;
        Ok(())
    }

    /// The releases so far.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        self.logs.values().filter_map(|log| log.release.as_ref())
    }

    /// This release, as its log has it.
    pub fn release(&self, id: &ReleaseId) -> Option<&Release> {
        self.logs.get(id).and_then(|log| log.release.as_ref())
    }

    /// Events stored so far.
    pub fn events(&self) -> usize {
        self.logs.values().map(|log| log.events.len()).sum()
    }

    fn log(&self, id: &Option<ReleaseId>) -> Option<&Log> {
        id.as_ref().and_then(|id| self.logs.get(id)).map(Rc::as_ref)
    }
}

impl News<'_> {
    fn tell(&self, told: &mut Vec<String>) {
        let state = self.world.look();
        for ((_, id), log) in &state.logs {
            let seen = self.grown.iter().find(|(grown, _)| grown == id);
            let fresh = log.iter().skip(seen.map_or(log.len(), |(_, seen)| *seen));
            told.extend(fresh.map(|event| format!("{id}: {}", in_short(event))));
        }
        let moves = self.moves.iter();
        told.extend(moves.map(|m| format!("{} gets {}", m.candidate, m.weight)));
        let answers = self.answers.iter();
        told.extend(answers.map(|(job, reply)| format!("{job} is told {reply:?}")));
    }

    fn keep_every_law(&self) -> Result<(), Broken> {
        for (id, _) in self.grown {
            let log = self.all.logs.get(id);
            if let Some(broken) = log.and_then(|log| log.broken.as_ref()) {
                return Err(Broken {
                    law: broken.law,
                    how: format!("{id}: {}", broken.how),
                });
            }
        }
        for (law, holds) in ALWAYS {
            holds(self).map_err(|how| Broken { law, how })?;
        }
        Ok(())
    }
}

fn in_short(event: &Value) -> String {
    let what = match &event["effect"] {
        Value::Null => &event["order"],
        effect => effect,
    };
    let because = event["because"]["reason"].as_str().unwrap_or_default();
    let what = match what {
        Value::Null => String::new(),
        what => format!(" {what}"),
    };
    let name = event["event"].as_str().unwrap_or("?");
    format!("{name}{what} {because}").trim_end().to_owned()
}

fn live(moves: &[Moved], target: &TargetId, candidate: &str) -> Weight {
    let last = moves.iter().rev().find(|moved| moved.target == *target);
    match last {
        None => Weight::ZERO,
        Some(last) if last.candidate == candidate => last.weight,
        Some(last) => {
            let rest = Weight::FULL.basis_points() - last.weight.basis_points();
            Weight::from_basis_points(rest).unwrap()
        }
    }
}

fn one_release_on_a_target(news: &News<'_>) -> Result<(), String> {
    let mut active = BTreeMap::new();
    for release in news.all.releases().filter(|release| release.is_active()) {
        let (target, id) = (release.plan().target.id(), &release.started.release);
        if let Some(other) = active.insert(target, id) {
            return Err(format!("{other} and {id} are both active"));
        }
    }
    Ok(())
}

fn holder_is_active(news: &News<'_>) -> Result<(), String> {
    let state = news.world.look();
    for (target, held) in &state.held {
        let holder = news.all.release(&held.by);
        if !holder.is_some_and(Release::is_active) {
            return Err(format!("{} holds {target}", held.by));
        }
    }
    Ok(())
}

fn ends_alone(news: &News<'_>) -> Result<(), String> {
    let now = news.world.look().now;
    for release in news.ended.iter().filter_map(|id| news.all.release(id)) {
        let target = release.plan().target.id();
        let fence = news
            .all
            .held
            .get(&target)
            .and_then(|held| held.fence.as_ref());
        if let Some((owner, until)) = fence.filter(|(_, until)| *until >= now) {
            let id = &release.started.release;
            return Err(format!(
                "{id} ended while {owner} had the fence until {until}"
            ));
        }
    }
    Ok(())
}

fn performed_was_so(news: &News<'_>) -> Result<(), String> {
    let state = news.world.look();
    for (id, seen) in news.grown {
        for event in &news.all.logs[id].events[*seen..] {
            let Event::Performed {
                effect: Effect::SetWeight(weight),
                ..
            } = &**event
            else {
                continue;
            };
            let mut own = state
                .weights
                .iter()
                .filter(|m| m.holder.as_ref() == Some(id));
            // Nothing may be set that is so already.
            let is_so = match *weight == Weight::ZERO {
                true => own.clone().next().is_none() || own.any(|m| m.weight == *weight),
                false => own.any(|m| m.weight == *weight),
            };
            // What two answers said that were not so is found by the next look.
            let target = news.all.logs[id].target();
            let is_believed = target.is_some_and(|it| state.believed.contains(&(it, *weight)));
            if !is_so && !is_believed {
                return Err(format!("{id} logged {weight}, which was never live"));
            }
        }
    }
    Ok(())
}

fn arrives_behind_a_fence(news: &News<'_>) -> Result<(), String> {
    let state = news.world.look();
    for (until, moved) in state.late.iter().filter(|(until, _)| *until >= state.now) {
        let fence = state
            .held
            .get(&moved.target)
            .and_then(|held| held.fence.as_ref());
        if fence.is_none_or(|(_, fenced)| fenced < until) {
            let weight = moved.weight;
            return Err(format!(
                "{weight} may arrive until {until}, and nobody is kept away"
            ));
        }
    }
    Ok(())
}

fn registered_for_all(news: &News<'_>) -> Result<(), String> {
    let state = news.world.look();
    for release in news.all.releases().filter(|release| release.is_active()) {
        let id = &release.started.release;
        let finds = |name: &String| state.watches.get(name).is_some_and(|ids| ids.contains(id));
        if let Some(name) = release.started.watches().iter().find(|name| !finds(name)) {
            return Err(format!("{name} does not find {id}"));
        }
    }
    Ok(())
}

fn generations_rise(events: &[Rc<Event>], _: Option<&Release>) -> Result<(), String> {
    let mut last = 0;
    for event in events {
        if let Event::Intended { generation, .. } = &**event {
            if generation.0 != last + 1 {
                return Err(format!("{generation} comes after {last}"));
            }
            last = generation.0;
        }
        if let Event::Performed { generation, .. } = &**event
            && generation.0 != last
        {
            return Err(format!("{generation} was performed, not {last}"));
        }
    }
    Ok(())
}

fn a_rollback_is_final(events: &[Rc<Event>], _: Option<&Release>) -> Result<(), String> {
    let decided = |event: &Event| matches!(event, Event::RollbackDecided { .. });
    let Some(turned) = events.iter().position(|event| decided(event)) else {
        return Ok(());
    };
    for event in &events[turned + 1..] {
        let is_up = match &**event {
            Event::Intended { effect, .. } => {
                matches!(effect, Effect::SetWeight(w) if *w != Weight::ZERO)
            }
            Event::Ended { outcome, .. } => *outcome == Outcome::Promoted,
            Event::Ordered { order, .. } => *order == Order::Promote,
            event => decided(event),
        };
        if is_up {
            return Err(format!("{event:?} after the rollback was decided"));
        }
    }
    Ok(())
}

fn nothing_after_the_end(events: &[Rc<Event>], _: Option<&Release>) -> Result<(), String> {
    let ended = |event: &Rc<Event>| matches!(**event, Event::Ended { .. });
    let end = events.iter().position(ended);
    match end.and_then(|end| events.get(end + 1)) {
        Some(after) => Err(format!("there is {after:?}")),
        None => Ok(()),
    }
}

fn ended_means_read_back(events: &[Rc<Event>], _: Option<&Release>) -> Result<(), String> {
    let Some(Event::Ended { outcome, proof, .. }) = events.last().map(Rc::as_ref) else {
        return Ok(());
    };
    let weight = match outcome {
        Outcome::Promoted => Weight::FULL,
        Outcome::RolledBack => Weight::ZERO,
    };
    match proof.weight == weight {
        true => Ok(()),
        false => Err(format!("{outcome:?} with {}", proof.weight)),
    }
}

fn heeds_no_old_event(_: &[Rc<Event>], release: Option<&Release>) -> Result<(), String> {
    let Some(release) = release else {
        return Ok(());
    };
    // The cast writes when it happened.
    if let Some(Reason::AlarmFired {
        detail: Some(at), ..
    }) = &release.because
        && at.parse::<jiff::Timestamp>().unwrap() < release.started.at
    {
        let began = release.started.at;
        return Err(format!("it began {began} and was turned round by {at}"));
    }
    Ok(())
}

fn moved_as_intended(news: &News<'_>) -> Result<(), String> {
    for moved in news.moves {
        let log = news.all.log(&moved.holder);
        let intends = |event: &Event| match event {
            Event::Intended { effect, .. } => *effect == Effect::SetWeight(moved.weight),
            _ => false,
        };
        let is_side = |log: &Log| {
            let release = log.release.as_ref();
            release.is_some_and(|release| release.started.arms.candidate == moved.candidate)
        };
        if !log.is_some_and(|log| is_side(log) && log.events.iter().any(|event| intends(event))) {
            let (side, weight, holder) = (&moved.candidate, moved.weight, &moved.holder);
            return Err(format!(
                "{side} got {weight} while {holder:?} held the target"
            ));
        }
    }
    Ok(())
}

fn never_up_again(news: &News<'_>) -> Result<(), String> {
    let state = news.world.look();
    let seen = state.weights.len() - news.moves.len();
    for (number, (moved, before)) in news.moves.iter().zip(news.before).enumerate() {
        let Some(holder) = moved.holder.as_ref().filter(|_| moved.weight > *before) else {
            continue;
        };
        // What came down later is another matter.
        let same = state.weights[..=seen + number]
            .iter()
            .filter(|m| m.holder.as_ref() == Some(holder));
        let weights: Vec<_> = same.map(|m| m.weight).collect();
        if weights.windows(2).any(|pair| pair[1] < pair[0]) {
            return Err(format!("{holder} had {weights:?}"));
        }
    }
    Ok(())
}

fn held_is_not_raised(news: &News<'_>) -> Result<(), String> {
    for (moved, before) in news.moves.iter().zip(news.before) {
        let release = news
            .all
            .log(&moved.holder)
            .and_then(|log| log.release.as_ref());
        let by = release.and_then(|release| release.held.as_ref());
        if let Some(by) = by.filter(|_| moved.weight > *before) {
            return Err(format!("{} holds it, and it gets {}", by.who, moved.weight));
        }
    }
    Ok(())
}

fn answered_in_line(news: &News<'_>) -> Result<(), String> {
    for (job, reply) in news.answers {
        let name = job.split('/').next().unwrap_or_default();
        let log = news.all.logs.iter().find(|(id, _)| id.as_str() == name);
        let release = log.and_then(|(_, log)| log.release.as_ref());
        let phase = release.map(|release| release.phase);
        let is_so = match reply {
            JobReply::Succeed { .. } => phase == Some(Phase::Promoted),
            // One that never began because the target is held fails as well.
            JobReply::Fail { .. } => release.is_none_or(|release| {
                // The stage cannot end, and be rolled back, before its action has.
                release.phase == Phase::RolledBack || release.awaits_stage().is_some()
            }),
            JobReply::Continue { .. } => true,
        };
        if !is_so {
            return Err(format!("{job} was told {reply:?}, but is {phase:?}"));
        }
    }
    Ok(())
}

/// What holds after a run that nothing disturbed and that no other run was beside of.
pub fn undisturbed(world: &World, witness: &Witness, id: &ReleaseId) -> Result<(), Broken> {
    let Some(release) = witness.release(id).filter(|release| release.is_active()) else {
        return Ok(());
    };
    let arms = &release.started.arms;
    let live = world.live_weight(&release.plan().target.id(), &arms.candidate);
    let intended = release.intended.map(|effect| effect.to_string());
    match live == release.weight && intended.is_none() {
        true => Ok(()),
        false => Err(Broken {
            law: "one undisturbed run brings the target to what the log says",
            how: format!(
                "{id}: {live} is live, {} logged, to do {intended:?}",
                release.weight
            ),
        }),
    }
}

/// What holds once nobody is at work any more and every release is over.
pub fn quiescent(world: &World, witness: &Witness) -> Result<(), Broken> {
    live_is_as_logged(world, witness).map_err(|how| Broken {
        law: "the live weight is the log's",
        how,
    })?;
    all_is_given_back(world).map_err(|how| Broken {
        law: "what has ended holds nothing",
        how,
    })?;
    witness.releases().try_for_each(|release| {
        only_what_serves_is_up(world, release).map_err(|how| Broken {
            law: "what a release put up is up only if it serves",
            how,
        })?;
        company_went_back(world, release).map_err(|how| Broken {
            law: "what goes along with a release goes back exactly when it does",
            how,
        })
    })
}

fn only_what_serves_is_up(world: &World, release: &Release) -> Result<(), String> {
    let TargetSpec::EcsServices(_) = &release.plan().target else {
        return Ok(());
    };
    let (state, arms) = (world.look(), &release.started.arms);
    let serves = match release.phase {
        Phase::Promoted => &arms.candidate,
        Phase::Shifting | Phase::RollingBack | Phase::RolledBack => &arms.stable,
    };
    let is_tested = state.test_traffic.is_some();
    match state.up.iter().eq([serves]) && !is_tested {
        true => Ok(()),
        false => Err(format!(
            "{:?} are up, not {serves} alone; test traffic goes on: {is_tested}",
            state.up
        )),
    }
}

fn company_went_back(world: &World, release: &Release) -> Result<(), String> {
    let (state, policy) = (world.look(), &release.plan().rollback);
    let is_back = release.phase == Phase::RolledBack;
    let rolls_back = policy.rolls_back().is_some();
    let closes = policy.pipeline.is_some() && !rolls_back;
    let expected = (
        is_back && !policy.alongside.is_empty(),
        is_back && closes,
        is_back && rolls_back,
    );
    let found = (
        state.alongside.values().any(|is_under_way| !is_under_way),
        state.stage_closed.is_some(),
        state.stage_rolled_back,
    );
    match found == expected {
        true => Ok(()),
        false => Err(format!(
            "stopped, closed, rolled back are {found:?} instead of {expected:?}; left behind: {:?}",
            release.left_behind
        )),
    }
}

fn live_is_as_logged(world: &World, witness: &Witness) -> Result<(), String> {
    let mut last: BTreeMap<TargetId, &Release> = BTreeMap::new();
    for release in witness.begun.iter().filter_map(|id| witness.release(id)) {
        last.insert(release.plan().target.id(), release);
    }
    for (target, release) in last {
        let id = &release.started.release;
        let live = world.live_weight(&target, &release.started.arms.candidate);
        let logged = match release.phase {
            Phase::Promoted => Weight::FULL,
            Phase::RolledBack => Weight::ZERO,
            Phase::Shifting | Phase::RollingBack => return Err(format!("{id} is not over")),
        };
        if live != logged || release.weight != logged {
            return Err(format!(
                "{id}: {live} is live, but it is {:?}",
                release.phase
            ));
        }
        let stored = world.load_as_stored::<Option<Release>>(id);
        if stored.ok().and_then(|head| head.state).as_ref() != Some(release) {
            return Err(format!(
                "{id} reads back as another release than was folded"
            ));
        }
    }
    Ok(())
}

fn all_is_given_back(world: &World) -> Result<(), String> {
    let state = world.look();
    if let Some((target, held)) = state.held.first_key_value() {
        return Err(format!("{} still holds {target}", held.by));
    }
    if let Some(id) = state.active.keys().next() {
        return Err(format!("{id} is still looked after"));
    }
    let watched = state.watches.iter().find(|(_, ids)| !ids.is_empty());
    match watched {
        Some((name, ids)) => Err(format!("{ids:?} still watch {name}")),
        None => Ok(()),
    }
}
