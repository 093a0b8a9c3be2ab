//! The test gate on reports in real artifacts.

use anyhow::ensure;
use cli::pipeline::event::Event;
use serde_json::Value;

use crate::Test;
use crate::world::{ARTIFACTS, Action, World};

pub const TESTS: &[Test] = &[
    (
        "a_gate_passes_and_hands_its_numbers_to_later_actions",
        passes,
    ),
    ("a_gate_fails_with_the_failing_test_by_name", fails),
    (
        "a_gates_report_is_stored_with_the_pipelines_own_key",
        encrypted,
    ),
    ("a_gate_compares_with_the_last_run_that_passed", compares),
    (
        "a_report_of_a_hundred_megabytes_is_read_in_little_memory",
        large,
    ),
    (
        "a_report_that_is_missing_empty_or_cut_off_fails_the_gate",
        unreadable,
    ),
    (
        "a_gate_that_names_no_pipeline_of_this_account_says_what_to_correct",
        no_such_pipeline,
    ),
];

const GATE: &str = "test-gate";
const CONFIG: &str = "\
version: 1
gates:
  unit:
    reports: [reports/*.xml]
    rules: {min-tests: 2}
";
const GOOD: &str = r#"<testsuites><testsuite name="s"><testcase name="a"/><testcase name="b"/></testsuite></testsuites>"#;
const BAD: &str = r#"<testsuite name="s"><testcase name="a"/><testcase name="pays_by_card"><failure message="no money"/></testcase></testsuite>"#;

async fn nothing(_: &Event) -> anyhow::Result<()> {
    Ok(())
}

fn passes(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let files = [("penstock.yaml", CONFIG), ("reports/junit.xml", GOOD)];
        let mut gate = Action::new(GATE, "unit");
        gate.output = true;
        // The second action's section is the first one's output: interpolated, it names a section.
        let named = Action::with_parameters(GATE, r##"{"section":"#{Action0.verdict}"}"##);
        let ran = world.run(&files, &[gate, named], nothing).await?;
        ran.failed(
            "ConfigurationError",
            &["no section 'pass': `gates` has unit"],
        )?;
        ensure!(ran.variables["tests"] == "2", "{ran:#?}");
        ensure!(
            ran.summaries
                .iter()
                .any(|s| s.starts_with("test gate passed: 2 tests, 2 passed")),
            "{ran:#?}"
        );
        Ok(())
    })
}

fn encrypted(world: &World) -> anyhow::Result<()> {
    let made = "import boto3; print(boto3.client('kms').create_key()['KeyMetadata']['Arn'])";
    let key = world.boto3(made)?;
    world.runtime.block_on(async {
        let files = [("penstock.yaml", CONFIG), ("reports/junit.xml", GOOD)];
        let mut gate = Action::new(GATE, "unit");
        gate.output = true;
        let ran = world
            .run_encrypted(&files, &[gate], Some(&key), nothing)
            .await?;
        ran.succeeded()
    })?;
    let stored = format!(
        "import boto3, io, json, zipfile\n\
         s3 = boto3.client('s3')\n\
         keys = [o['Key'] for o in s3.list_objects_v2(Bucket='{ARTIFACTS}')['Contents'] if '/Out0/' in o['Key']]\n\
         for o in (s3.get_object(Bucket='{ARTIFACTS}', Key=k) for k in keys):\n\
         \x20   report = zipfile.ZipFile(io.BytesIO(o['Body'].read()))\n\
         \x20   result = json.load(report.open('result.json'))\n\
         \x20   if o.get('SSEKMSKeyId') == '{key}': print(o['ServerSideEncryption'], result['verdict'], *report.namelist())"
    );
    let stored = world.boto3(&stored)?;
    ensure!(
        stored == "aws:kms pass report.html report.md result.json",
        "the report is stored as: {stored}"
    );
    Ok(())
}

fn fails(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let files = [("penstock.yaml", CONFIG), ("reports/junit.xml", BAD)];
        let ran = world
            .run(&files, &[Action::new(GATE, "unit")], nothing)
            .await?;
        ran.failed(
            "JobFailed",
            &[
                "test gate failed: 2 tests",
                "1 failed, 0 allowed",
                "s::pays_by_card: no money",
            ],
        )
    })
}

fn compares(world: &World) -> anyhow::Result<()> {
    let config = CONFIG.replace("{min-tests: 2}", "{max-test-drop: 0%}");
    let pipeline = world.name("shop");
    let parameters = serde_json::json!({
        "section": "unit", "pipeline": pipeline, "execution": "#{codepipeline.PipelineExecutionId}",
    });
    let suite = |tests: usize| {
        let cases: String = (0..tests)
            .map(|n| format!("<testcase name='t{n}'/>"))
            .collect();
        format!("<testsuite name='cart'>{cases}</testsuite>")
    };
    world.runtime.block_on(async {
        for (tests, passes) in [(10, true), (9, false), (9, false), (12, true), (11, false)] {
            let suite = suite(tests);
            let files = [
                ("penstock.yaml", config.as_str()),
                ("reports/a.xml", suite.as_str()),
            ];
            let gate = Action::with_parameters(GATE, &parameters.to_string());
            let ran = world.run(&files, &[gate], nothing).await?;
            match passes {
                true => ran.succeeded()?,
                false => ran.failed("JobFailed", &["max-test-drop", "cart lost 1"])?,
            }
        }
        Ok(())
    })
}

/// What a function of 128 MB has for itself, in bytes.
const MEMORY_MAX: u64 = 64 * 1024 * 1024;

fn large(world: &World) -> anyhow::Result<()> {
    let mut suite = "<testsuite name='cart'>".to_owned();
    let mut order = 1_u32;
    for test in 0..10_000 {
        suite += &format!("<testcase name='t{test}'><system-out>");
        for _ in 0..200 {
            order = order.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            suite += &format!("INFO order {order} charges the card and is paid back\n");
        }
        suite += "</system-out></testcase>";
    }
    suite += "</testsuite>";
    ensure!(suite.len() > 100_000_000, "{}", suite.len());
    world.runtime.block_on(async {
        let files = [("penstock.yaml", CONFIG), ("reports/a.xml", suite.as_str())];
        let gate = Action::new(GATE, "unit");
        let ran = world.run(&files, &[gate], nothing).await?;
        ran.succeeded()?;
        // Only this gate has so many tests; its job is told apart by that.
        let judged = world.logged("judged", |line| line["tests"] == 10_000)?;
        let of_job = |line: &Value| line["span"]["job"] == judged["span"]["job"];
        let answered = world.logged("job answered", of_job)?;
        let bytes = |key: &str| answered[key].as_u64().unwrap_or(u64::MAX);
        ensure!(bytes("peak_memory_bytes") < MEMORY_MAX, "{answered}");
        ensure!(bytes("artifact_bytes_fetched") < 20_000_000, "{answered}");
        Ok(())
    })
}

fn unreadable(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        for (report, part) in [
            (
                None,
                "no file in the input artifacts matches 'reports/*.xml'",
            ),
            (Some(""), "empty"),
            (Some(&GOOD[..60]), "reports/junit.xml"),
            (Some("<testsuite/>"), "the report has no tests"),
        ] {
            let mut files = vec![("penstock.yaml", CONFIG)];
            files.extend(report.map(|text| ("reports/junit.xml", text)));
            let ran = world
                .run(&files, &[Action::new(GATE, "unit")], nothing)
                .await?;
            ran.failed("JobFailed", &[part])?;
        }
        Ok(())
    })
}

fn no_such_pipeline(world: &World) -> anyhow::Result<()> {
    let config = CONFIG.replace("{min-tests: 2}", "{max-report-age: execution}");
    let parameters = serde_json::json!({
        "section": "unit", "pipeline": world.name("gone"),
        "execution": "#{codepipeline.PipelineExecutionId}",
    });
    world.runtime.block_on(async {
        let files = [("penstock.yaml", config.as_str()), ("reports/a.xml", GOOD)];
        let gate = Action::with_parameters(GATE, &parameters.to_string());
        let ran = world.run(&files, &[gate], nothing).await?;
        ran.failed(
            "ConfigurationError",
            &["there is no such pipeline", "correct \"pipeline\""],
        )
    })
}
