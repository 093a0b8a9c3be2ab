//! Follows a release until it is over.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use aws::Aws;
use engine::{Clock, PortError, ReleaseLog};
use jiff::Timestamp;
use pages::told;
use release::account::{Account, What};
use release::{Head, Phase, Release, ReleaseId};
use tokio::signal::unix::{SignalKind, signal};

use super::screen::Screen;
use super::view::View;
use super::words::{plain, step_number};

/// How many looks in a row may fail before it is given up.
const FAILURES_MAX: u32 = 30;
/// What shells report of a command that was interrupted, and of one that was asked to end.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// What is watched, and how often it is looked at.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Which release.
    pub id: ReleaseId,
    /// From one look to the next.
    pub every: Duration,
}

/// Shows the release until it is over: 0 when it was promoted, 1 when it was rolled back.
///
/// # Errors
/// When there is no such release, or it cannot be read for a while.
pub async fn watch(aws: &Aws, watch: &Watch) -> anyhow::Result<ExitCode> {
    let mut shown = match std::io::stdout().is_terminal() {
        true => Shown::Live(Screen::new(console::Term::stdout()).context("could not draw")?),
        false => Shown::Lines(Lines::default()),
    };
    let mut interrupt = signal(SignalKind::interrupt()).context("could not wait for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("could not wait for signals")?;
    let mut seen: Option<(u64, Account)> = None;
    let mut failures = 0;
    loop {
        let trouble = match look(aws, &watch.id, seen.as_ref().map(|(seq, _)| *seq)).await {
            Ok(fresh) => {
                seen = fresh.or(seen);
                failures = 0;
                None
            }
            Err(error) => {
                failures += 1;
                let given_up = failures > FAILURES_MAX || seen.is_none();
                if given_up {
                    return Err(error).context("could not watch the release any longer");
                }
                Some(format!("{}; trying again", engine::chain(&error)))
            }
        };
        let Some((_, account)) = &seen else {
            bail!("there is no release {} in this table", watch.id);
        };
        shown.show(account, aws.now(), trouble.as_deref())?;
        match account.end.phase {
            Phase::Shifting | Phase::RollingBack => {}
            Phase::Promoted => return Ok(ExitCode::SUCCESS),
            Phase::RolledBack => return Ok(ExitCode::FAILURE),
        }
        tokio::select! {
            () = tokio::time::sleep(watch.every) => {}
            _ = interrupt.recv() => {
                shown.leave();
                return Ok(ExitCode::from(INTERRUPTED));
            }
            _ = terminate.recv() => return Ok(ExitCode::from(TERMINATED)),
        }
    }
}

/// What is new since `seen` events; one query when nothing is.
async fn look(
    aws: &Aws,
    id: &ReleaseId,
    seen: Option<u64>,
) -> Result<Option<(u64, Account)>, PortError> {
    let head: Head<Option<Release>> = aws.load(id).await?;
    if seen == Some(head.seq) {
        return Ok(None);
    }
    let events = aws.events::<Option<Release>>(id).await?;
    Ok(Account::of(&events).map(|account| (events.len() as u64, account)))
}

/// How it is shown.
enum Shown {
    /// A picture, redrawn.
    Live(Screen),
    /// What is new, a line each.
    Lines(Lines),
}

impl Shown {
    /// The terminal has echoed Ctrl-C below the picture: what comes next begins on a line of its own.
    fn leave(&self) {
        match self {
            Self::Live(_) => println!(),
            Self::Lines(_) => {}
        }
    }

    fn show(
        &mut self,
        account: &Account,
        now: Timestamp,
        trouble: Option<&str>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Live(screen) => {
                let (width, _) = screen.size();
                let mut lines = View {
                    account,
                    now,
                    width,
                }
                .lines();
                if let Some(trouble) = trouble {
                    let line = super::words::fit(&plain(trouble), width);
                    lines.insert(1, console::style(line).red().to_string());
                }
                screen.draw(&lines).context("could not draw")
            }
            Self::Lines(lines) => {
                let mut stdout = std::io::stdout().lock();
                for line in lines.new_ones(account) {
                    writeln!(stdout, "{line}").context("could not print")?;
                }
                if let Some(trouble) = trouble {
                    eprintln!("{}", plain(trouble));
                }
                Ok(())
            }
        }
    }
}

/// For a log file or a program: each fact and each window once, in a line that stays true.
#[derive(Debug, Default)]
struct Lines {
    moments: usize,
    windows: u64,
}

impl Lines {
    fn new_ones(&mut self, account: &Account) -> Vec<String> {
        let release = &account.end;
        // What is intended and not yet done is told when it is.
        let open = |what: &What| match what {
            What::Weight { performed, .. } | What::Act { performed, .. } => performed.is_none(),
            What::Began { .. }
            | What::CandidateReady
            | What::Checked { .. }
            | What::Frozen { .. }
            | What::CleanupFailed { .. }
            | What::Alarms { .. }
            | What::StepDone { .. }
            | What::Ordered { .. }
            | What::RollbackDecided
            | What::RollbackStuck { .. }
            | What::Ended { .. } => false,
        };
        let is_open = account.moments.last().is_some_and(|last| open(&last.what));
        let known = account.moments.len() - usize::from(is_open && release.is_active());
        let mut lines = Vec::new();
        if account.windows_judged > self.windows {
            self.windows = account.windows_judged;
            let at = account
                .windows
                .last()
                .map_or(account.until(), |last| last.at);
            let said = format!(
                "judged after {} windows, candidate at {}, step {} of {}: {}",
                account.windows_judged,
                release.weight,
                step_number(release),
                release.plan().steps.len(),
                account.evidence,
            );
            lines.push((at, said));
        }
        let told = told(account, account.moments.len());
        for fact in told.iter().take(known).skip(self.moments) {
            let why = match fact.why.is_empty() {
                true => String::new(),
                false => format!(": {}", fact.why),
            };
            lines.push((fact.at, format!("{}{why} ({})", fact.what, fact.who)));
        }
        self.moments = known.max(self.moments);
        lines.sort_by_key(|(at, _)| *at);
        let lines = lines.into_iter();
        lines
            .map(|(at, said)| format!("{at:.0} {}", plain(&said)))
            .collect()
    }
}
