//! `penstock gate`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use actions::gather::{Files, GatherError, gather, read_report};
use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use console::style;
use engine::chain;
use jiff::Timestamp;
use pages::GatePage;
use release::config::{CONFIG_BYTES_MAX, Config};
use release::gate::{
    Caller, Context, Evidence, Found, Gate, GateVerdict, History, ReportGlob, Run, Standing,
    Verdict, Weighed,
};
use reports::{Archive, Diff, Format, ReadError, Report};
use walkdir::WalkDir;

use super::{check, tell};

/// The exit status for what cannot be judged: no such file, a mistake in the configuration.
const UNUSABLE: u8 = 2;
/// Most files of a folder that are looked at for one glob.
const FILES_MAX: usize = 1_000_000;
/// The largest history that is read, in bytes.
const HISTORY_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Longest name of a file that is shown, in characters.
const NAME_CHARS_MAX: usize = 300;
/// How many failing tests and findings are shown as text.
const SHOWN_MAX: usize = 50;

/// Judge reports of tests, coverage and findings, with the code that test-gate runs.
///
/// The exit status is 0 when the gate passes, 1 when it fails, and 2 when there is nothing to judge:
/// the configuration has a mistake, or a PATH cannot be used.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct GateCommand {
    /// Folders and zips in which the gate's globs look for reports, and reports themselves.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The configuration.
    #[arg(long, default_value = "penstock.yaml")]
    config: PathBuf,
    /// The gate's name in the configuration; may be left out where there is one only.
    #[arg(long)]
    section: Option<String>,
    /// Remembers the runs that passed, to compare the next one with. Made when there is none; the
    /// file HISTORY.lock next to it keeps two runs at once apart.
    #[arg(long)]
    history: Option<PathBuf>,
    /// The commit that is being released, for the rule same-commit.
    #[arg(long)]
    commit: Option<String>,
    /// When the build began, as in 2026-11-02T10:00:00Z, for the rule max-report-age: execution.
    #[arg(long)]
    since: Option<Timestamp>,
    /// Names this run in the history; the commit or the time when absent.
    #[arg(long)]
    run: Option<String>,
    /// How the verdict is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Output,
}

const EXAMPLES: &str = "\
Examples:
  penstock gate target                            the one gate of penstock.yaml, over the folder target
  penstock gate --section unit artifact.zip       over an artifact as CodePipeline has it
  penstock gate junit.xml lcov.info scan.sarif    over these reports, wherever the gate's globs look
  penstock gate target --history ~/.cache/shop-unit.json --commit $(git rev-parse HEAD)
  penstock gate target --format html > report.html
  penstock gate target --format json | jq .totals";

/// How a verdict is printed.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// For a terminal.
    #[default]
    Text,
    /// For programs: verdict, totals, coverage, findings, rules and files.
    Json,
    /// For a comment or a job summary.
    Markdown,
    /// A page that stands alone.
    Html,
}

impl GateCommand {
    /// Runs the command; gives the exit status.
    pub fn run(self) -> ExitCode {
        match self.judge() {
            Ok(Some(Verdict::Pass | Verdict::Warn)) => ExitCode::SUCCESS,
            Ok(Some(Verdict::Fail)) => ExitCode::FAILURE,
            Ok(None) => ExitCode::from(UNUSABLE),
            Err(error) => {
                tell(&error);
                ExitCode::from(UNUSABLE)
            }
        }
    }

    /// Judges and prints; None when the configuration has a mistake, which has been shown.
    fn judge(self) -> anyhow::Result<Option<Verdict>> {
        let Some(config) = read_config(&self.config)? else {
            return Ok(None);
        };
        let (name, gate) = config
            .gate(self.section.as_deref())
            .map_err(|error| anyhow!("{error}; here that is --section"))?;
        let history = match &self.history {
            Some(file) => read_history(file)?,
            None => History::default(),
        };
        let evidence = gather_all(gate, &self.paths)?;
        let now = Timestamp::now();
        let run = self.run.clone().or_else(|| self.commit.clone());
        let run = run.unwrap_or_else(|| now.to_string());
        let verdict = gate.judge(
            evidence,
            &Context {
                by: Caller::Command,
                now,
                run: &run,
                since: self.since,
                commit: self.commit.as_deref(),
                history: &history,
                lost: None,
            },
        );
        self.print(name, &verdict, &history)?;
        if let Some(file) = &self.history
            && verdict.passed()
        {
            remember(file, verdict.run())?;
        }
        Ok(Some(verdict.verdict))
    }

    fn print(&self, gate: &str, verdict: &GateVerdict, history: &History) -> anyhow::Result<()> {
        let page = GatePage {
            gate,
            verdict,
            history,
            execution: self.run.as_deref(),
            commit: self.commit.as_deref(),
            pipeline: None,
            made: verdict.point.at,
        };
        let text = match self.format {
            Output::Text => text(gate, verdict),
            Output::Json => serde_json::to_string_pretty(verdict)? + "\n",
            Output::Markdown => page.markdown(),
            Output::Html => page.html(),
        };
        match io::stdout().write_all(text.as_bytes()) {
            // Whoever reads it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.context("could not print the verdict"),
        }
    }
}

/// None when it has a mistake, which is shown at its line.
pub(super) fn read_config(path: &Path) -> anyhow::Result<Option<Config>> {
    let name = path.display().to_string();
    let text = read_text(path, CONFIG_BYTES_MAX as u64)
        .with_context(|| format!("could not read {name}; name the configuration by --config"))?;
    Ok(match Config::parse(&text) {
        Ok(config) => Some(config),
        Err(error) => {
            eprint!("{}", check::drawn(&name, text, &error));
            None
        }
    })
}

/// A whole text file, or one byte more than it may have.
fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut text = String::new();
    let mut file = File::open(path)?.take(bytes_max + 1);
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn read_history(path: &Path) -> anyhow::Result<History> {
    let name = path.display();
    let text = match read_text(path, HISTORY_BYTES_MAX) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(History::default()),
        Err(error) => return Err(error).context(format!("could not read the history {name}")),
    };
    serde_json::from_str(&text).with_context(|| {
        format!("could not read the history {name}: remove it, and the next run begins a new one")
    })
}

/// Adds a run to the history. Of two that end at once, one waits for the other, so both are in it.
fn remember(path: &Path, run: Run) -> anyhow::Result<()> {
    let _lock = lock(path)?;
    write_history(path, &read_history(path)?.after(run))
}

/// Keeps everybody else from the history until the file that this gives is closed. It is a file of
/// its own, as the history's is replaced.
fn lock(history: &Path) -> anyhow::Result<File> {
    let mut path = history.as_os_str().to_owned();
    path.push(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let locked = file.and_then(|file| file.lock().map(|()| file));
    locked.with_context(|| format!("could not lock the history {}", history.display()))
}

/// Writes all of it or, when something fails, leaves what was there.
fn write_history(path: &Path, history: &History) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        let mut file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        serde_json::to_writer(&mut file, history)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("could not write the history {}", path.display()))
}

/// Where reports are.
enum Place {
    Artifact(Archive<File>),
    Folder(PathBuf),
    /// Files that were named one by one.
    Given(Vec<PathBuf>),
}

fn gather_all(gate: &Gate, paths: &[PathBuf]) -> anyhow::Result<Evidence> {
    let mut places = Vec::new();
    let mut given = Vec::new();
    for path in paths {
        let doing = || format!("could not use {}", path.display());
        let about = std::fs::metadata(path).with_context(doing)?;
        if about.is_dir() {
            places.push(Place::Folder(path.clone()));
        } else if is_zip(path).with_context(doing)? {
            let file = File::open(path).with_context(doing)?;
            places.push(Place::Artifact(Archive::open(file).with_context(doing)?));
        } else {
            given.push(path.clone());
        }
    }
    // Without a place to look in, the globs have nothing to say.
    let mut gate = gate.clone();
    let globs = gate.reports.clone();
    if places.is_empty() {
        gate.reports.clear();
    }
    places.push(Place::Given(given.clone()));
    let mut evidence = gather(&gate, &mut places).map_err(unusable)?;
    for (key, is_named) in [
        ("codebuild", gate.codebuild.is_some()),
        ("image-scan", gate.image_scan.is_some()),
    ] {
        if is_named {
            evidence.add(Found::Unreadable {
                why: format!(
                    "only the function test-gate looks at `{key}`; give it a gate of its own"
                ),
            });
        }
    }
    let named = [&gate.diff, &gate.commit_file];
    for path in given {
        let is_named =
            |name: &Option<String>| name.as_ref().is_some_and(|name| path.ends_with(name));
        if named.into_iter().any(is_named) {
            continue;
        }
        let name = path.display().to_string();
        let format = format_of(&path, &globs).or(gate.format);
        let mut place = Place::Given(vec![path]);
        evidence.add(read_report(places.len(), &mut place, name, format).map_err(unusable)?);
    }
    Ok(evidence)
}

fn unusable(error: GatherError) -> anyhow::Error {
    match error {
        GatherError::Glob(error) => anyhow!("{}", chain(&error)),
        GatherError::Input(error) => {
            anyhow::Error::new(error).context("could not read the reports")
        }
    }
}

/// The format that the configuration gives a report of this name.
fn format_of(path: &Path, globs: &[ReportGlob]) -> Option<Format> {
    let mut named = globs.iter().filter(|glob| glob.format.is_some());
    let glob = named.find(|glob| {
        // A path that is given may begin anywhere.
        let pattern = globset::Glob::new(&format!("{{{0},**/{0}}}", glob.path));
        pattern.is_ok_and(|pattern| pattern.compile_matcher().is_match(path))
    })?;
    glob.format
}

/// By its first bytes: an entry's header, or the end of a zip without entries.
fn is_zip(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut head)?;
    Ok(head == b"PK\x03\x04" || head == b"PK\x05\x06")
}

impl Place {
    /// Where a file is on disk; None for what is in an artifact or not there.
    fn locate(&self, path: &str) -> Result<Option<PathBuf>, ReadError> {
        match self {
            Self::Artifact(_) => Ok(None),
            Self::Folder(root) => within(root, path),
            Self::Given(files) => Ok(files.iter().find(|file| file.ends_with(path)).cloned()),
        }
    }

    fn open(&self, path: &str) -> Result<Option<File>, ReadError> {
        let file = self.locate(path)?.map(File::open).transpose();
        file.map_err(|source| ReadError::Input { source })
    }
}

impl Files for Place {
    fn find(&mut self, glob: &str) -> Result<Vec<String>, ReadError> {
        match self {
            Self::Artifact(archive) => Files::find(archive, glob),
            Self::Folder(root) => walk(root, glob),
            Self::Given(_) => Ok(Vec::new()),
        }
    }

    fn report(&mut self, path: &str, format: Option<Format>) -> Result<Report, ReadError> {
        if let Self::Artifact(archive) = self {
            return archive.report(path, format);
        }
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let file = self.open(path)?;
        let file = file.ok_or_else(|| ReadError::Input { source: missing() })?;
        reports::read(path, BufReader::new(file), format)
    }

    fn diff(&mut self, path: &str) -> Result<Option<Diff>, ReadError> {
        if let Self::Artifact(archive) = self {
            return Files::diff(archive, path);
        }
        let Some(file) = self.open(path)? else {
            return Ok(None);
        };
        Diff::read(path, BufReader::new(file)).map(Some)
    }

    fn small(&mut self, path: &str, bytes_max: u64) -> Result<Option<Vec<u8>>, ReadError> {
        if let Self::Artifact(archive) = self {
            return archive.read_small(path, bytes_max);
        }
        let Some(file) = self.open(path)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        let room = bytes_max.saturating_add(1);
        let read = file.take(room).read_to_end(&mut bytes);
        let length = read.map_err(|source| ReadError::Input { source })? as u64;
        match length > bytes_max {
            false => Ok(Some(bytes)),
            true => Err(ReadError::TooLarge {
                name: reports::printable(path, NAME_CHARS_MAX),
                what: "size in bytes of the file",
                limit: bytes_max,
            }),
        }
    }

    fn modified(&self, path: &str) -> Option<Timestamp> {
        if let Self::Artifact(archive) = self {
            return Files::modified(archive, path);
        }
        let about = std::fs::metadata(self.locate(path).ok()??).ok()?;
        about.modified().ok()?.try_into().ok()
    }
}

/// The file of this path below `root`; None when there is none.
///
/// # Errors
///
/// [`ReadError::Link`] when the path leads through a symbolic link, and [`ReadError::Name`] for one
/// that [`walk`] has found and that is no text.
fn within(root: &Path, path: &str) -> Result<Option<PathBuf>, ReadError> {
    let mut file = root.to_owned();
    for part in Path::new(path).components() {
        match part {
            Component::Normal(part) => file.push(part),
            Component::CurDir => continue,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return Ok(None),
        }
        match std::fs::symlink_metadata(&file) {
            Ok(about) if about.is_symlink() => return Err(ReadError::link(path)),
            Ok(_) => {}
            // It is how `walk` writes what is no text.
            Err(_) if path.contains(char::REPLACEMENT_CHARACTER) => {
                return Err(ReadError::odd_name(path));
            }
            Err(_) => return Ok(None),
        }
    }
    Ok(Some(file).filter(|file| file.is_file()))
}

/// The files below `root` that match, in order. No link is followed: one that matches is found like
/// a file, for its reading to fail, as is one on the way to where the pattern begins. So is a file
/// that has a name which is no text, with U+FFFD in it.
fn walk(root: &Path, glob: &str) -> Result<Vec<String>, ReadError> {
    let relative = glob.strip_prefix("./").unwrap_or(glob);
    let matcher = reports::glob(relative)?;
    // The part before the first wildcard names one folder, so that only that is searched.
    let fixed = relative
        .find(['*', '?', '[', '{'])
        .unwrap_or(relative.len());
    let base = relative[..fixed]
        .rfind('/')
        .map_or("", |end| &relative[..end]);
    let is_inside = Path::new(base)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !is_inside {
        return Ok(Vec::new());
    }
    if let Err(ReadError::Link { .. }) = within(root, base) {
        return Ok(vec![base.to_owned()]);
    }
    let mut found = Vec::new();
    let mut links = 0_u64;
    let files = WalkDir::new(root.join(base))
        .sort_by_file_name()
        .into_iter();
    for (count, entry) in files.enumerate() {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.depth() == 0 => break,
            Err(error) => {
                return Err(ReadError::Input {
                    source: error.into(),
                });
            }
        };
        if count >= FILES_MAX {
            let source = io::Error::other(format!(
                "{} has more than {FILES_MAX} files; name a folder deeper down",
                root.display()
            ));
            return Err(ReadError::Input { source });
        }
        let Ok(path) = entry.path().strip_prefix(root) else {
            continue;
        };
        let path = path.to_string_lossy();
        let path = path.replace(std::path::MAIN_SEPARATOR, "/");
        let kind = entry.file_type();
        if (kind.is_file() || kind.is_symlink()) && matcher.is_match(&path) {
            found.push(path);
        } else if kind.is_symlink() && entry.path().is_dir() {
            links += 1;
        }
    }
    if links > 0 {
        let folder = root.display();
        tracing::warn!(%folder, glob, links, "links to folders are not followed");
    }
    Ok(found)
}

/// For a terminal.
fn text(gate: &str, verdict: &GateVerdict) -> String {
    let head = match verdict.passed() {
        true => style("✓").green().bold(),
        false => style("✗").red().bold(),
    };
    let gate = reports::printable(gate, NAME_CHARS_MAX);
    let mut lines = vec![format!("{head} gate {gate} {}", verdict.headline())];
    let width = verdict.rules.iter().map(|rule| rule.rule.len()).max();
    let kept = verdict
        .rules
        .iter()
        .filter(|rule| rule.verdict == Verdict::Pass);
    for rule in verdict.broken().chain(kept) {
        let mark = match rule.verdict {
            Verdict::Pass => style("✓").green(),
            Verdict::Warn => style("!").yellow().bold(),
            Verdict::Fail => style("✗").red().bold(),
        };
        let width = width.unwrap_or(0);
        lines.push(format!("  {mark} {:width$}  {}", rule.rule, rule.why));
    }
    let shown = verdict.failing.iter().map(|judged| {
        let note = match &judged.weighed {
            Weighed::New => String::new(),
            Weighed::Known => " (failed before)".to_owned(),
            Weighed::Quarantined { ticket } => format!(" (in quarantine: {ticket})"),
        };
        let id = style(judged.case.id()).bold();
        format!("  {id}{}\n      {}", style(note).dim(), judged.case.message)
    });
    lines.extend(listed("Failing tests", verdict.totals.failing(), shown));
    let counting = verdict
        .found
        .iter()
        .filter(|f| f.standing == Standing::Counts);
    let shown = counting.clone().map(|judged| {
        let finding = &judged.finding;
        let place = finding.place();
        let at = place.map_or_else(String::new, |place| format!(" in {place}"));
        let severity = finding.severity.name();
        format!(
            "  {severity:8}  {}{at}\n            {}",
            style(&finding.id).bold(),
            finding.message
        )
    });
    let counts: &BTreeMap<_, u64> = &verdict.findings.clone().unwrap_or_default();
    lines.extend(listed("Findings", counts.values().sum(), shown));
    lines.join("\n") + "\n"
}

/// A heading and the first of its items; nothing when there are none.
fn listed(heading: &str, count: u64, items: impl Iterator<Item = String>) -> Vec<String> {
    if count == 0 {
        return Vec::new();
    }
    let mut lines = vec![
        String::new(),
        format!("{} ({count})", style(heading).underlined()),
    ];
    lines.extend(items.take(SHOWN_MAX));
    if count > SHOWN_MAX as u64 {
        lines.push(format!("  and {} more", count - SHOWN_MAX as u64));
    }
    lines
}
