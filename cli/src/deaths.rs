//! Functions that die at work: killed by SIGKILL while a request of theirs is under way, so that
//! nothing of them can finish, clean up or answer.
//!
//! A death is planned for a function's n-th request for one of many releases, and the port that its
//! requests go through ([`crate::recorder`]) carries it out. That the function was at work needs no
//! guess: its request was open.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use hyper::header::HeaderMap;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::recorder::{app_name, text, trace_root};

/// What a function's process calls the port at which it asks the emulator for events. No other process
/// has the same.
const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API=127.0.0.1:";
/// What the SDK calls the same port in each request.
const AT_PORT: &str = "exec-env/port-";
/// How many characters of a trace's end name a lane.
const LANE_CHARS: usize = 16;
/// A process is gone soon after it was killed.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// When a function dies, as its request sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Before the request arrives: nobody ever acts on it.
    Before,
    /// While the request is on its way: it is carried out when its sender is gone.
    Meanwhile,
    /// When the request has been carried out, and before the answer is there.
    After,
}

/// A death that is to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Death {
    /// The function's name, as its SDK tells it.
    pub function: String,
    /// What the traces of its requests end with, 16 characters; of any trace, when it is empty.
    pub lane: String,
    /// At which of these requests, counted from 0.
    pub request: u64,
    /// When.
    pub moment: Moment,
}

/// A death that was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Died {
    /// As it was planned.
    pub death: Death,
    /// The service that the request was for.
    pub service: String,
}

/// All deaths of a stack's functions.
#[derive(Debug, Default)]
pub struct Deaths(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// By function and lane: how many requests there were, and at which of them it dies.
    planned: BTreeMap<(String, String), (u64, Vec<Death>)>,
    died: Vec<Died>,
}

impl Deaths {
    /// Plans a death. Requests count from the first plan for this function and lane on.
    pub fn plan(&self, death: Death) {
        let key = (death.function.clone(), death.lane.clone());
        self.book(|book| book.planned.entry(key).or_default().1.push(death));
    }

    /// Ends all plans for this lane; the deaths that came to pass.
    pub fn end(&self, lane: &str) -> Vec<Died> {
        self.book(|book| {
            book.planned.retain(|(_, of), _| of != lane);
            let of_lane = |died: &mut Died| died.death.lane == lane;
            book.died.extract_if(.., of_lane).collect()
        })
    }

    /// What is to become of who sent this request, which counts.
    pub(crate) fn next(&self, headers: &HeaderMap) -> Option<Doomed> {
        let user_agent = text(headers, "x-amz-user-agent")?;
        let function = app_name(user_agent)?;
        let port = port(user_agent)?;
        let root = trace_root(text(headers, "x-amzn-trace-id")?)?;
        let lane = root.get(root.len().checked_sub(LANE_CHARS)?..)?;
        self.book(|book| {
            let mut met = None;
            for lane in [lane, ""] {
                let key = (function.clone(), lane.to_owned());
                let Some((seen, deaths)) = book.planned.get_mut(&key) else {
                    continue;
                };
                if let Some(at) = deaths.iter().position(|death| death.request == *seen) {
                    met = Some(deaths.swap_remove(at));
                }
                *seen += 1;
            }
            Some(Doomed { port, death: met? })
        })
    }

    /// Notes a death that came to pass.
    pub(crate) fn note(&self, death: Death, service: Option<&str>) {
        let service = service.unwrap_or_default().to_owned();
        self.book(|book| book.died.push(Died { death, service }));
    }

    fn book<T>(&self, act: impl FnOnce(&mut Book) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The sender of a request at which it dies.
#[derive(Debug)]
pub(crate) struct Doomed {
    /// At which it asks the emulator for events.
    port: u16,
    /// How.
    pub(crate) death: Death,
}

impl Doomed {
    /// Kills it, and waits until it is gone.
    pub(crate) async fn kill(&self) -> anyhow::Result<()> {
        let process = process(self.port).context("could not find the function to kill")?;
        kill(process, Signal::SIGKILL).context("could not kill a function")?;
        let gone = async {
            while is_there(process) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let gone = tokio::time::timeout(GONE_WITHIN, gone).await;
        ensure!(gone.is_ok(), "a function was killed and is still there");
        Ok(())
    }
}

/// The port in `.. exec-env/port-40123 ..`.
fn port(user_agent: &str) -> Option<u16> {
    let mut words = user_agent.split(' ');
    words.find_map(|word| word.strip_prefix(AT_PORT)?.parse().ok())
}

/// The process that asks for events at this port.
fn process(port: u16) -> Option<Pid> {
    let variable = format!("{RUNTIME_API}{port}");
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid = process.file_name().to_str()?.parse().ok()?;
        let environment = std::fs::read(process.path().join("environ")).ok()?;
        let mut variables = environment.split(|byte| *byte == 0);
        let is_it = variables.any(|it| it == variable.as_bytes());
        is_it.then(|| Pid::from_raw(pid))
    })
}

/// Whether a process still runs. A dead one stays in the list until its parent asks for it.
fn is_there(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    let state = stat.ok().and_then(|stat| {
        let (_, after) = stat.rsplit_once(')')?;
        after.trim_start().chars().next()
    });
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::Stdio;

    use super::*;

    const LANE: &str = "0123456789abcdef";

    fn death(lane: &str, request: u64) -> Death {
        Death {
            function: "penstock-canary-shift".to_owned(),
            lane: lane.to_owned(),
            request,
            moment: Moment::Before,
        }
    }

    fn headers(function: &str, lane: &str) -> HeaderMap {
        let agent = format!("aws-sdk-rust/1.3 exec-env/port-40123 app/{function}");
        let trace = format!("Root=1-00000000-0a0b0c0d{lane};Sampled=0");
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-user-agent", agent.parse().expect("a header"));
        headers.insert("x-amzn-trace-id", trace.parse().expect("a header"));
        headers
    }

    #[test]
    fn a_function_dies_at_the_request_that_was_planned_and_at_no_other() {
        let deaths = Deaths::default();
        deaths.plan(death(LANE, 1));
        let ours = headers("penstock-canary-shift", LANE);
        assert!(deaths.next(&ours).is_none());
        for other in [
            headers("penstock-test-gate", LANE),
            headers("penstock-canary-shift", "fedcba9876543210"),
        ] {
            assert!(deaths.next(&other).is_none());
        }
        let doomed = deaths.next(&ours).expect("it is planned");
        assert_eq!((doomed.port, doomed.death), (40123, death(LANE, 1)));
        assert!(deaths.next(&ours).is_none());
    }

    #[test]
    fn a_death_in_any_lane_counts_all_requests() {
        let deaths = Deaths::default();
        deaths.plan(death("", 1));
        let first = headers("penstock-canary-shift", LANE);
        let second = headers("penstock-canary-shift", "fedcba9876543210");
        assert!(deaths.next(&first).is_none());
        assert!(deaths.next(&second).is_some());
    }

    #[test]
    fn only_deaths_that_came_to_pass_are_told_and_the_rest_is_forgotten() {
        let deaths = Deaths::default();
        deaths.plan(death(LANE, 0));
        deaths.plan(death(LANE, 1));
        let ours = headers("penstock-canary-shift", LANE);
        let doomed = deaths.next(&ours).expect("it is planned");
        deaths.note(doomed.death, Some("dynamodb"));
        let died = deaths.end(LANE);
        assert_eq!(died.len(), 1);
        assert_eq!((died[0].death.request, &*died[0].service), (0, "dynamodb"));
        assert!(deaths.next(&ours).is_none());
        assert!(deaths.end(LANE).is_empty());
    }

    #[tokio::test]
    async fn who_is_killed_is_gone() {
        let port = 1; // no emulator has it
        let mut echo = std::process::Command::new("cat")
            .env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{port}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        // Like a function that has sent a request, it has begun: a process that was only just
        // spawned may not show its variables yet.
        let (mut to, mut from) = (echo.stdin.take(), echo.stdout.take());
        to.as_mut().expect("piped").write_all(b"!").expect("sent");
        let answer = from.as_mut().expect("piped").read_exact(&mut [0]);
        answer.expect("it has begun");

        let doomed = Doomed {
            port,
            death: death(LANE, 0),
        };
        doomed.kill().await.expect("it dies");
        assert!(!echo.wait().expect("it has ended").success());
        assert!(doomed.kill().await.is_err());
    }
}
