//! `penstock run`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use crate::pipeline::event::Status;
use crate::pipeline::execution::Repository;
use crate::pipeline::submit::Submission;
use crate::run::{self, Screen, Style};

/// Run a pipeline in the player and follow it.
///
/// PIPELINE is the CloudFormation template that you deploy, or what `aws codepipeline get-pipeline` prints. Each
/// source action reads a local git repository; CodeBuild actions run their buildspec in a shell on this machine;
/// Lambda actions invoke the functions in the emulator. The exit status is 0 only when the execution succeeded.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// The template.
    pipeline: PathBuf,
    /// The repository of a source action, and what to check out (HEAD by default). Uncommitted changes are not part of it.
    #[arg(long = "source", value_name = "ACTION=PATH[@REV]")]
    sources: Vec<String>,
    /// A parameter of the template.
    #[arg(long = "parameter", value_name = "NAME=VALUE")]
    parameters: Vec<String>,
    /// A variable of the pipeline.
    #[arg(long = "variable", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// Answer yes to every manual approval.
    #[arg(long)]
    approve: bool,
    /// URL of the player.
    #[arg(long, default_value = "http://127.0.0.1:4570", env = "PENSTOCK_PLAYER")]
    player: String,
    /// Print the events as JSON, one a line.
    #[arg(long)]
    json: bool,
    /// Also print what builds print.
    #[arg(long, short, conflicts_with = "json")]
    verbose: bool,
}

const EXAMPLES: &str = "\
Examples:
  penstock local &                                         the player, once
  penstock run pipeline.yaml --source App=.                the last commit of this repository
  penstock run pipeline.yaml --source App=../app@v1.2      a tag
  penstock run pipeline.yaml --source App=. --parameter Stage=local --approve
  penstock run pipeline.yaml --source App=. --json | jq -r 'select(.type == \"ActionFailed\").message'";

impl Run {
    /// Runs the command; gives the exit status.
    ///
    /// # Errors
    /// When the pipeline could not be run at all.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let style = if self.json {
            Style::Json
        } else {
            Style::detect()
        };
        let mut screen = Screen::new(style, self.verbose);
        let ending = run::run(&self.player, &self.submission()?, &mut screen).await?;
        Ok(match ending.status {
            Status::Succeeded => ExitCode::SUCCESS,
            Status::InProgress
            | Status::Stopping
            | Status::Stopped
            | Status::Failed
            | Status::Superseded => ExitCode::FAILURE,
        })
    }

    fn submission(&self) -> anyhow::Result<Submission> {
        let declaration = std::fs::read_to_string(&self.pipeline);
        let declaration =
            declaration.with_context(|| format!("could not read {}", self.pipeline.display()))?;
        let mut sources = BTreeMap::new();
        for (action, place) in pairs("--source", &self.sources)? {
            sources.insert(action, repository(&place)?);
        }
        Ok(Submission {
            declaration,
            parameters: pairs("--parameter", &self.parameters)?,
            variables: pairs("--variable", &self.variables)?,
            sources,
            approve: self.approve,
        })
    }
}

fn pairs(option: &str, given: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    for text in given {
        let Some((name, value)) = text.split_once('=') else {
            bail!("{option} {text}: write NAME=VALUE");
        };
        if pairs.insert(name.to_owned(), value.to_owned()).is_some() {
            bail!("{option} names {name} twice; keep one of them");
        }
    }
    Ok(pairs)
}

/// `PATH[@REV]`; a directory whose own name has an `@` is taken as it is.
fn repository(place: &str) -> anyhow::Result<Repository> {
    let (path, revision) = match place.rsplit_once('@') {
        Some((path, revision)) if !Path::new(place).is_dir() => (path, Some(revision.to_owned())),
        Some(_) | None => (place, None),
    };
    let absolute = Path::new(path)
        .canonicalize()
        .with_context(|| format!("could not find the repository {path}"))?;
    Ok(Repository {
        path: absolute,
        revision,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_directory_and_perhaps_a_revision() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("a@b")).unwrap();
        let at = |place: &str| repository(&home.path().join(place).display().to_string());
        let path = |name: &str| home.path().join(name).canonicalize().unwrap();
        assert_eq!(
            at("a@b").unwrap(),
            Repository {
                path: path("a@b"),
                revision: None
            }
        );
        assert_eq!(
            at("a@b@v1").unwrap(),
            Repository {
                path: path("a@b"),
                revision: Some("v1".into())
            }
        );
        assert!(at("none").is_err());
    }

    #[test]
    fn a_pair_without_a_value_or_given_twice_is_refused() {
        let given = |texts: &[&str]| {
            pairs(
                "--parameter",
                &texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(given(&["a=b=c"]).unwrap()["a"], "b=c");
        assert!(given(&["a"]).is_err());
        assert!(
            given(&["a=1", "a=2"])
                .unwrap_err()
                .to_string()
                .contains("twice")
        );
    }
}
