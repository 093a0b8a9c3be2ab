//! The whole local stack: the emulator, the player beside it, and the stack deployed into them by
//! `sam deploy`, as it is deployed on AWS.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use aws::local::elbv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, ProtocolEnum, RuleCondition, TargetGroupTuple,
};
use aws::local::pipeline::{EMULATOR_KEY, emulator};
use aws::local::{SdkConfig, ecs, elbv2, lambda};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use crate::deaths::Deaths;
use crate::faults::Faults;
use crate::player::{BUILD_VARIABLES, Player, PlayerConfig};
use crate::recorder::{Manner, Recorder, Recording};

/// The name of the deployed stack, and the prefix of its functions' names.
pub const STACK: &str = "penstock";
/// The emulator's region.
pub const REGION: &str = "us-east-1";
/// What releases may move in the deployed stack: every rule, listener and ECS service, functions and
/// CodeDeploy's applications by their name, and the stages of every pipeline.
pub const ALLOWED_TARGETS: [&str; 6] = [
    "arn:aws:elasticloadbalancing:*:*:listener-rule/app/*",
    "arn:aws:elasticloadbalancing:*:*:listener/app/*",
    "arn:aws:lambda:*:*:function:shop*",
    "arn:aws:ecs:*:*:service/*",
    "arn:aws:codedeploy:*:*:deploymentgroup:shop*",
    "arn:aws:codepipeline:*:*:*",
];
/// What health checks may invoke in the deployed stack: functions by their name.
pub const ALLOWED_CHECKS: &str = "arn:aws:lambda:*:*:function:check-*";
/// The emulator takes a few seconds to start.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// The priority of a balancer's rule. Not the first: test traffic has a rule before it.
const PRIORITY: i32 = 10;
/// `sam deploy` takes some ten seconds.
const DEPLOY_TIME_MAX: Duration = Duration::from_secs(300);
/// What the functions asked AWS for, beside the emulator's log.
pub const REQUESTS_FILE: &str = "requests.jsonl";
/// The last lines of a log that an error shows.
const LOG_LINES_SHOWN: usize = 15;

/// How a stack is set up.
#[derive(Debug, Clone)]
pub struct StackConfig {
    /// The project: it has `template.yaml` and the Python tools in `.venv`.
    pub project: PathBuf,
    /// Holds `NAME/bootstrap` for each function.
    pub bootstraps: PathBuf,
    /// For logs and other files; it must exist.
    pub work: PathBuf,
    /// From an answer with a continuation token to the next job.
    pub continuation_delay: Duration,
    /// Every job's event is delivered twice.
    pub deliver_twice: bool,
    /// No AWS request of a function is answered sooner: what a round trip takes, when it matters.
    pub answer_time_min: Duration,
    /// Variables that builds get beside the usual ones.
    pub build_environment: BTreeMap<String, String>,
    /// EC2 instances by id, each with the loopback address that stands for it.
    pub instances: BTreeMap<String, IpAddr>,
    /// What the functions ask AWS for can be made to fail: see [`Stack::faults`].
    pub faults: bool,
}

/// A running stack. [`Stack::stop`] ends it; dropping it kills the emulator.
#[derive(Debug)]
pub struct Stack {
    emulator: Emulator,
    player: Player,
    sdk: SdkConfig,
    table: String,
    requests: PathBuf,
    /// Of the emulator and of the player.
    fronts: [Front; 2],
    deaths: Arc<Deaths>,
}

impl Stack {
    /// Starts emulator and player and deploys the stack; `say` is told what is being done.
    ///
    /// # Errors
    /// When a tool is missing, a process does not start, or the deployment fails.
    pub async fn start(config: &StackConfig, say: impl Fn(&str)) -> anyhow::Result<Self> {
        let mut build_environment = config.build_environment.clone();
        for name in BUILD_VARIABLES {
            if let Ok(value) = std::env::var(name) {
                build_environment.entry(name.to_owned()).or_insert(value);
            }
        }
        build_environment.insert("PATH".into(), tools_path(&config.project));
        build_environment.insert("AWS_DEFAULT_REGION".into(), REGION.into());
        let endpoint = format!("http://127.0.0.1:{}", free_port()?);
        let player = Player::start(PlayerConfig {
            port: 0,
            endpoint: endpoint.clone(),
            region: REGION.into(),
            continuation_delay: config.continuation_delay,
            deliver_twice: config.deliver_twice,
            build_environment,
            instances: config.instances.clone(),
            ..PlayerConfig::default()
        })
        .await?;
        say(&format!(
            "emulator at {endpoint}, player at {}",
            player.url()
        ));
        let requests = config.work.join(REQUESTS_FILE);
        let recording = Recording::create(&requests)?;
        let deaths = Arc::default();
        let fronts = [
            Front::start(config, "emulator", &endpoint, &recording, &deaths).await?,
            Front::start(config, "player", &player.url(), &recording, &deaths).await?,
        ];
        let emulator_process =
            Emulator::start(config, &endpoint, fronts.each_ref().map(Front::url))?;
        emulator_process.wait_until_ready(&player).await?;
        say("deploying template.yaml with sam deploy");
        let table = deploy(config, &endpoint).await?;
        Ok(Self {
            emulator: emulator_process,
            sdk: emulator(&endpoint, REGION).await,
            player,
            table,
            requests,
            fronts,
            deaths,
        })
    }

    /// The player.
    pub fn player(&self) -> &Player {
        &self.player
    }

    /// The SDK's settings for the emulator.
    pub fn sdk(&self) -> &SdkConfig {
        &self.sdk
    }

    /// The release log's table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// The emulator's log, in which the functions' own lines are.
    pub fn emulator_log(&self) -> &Path {
        &self.emulator.log
    }

    /// Every AWS request that a function sent, one JSON object a line: see [`crate::recorder`].
    pub fn requests(&self) -> &Path {
        &self.requests
    }

    /// What can make the functions' AWS requests fail: those to the emulator, and those to the player.
    /// None unless [`StackConfig::faults`] says so.
    pub fn faults(&self) -> Vec<&Faults> {
        let fronts = self.fronts.iter();
        fronts.filter_map(|front| front.faults.as_ref()).collect()
    }

    /// The emulator's endpoint as the functions are told it: what is sent there is recorded.
    pub fn recorded_endpoint(&self) -> &str {
        self.fronts[0].url()
    }

    /// What functions die of.
    pub fn deaths(&self) -> &Deaths {
        &self.deaths
    }

    /// A client of the player's load balancer.
    pub fn elbv2(&self) -> elbv2::Client {
        let config = elbv2::config::Builder::from(&self.sdk).endpoint_url(self.player.url());
        elbv2::Client::from_conf(config.build())
    }

    /// A client of the player's ECS.
    pub fn ecs(&self) -> ecs::Client {
        let config = ecs::config::Builder::from(&self.sdk).endpoint_url(self.player.url());
        ecs::Client::from_conf(config.build())
    }

    /// A client whose invocations through an alias go to the version that its weights choose.
    pub fn invoking(&self) -> lambda::Client {
        let config = lambda::config::Builder::from(&self.sdk).endpoint_url(self.player.url());
        lambda::Client::from_conf(config.build())
    }

    /// Makes a load balancer whose rule gives all traffic to its first target group.
    ///
    /// # Errors
    /// When the player refuses.
    pub async fn balancer(&self, name: &str) -> anyhow::Result<Balancer> {
        Balancer::create(&self.elbv2(), name).await
    }

    /// Ends everything.
    pub async fn stop(self) {
        self.player.stop().await;
        self.emulator.stop().await;
    }
}

/// What the functions' requests to an endpoint go through.
#[derive(Debug)]
struct Front {
    recorder: Recorder,
    /// Before the recorder, so that what is recorded is what arrived.
    faults: Option<Faults>,
}

impl Front {
    async fn start(
        config: &StackConfig,
        name: &str,
        endpoint: &str,
        recording: &Arc<Recording>,
        deaths: &Arc<Deaths>,
    ) -> anyhow::Result<Self> {
        let port = config.faults.then(free_port).transpose()?;
        let manner = Manner {
            answer_time_min: config.answer_time_min,
            signed_host: port.and_then(|port| format!("127.0.0.1:{port}").parse().ok()),
            deaths: Arc::clone(deaths),
        };
        let recorder = Recorder::start(endpoint, recording, manner).await?;
        let mut front = Self {
            recorder,
            faults: None,
        };
        if let Some(port) = port {
            let log = config.work.join(format!("faults-{name}.log"));
            let search = tools_path(&config.project);
            front.faults = Some(Faults::start(port, front.recorder.url(), &search, &log).await?);
        }
        Ok(front)
    }

    /// The endpoint that the functions are told.
    fn url(&self) -> &str {
        let faults = self.faults.as_ref().map(Faults::url);
        faults.unwrap_or_else(|| self.recorder.url())
    }
}

/// The Python tools first, then the usual places.
fn tools_path(project: &Path) -> String {
    let usual = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into());
    format!("{}:{usual}", project.join(".venv/bin").display())
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not find a free port")?;
    Ok(listener
        .local_addr()
        .context("could not find a free port")?
        .port())
}

/// What the emulator's Python does before anything else: it makes good what it lacks.
const SITE: &str = include_str!("stack/sitecustomize.py");

/// The AWS emulator, with the functions that it runs.
#[derive(Debug)]
struct Emulator {
    process: Child,
    log: PathBuf,
}

impl Emulator {
    /// The functions get the ports in front for the emulator's own and for the player's.
    fn start(
        config: &StackConfig,
        endpoint: &str,
        [emulator, player]: [&str; 2],
    ) -> anyhow::Result<Self> {
        let program = config.project.join(".venv/bin/ministack");
        ensure!(
            program.exists(),
            "could not find {}: run `make setup`",
            program.display()
        );
        let log = config.work.join("emulator.log");
        let output = std::fs::File::create(&log).context("could not write the emulator's log")?;
        let site = config.work.join("site");
        std::fs::create_dir_all(&site).context("could not make a directory for the emulator")?;
        std::fs::write(site.join("sitecustomize.py"), SITE)
            .context("could not set up the emulator")?;
        let port = endpoint.rsplit(':').next().unwrap_or_default();
        let work = config.work.display().to_string();
        // Functions inherit all of the emulator's environment, so it gets only what they may have:
        // with the caller's own they could reach a real account.
        let process = Command::new(&program)
            .env_clear()
            .env("PATH", tools_path(&config.project))
            .env("HOME", &work)
            .env("TMPDIR", &work)
            .env("PYTHONPATH", &site)
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port)
            .env("SFTP_ENABLED", "0")
            .env("IOT_MTLS_ENABLED", "0")
            .env("AUTH", "true")
            .env("AWS_ACCESS_KEY_ID", EMULATOR_KEY)
            .env("AWS_SECRET_ACCESS_KEY", EMULATOR_KEY)
            .env("AWS_ENDPOINT_URL", emulator)
            .env("AWS_ENDPOINT_URL_CODEPIPELINE", player)
            .env("AWS_ENDPOINT_URL_CODEBUILD", player)
            .env("AWS_ENDPOINT_URL_CODEDEPLOY", player)
            .env("AWS_ENDPOINT_URL_ECR", player)
            .env("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", player)
            .env("AWS_ENDPOINT_URL_ECS", player)
            .stdin(Stdio::null())
            .stdout(
                output
                    .try_clone()
                    .context("could not write the emulator's log")?,
            )
            .stderr(output)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("could not start the emulator")?;
        Ok(Self { process, log })
    }

    async fn wait_until_ready(&self, player: &Player) -> anyhow::Result<()> {
        let began = Instant::now();
        while player.emulator_account().await.is_err() {
            if began.elapsed() > START_TIME_MAX {
                bail!(
                    "the emulator does not answer; its log ends:\n{}",
                    last_lines(&self.log)
                );
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }

    /// Functions are processes of their own, in the emulator's group.
    async fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let gone = tokio::time::timeout(Duration::from_secs(5), self.process.wait()).await;
        self.signal(Signal::SIGKILL);
        if gone.is_err() {
            let _gone = self.process.wait().await;
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            let _may_be_gone = killpg(Pid::from_raw(pid), signal);
        }
    }
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

/// Deploys the real template with the functions as they were built; the name of its table.
async fn deploy(config: &StackConfig, endpoint: &str) -> anyhow::Result<String> {
    let template = config.project.join("template.yaml");
    let text = std::fs::read_to_string(&template).context("could not read template.yaml")?;
    let built = format!("CodeUri: {}/", config.bootstraps.display());
    let built_template = config.work.join("template.yaml");
    std::fs::write(&built_template, text.replace("CodeUri: functions/", &built))
        .context("could not write the template to deploy")?;
    let log = config.work.join("deploy.log");
    let output = std::fs::File::create(&log).context("could not write the log of sam deploy")?;
    let mut sam = Command::new(config.project.join(".venv/bin/sam"));
    sam.arg("deploy")
        .arg("--template-file")
        .arg(&built_template)
        .args([
            "--stack-name",
            STACK,
            "--resolve-s3",
            "--no-confirm-changeset",
        ])
        .args([
            "--capabilities",
            "CAPABILITY_IAM",
            "--parameter-overrides",
            "Stage=local",
        ])
        .arg(format!("AllowedTargets={}", ALLOWED_TARGETS.join(",")))
        .arg(format!("AllowedChecks={ALLOWED_CHECKS}"))
        .arg("AllowPrivateProbes=true") // everything on a laptop is private
        .env_clear()
        .env("PATH", tools_path(&config.project))
        .env("HOME", &config.work)
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", EMULATOR_KEY)
        .env("AWS_SECRET_ACCESS_KEY", EMULATOR_KEY)
        .env("AWS_DEFAULT_REGION", REGION)
        .env("SAM_CLI_TELEMETRY", "0")
        .env("SAM_CLI_CHECK_UPDATE", "0")
        .env("COLUMNS", "200")
        .stdin(Stdio::null())
        .stdout(
            output
                .try_clone()
                .context("could not write the log of sam deploy")?,
        )
        .stderr(output)
        .kill_on_drop(true);
    let status = tokio::time::timeout(DEPLOY_TIME_MAX, sam.status()).await;
    let status = status
        .context("sam deploy did not end")?
        .context("could not run sam deploy")?;
    ensure!(
        status.success(),
        "sam deploy failed; its log ends:\n{}",
        last_lines(&log)
    );
    let text = std::fs::read_to_string(&log).context("could not read the log of sam deploy")?;
    output_value(&text, "ReleaseLogTable").context("the stack has no output ReleaseLogTable")
}

/// The value of an output in sam's table of outputs.
fn output_value(text: &str, key: &str) -> Option<String> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.strip_prefix("Key").is_some_and(|k| k.trim() == key))?;
    let value = lines.find_map(|line| line.strip_prefix("Value"))?;
    Some(value.trim().to_owned())
}

/// A load balancer with two target groups and the rule that divides its traffic.
#[derive(Debug, Clone)]
pub struct Balancer {
    /// Where requests go.
    pub url: String,
    /// The rule's ARN.
    pub rule: String,
    /// The ARN of its listener, whose default rule is divided like the rule.
    pub listener: String,
    /// The ARN of the group that has all the traffic at first.
    pub blue: String,
    /// The ARN of the group that has none.
    pub green: String,
}

impl Balancer {
    /// Makes a load balancer whose rule gives all traffic to its first target group.
    ///
    /// # Errors
    /// When the player refuses.
    pub async fn create(elbv2: &elbv2::Client, name: &str) -> anyhow::Result<Self> {
        let made = elbv2.create_load_balancer().name(name).send().await;
        let made = made.context("could not make a load balancer")?;
        let balancer = made
            .load_balancers()
            .first()
            .and_then(|lb| lb.load_balancer_arn());
        let balancer = balancer.context("the new load balancer has no ARN")?;
        let blue = target_group(elbv2, &format!("{name}-blue")).await?;
        let green = target_group(elbv2, &format!("{name}-green")).await?;
        let port = free_port()?;
        let listener = elbv2
            .create_listener()
            .load_balancer_arn(balancer)
            .protocol(ProtocolEnum::Http)
            .port(i32::from(port))
            .default_actions(forward(&[(&blue, 1), (&green, 0)]))
            .send()
            .await
            .context("could not make a listener")?;
        let listener = listener.listeners().first().and_then(|l| l.listener_arn());
        let listener = listener.context("the new listener has no ARN")?.to_owned();
        let everything = RuleCondition::builder()
            .field("path-pattern")
            .values("/*")
            .build();
        let rule = elbv2
            .create_rule()
            .listener_arn(&listener)
            .priority(PRIORITY)
            .conditions(everything)
            .actions(forward(&[(&blue, 1), (&green, 0)]))
            .send()
            .await
            .context("could not make a rule")?;
        let rule = rule.rules().first().and_then(|r| r.rule_arn());
        Ok(Self {
            url: format!("http://127.0.0.1:{port}"),
            rule: rule.context("the new rule has no ARN")?.to_owned(),
            listener,
            blue,
            green,
        })
    }

    /// Gives all traffic to its first target group again.
    ///
    /// # Errors
    /// When the player refuses.
    pub async fn reset(&self, elbv2: &elbv2::Client) -> anyhow::Result<()> {
        self.divide(elbv2, (1, 0)).await
    }

    /// Divides requests by these weights of blue and green.
    ///
    /// # Errors
    /// When the player refuses.
    pub async fn divide(
        &self,
        elbv2: &elbv2::Client,
        (blue, green): (i32, i32),
    ) -> anyhow::Result<()> {
        let divided = forward(&[(&self.blue, blue), (&self.green, green)]);
        let modify = elbv2.modify_rule().rule_arn(&self.rule).actions(divided);
        modify.send().await.context("could not set a rule")?;
        Ok(())
    }
}

async fn target_group(elbv2: &elbv2::Client, name: &str) -> anyhow::Result<String> {
    let made = elbv2
        .create_target_group()
        .name(name)
        .protocol(ProtocolEnum::Http)
        .port(80)
        .vpc_id("vpc-local")
        .target_type(elbv2::types::TargetTypeEnum::Ip)
        .health_check_path("/health")
        .send()
        .await
        .context("could not make a target group")?;
    let arn = made
        .target_groups()
        .first()
        .and_then(|g| g.target_group_arn());
    Ok(arn.context("the new target group has no ARN")?.to_owned())
}

fn forward(groups: &[(&str, i32)]) -> Action {
    let tuple = |(arn, weight): &(&str, i32)| {
        TargetGroupTuple::builder()
            .target_group_arn(*arn)
            .weight(*weight)
            .build()
    };
    let groups = groups.iter().map(tuple).collect();
    let config = ForwardActionConfig::builder()
        .set_target_groups(Some(groups))
        .build();
    Action::builder()
        .r#type(ActionTypeEnum::Forward)
        .forward_config(config)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_from_what_sam_prints() {
        let printed = "Key                 A  \nDescription  a table\nValue               one-two \n\nKey  B\nValue  3";
        assert_eq!(output_value(printed, "A").as_deref(), Some("one-two"));
        assert_eq!(output_value(printed, "B").as_deref(), Some("3"));
        assert_eq!(output_value(printed, "C"), None);
    }
}
