//! A source action: the commit of a local git repository becomes the source artifact.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::{Context, Done};
use crate::pipeline::artifact::ARTIFACT_BYTES_MAX;
use crate::pipeline::execution::{Failure, Repository, Revision};
use crate::pipeline::jobs::Details;

/// A variable's value is cut after so many characters: a commit's message has no bound.
const VALUE_CHARS_MAX: usize = 1000;

pub(super) async fn perform(context: &Context<'_>) -> Result<Done, Failure> {
    let name = &context.action.name;
    let repository = context
        .execution
        .registered
        .sources
        .get(name)
        .ok_or_else(|| {
            Failure::configuration(format!(
                "source action {name} has no repository; pass --source {name}=PATH[@REV]"
            ))
        })?;
    let asked = context
        .execution
        .start
        .revisions
        .get(name)
        .or(repository.revision.as_ref());
    let commit = Commit::find(repository, asked.map(String::as_str)).await?;
    if asked.is_none()
        && !git(
            repository,
            ["status", "--porcelain", "--untracked-files=normal"],
        )
        .await?
        .is_empty()
    {
        context.say("note: uncommitted changes are not part of this run; commit them first if they should be");
    }
    upload(context, repository, &commit.id).await?;
    let subject = commit.message.lines().next().unwrap_or_default();
    Ok(Done {
        details: Details {
            summary: Some(format!("{} {subject}", short(&commit.id))),
            external_execution_id: Some(commit.id.clone()),
            percent: None,
        },
        revision: context.outputs.first().map(|output| Revision {
            artifact: output.name.clone(),
            id: commit.id.clone(),
            summary: commit.message.clone(),
        }),
        variables: variables(context, &commit),
    })
}

async fn upload(
    context: &Context<'_>,
    repository: &Repository,
    commit: &str,
) -> Result<(), Failure> {
    let Some(output) = context.outputs.first() else {
        return Ok(());
    };
    let directory = tempfile::tempdir_in(&context.shared.settings.work);
    let directory =
        directory.map_err(|error| Failure::job(format!("could not make a directory: {error}")))?;
    let zip = directory.path().join("source.zip");
    let arguments = [
        OsStr::new("archive"),
        "--format=zip".as_ref(),
        "--output".as_ref(),
        zip.as_ref(),
        commit.as_ref(),
    ];
    git(repository, arguments).await?;
    let bytes = std::fs::metadata(&zip)
        .map(|file| file.len())
        .unwrap_or_default();
    if bytes > ARTIFACT_BYTES_MAX {
        return Err(Failure::job(format!(
            "the source has {bytes} bytes; at most {ARTIFACT_BYTES_MAX} are taken"
        )));
    }
    context.shared.cloud.ensure_bucket(&output.bucket).await?;
    Ok(context
        .shared
        .cloud
        .put(&output.bucket, &output.key, &zip, context.kms_key())
        .await?)
}

struct Commit {
    id: String,
    branch: String,
    message: String,
    author_date: String,
}

impl Commit {
    async fn find(repository: &Repository, asked: Option<&str>) -> Result<Self, Failure> {
        let asked = asked.unwrap_or("HEAD");
        let id = git(
            repository,
            [
                "rev-parse",
                "--verify",
                "--end-of-options",
                &format!("{asked}^{{commit}}"),
            ],
        )
        .await
        .map_err(|failure| {
            let why = failure.message;
            Failure::configuration(format!(
                "could not find the commit {asked}: {why}; name a branch, tag or commit of that repository"
            ))
        })?;
        // Without `--end-of-options`: `--abbrev-ref` would print it; a name that begins with `-` did not get here.
        let branch = git(repository, ["rev-parse", "--abbrev-ref", asked]).await?;
        let shown = git(repository, ["show", "--no-patch", "--format=%aI%n%B", &id]).await?;
        let (author_date, message) = shown.split_once('\n').unwrap_or((&shown, ""));
        Ok(Self {
            id,
            branch,
            message: message.trim().to_owned(),
            author_date: author_date.to_owned(),
        })
    }
}

/// The output variables that AWS documents for the source providers.
fn variables(context: &Context<'_>, commit: &Commit) -> BTreeMap<String, String> {
    let declared = |keys: &[&str]| {
        keys.iter()
            .find_map(|key| context.setting(key))
            .map(str::to_owned)
    };
    let branch = declared(&["BranchName", "Branch"]).unwrap_or_else(|| commit.branch.clone());
    let mut variables = BTreeMap::from([
        ("CommitId".to_owned(), commit.id.clone()),
        (
            "CommitMessage".to_owned(),
            commit.message.chars().take(VALUE_CHARS_MAX).collect(),
        ),
        ("AuthorDate".to_owned(), commit.author_date.clone()),
        ("BranchName".to_owned(), branch),
    ]);
    let provider = match context.action.action_type_id.provider.as_str() {
        "CodeStarSourceConnection" => vec![
            ("FullRepositoryName", declared(&["FullRepositoryId"])),
            ("ConnectionArn", declared(&["ConnectionArn"])),
        ],
        "S3" => vec![
            ("BucketName", declared(&["S3Bucket"])),
            ("ObjectKey", declared(&["S3ObjectKey"])),
            ("VersionId", Some(commit.id.clone())),
            ("ETag", Some(commit.id.clone())),
        ],
        _ => vec![("RepositoryName", declared(&["RepositoryName", "Repo"]))],
    };
    variables.extend(
        provider
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?))),
    );
    variables
}

fn short(commit: &str) -> &str {
    commit.get(..8).unwrap_or(commit)
}

/// Runs git; gives what it printed, without the end of line.
async fn git<A: AsRef<OsStr>>(
    repository: &Repository,
    arguments: impl IntoIterator<Item = A>,
) -> Result<String, Failure> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(&repository.path)
        .args(arguments)
        .env_clear();
    // No GIT_DIR and the like: they would lead it to another repository than the one that was named.
    command.envs(
        ["PATH", "HOME"]
            .iter()
            .filter_map(|name| Some((name, std::env::var_os(name)?))),
    );
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await;
    let output = output.map_err(|error| {
        Failure::configuration(format!("could not run git: {error}; is it installed?"))
    })?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::configuration(format!(
            "git could not read {}: {}",
            shown(&repository.path),
            told.trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
