//! The ports on AWS talk to the player's report groups and image scans.

use std::time::Duration;

use aws::Aws;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_codepipeline::config::Credentials;
use engine::{Class, ReportSource, Sourced};
use penstock::kept::{BuildReport, Image, ReportGroup, Scan};
use penstock::player::{Player, PlayerConfig};
use release::gate::{Evidence, Found, ImageRef};
use serde_json::{Value, json};

const GROUP: &str = "arn:aws:codebuild:us-east-1:000000000000:report-group/shop-unit";
const BUILD: &str = "shop:0f0e";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

async fn player() -> (Player, Aws) {
    // Port 9 (discard): no emulator answers, and none is needed here.
    let config = PlayerConfig {
        port: 0,
        endpoint: "http://127.0.0.1:9".into(),
        ..PlayerConfig::default()
    };
    let player = Player::start(config).await.unwrap();
    let sdk = sdk(&player.url()).await;
    (player, Aws::new(&sdk, "table".to_owned()))
}

async fn sdk(endpoint: &str) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .load()
        .await
}

fn report(id: u32, build: &str, status: &str) -> BuildReport {
    let case = |number: u32| json!({"name": number.to_string(), "status": "SUCCEEDED"});
    BuildReport {
        report: json!({
            "arn": format!("arn:aws:codebuild:us-east-1:000000000000:report/shop-unit:{id}"),
            "type": "TEST",
            "status": status,
            "executionId": format!("arn:aws:codebuild:us-east-1:000000000000:build/{build}"),
            "created": id,
        }),
        test_cases: (0..130).map(case).collect(),
        ..BuildReport::default()
    }
}

fn image() -> ImageRef {
    ImageRef::parse("000000000000.dkr.ecr.us-east-1.amazonaws.com/shop/web:v1").unwrap()
}

fn pending(sourced: Sourced) -> String {
    match sourced {
        Sourced::Pending { what } => what,
        Sourced::Found(found) => panic!("{found:?}"),
    }
}

fn kept(sourced: Sourced) -> release::gate::Kept {
    match sourced {
        Sourced::Found(mut found) => match found.remove(0) {
            Found::Kept(kept) => kept,
            other => panic!("{other:?}"),
        },
        Sourced::Pending { what } => panic!("pending: {what}"),
    }
}

#[tokio::test]
async fn a_report_is_read_once_it_has_been_generated() {
    let (player, aws) = player().await;
    let error = aws.build_reports(GROUP, BUILD).await.unwrap_err();
    assert_eq!(error.class, Class::Misconfigured, "{error}");
    let others = || (1_000..1_120).map(|id| report(id, "shop:other", "SUCCEEDED"));
    for (reports, part) in [
        (vec![], "a report of build shop:0f0e"),
        (others().collect(), "a report of build shop:0f0e"),
        (vec![report(500, BUILD, "GENERATING")], "shop-unit:500"),
    ] {
        player.kept().put_group(ReportGroup {
            arn: GROUP.to_owned(),
            reports,
        });
        let what = pending(aws.build_reports(GROUP, BUILD).await.unwrap());
        assert!(what.contains(part), "{what}");
    }
    let mine = report(7, BUILD, "SUCCEEDED");
    player.kept().put_group(ReportGroup {
        arn: GROUP.to_owned(),
        reports: others().chain([mine]).collect(),
    });
    let kept = kept(aws.build_reports(GROUP, BUILD).await.unwrap());
    assert_eq!(kept.name, "shop-unit:7");
    let mut evidence = Evidence::default();
    evidence.add(Found::Kept(kept));
    player.stop().await;
}

#[tokio::test]
async fn a_scan_is_read_once_it_is_complete() {
    let (player, aws) = player().await;
    let error = aws.image_findings(&image()).await.unwrap_err();
    assert_eq!(error.class, Class::Misconfigured, "{error}");
    let put = |scan: Option<Scan>| {
        player.kept().put_image(Image {
            repository: "shop/web".to_owned(),
            digest: DIGEST.to_owned(),
            tags: vec!["v1".to_owned()],
            scan,
        });
    };
    put(None);
    let what = pending(aws.image_findings(&image()).await.unwrap());
    assert!(what.contains("none has begun"), "{what}");
    let finding = |number: u32| json!({"name": format!("CVE-{number}"), "severity": "LOW"});
    let mut scan = Scan {
        status: "IN_PROGRESS".to_owned(),
        findings: (0..450).map(finding).collect(),
        ..Scan::default()
    };
    put(Some(scan.clone()));
    let what = pending(aws.image_findings(&image()).await.unwrap());
    assert!(what.contains("IN_PROGRESS"), "{what}");
    scan.status = "COMPLETE".to_owned();
    put(Some(scan));
    let reports::Content::Findings(findings) =
        kept(aws.image_findings(&image()).await.unwrap()).content
    else {
        panic!("a scan has findings")
    };
    assert_eq!(findings.listed.len(), 450);
    player.stop().await;
}

async fn put(player: &Player, path: &str, body: &Value) -> u16 {
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10));
    let call = client
        .build()
        .unwrap()
        .put(format!("{}{path}", player.url()));
    call.json(body).send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn the_door_takes_what_the_services_say() {
    let (player, aws) = player().await;
    let report = json!({
        "arn": "arn:aws:codebuild:us-east-1:000000000000:report/shop-unit:1",
        "type": "CODE_COVERAGE", "status": "SUCCEEDED",
        "executionId": "arn:aws:codebuild:us-east-1:000000000000:build/shop:0f0e",
    });
    let files = json!([{"filePath": "a.rs", "linesCovered": 1, "linesMissed": 1}]);
    let group = json!({"arn": GROUP, "reports": [{"report": report, "codeCoverages": files}]});
    assert_eq!(put(&player, "/_penstock/report-groups", &group).await, 204);
    let reports::Content::Coverage(coverage) =
        kept(aws.build_reports(GROUP, BUILD).await.unwrap()).content
    else {
        panic!("it is a report of coverage")
    };
    assert_eq!(coverage.lines(), reports::Ratio::new(1, 2));

    let scan = json!({"status": "ACTIVE", "about": {"imageScanCompletedAt": 1.0}});
    let image_put =
        json!({"repository": "shop/web", "digest": DIGEST, "tags": ["v1"], "scan": scan});
    assert_eq!(put(&player, "/_penstock/images", &image_put).await, 204);
    kept(aws.image_findings(&image()).await.unwrap());
    assert_eq!(
        put(&player, "/_penstock/images", &json!({"name": 1})).await,
        422
    );
    player.stop().await;
}
