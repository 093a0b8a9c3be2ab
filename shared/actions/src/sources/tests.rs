//! The sources against the in-memory world.

use engine::fakes::{Run, World};
use engine::{ActionError, Invocation, Sourced};
use futures::FutureExt;
use jiff::SignedDuration;
use release::gate::{Evidence, Found, Gate, Keeper, Kept};
use release::{JobReply, ReleaseId};
use reports::{Content, FindingsReport, Outcome, Provenance, TestCase, TestReport};

use super::{Asked, Looked, look};

const IMAGES: &[u8] = br#"[
    {"name": "web", "imageUri": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web:1"},
    {"name": "db", "imageUri": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/db:1"}
]"#;
const BUILD: &str = "shop:0f0e";

fn gate(keys: &str) -> Gate {
    serde_json::from_str(&format!("{{{keys}}}")).unwrap()
}

/// Report groups for three minutes, images for five.
fn both() -> Gate {
    gate(
        r#""codebuild": {"report-groups": ["unit"], "within": "3m"},
           "image-scan": {"file": "images.json", "within": "5m"}"#,
    )
}

fn asked(gate: &Gate) -> Asked<'_> {
    Asked {
        gate,
        build: Some(BUILD),
        image_file: Some(IMAGES),
    }
}

fn pending(what: &str) -> Sourced {
    let what = what.to_owned();
    Sourced::Pending { what }
}

fn kept(by: Keeper, name: &str, content: Content) -> Sourced {
    Sourced::Found(vec![Found::Kept(Kept {
        by,
        name: name.to_owned(),
        content,
        provenance: Provenance::default(),
    })])
}

fn passed(name: &str) -> Sourced {
    let mut tests = TestReport::default();
    tests.count(TestCase {
        outcome: Outcome::Passed,
        ..TestCase::default()
    });
    kept(Keeper::CodeBuild, name, Content::Tests(tests))
}

fn clean(name: &str) -> Sourced {
    let report = FindingsReport::of("Amazon ECR");
    kept(Keeper::Ecr, name, Content::Findings(report))
}

fn world(sources: [(&str, Vec<Sourced>); 3]) -> World {
    let world = World::default();
    let named = sources.map(|(name, seen)| (name.to_owned(), seen));
    world.change().sources.extend(named);
    world
}

/// One job of the story.
fn job(world: &World, asked: Asked<'_>) -> Result<Looked, ActionError> {
    let call = Invocation::new("run", world.look().now + SignedDuration::from_mins(5));
    let run = Run::new(world, call);
    let story = ReleaseId::for_job("unit", "1").unwrap();
    let looked = look(&run, &story, asked).now_or_never();
    looked.expect("the world answers at once")
}

fn found(world: &World, asked: Asked<'_>) -> Evidence {
    let Looked::Found(found) = job(world, asked).unwrap() else {
        panic!("it waits")
    };
    let mut evidence = Evidence::default();
    found.into_iter().for_each(|found| evidence.add(found));
    evidence
}

fn waits(world: &World, asked: Asked<'_>) -> String {
    let Looked::Wait(JobReply::Continue { summary, .. }) = job(world, asked).unwrap() else {
        panic!("it does not wait")
    };
    summary
}

/// What is unreadable or missing, in words.
fn refused(world: &World, asked: Asked<'_>) -> Vec<String> {
    let Looked::Found(found) = job(world, asked).unwrap() else {
        panic!("it waits")
    };
    let refused = found.into_iter().filter_map(|found| match found {
        Found::Unreadable { why } => Some(why),
        Found::Missing { glob } => Some(format!("missing {glob}")),
        Found::Report { .. } | Found::Kept(_) | Found::Commit(_) | Found::Diff(_) => None,
    });
    refused.collect()
}

#[test]
fn what_is_finished_is_found_at_once_and_leaves_nothing_in_the_log() {
    let world = world([
        ("unit", vec![passed("unit:1")]),
        ("web:1", vec![clean("web:1")]),
        ("db:1", vec![clean("db:1")]),
    ]);
    let gate = both();
    let Looked::Found(found) = job(&world, asked(&gate)).unwrap() else {
        panic!("it waits")
    };
    let names: Vec<_> = found
        .iter()
        .map(|found| match found {
            Found::Kept(kept) => kept.name.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["unit:1", "web:1", "db:1"]);
    assert!(world.look().logs.is_empty());
}

#[test]
fn the_gate_waits_until_every_source_is_finished() {
    let world = world([
        ("unit", vec![pending("the unit tests"), passed("unit:1")]),
        ("web:1", vec![clean("web:1")]),
        (
            "db:1",
            vec![pending("the scan"), pending("the scan"), clean("db:1")],
        ),
    ]);
    let gate = both();
    let summary = waits(&world, asked(&gate));
    assert_eq!(summary, "waiting for the unit tests; the scan (0s of 3m)");
    world.pass(SignedDuration::from_secs(30));
    assert_eq!(
        waits(&world, asked(&gate)),
        "waiting for the scan (30s of 5m)"
    );
    world.pass(SignedDuration::from_secs(30));
    assert!(refused(&world, asked(&gate)).is_empty());
    assert_eq!(world.look().logs.len(), 1, "the wait began once");
}

#[test]
fn the_limit_counts_from_the_first_job() {
    let slow = || vec![pending("the scan")];
    let world = world([
        ("unit", vec![passed("unit:1")]),
        ("web:1", slow()),
        ("db:1", slow()),
    ]);
    let gate = both();
    for _ in 0..5 {
        waits(&world, asked(&gate));
        world.pass(SignedDuration::from_mins(1));
    }
    let why = refused(&world, asked(&gate));
    assert_eq!(why, ["the scan: not finished within 5m"; 2]);
    found(&world, asked(&gate));
}

#[test]
fn a_gate_that_names_no_source_asks_nobody() {
    let gate = gate(r#""reports": ["r/*.xml"]"#);
    assert!(refused(&World::default(), asked(&gate)).is_empty());
}

#[test]
fn what_names_no_image_never_passes() {
    let world = world([
        ("unit", vec![passed("unit:1")]),
        ("", vec![]),
        ("-", vec![]),
    ]);
    let gate = both();
    let missing = Asked {
        image_file: None,
        ..asked(&gate)
    };
    assert_eq!(refused(&world, missing), ["missing images.json"]);
    let broken = Asked {
        image_file: Some(b"nginx"),
        ..asked(&gate)
    };
    let why = refused(&world, broken);
    assert!(
        why[0].contains("could not read the images in images.json"),
        "{why:?}"
    );
}

#[test]
fn a_mistake_of_the_user_is_no_evidence() {
    let world = World::default();
    let gate = both();
    let unnamed = Asked {
        build: None,
        ..asked(&gate)
    };
    let error = job(&world, unnamed).unwrap_err().to_string();
    assert!(error.contains("CODEBUILD_BUILD_ID"), "{error}");
    let error = job(&world, asked(&gate)).unwrap_err();
    assert!(matches!(error, ActionError::Port(_)), "{error}");
}
