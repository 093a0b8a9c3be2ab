//! The player's own door, as `penstock run` uses it.

use std::collections::BTreeMap;

use penstock::pipeline::event::{Event, Status};
use penstock::pipeline::execution::Repository;
use penstock::pipeline::submit::Submission;
use penstock::player::{Player, PlayerConfig};
use penstock::run::Remote;

const PIPELINE: &str = include_str!("../src/pipeline/testdata/release.yaml");

async fn player() -> Player {
    let config = PlayerConfig {
        port: 0,
        endpoint: "http://127.0.0.1:9".into(),
        ..PlayerConfig::default()
    };
    Player::start(config).await.unwrap()
}

fn submission(source: &str, path: &std::path::Path) -> Submission {
    let repository = Repository {
        path: path.to_owned(),
        revision: None,
    };
    Submission {
        declaration: PIPELINE.into(),
        sources: BTreeMap::from([(source.to_owned(), repository)]),
        ..Submission::default()
    }
}

#[tokio::test]
async fn a_follower_gets_every_event_and_the_reason_of_a_failure() {
    let player = player().await;
    let remote = Remote::new(&player.url()).unwrap();
    let no_repository = tempfile::tempdir().unwrap();
    let submitted = remote
        .submit(&submission("App", no_repository.path()))
        .await
        .unwrap();
    assert_eq!(submitted.pipeline, "release");
    for _ in 0..2 {
        let mut seen = Vec::new();
        let ending = remote
            .follow(&submitted, async |entry| {
                seen.push(entry.clone());
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(ending.status, Status::Failed);
        assert!(
            ending
                .message
                .unwrap()
                .contains("Source/App: could not find the commit HEAD: git could not read")
        );
        assert!(
            seen.iter()
                .map(|entry| entry.sequence)
                .eq(0..seen.len() as u64)
        );
        assert!(matches!(seen[0].event, Event::StageStarted { .. }));
    }
    player.stop().await;
}

#[tokio::test]
async fn a_submission_that_cannot_run_is_refused_with_what_to_change() {
    let player = player().await;
    let remote = Remote::new(&player.url()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let refused =
        async |submission: Submission| remote.submit(&submission).await.unwrap_err().to_string();
    let unknown = refused(submission("Lib", home.path())).await;
    assert!(
        unknown.contains("pass --source App=PATH[@REV]"),
        "{unknown}"
    );
    let relative = refused(submission("App", "here".as_ref())).await;
    assert!(
        relative.contains("not the absolute path of a directory"),
        "{relative}"
    );
    let broken = refused(Submission {
        declaration: PIPELINE.replace("V2", "V1"),
        ..submission("App", home.path())
    })
    .await;
    assert!(broken.contains("need PipelineType: V2"), "{broken}");
    player.stop().await;
}

#[tokio::test]
async fn a_page_under_another_name_is_not_answered() {
    let player = player().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let asked = client
        .post(player.url())
        .header("host", "evil.example")
        .body("Action=DescribeRules");
    assert_eq!(asked.send().await.unwrap().status(), 403);
    let form = client
        .post(format!("{}/_penstock/executions", player.url()))
        .body("{\"declaration\": \"x\"}");
    assert_eq!(
        form.send().await.unwrap().status(),
        415,
        "a form of another page could start a build"
    );
    player.stop().await;
}

#[tokio::test]
async fn the_load_balancer_answers_on_the_same_port() {
    let player = player().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let form = "Action=DescribeLoadBalancers&Version=2015-12-01";
    let asked = client
        .post(player.url())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(
        answer
            .text()
            .await
            .unwrap()
            .contains("DescribeLoadBalancersResponse")
    );
    player.stop().await;
}
