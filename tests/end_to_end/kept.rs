//! The test gate on reports that AWS itself keeps.

use anyhow::ensure;
use cli::kept::{BuildReport, Image, ReportGroup, Scan};
use cli::pipeline::event::Event;
use serde_json::{Value, json};

use crate::Test;
use crate::world::{Action, World};

pub const TESTS: &[Test] = &[
    (
        "a_gate_waits_for_the_scan_of_the_image_and_fails_on_what_it_finds",
        scan,
    ),
    ("a_gate_reads_the_report_groups_of_its_build", report_group),
];

const GATE: &str = "test-gate";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Makes or replaces the one image of this repository.
fn put_image(world: &World, repository: &str, status: &str, findings: Vec<Value>) {
    world.stack.player().kept().put_image(Image {
        repository: repository.to_owned(),
        digest: DIGEST.to_owned(),
        tags: vec!["v1".to_owned()],
        scan: Some(Scan {
            status: status.to_owned(),
            // Without it a scan that found nothing is not done.
            about: serde_json::Map::from_iter([("imageScanCompletedAt".to_owned(), json!(1.0))]),
            findings,
            ..Scan::default()
        }),
    });
}

fn scan(world: &World) -> anyhow::Result<()> {
    let config = "version: 1\ngates:\n  image:\n    image-scan: {file: imageDetail.json}\n";
    let repository = world.name("web");
    let account = "000000000000.dkr.ecr.us-east-1.amazonaws.com";
    let detail = json!({"ImageURI": format!("{account}/{repository}:v1")}).to_string();
    let files = [("penstock.yaml", config), ("imageDetail.json", &detail)];
    let critical = json!({"name": "CVE-2024-3094", "severity": "CRITICAL", "attributes": [
        {"key": "package_name", "value": "xz"}, {"key": "package_version", "value": "5.6.0"}]});
    world.runtime.block_on(async {
        put_image(world, &repository, "IN_PROGRESS", Vec::new());
        let mut waited = 0;
        let see = async |event: &Event| {
            if let Event::ActionProgress { .. } = event {
                waited += 1;
                put_image(world, &repository, "COMPLETE", vec![critical.clone()]);
            }
            Ok(())
        };
        let ran = world
            .run(&files, &[Action::new(GATE, "image")], see)
            .await?;
        ensure!(waited > 0, "it did not wait: {ran:#?}");
        let named = "1 critical (CVE-2024-3094 in xz@5.6.0), 0 allowed";
        ran.failed("JobFailed", &["max-findings", named])?;
        put_image(world, &repository, "COMPLETE", Vec::new());
        let nothing = async |_: &Event| Ok(());
        let ran = world
            .run(&files, &[Action::new(GATE, "image")], nothing)
            .await?;
        ran.succeeded()?;
        ensure!(ran.variables["critical"] == "0", "{ran:#?}");
        put_image(world, &repository, "FAILED", Vec::new());
        let ran = world
            .run(&files, &[Action::new(GATE, "image")], nothing)
            .await?;
        ran.failed("JobFailed", &["reports", &repository])
    })
}

fn report_group(world: &World) -> anyhow::Result<()> {
    let group = world.name("unit");
    let config =
        format!("version: 1\ngates:\n  unit:\n    codebuild: {{report-groups: [{group}]}}\n");
    let build = "shop-build:0f0e1d2c";
    let arn = "arn:aws:codebuild:us-east-1:000000000000";
    let report = |number: u32, kind: &str| {
        json!({
            "arn": format!("{arn}:report/{group}:{number}"), "type": kind,
            "status": "SUCCEEDED", "executionId": format!("{arn}:build/{build}"),
            "created": 1_760_000_000,
        })
    };
    let put = |cases: Value| {
        world.stack.player().kept().put_group(ReportGroup {
            arn: format!("{arn}:report-group/{group}"),
            reports: vec![
                BuildReport {
                    report: report(1, "TEST"),
                    test_cases: cases.as_array().cloned().unwrap_or_default(),
                    ..BuildReport::default()
                },
                BuildReport {
                    report: report(2, "CODE_COVERAGE"),
                    code_coverages: vec![
                        json!({"filePath": "src/cart.rs", "linesCovered": 8, "linesMissed": 2}),
                    ],
                    ..BuildReport::default()
                },
            ],
        });
    };
    let parameters = json!({"section": "unit", "build": build}).to_string();
    let nothing = async |_: &Event| Ok(());
    world.runtime.block_on(async {
        let files = [("penstock.yaml", config.as_str())];
        let gate = Action::with_parameters(GATE, &parameters);
        put(
            json!([{"name": "adds", "status": "SUCCEEDED"}, {"name": "pays", "status": "FAILED",
            "message": "no money"}]),
        );
        let ran = world
            .run(&files, std::slice::from_ref(&gate), nothing)
            .await?;
        ran.failed(
            "JobFailed",
            &["2 tests", "1 failed, 0 allowed", "pays: no money"],
        )?;
        put(json!([{"name": "adds", "status": "SUCCEEDED"}]));
        let ran = world.run(&files, &[gate], nothing).await?;
        ran.succeeded()?;
        ensure!(ran.variables["coverage"].starts_with("80"), "{ran:#?}");
        let ran = world
            .run(&files, &[Action::new(GATE, "unit")], nothing)
            .await?;
        ran.failed("ConfigurationError", &["CODEBUILD_BUILD_ID"])
    })
}
