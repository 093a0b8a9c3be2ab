//! The demo: a real service is released three times through a real pipeline, under real traffic.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use aws::Aws;
use aws::local::cloudwatch;
use aws::local::cloudwatch::types::{ComparisonOperator, StateValue, Statistic};
use engine::{ReleaseLog, TrafficTarget};
use jiff::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pages::ReleasePage;
use release::account::write_log;
use release::config::ERRORS;
use release::{Head, Release, ReleaseId, Weight};
use tokio::process::Command;
use tokio::sync::oneshot;

use crate::commands::story::{account, write};
use crate::load::{self, Load, Totals};
use crate::pipeline::event::{Entry, Event, Status};
use crate::pipeline::execution::Repository;
use crate::pipeline::submit::Submission;
use crate::run::{Ending, Remote, Screen};
use crate::stack::{Balancer, STACK, Stack, StackConfig};

/// The alarm that the third release meets.
const ALARM: &str = "shop-latency";
/// It fires when the canary has reached this weight.
const ALARM_AT: &str = "candidate at 25%";
/// The pipeline's canary action.
const CANARY: &str = "CanaryShift";
/// The load goes on until the demo is over.
const LOAD_TIME_MAX: Duration = Duration::from_secs(1_800);
/// From a continuation to the next job; on AWS about 30 s.
const CONTINUATION_DELAY: Duration = Duration::from_secs(2);

/// How the demo is set up.
#[derive(Debug, Clone)]
pub struct DemoConfig {
    /// The project, with its tools in `.venv`.
    pub project: PathBuf,
    /// Holds `NAME/bootstrap` for each function.
    pub bootstraps: PathBuf,
    /// For everything that the demo writes; made anew.
    pub work: PathBuf,
    /// Requests a second to the shop.
    pub rps: NonZeroU32,
}

/// One release of the demo.
struct Scenario {
    title: &'static str,
    version: &'static str,
    /// The share of the checkouts that fail in this version.
    failure_share: &'static str,
    alarm: bool,
    ends: Ends,
}

/// How it must end.
enum Ends {
    Promoted,
    /// With these words in the pipeline's message.
    RolledBack(&'static str),
}

const SCENARIOS: [Scenario; 3] = [
    Scenario {
        title: "a good version",
        version: "2",
        failure_share: "0.0",
        alarm: false,
        ends: Ends::Promoted,
    },
    Scenario {
        title: "a bad version: one checkout in ten fails",
        version: "3",
        failure_share: "0.1",
        alarm: false,
        ends: Ends::RolledBack("rolled back: the candidate is worse"),
    },
    Scenario {
        title: "an alarm in the middle of a healthy canary",
        version: "4",
        failure_share: "0.0",
        alarm: true,
        ends: Ends::RolledBack("rolled back: alarm 'shop-latency' fired"),
    },
];

/// What came of one release.
struct Outcome {
    title: &'static str,
    expected: bool,
    ended: String,
    exposed: u64,
    failed: u64,
    took: Duration,
}

/// Runs the demo; whether all three releases ended as they should.
///
/// # Errors
/// When it could not be run at all.
pub async fn run(config: &DemoConfig, screen: &mut Screen) -> anyhow::Result<bool> {
    let _old_is_gone = std::fs::remove_dir_all(&config.work);
    std::fs::create_dir_all(&config.work).context("could not make the demo's directory")?;
    let work = config
        .work
        .canonicalize()
        .context("could not find the demo's directory")?;
    let stack_config = StackConfig {
        project: config.project.clone(),
        bootstraps: config.bootstraps.clone(),
        work: work.clone(),
        continuation_delay: CONTINUATION_DELAY,
        deliver_twice: false,
        faults: false,
        answer_time_min: Duration::ZERO,
        build_environment: Default::default(),
        instances: Default::default(),
    };
    let stack = Stack::start(&stack_config, |step| screen.note(step)).await?;
    let demo = Demo::prepare(config, &work, stack, screen).await;
    let shop_files = work.join("run");
    let result = match demo {
        Ok(demo) => demo.play(config.rps, screen).await,
        Err(error) => Err(error),
    };
    stop_shops(&shop_files);
    result
}

struct Demo {
    stack: Stack,
    aws: Aws,
    cloudwatch: cloudwatch::Client,
    balancer: Balancer,
    /// Where everything is that the demo writes.
    work: PathBuf,
    repository: PathBuf,
    run_dir: PathBuf,
    declaration: String,
}

impl Demo {
    async fn prepare(
        config: &DemoConfig,
        work: &Path,
        stack: Stack,
        screen: &Screen,
    ) -> anyhow::Result<Self> {
        let balancer = stack.balancer("shop").await?;
        let cloudwatch = cloudwatch::Client::new(stack.sdk());
        make_alarm(&cloudwatch).await?;
        let pipeline = config.project.join("demo/pipeline.yaml");
        let demo = Self {
            aws: Aws::new(stack.sdk(), stack.table().to_owned()),
            cloudwatch,
            work: config.work.clone(),
            repository: work.join("shop"),
            run_dir: work.join("run"),
            declaration: std::fs::read_to_string(pipeline)
                .context("could not read demo/pipeline.yaml")?,
            balancer,
            stack,
        };
        copy_tree(&config.project.join("demo/shop"), &demo.repository)?;
        demo.fill_in_arns()?;
        demo.git(&["init", "--quiet", "--initial-branch=main"])
            .await?;
        demo.commit("version 1").await?;
        screen.note(&format!(
            "the shop is at {}; its version 1 is being deployed",
            demo.balancer.url
        ));
        demo.deploy_first(config).await?;
        Ok(demo)
    }

    fn fill_in_arns(&self) -> anyhow::Result<()> {
        let path = self.repository.join("penstock.yaml");
        let text =
            std::fs::read_to_string(&path).context("could not read the shop's penstock.yaml")?;
        let text = text
            .replace("RULE_ARN", &self.balancer.rule)
            .replace("BLUE_ARN", &self.balancer.blue)
            .replace("GREEN_ARN", &self.balancer.green)
            .replace("SHOP_URL", &self.balancer.url);
        std::fs::write(path, text).context("could not write the shop's penstock.yaml")
    }

    async fn git(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=demo", "-c", "user.email=demo@example.com"])
            .args(["-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(&self.repository);
        quietly(git, "git").await
    }

    async fn commit(&self, message: &str) -> anyhow::Result<()> {
        self.git(&["add", "--all"]).await?;
        self.git(&["commit", "--quiet", "--message", message]).await
    }

    /// The version that is there before any pipeline ran.
    async fn deploy_first(&self, config: &DemoConfig) -> anyhow::Result<()> {
        let mut python = Command::new(config.project.join(".venv/bin/python"));
        python
            .arg("deploy/release.py")
            .args(["--group", &self.balancer.blue])
            .current_dir(&self.repository)
            .env("SHOP_RUN_DIR", &self.run_dir)
            .env(
                "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2",
                self.stack.player().url(),
            )
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_DEFAULT_REGION", crate::stack::REGION);
        quietly(python, "the first deployment").await
    }

    async fn play(self, rps: NonZeroU32, screen: &mut Screen) -> anyhow::Result<bool> {
        let (stop, stopped) = oneshot::channel::<()>();
        let load = Load {
            url: format!("{}/checkout", self.balancer.url)
                .parse()
                .context("the shop has no URL")?,
            rps,
            duration: LOAD_TIME_MAX,
        };
        let load = tokio::spawn(load::run(load, async {
            let _told_or_dropped = stopped.await;
        }));
        let mut outcomes = Vec::new();
        for scenario in &SCENARIOS {
            screen.note(&format!("\n{}: {}", outcomes.len() + 1, scenario.title));
            let number = outcomes.len() + 1;
            outcomes.push(self.release(number, scenario, screen).await?);
        }
        let _load_is_over = stop.send(());
        let totals = load.await.context("the load generator broke")??;
        summarise(&outcomes, &totals, screen);
        self.stack.stop().await;
        Ok(outcomes.iter().all(|outcome| outcome.expected))
    }

    async fn release(
        &self,
        number: usize,
        scenario: &Scenario,
        screen: &mut Screen,
    ) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        self.change_shop(scenario).await?;
        let before = self.stable_group().await?;
        let (ending, release) = self.run_pipeline(scenario, screen).await?;
        let after = self.stable_group().await?;
        let message = ending.message.unwrap_or_default();
        let (expected, ended) = match scenario.ends {
            Ends::Promoted => (
                ending.status == Status::Succeeded && after != before,
                "promoted".to_owned(),
            ),
            Ends::RolledBack(words) => (
                ending.status == Status::Failed && after == before && message.contains(words),
                "rolled back".to_owned(),
            ),
        };
        let counts = match release {
            Some(id) => {
                let page = self.tell(number, &id).await?;
                screen.note(&format!("  what it did, and why: {}", page.display()));
                self.exposed(&id).await?
            }
            None => (0, 0),
        };
        Ok(Outcome {
            title: scenario.title,
            expected,
            ended: if expected {
                ended
            } else {
                format!("{:?}: {message}", ending.status)
            },
            exposed: counts.0,
            failed: counts.1,
            took: began.elapsed(),
        })
    }

    /// Writes the release's report, and its log for `penstock replay`; where the report is.
    async fn tell(&self, number: usize, id: &ReleaseId) -> anyhow::Result<PathBuf> {
        let events = self.aws.events::<Option<Release>>(id).await?;
        let file = |ending: &str| self.work.join(format!("release-{number}.{ending}"));
        let page = ReleasePage {
            account: &account(&events)?,
            pipeline: Some("shop"),
            made: Timestamp::now(),
        };
        write(&page.html(), Some(&file("html")))?;
        let log = write_log(&events).context("could not write the log")?;
        write(&log, Some(&file("jsonl")))?;
        Ok(file("html"))
    }

    /// The commit that makes the next version.
    async fn change_shop(&self, scenario: &Scenario) -> anyhow::Result<()> {
        let path = self.repository.join("shop/app.py");
        let text = std::fs::read_to_string(&path).context("could not read the shop")?;
        let change = |line: &str| match line.split_once(" = ") {
            Some(("VERSION", _)) => format!("VERSION = \"{}\"", scenario.version),
            Some(("FAILURE_SHARE", _)) => format!("FAILURE_SHARE = {}", scenario.failure_share),
            Some(_) | None => line.to_owned(),
        };
        let changed: Vec<_> = text.lines().map(change).collect();
        std::fs::write(path, changed.join("\n") + "\n").context("could not change the shop")?;
        self.commit(&format!("version {}", scenario.version)).await
    }

    async fn run_pipeline(
        &self,
        scenario: &Scenario,
        screen: &mut Screen,
    ) -> anyhow::Result<(Ending, Option<ReleaseId>)> {
        let remote = Remote::new(&self.stack.player().url())?;
        let submitted = remote.submit(&self.submission()).await?;
        screen.begin(&submitted);
        let mut release = None;
        let mut alarm_due = scenario.alarm;
        let ending = remote
            .follow(&submitted, async |entry: &Entry| {
                screen.show(entry);
                let Event::ActionProgress {
                    action,
                    summary,
                    external_execution_id,
                    ..
                } = &entry.event
                else {
                    return Ok(());
                };
                if action != CANARY {
                    return Ok(());
                }
                release = external_execution_id
                    .clone()
                    .and_then(|id| ReleaseId::try_from(id).ok());
                let there = summary
                    .as_ref()
                    .is_some_and(|summary| summary.starts_with(ALARM_AT));
                if alarm_due && there {
                    alarm_due = false;
                    screen.note("  ! the alarm shop-latency fires now");
                    set_alarm(&self.cloudwatch, StateValue::Alarm).await?;
                }
                Ok(())
            })
            .await?;
        screen.end();
        set_alarm(&self.cloudwatch, StateValue::Ok).await?;
        Ok((ending, release))
    }

    fn submission(&self) -> Submission {
        let parameter = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let repository = Repository {
            path: self.repository.clone(),
            revision: None,
        };
        let run_dir = self.run_dir.display().to_string();
        Submission {
            declaration: self.declaration.clone(),
            parameters: [
                ("Stack", STACK),
                ("RuleArn", &self.balancer.rule),
                ("BlueArn", &self.balancer.blue),
                ("GreenArn", &self.balancer.green),
                ("RunDir", &run_dir),
            ]
            .map(parameter)
            .into(),
            sources: [("Shop".to_owned(), repository)].into(),
            ..Submission::default()
        }
    }

    /// The group that has all the traffic now.
    async fn stable_group(&self) -> anyhow::Result<String> {
        let target = release::config::TargetSpec::AlbRule(release::config::AlbRule {
            rule: self.balancer.rule.clone(),
            target_groups: [self.balancer.blue.clone(), self.balancer.green.clone()],
        });
        // The ports' load balancer is the emulator's; the player's is asked instead.
        let aws = Aws::new(
            &self
                .stack
                .sdk()
                .clone()
                .into_builder()
                .endpoint_url(self.stack.player().url())
                .build(),
            self.stack.table().to_owned(),
        );
        Ok(aws.arms(&target).await?.stable)
    }

    /// Requests that the candidate served, and how many of them failed.
    async fn exposed(&self, id: &ReleaseId) -> anyhow::Result<(u64, u64)> {
        let head: Head<Option<Release>> = self.aws.load(id).await?;
        let release = head.state.context("the release has no log")?;
        ensure!(
            release.weight == Weight::ZERO || release.weight == Weight::FULL,
            "it has not ended"
        );
        let counts = release.judge.metric(ERRORS).map(|metric| metric.canary());
        Ok(counts.map_or((0, 0), |counts| (counts.count, counts.bad)))
    }
}

async fn make_alarm(cloudwatch: &cloudwatch::Client) -> anyhow::Result<()> {
    let made = cloudwatch
        .put_metric_alarm()
        .alarm_name(ALARM)
        .namespace("Shop")
        .metric_name("Latency")
        .statistic(Statistic::Average)
        .period(60)
        .evaluation_periods(1)
        .threshold(1.0)
        .comparison_operator(ComparisonOperator::GreaterThanThreshold);
    made.send().await.context("could not make the alarm")?;
    set_alarm(cloudwatch, StateValue::Ok).await
}

async fn set_alarm(cloudwatch: &cloudwatch::Client, state: StateValue) -> anyhow::Result<()> {
    let set = cloudwatch
        .set_alarm_state()
        .alarm_name(ALARM)
        .state_value(state);
    let reason = "the demo: checkouts take 2.3 s, 1 s is allowed";
    set.state_reason(reason)
        .send()
        .await
        .context("could not set the alarm")?;
    Ok(())
}

async fn quietly(mut command: Command, what: &str) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("could not run {what}"))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{what} failed: {}", String::from_utf8_lossy(&said));
    }
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.context("could not read the demo's service")?;
        let target = to.join(
            entry
                .path()
                .strip_prefix(from)
                .context("could not copy the service")?,
        );
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&target).context("could not copy the service")?;
        } else {
            std::fs::copy(entry.path(), &target).context("could not copy the service")?;
        }
    }
    Ok(())
}

/// Deployed versions outlive their builds; each left its process id.
fn stop_shops(run_dir: &Path) {
    let files = std::fs::read_dir(run_dir).into_iter().flatten().flatten();
    let pid_files = files.filter(|file| file.path().extension().is_some_and(|e| e == "pid"));
    for file in pid_files {
        let pid = std::fs::read_to_string(file.path()).unwrap_or_default();
        if let Ok(pid) = pid.trim().parse() {
            let _may_be_gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

fn summarise(outcomes: &[Outcome], totals: &Totals, screen: &Screen) {
    let right = |text: &str| format!("{text:>9}");
    screen.note(&format!(
        "\n  {:<44} {:<12} {} {} {}",
        "release",
        "ended",
        right("requests"),
        right("failed"),
        right("time")
    ));
    for (number, outcome) in outcomes.iter().enumerate() {
        let mark = if outcome.expected {
            console::style("✓").green()
        } else {
            console::style("✗").red()
        };
        screen.note(&format!(
            "{mark} {} {:<42} {:<12} {} {} {}",
            number + 1,
            outcome.title,
            outcome.ended,
            right(&outcome.exposed.to_string()),
            right(&outcome.failed.to_string()),
            right(&format!("{} s", outcome.took.as_secs()))
        ));
    }
    let [_, ok, _, _, server_errors] = totals.answers;
    screen.note(&format!(
        "\nrequests and failures are those that the new version served while it was judged.\n\
         All in all the shop answered {ok} checkouts and failed {}, at {:.0} requests a second.",
        server_errors + totals.failed,
        f64::from(u32::try_from(totals.sent).unwrap_or(u32::MAX)) / totals.elapsed.as_secs_f64()
    ));
}
