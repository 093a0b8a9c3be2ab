//! What the functions asked AWS for in all the tests, against AWS's own model of its services: the
//! emulator takes much that AWS refuses.

use anyhow::{Context, ensure};
use cli::recorder::{Manner, Recorder, Recording};
use tempfile::TempDir;

use crate::Test;
use crate::world::World;

pub const TESTS: &[Test] = &[(
    "a_summary_that_codepipeline_refuses_is_found_in_what_was_sent",
    too_long,
)];

/// Where the recording of the last run stays, in the project.
const KEPT: &str = "target/end-to-end-requests.jsonl";

/// Checks everything that was sent until now and prints what was found. After a `whole` run every
/// action that a role allows must have been used, too.
pub fn check(world: &World, whole: bool) -> anyhow::Result<()> {
    let kept = world.project.join(KEPT);
    let bytes = std::fs::copy(world.stack.requests(), &kept);
    if bytes.context("could not keep the recording")? == 0 && !whole {
        return Ok(());
    }
    let options: &[&str] = match whole {
        true => &["--allowed", "template.yaml"],
        false => &[],
    };
    let output = world.checked(&kept, options)?;
    println!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    ensure!(
        output.status.success(),
        "the AWS requests in {KEPT} are not all right"
    );
    Ok(())
}

/// Sent by another SDK through the very recorder that the functions have in front of them.
fn too_long(world: &World) -> anyhow::Result<()> {
    let folder = TempDir::with_prefix("penstock-requests-")?;
    let file = folder.path().join("requests.jsonl");
    let player = world.stack.player().url();
    let recorder = world.runtime.block_on(async {
        Recorder::start(&player, &Recording::create(&file)?, Manner::default()).await
    })?;
    let send = |characters: usize| {
        world.boto3(&format!(
            "import boto3, botocore\n\
             client = boto3.client('codepipeline', endpoint_url='{}')\n\
             try:\n\
             \x20   client.put_job_success_result(jobId='00000000-0000-0000-0000-000000000000',\n\
             \x20       executionDetails={{'summary': 'x' * {characters}}})\n\
             except botocore.exceptions.ClientError: pass",
            recorder.url()
        ))
    };
    send(2_048)?;
    let output = world.checked(&file, &[])?;
    let told = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "the longest summary is allowed: {told}"
    );
    send(2_049)?;
    let output = world.checked(&file, &[])?;
    let told = String::from_utf8_lossy(&output.stdout);
    let what = "executionDetails.summary: 2049 characters, at most 2048 are allowed";
    ensure!(
        output.status.code() == Some(1) && told.contains(what),
        "{told}"
    );
    Ok(())
}
