//! A buildspec's phases in one shell.
//!
//! CodeBuild runs all commands of a build in the same shell, so `cd` and `export` reach the commands after them.
//! Each command becomes a file that a generated script reads with `.`; what happened is written beside them,
//! because the build's own output may say anything.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use super::buildspec::{Buildspec, PHASES, Phase};

/// A longer line is told in pieces. In bytes.
const LINE_BYTES_MAX: u64 = 8 * 1024;
/// Lines that wait to be told; a build that prints faster waits.
const LINES_WAITING_MAX: usize = 256;
/// A failure tells so many of the last lines.
const TAIL_LINES: usize = 15;
/// After the shell's end its output may be open for so long, by a process that left its group.
const DRAIN: Duration = Duration::from_secs(2);
/// An exported variable may be so long, in bytes; AWS bounds them all together.
const EXPORTED_BYTES_MAX: u64 = 120 * 1024;
/// Lines of the player itself begin with it.
const OURS: &str = "[penstock]";

/// What to run, and where.
pub struct Build<'a> {
    /// The commands.
    pub spec: &'a Buildspec,
    /// The working directory at the start.
    pub source: &'a Path,
    /// An empty directory for the script; not inside the source.
    pub control: &'a Path,
    /// The whole environment of the shell.
    pub environment: BTreeMap<String, String>,
    /// After that the build is killed.
    pub time_max: Duration,
}

/// How a build ended.
#[derive(Debug)]
pub struct Outcome {
    /// Why it failed, with the last lines of its output; `None` when it did not.
    pub failure: Option<String>,
    /// The exported variables that have a value.
    pub exported: BTreeMap<String, String>,
}

/// Runs a build; `tell` gets each line of output.
///
/// # Errors
/// When the shell could not be run at all.
pub async fn run(build: Build<'_>, mut tell: impl FnMut(String)) -> io::Result<Outcome> {
    write_scripts(build.spec, build.control)?;
    let (mut child, group) = spawn(&build)?;
    let stdout = child
        .stdout
        .take()
        .ok_or_else(|| io::Error::other("the shell has no output"))?;
    let (sender, mut lines) = mpsc::channel(LINES_WAITING_MAX);
    tokio::spawn(read_lines(stdout, sender));

    let mut tail = VecDeque::with_capacity(TAIL_LINES);
    let mut keep = |line: String| {
        if !line.starts_with(OURS) {
            if tail.len() == TAIL_LINES {
                tail.pop_front();
            }
            tail.push_back(line.clone());
        }
        tell(line);
    };
    let deadline = Instant::now() + build.time_max;
    let status = loop {
        tokio::select! {
            biased;
            Some(line) = lines.recv() => keep(line),
            status = child.wait() => break Some(status?),
            () = tokio::time::sleep_until(deadline) => break None,
        }
    };
    drop(group); // ends what the build left running, and so closes its output
    let drained = Instant::now() + DRAIN;
    while let Ok(Some(line)) = timeout_at(drained, lines.recv()).await {
        keep(line);
    }
    let reason = match status {
        Some(status) => failure(&build, status.code()),
        None => Some(format!(
            "the build ran longer than {} minutes",
            build.time_max.as_secs() / 60
        )),
    };
    let failure = reason.map(|reason| with_tail(reason, &tail));
    Ok(Outcome {
        failure,
        exported: exported(&build).await,
    })
}

fn with_tail(reason: String, tail: &VecDeque<String>) -> String {
    tail.iter().fold(reason, |text, line| text + "\n" + line)
}

/// Kills a process and all that it started when it is dropped: at its end, or when nobody waits for it any more.
pub(crate) struct Group(Pid);

impl Group {
    /// The group that a process leads.
    ///
    /// # Errors
    /// When the process has been waited for.
    pub(crate) fn of(leader: &Child) -> io::Result<Self> {
        let id = leader.id().and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or_else(|| io::Error::other("the process has no id"))?;
        Ok(Self(Pid::from_raw(id)))
    }

    /// Asks all of them to end.
    pub(crate) fn terminate(&self) {
        let _gone_already = killpg(self.0, Signal::SIGTERM);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _gone_already = killpg(self.0, Signal::SIGKILL);
    }
}

fn spawn(build: &Build<'_>) -> io::Result<(Child, Group)> {
    let shell = build.spec.env.shell.as_deref().unwrap_or("bash");
    let child = Command::new(shell)
        .arg(build.control.join("build.sh"))
        .current_dir(build.source)
        .env_clear()
        .envs(&build.environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null()) // the script sends it to stdout, so that the order is kept
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = Group::of(&child)?;
    Ok((child, group))
}

/// Sends each line until the output or the receiver is closed; a long one comes in pieces.
pub(crate) async fn read_lines(output: impl AsyncRead + Unpin, lines: mpsc::Sender<String>) {
    let mut output = BufReader::new(output);
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match (&mut output)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut buffer)
            .await
        {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let line = String::from_utf8_lossy(&buffer);
                if lines
                    .send(line.trim_end_matches(['\n', '\r']).to_owned())
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    }
}

fn write_scripts(spec: &Buildspec, control: &Path) -> io::Result<()> {
    let mut script = String::from("exec 2>&1\n");
    let _ = writeln!(
        script,
        "penstock_dir={}",
        quoted(&control.to_string_lossy())
    );
    script.push_str("penstock_end() {\n  :\n");
    for name in &spec.env.exported_variables {
        let _ = writeln!(
            script,
            "  printf '%s' \"${{{name}-}}\" > \"$penstock_dir/export.{name}\""
        );
    }
    script.push_str(
        "}\ntrap penstock_end EXIT\nexport CODEBUILD_BUILD_SUCCEEDING=1\npenstock_go=1\n",
    );
    for (name, phase) in PHASES
        .iter()
        .filter_map(|name| Some((name, spec.phases.get(*name)?)))
    {
        for (kind, commands) in [("", &phase.commands), (".finally", &phase.finally)] {
            for (number, command) in commands.iter().enumerate() {
                std::fs::write(
                    control.join(format!("{name}{kind}.{number}")),
                    format!("{command}\n"),
                )?;
            }
        }
        phase_script(&mut script, name, phase);
    }
    // The trap is called by hand too: a command may have set its own.
    script.push_str("penstock_end\n: > \"$penstock_dir/ended\"\n");
    std::fs::write(control.join("build.sh"), script)
}

fn phase_script(script: &mut String, name: &str, phase: &Phase) {
    let _ = writeln!(
        script,
        "if [ \"$penstock_go\" = 1 ]; then\npenstock_status=0"
    );
    for (number, command) in phase.commands.iter().enumerate() {
        let _ = writeln!(script, "if [ \"$penstock_status\" -eq 0 ]; then");
        command_script(script, &format!("{name}.{number}"), name, command);
        script.push_str("fi\n");
    }
    for (number, command) in phase.finally.iter().enumerate() {
        command_script(script, &format!("{name}.finally.{number}"), name, command);
    }
    // CodeBuild goes from a failed build phase to post_build; a failure before it ends the build.
    let goes_on = match phase.on_failure.as_deref() {
        Some("CONTINUE") => true,
        Some(_) => false,
        None => name == "build",
    };
    let _ = writeln!(
        script,
        "if [ \"$penstock_status\" -ne 0 ]; then CODEBUILD_BUILD_SUCCEEDING=0; penstock_go={}; fi\nfi",
        u8::from(goes_on)
    );
}

fn command_script(script: &mut String, file: &str, phase: &str, command: &str) {
    let first_line = command.lines().next().unwrap_or_default();
    let _ = writeln!(
        script,
        "printf '%s\\n' {}",
        quoted(&format!("{OURS} {phase}: {first_line}"))
    );
    let _ = writeln!(
        script,
        "printf '%s' {file} > \"$penstock_dir/at\"\n. \"$penstock_dir/{file}\"\npenstock_step=$?"
    );
    let _ = writeln!(
        script,
        "if [ \"$penstock_step\" -ne 0 ]; then penstock_status=$penstock_step; \
         [ -e \"$penstock_dir/failed\" ] || printf '%s %s' {file} \"$penstock_step\" > \"$penstock_dir/failed\"; fi"
    );
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Why the build failed, by what the script wrote.
fn failure(build: &Build<'_>, status: Option<i32>) -> Option<String> {
    let read = |name| std::fs::read_to_string(build.control.join(name)).ok();
    let status = status.map_or_else(
        || "a signal".to_owned(),
        |code| format!("exit status {code}"),
    );
    if let Some((file, step)) = read("failed")
        .as_deref()
        .and_then(|text| text.split_once(' '))
    {
        return Some(describe(build, file, &format!("exit status {step}")));
    }
    if read("ended").is_some() {
        return None;
    }
    // `exit` in a command ends the shell, and with it all commands that were to come: never a success.
    let file = read("at").unwrap_or_default();
    Some(describe(
        build,
        &file,
        &format!("it ended the shell, {status}, before the build was over"),
    ))
}

fn describe(build: &Build<'_>, file: &str, reason: &str) -> String {
    let phase = file.split('.').next().unwrap_or_default();
    let command = std::fs::read_to_string(build.control.join(file)).unwrap_or_default();
    format!(
        "phase {phase}: error while executing command: {}. Reason: {reason}",
        command.trim_end()
    )
}

async fn exported(build: &Build<'_>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for name in &build.spec.env.exported_variables {
        let Ok(file) = tokio::fs::File::open(build.control.join(format!("export.{name}"))).await
        else {
            continue;
        };
        let mut value = String::new();
        let read = timeout(
            DRAIN,
            file.take(EXPORTED_BYTES_MAX).read_to_string(&mut value),
        )
        .await;
        if matches!(read, Ok(Ok(_))) {
            values.insert(name.clone(), value);
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn built(spec: &str, time_max: Duration) -> (Outcome, Vec<String>) {
        let (source, control) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let spec = Buildspec::parse(spec).unwrap();
        let environment = [("PATH".to_owned(), std::env::var("PATH").unwrap())].into();
        let build = Build {
            spec: &spec,
            source: source.path(),
            control: control.path(),
            environment,
            time_max,
        };
        let mut lines = Vec::new();
        let outcome = run(build, |line| lines.push(line)).await.unwrap();
        (outcome, lines)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn commands_share_one_shell_and_nothing_else_is_inherited() {
        let spec = "
version: 0.2
env: {exported-variables: [TAG, NEVER_SET]}
phases:
  pre_build: {commands: ['mkdir sub && cd sub', 'export TAG=\"a b\"', 'f() { echo called; }']}
  build: {commands: ['basename $PWD', f, 'echo \"home:${HOME-none}\" >&2', 'echo $CODEBUILD_BUILD_SUCCEEDING']}
";
        let (outcome, lines) = built(spec, MINUTE).await;
        assert_eq!(outcome.failure, None);
        let said: Vec<_> = lines
            .iter()
            .filter(|line| !line.starts_with(OURS))
            .collect();
        assert_eq!(said, ["sub", "called", "home:none", "1"]);
        assert_eq!(outcome.exported["TAG"], "a b");
    }

    #[tokio::test]
    async fn a_failing_command_ends_its_phase_and_tells_its_last_lines() {
        let spec = "
version: 0.2
phases:
  build: {commands: ['seq 1 30', 'false', 'echo never'], finally: ['echo cleaned']}
  post_build: {commands: ['echo succeeding=$CODEBUILD_BUILD_SUCCEEDING']}
";
        let (outcome, lines) = built(spec, MINUTE).await;
        let failure = outcome.failure.unwrap();
        assert!(
            failure.starts_with(
                "phase build: error while executing command: false. Reason: exit status 1\n"
            ),
            "{failure}"
        );
        assert_eq!(failure.lines().count(), 1 + TAIL_LINES);
        assert!(failure.ends_with("30\ncleaned\nsucceeding=0"), "{failure}");
        assert!(!lines.contains(&"never".to_owned()));
    }

    #[tokio::test]
    async fn a_failure_before_the_build_phase_ends_the_build() {
        let spec = "
version: 0.2
phases:
  install: {commands: ['exit_code() { return 7; }', exit_code]}
  build: {commands: ['echo never']}
";
        let (outcome, lines) = built(spec, MINUTE).await;
        assert!(outcome.failure.unwrap().contains("phase install"));
        assert!(!lines.contains(&"never".to_owned()));
    }

    #[tokio::test]
    async fn a_command_that_exits_is_never_a_success() {
        let spec = "version: 0.2\nphases: {build: {commands: ['exit 0', 'make test']}}\n";
        let failure = built(spec, MINUTE).await.0.failure.unwrap();
        assert!(
            failure.contains("command: exit 0. Reason: it ended the shell, exit status 0"),
            "{failure}"
        );
    }

    #[tokio::test]
    async fn a_build_has_its_time_and_leaves_nothing_running() {
        let spec = "version: 0.2\nphases: {build: {commands: ['sleep 300 & echo $!', 'wait']}}\n";
        let (outcome, lines) = built(spec, Duration::from_millis(500)).await;
        assert!(outcome.failure.unwrap().starts_with("the build ran longer"));
        let sleeper: i32 = lines.iter().find_map(|line| line.parse().ok()).unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        let state = std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
        assert!(
            state.is_empty() || state.contains(") Z "),
            "still running: {state}"
        );
    }
}
