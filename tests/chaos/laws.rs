//! What must hold of a release when all is over, seen from outside.

use std::collections::BTreeSet;

use cli::codedeploy::Status as Deployed;
use cli::pipeline::event::Status;
use engine::ReleaseLog;
use release::{Claim, Effect, Event, Generation, Head, Outcome, Phase, Release, ReleaseId, Story};

use crate::accompanied::{self, Company};
use crate::lane::{Lane, Scenario};
use crate::subject::Arm;
use crate::world::World;

/// How a lane's pipeline ended, and how its release should have.
pub struct Ending {
    pub scenario: Scenario,
    pub phase: Phase,
    pub status: Option<Status>,
    pub failure: Option<String>,
}

/// The laws that do not hold, in words.
pub async fn broken(
    world: &World,
    lane: &Lane,
    id: &ReleaseId,
    ending: &Ending,
) -> anyhow::Result<Vec<String>> {
    let events = world.aws.events::<Option<Release>>(id).await?;
    let mut broken = log(&events);
    let folded = Head::<Option<Release>>::default().after(&events).state;
    let Some(release) = folded else {
        return Ok(vec![format!(
            "{id}: its log is empty: {:?}",
            ending.failure
        )]);
    };
    let because = &release.because;
    if release.phase != ending.phase {
        broken.push(format!(
            "it is {:?} and not {:?}: {because:?}",
            release.phase, ending.phase
        ));
    }
    broken.extend(answer(&release, ending));
    broken.extend(target(world, lane, &release).await?);
    if let Some(company) = &lane.company {
        broken.extend(gone_along(world, company, &release).await);
    }
    broken.extend(given_back(world, &events).await?);
    Ok(broken
        .into_iter()
        .map(|law| format!("{id}: {law}"))
        .collect())
}

/// Nothing is done twice, and nothing after a rollback was decided leads up again.
fn log(events: &[Event]) -> Vec<String> {
    let mut broken = Vec::new();
    let (mut last, mut performed) = (Generation::default(), BTreeSet::new());
    let (mut goes_back, mut ended, mut window) = (false, false, None);
    for (number, event) in events.iter().enumerate() {
        if (number == 0) != matches!(event, Event::Started(_)) {
            broken.push(format!("event {number} is {event:?}"));
        }
        if ended {
            broken.push(format!("after its end there is {event:?}"));
        }
        match event {
            Event::Intended {
                generation, effect, ..
            } => {
                if *generation <= last {
                    broken.push(format!("generation {generation} follows {last}"));
                }
                last = *generation;
                if goes_back
                    && matches!(effect, Effect::SetWeight(w) if *w != release::Weight::ZERO)
                {
                    broken.push(format!("on its way back it meant to {effect}"));
                }
            }
            Event::Performed { generation, .. }
                if *generation != last || !performed.insert(*generation) =>
            {
                broken.push(format!(
                    "generation {generation} was performed after {last}"
                ));
            }
            Event::Observed { windows, .. } => {
                for seen in windows {
                    if window.is_some_and(|before| seen.start <= before) {
                        broken.push(format!("the window at {} was judged twice", seen.start));
                    }
                    window = Some(seen.start);
                }
            }
            Event::RollbackDecided { .. } => goes_back = true,
            Event::Ended { outcome, .. } => {
                ended = true;
                if goes_back != (*outcome == Outcome::RolledBack) {
                    broken.push(format!("it ended as {outcome:?}"));
                }
            }
            _ => {}
        }
    }
    if !ended {
        broken.push(format!("it has not ended: {:?}", events.last()));
    }
    broken
}

/// The pipeline was told what the log says.
fn answer(release: &Release, ending: &Ending) -> Option<String> {
    let expected = match (ending.scenario, release.phase) {
        (scenario, _) if scenario.is_abandoned() => Status::Stopped,
        (_, Phase::Promoted) => Status::Succeeded,
        (_, Phase::Shifting | Phase::RollingBack | Phase::RolledBack) => Status::Failed,
    };
    let failure = ending.failure.as_deref().unwrap_or_default();
    let told = expected != Status::Failed || failure.starts_with("JobFailed: rolled back");
    (ending.status != Some(expected) || !told).then(|| {
        let status = ending.status;
        format!("its pipeline ended as {status:?}, not {expected:?}: {failure}")
    })
}

/// The version that the log names has all the traffic, as AWS tells it and as requests find it.
async fn target(world: &World, lane: &Lane, release: &Release) -> anyhow::Result<Vec<String>> {
    let expected = match release.phase {
        Phase::Promoted => Arm::Candidate,
        Phase::Shifting | Phase::RollingBack | Phase::RolledBack => Arm::Stable,
    };
    let mut broken = Vec::new();
    let live = lane.subject.live(world).await?;
    if live != expected {
        broken.push(format!(
            "{live:?} has all the traffic, and not {expected:?}"
        ));
    }
    let answers = lane.subject.answers(world).await?;
    if answers.is_empty() {
        broken.push("nobody answered".to_owned());
    }
    for answer in answers.iter().filter(|answer| **answer != expected) {
        broken.push(format!("{answer:?} answered, and not {expected:?}"));
    }
    Ok(broken)
}

/// What went along with a release that has gone back has gone back with it, once, and the stage is closed.
async fn gone_along(world: &World, company: &Company, release: &Release) -> Vec<String> {
    let mut broken = Vec::new();
    for left in &release.left_behind {
        broken.push(format!("it left behind: {left}"));
    }
    let deployments = company.deployments(world);
    let of_it: Vec<_> = deployments
        .iter()
        .map(|it| (it.id == company.deployment, it.status, &it.rolls_back))
        .collect();
    let is_back = match of_it.as_slice() {
        [(true, Deployed::Stopped, None), (false, _, Some(of))] => *of == company.deployment,
        _ => false,
    };
    if !is_back {
        broken.push(format!(
            "no deployment was stopped with one rollback: {deployments:?}"
        ));
    }
    if let Err(error) = company.until_back().await {
        broken.push(format!("ECS does not go back: {error:#}"));
    }
    let closed = accompanied::closed(world, release);
    let expected = release.transition_reason();
    if closed.as_ref() != Some(&expected) {
        broken.push(format!(
            "the stage is closed for {closed:?}, and not for {expected:?}"
        ));
    }
    broken
}

/// The target is free, and no event finds the release any more.
async fn given_back(world: &World, events: &[Event]) -> anyhow::Result<Vec<String>> {
    let claim = events
        .first()
        .and_then(|first| None::<Release>.claim(first));
    let Some(Claim::Take {
        target, watches, ..
    }) = claim
    else {
        return Ok(vec!["it never held its target".to_owned()]);
    };
    let mut broken = Vec::new();
    if let Some(holder) = world.aws.holder(&target).await? {
        broken.push(format!("its target is held by {holder}"));
    }
    for name in &watches {
        let watching = world.aws.watching(name).await?;
        if !watching.is_empty() {
            broken.push(format!("{name} is watched by {watching:?}"));
        }
    }
    Ok(broken)
}
