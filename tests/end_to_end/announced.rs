//! What everybody is told of a release: what its log has, through the stream, the function and the bus.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use cli::pipeline::event::Event as Progress;
use engine::ReleaseLog;
use release::announce::{Announcement, Kind};
use release::{By, Event, Head, Order, Outcome, Reason, Release, ReleaseId, Started, Weight};
use serde_json::{Value, json};

use crate::Test;
use crate::inbox::{Inbox, assert_told, due};
use crate::world::{Action, Service, World};

pub const TESTS: &[Test] = &[
    (
        "each_change_of_a_promoted_release_is_announced_and_nothing_that_did_not_happen",
        promoted,
    ),
    (
        "each_change_of_a_release_that_went_back_is_announced_and_nothing_that_did_not_happen",
        rolled_back,
    ),
    ("a_rollback_that_is_stuck_pages", stuck),
];

fn kinds(due: &BTreeMap<String, Announcement>) -> Vec<Kind> {
    let mut all: Vec<_> = due.values().collect();
    all.sort_by_key(|told| told.detail.seq);
    all.iter().map(|told| told.kind).collect()
}

/// Runs a release of this service; `see` gets its progress.
async fn run(
    world: &World,
    service: &Service,
    see: impl AsyncFnMut(&Progress) -> anyhow::Result<()>,
) -> anyhow::Result<ReleaseId> {
    let config = service.config();
    let actions = [Action::new("canary-shift", "web")];
    let files = [("penstock.yaml", config.as_str())];
    let ran = service.under_load(world.run(&files, &actions, see)).await?;
    ran.release.context("it has an id")
}

fn promoted(world: &World) -> anyhow::Result<()> {
    let service = world.runtime.block_on(world.service())?;
    let inbox = Inbox::of_targets(world, &[&service.balancer.rule])?;
    let due = world.runtime.block_on(async {
        // What is ordered as soon as the action says so.
        let mut orders = [(": watched ", Order::Hold), ("held by ", Order::Resume)]
            .into_iter()
            .peekable();
        let id = run(world, &service, async |event: &Progress| {
            if let Progress::ActionProgress {
                external_execution_id: Some(id),
                summary: Some(summary),
                ..
            } = event
                && let Some((_, order)) = orders.next_if(|(said, _)| summary.contains(said))
            {
                let id = ReleaseId::try_from(id.clone())?;
                let now = jiff::Timestamp::now();
                let by = By::new("arn:aws:iam::000000000000:user/ann", "a test", now);
                engine::give_order(&world.aws, &id, order, &by).await?;
            }
            Ok(())
        });
        due(world, [&id.await?]).await
    })?;
    assert_told(world, &inbox, &due)?;
    let told = kinds(&due);
    ensure!(told.first() == Some(&Kind::ReleaseStarted), "{told:?}");
    ensure!(told.last() == Some(&Kind::Promoted), "{told:?}");
    for (kind, count) in [(Kind::StepReached, 3), (Kind::Held, 1), (Kind::Resumed, 1)] {
        let counted = told.iter().filter(|told| **told == kind).count();
        ensure!(counted == count, "{kind:?}: {told:?}");
    }
    Ok(())
}

fn rolled_back(world: &World) -> anyhow::Result<()> {
    let service = world.runtime.block_on(world.service())?;
    service.candidate.fails(60);
    let inbox = Inbox::of_targets(world, &[&service.balancer.rule])?;
    let due = world.runtime.block_on(async {
        let id = run(world, &service, async |_: &Progress| Ok(())).await?;
        due(world, [&id]).await
    })?;
    assert_told(world, &inbox, &due)?;
    let expected = [
        Kind::ReleaseStarted,
        Kind::StepReached,
        Kind::RollingBack,
        Kind::RolledBack,
    ];
    ensure!(kinds(&due) == expected, "{:?}", kinds(&due));
    Ok(())
}

/// A log that says so, of a release of nothing.
fn stuck(world: &World) -> anyhow::Result<()> {
    let inbox = Inbox::of_pages(world)?;
    let id = world.runtime.block_on(async {
        let service = world.service().await?;
        let config = release::config::Config::parse(&service.config())?;
        let at = jiff::Timestamp::now();
        let id = ReleaseId::for_job("web", &world.name("stuck"))?;
        let started: Started = serde_json::from_value(json!({
            "at": at, "release": id, "plan": config.release(None)?.1, "alarms_firing": [],
            "arms": {"stable": service.balancer.blue, "candidate": service.balancer.green},
        }))?;
        let because = Reason::Asked {
            why: "a \"test\"".to_owned(),
            by: None,
        };
        let facts = [
            Event::Started(Box::new(started)),
            Event::RollbackDecided { at, because },
            Event::RollbackStuck {
                at,
                why: "could not set the weight: \"AccessDenied\"".to_owned(),
            },
            serde_json::from_value(json!({
                "event": "ended", "at": at, "outcome": Outcome::RolledBack,
                "proof": {"weight": Weight::ZERO, "healthy_hosts": 1, "candidate_requests": null},
            }))?,
        ];
        let mut head: Head<Option<Release>> = Head::default();
        for fact in facts {
            head = world.aws.append(&id, &head, &[fact]).await?;
        }
        anyhow::Ok(id)
    })?;
    let is_page = |page: &Value| {
        let text = page["Message"].as_str().unwrap_or_default();
        text.contains("a rollback is stuck") && text.contains(id.as_str())
    };
    let pages = inbox.read_until(world, |pages| pages.iter().any(is_page))?;
    let page = pages.into_iter().find(is_page).context("it came")?;
    let text = page["Message"].as_str().unwrap_or_default();
    for part in [
        "could not set the weight: 'AccessDenied'",
        "listener-rule/",
        &format!("penstock status {id}"),
    ] {
        ensure!(text.contains(part), "no '{part}' in: {text}");
    }
    Ok(())
}
