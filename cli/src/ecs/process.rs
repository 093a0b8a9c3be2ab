//! A task's containers as processes of the laptop's own.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::definitions::Container;
use super::state::{Exit, Port};
use crate::pipeline::shell::{Group, read_lines};

/// Requests that were on their way when a task left its target groups have so long to end.
pub(super) const DRAIN: Duration = Duration::from_secs(1);
/// Lines that wait to be noted; a process that prints faster waits.
const LINES_WAITING_MAX: usize = 64;
/// The reason of an exit tells so many of the last lines.
const LAST_LINES: usize = 3;
/// Longest reason of an exit (ECS's bound).
const REASON_CHARS_MAX: usize = 255;
/// After a process' end its output may be open for so long, by a process that left its group.
const LISTEN: Duration = Duration::from_millis(500);
/// What shells add to a signal's number to make an exit status of it.
const SIGNAL_BASE: i32 = 128;

/// Runs a task's containers until an essential one ends, or until `stop` is true; then ends the others.
/// How they ended, the first to end first. Dropping the future kills them all.
pub(super) async fn run(
    containers: Vec<Container>,
    ports: &[Port],
    environment: &BTreeMap<String, String>,
    mut stop: watch::Receiver<bool>,
) -> Vec<Exit> {
    let essential: Vec<_> = containers
        .iter()
        .filter(|it| it.essential)
        .map(|it| it.name.clone())
        .collect();
    let (end, told) = watch::channel(false);
    let mut running = FuturesUnordered::new();
    let runnable = containers.into_iter().filter(|it| !it.command.is_empty());
    for container in runnable {
        let environment = variables(&container, ports, environment.clone());
        running.push(contain(container, environment, told.clone()));
    }
    let mut exits = Vec::new();
    if running.is_empty() {
        exits.push(nothing_to_run());
    }
    loop {
        let ended = tokio::select! {
            ended = running.next() => ended,
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some(exit) = ended else { break };
        let is_essential = essential.contains(&exit.container);
        exits.push(exit);
        if is_essential {
            break;
        }
    }
    end.send_replace(true);
    exits.extend(running.collect::<Vec<_>>().await);
    exits
}

/// The exit of a task definition that has images only.
fn nothing_to_run() -> Exit {
    Exit {
        container: String::new(),
        code: None,
        reason: Some(
            "CannotPullContainerError: a laptop has no images; give the container a command"
                .to_owned(),
        ),
    }
}

/// The player's own variables, the container's, and above both the ports that it must listen on.
fn variables(
    container: &Container,
    ports: &[Port],
    mut environment: BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    environment.extend(container.environment.iter().cloned());
    let own = ports.iter().filter(|port| port.container == container.name);
    for (at, port) in own.enumerate() {
        if at == 0 {
            environment.insert("PORT".to_owned(), port.host_port.to_string());
        }
        let name = format!("PORT_{}", port.container_port);
        environment.insert(name, port.host_port.to_string());
    }
    environment
}

/// Runs one container until it ends, or until `end` is true: then it is asked to, and soon made to.
async fn contain(
    container: Container,
    environment: BTreeMap<String, String>,
    mut end: watch::Receiver<bool>,
) -> Exit {
    let name = container.name.clone();
    let (mut child, group) = match spawn(&container, environment) {
        Ok(spawned) => spawned,
        Err(error) => {
            let program = container.command.first().map_or("", String::as_str);
            let reason = format!("CannotStartContainerError: could not run '{program}': {error}");
            return Exit {
                container: name,
                code: None,
                reason: Some(cut(&reason)),
            };
        }
    };
    let (last_words, mut listening) = listen(&name, &mut child);
    let mut status = tokio::select! {
        status = child.wait() => Some(status),
        _ = end.wait_for(|end| *end) => None,
    };
    if status.is_none() {
        group.terminate();
        status = tokio::time::timeout(container.stop_timeout, child.wait())
            .await
            .ok();
    }
    drop(group); // ends what is left of it
    let status = match status {
        Some(status) => status,
        None => child.wait().await,
    };
    if tokio::time::timeout(LISTEN, &mut listening).await.is_err() {
        listening.abort();
    }
    Exit {
        container: name,
        code: status.ok().and_then(exit_code),
        reason: last_words.told(),
    }
}

fn exit_code(status: ExitStatus) -> Option<i32> {
    let by_signal = status.signal().map(|signal| SIGNAL_BASE + signal);
    status.code().or(by_signal)
}

fn spawn(
    container: &Container,
    environment: BTreeMap<String, String>,
) -> io::Result<(Child, Group)> {
    let (program, arguments) = container
        .command
        .split_first()
        .ok_or_else(|| io::Error::other("there is no command"))?;
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let group = Group::of(&child)?;
    Ok((child, group))
}

/// The last lines that a process printed.
#[derive(Clone, Default)]
struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    fn note(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// None of a process that printed nothing.
    fn told(&self) -> Option<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        (!lines.is_empty()).then(|| cut(&lines.join(" | ")))
    }
}

/// Reads what a process prints, so that it never waits for a reader, and logs it.
fn listen(container: &str, child: &mut Child) -> (LastWords, JoinHandle<()>) {
    let words = LastWords::default();
    let (sender, mut lines) = mpsc::channel(LINES_WAITING_MAX);
    if let Some(output) = child.stdout.take() {
        tokio::spawn(read_lines(output, sender.clone()));
    }
    if let Some(errors) = child.stderr.take() {
        tokio::spawn(read_lines(errors, sender));
    }
    let (noted, container) = (words.clone(), container.to_owned());
    let listening = tokio::spawn(async move {
        while let Some(line) = lines.recv().await {
            tracing::debug!(container, "{line}");
            if !line.trim().is_empty() {
                noted.note(line);
            }
        }
    });
    (words, listening)
}

fn cut(reason: &str) -> String {
    reason.chars().take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, command: &[&str]) -> Container {
        Container {
            name: name.to_owned(),
            image: "none".to_owned(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            environment: vec![("GREETING".to_owned(), "hello".to_owned())],
            essential: true,
            ports: vec![8080, 9090],
            stop_timeout: Duration::from_secs(30),
        }
    }

    fn shell(name: &str, script: &str) -> Container {
        container(name, &["/bin/sh", "-c", script])
    }

    async fn ran(containers: Vec<Container>, stop: watch::Receiver<bool>) -> Vec<Exit> {
        let ports = [(8080, 40_001), (9090, 40_002)].map(|(container_port, host_port)| Port {
            container: "web".to_owned(),
            container_port,
            host_port,
        });
        let environment = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
        run(containers, &ports, &environment, stop).await
    }

    #[tokio::test]
    async fn a_container_gets_its_own_variables_and_its_ports_and_no_others() {
        let (_never, stop) = watch::channel(false);
        let script = "echo $GREETING $PORT $PORT_8080 $PORT_9090 ${HOME-none}; sleep 0.2; exit 7";
        let exits = ran(vec![shell("web", script)], stop).await;
        let [exit] = exits.as_slice() else {
            panic!("{exits:?}");
        };
        assert_eq!(exit.code, Some(7));
        assert_eq!(exit.reason.as_deref(), Some("hello 40001 40001 40002 none"));
    }

    #[tokio::test]
    async fn a_task_ends_with_its_first_essential_container_and_leaves_nothing_running() {
        let (_never, stop) = watch::channel(false);
        let sleeper = shell("web", "sleep 300 & echo $!; wait");
        let extra = Container {
            essential: false,
            ..shell("extra", "exit 3")
        };
        let failing = shell("failing", "sleep 0.3; exit 1");
        let exits = ran(vec![sleeper, extra, failing], stop).await;
        let order: Vec<_> = exits
            .iter()
            .map(|it| (it.container.as_str(), it.code))
            .collect();
        assert_eq!(
            order,
            [("extra", Some(3)), ("failing", Some(1)), ("web", Some(143))]
        );
        let slept = exits
            .last()
            .and_then(|it| it.reason.as_deref())
            .expect("an id");
        for _ in 0..100 {
            let stat = std::fs::read_to_string(format!("/proc/{slept}/stat"));
            if stat.map_or(true, |stat| stat.contains(") Z ")) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{slept} still runs");
    }

    #[tokio::test]
    async fn a_container_that_does_not_heed_the_signal_is_killed() {
        let (told, stop) = watch::channel(false);
        let deaf = Container {
            stop_timeout: Duration::from_millis(300),
            ..shell("web", "trap '' TERM; while :; do sleep 0.05; done")
        };
        let task = tokio::spawn(ran(vec![deaf], stop));
        tokio::time::sleep(Duration::from_millis(300)).await;
        told.send_replace(true);
        let exits = task.await.expect("exits");
        assert_eq!(exits[0].code, Some(SIGNAL_BASE + 9));
    }

    #[tokio::test]
    async fn what_cannot_be_run_says_so() {
        for (command, told) in [
            (
                &["/no/such/program"][..],
                "could not run '/no/such/program'",
            ),
            (&["nul\0byte"], "CannotStartContainerError"),
            (&[], "has no images"),
        ] {
            let (_never, stop) = watch::channel(false);
            let exits = ran(vec![container("web", command)], stop).await;
            assert_eq!(exits[0].code, None);
            let reason = exits[0].reason.clone().expect("a reason");
            assert!(reason.contains(told), "{reason}");
        }
    }
}
