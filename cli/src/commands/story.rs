//! The events of a release, for the commands that look back: from the log in DynamoDB, or from a
//! file of it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use aws::Aws;
use clap::Args;
use engine::ReleaseLog;
use release::account::{Account, LOG_BYTES_MAX, read_log};
use release::{Event, Release, ReleaseId};

/// Which release.
#[derive(Debug, Args)]
pub struct Told {
    /// The release's id, as the pipeline shows it as the action's external execution id; or a file
    /// with its log, as `penstock report --format log` writes it; or - for such a log from standard
    /// input.
    #[arg(value_name = "RELEASE|FILE")]
    release: String,
    /// The release log's table: the stack's output ReleaseLogTable. Not needed for a file.
    #[arg(long, env = aws::TABLE_VARIABLE)]
    table: Option<String>,
}

impl Told {
    /// Every event so far, in order.
    ///
    /// # Errors
    /// When there is no such release or file, or it cannot be read.
    pub async fn events(&self) -> anyhow::Result<Vec<Event>> {
        if self.release == "-" {
            return parsed("standard input", io::stdin().lock());
        }
        let path = Path::new(&self.release);
        if path.exists() && !path.is_dir() {
            let file = File::open(&self.release)
                .with_context(|| format!("could not read {}", self.release))?;
            return parsed(&self.release, file);
        }
        let id = ReleaseId::try_from(self.release.clone())
            .map_err(|error| anyhow!("there is no file {}, and {error}", self.release))?;
        let Some(table) = &self.table else {
            bail!(
                "there is no file {id}; to read release {id} from its log, name the stack's output \
                 ReleaseLogTable as --table or in {}",
                aws::TABLE_VARIABLE
            );
        };
        let aws = Aws::new(&aws::sdk_config().await, table.clone());
        let events = aws.events::<Option<Release>>(&id).await?;
        if events.is_empty() {
            bail!(
                "there is no release {id} in this table: its id is the action's external execution id"
            );
        }
        Ok(events)
    }
}

fn parsed(name: &str, from: impl Read) -> anyhow::Result<Vec<Event>> {
    let mut text = String::new();
    from.take(LOG_BYTES_MAX as u64 + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("could not read {name}"))?;
    read_log(&text).with_context(|| format!("could not use {name}"))
}

/// The story that these events tell.
///
/// # Errors
/// When they do not begin with a beginning.
pub fn account(events: &[Event]) -> anyhow::Result<Account> {
    Account::of(events).context("the log does not begin with the beginning of a release")
}

/// Writes a text to a file, or to standard output.
///
/// # Errors
/// When it cannot be written.
pub fn write(text: &str, to: Option<&Path>) -> anyhow::Result<()> {
    match to.filter(|path| *path != Path::new("-")) {
        Some(path) => std::fs::write(path, text)
            .with_context(|| format!("could not write {}", path.display())),
        None => match io::stdout().write_all(text.as_bytes()) {
            // Whoever reads it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context("could not print"),
        },
    }
}
