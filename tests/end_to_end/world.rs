//! The stack that all tests share, and what a test builds in it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use aws::Aws;
use aws::local::{cloudwatch, elbv2};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use cli::load::{self, Load};
use cli::pipeline::event::{Entry, Event, Status};
use cli::pipeline::execution::{Execution, Repository};
use cli::pipeline::submit::Submission;
use cli::run::{Ending, Remote};
use cli::stack::{Balancer, STACK, Stack, StackConfig};
use engine::ReleaseLog;
use release::{Head, Release, ReleaseId};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The bucket of the pipelines' artifacts.
pub const ARTIFACTS: &str = "test-artifacts";

/// EC2 instances of the player; all of them are this machine, and have ports of their own.
pub const INSTANCES: [&str; 2] = ["i-0b10e0b10e0b10e00", "i-06e006e006e006e00"];

/// The address of every other target.
const HOST: &str = "127.0.0.1";
/// Set when round trips are measured: no AWS request is answered sooner than after so many
/// milliseconds, and every event is delivered once.
const ROUND_TRIP_MS: &str = "PENSTOCK_ROUND_TRIP_MS";

/// How long a pipeline may take.
const PIPELINE_TIME_MAX: Duration = Duration::from_secs(180);

/// Requests a second that a release under test gets.
const RPS: u32 = 200;

/// Emulator, player and deployed functions.
pub struct World {
    pub runtime: Runtime,
    pub stack: Stack,
    pub aws: Aws,
    pub cloudwatch: cloudwatch::Client,
    pub project: PathBuf,
    /// A pipeline that takes longer has failed its test.
    time_max: Duration,
    number: AtomicU32,
    _work: TempDir,
}

impl World {
    pub fn start() -> anyhow::Result<Self> {
        Self::start_with(PIPELINE_TIME_MAX, |_| {})
    }

    /// As [`World::start`], with other settings.
    pub fn start_with(
        time_max: Duration,
        change: impl FnOnce(&mut StackConfig),
    ) -> anyhow::Result<Self> {
        let runtime = Runtime::new()?;
        let project = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .canonicalize()?;
        let work = TempDir::with_prefix("penstock-")?;
        let round_trip = std::env::var(ROUND_TRIP_MS).ok();
        let round_trip: Option<u64> = round_trip.map(|text| text.parse()).transpose()?;
        let mut config = StackConfig {
            bootstraps: project.join("target/bootstraps"),
            project: project.clone(),
            work: work.path().to_owned(),
            continuation_delay: Duration::from_millis(700),
            deliver_twice: round_trip.is_none(),
            answer_time_min: Duration::from_millis(round_trip.unwrap_or_default()),
            build_environment: BTreeMap::new(),
            instances: INSTANCES
                .map(|id| (id.to_owned(), Ipv4Addr::LOCALHOST.into()))
                .into(),
            faults: false,
        };
        change(&mut config);
        ensure!(
            config.bootstraps.is_dir(),
            "there are no functions to test: run `make test`"
        );
        let stack = runtime.block_on(Stack::start(&config, |step| eprintln!("{step}")))?;
        Ok(Self {
            aws: Aws::new(stack.sdk(), stack.table().to_owned()),
            cloudwatch: cloudwatch::Client::new(stack.sdk()),
            runtime,
            stack,
            project,
            time_max,
            number: AtomicU32::new(0),
            _work: work,
        })
    }

    pub fn stop(self) {
        self.runtime.block_on(self.stack.stop());
    }

    /// A name that no other test has.
    pub fn name(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.number.fetch_add(1, Ordering::Relaxed))
    }

    /// A service with a stable and a candidate version, each a real HTTP server.
    pub async fn service(&self) -> anyhow::Result<Service> {
        let name = self.name("shop");
        let balancer = self.stack.balancer(&name).await?;
        let stable = Version::start().await?;
        let candidate = Version::start().await?;
        let elbv2 = self.stack.elbv2();
        for (group, version) in [(&balancer.blue, &stable), (&balancer.green, &candidate)] {
            version.register(&elbv2, group, HOST).await?;
        }
        let alarm = format!("{name}-alarm");
        self.make_alarm(&alarm).await?;
        Ok(Service {
            alarm,
            balancer,
            stable,
            candidate,
        })
    }

    pub async fn make_alarm(&self, name: &str) -> anyhow::Result<()> {
        use cloudwatch::types::{ComparisonOperator, StateValue, Statistic};
        self.cloudwatch
            .put_metric_alarm()
            .alarm_name(name)
            .namespace("Test")
            .metric_name(name)
            .statistic(Statistic::Average)
            .period(60)
            .evaluation_periods(1)
            .threshold(1.0)
            .comparison_operator(ComparisonOperator::GreaterThanThreshold)
            .send()
            .await?;
        self.set_alarm(name, StateValue::Ok).await
    }

    pub async fn set_alarm(
        &self,
        name: &str,
        state: cloudwatch::types::StateValue,
    ) -> anyhow::Result<()> {
        let set = self
            .cloudwatch
            .set_alarm_state()
            .alarm_name(name)
            .state_value(state);
        set.state_reason("the test says so").send().await?;
        Ok(())
    }

    /// Runs a pipeline whose source has these files, with these actions one after the other.
    /// `see` gets every event.
    pub async fn run(
        &self,
        files: &[(&str, &str)],
        actions: &[Action],
        see: impl AsyncFnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<Ran> {
        self.run_pipeline(files, actions, None, false, see).await
    }

    /// As [`World::run`], with a manual approval action beside the first action.
    pub async fn run_with_approval(
        &self,
        files: &[(&str, &str)],
        actions: &[Action],
        see: impl AsyncFnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<Ran> {
        self.run_pipeline(files, actions, None, true, see).await
    }

    /// As [`World::run`], with artifacts encrypted by this KMS key.
    pub async fn run_encrypted(
        &self,
        files: &[(&str, &str)],
        actions: &[Action],
        key: Option<&str>,
        see: impl AsyncFnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<Ran> {
        self.run_pipeline(files, actions, key, false, see).await
    }

    async fn run_pipeline(
        &self,
        files: &[(&str, &str)],
        actions: &[Action],
        key: Option<&str>,
        asks: bool,
        mut see: impl AsyncFnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<Ran> {
        let repository = TempDir::with_prefix("penstock-source-")?;
        let pipeline = self.name("pipeline");
        let named = |text: &&str| text.replace(PIPELINE, &pipeline);
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (*name, named(text)))
            .collect();
        let texts: Vec<_> = files
            .iter()
            .map(|(name, text)| (*name, text.as_str()))
            .collect();
        commit(repository.path(), &texts)?;
        let submission = Submission {
            declaration: declaration(&pipeline, actions, key, asks),
            sources: [(
                "App".to_owned(),
                Repository {
                    path: repository.path().to_owned(),
                    revision: None,
                },
            )]
            .into(),
            ..Submission::default()
        };
        let remote = Remote::new(&self.stack.player().url())?;
        let submitted = remote.submit(&submission).await?;
        let mut ran = Ran::default();
        let follow = remote.follow(&submitted, async |entry: &Entry| {
            ran.note(&entry.event);
            see(&entry.event).await
        });
        let ending = tokio::time::timeout(self.time_max, follow).await;
        ran.ending = Some(ending.context("the pipeline did not end")??);
        Ok(ran)
    }

    /// The first line of this message that a function logged and that `is_it`.
    pub fn logged(&self, message: &str, is_it: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let log = std::fs::read_to_string(self.stack.emulator_log())?;
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut lines = lines.filter(|line| line["message"] == message);
        let found = lines.find(|line| is_it(line));
        found.with_context(|| format!("no function logged such a '{message}'"))
    }

    /// What a Python script with boto3 prints: for services that no function writes to.
    pub fn boto3(&self, script: &str) -> anyhow::Result<String> {
        let output = Command::new(self.project.join(".venv/bin/python"))
            .args(["-c", script])
            .env(
                "AWS_ENDPOINT_URL",
                self.stack.sdk().endpoint_url().unwrap_or_default(),
            )
            .env("AWS_ENDPOINT_URL_ECS", self.stack.player().url())
            .env("AWS_ENDPOINT_URL_CODEPIPELINE", self.stack.player().url())
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// What `tests/aws_requests/check.py` says of a recording of AWS requests.
    pub fn checked(&self, recording: &Path, options: &[&str]) -> anyhow::Result<Output> {
        Command::new(self.project.join(".venv/bin/python"))
            .arg("tests/aws_requests/check.py")
            .args(options)
            .arg(recording)
            .current_dir(&self.project)
            .output()
            .context("could not run tests/aws_requests/check.py")
    }

    /// A release, as its log has it.
    pub async fn release(&self, id: &ReleaseId) -> anyhow::Result<Release> {
        let head: Head<Option<Release>> = self.aws.load(id).await?;
        head.state
            .with_context(|| format!("there is no release {id}"))
    }

    /// Waits until the release of this execution has moved the weights.
    pub async fn until_shifted(
        &self,
        service: &Service,
        execution: &Execution,
    ) -> anyhow::Result<()> {
        let before = self.weights(service).await?;
        let shifted = async {
            while self.weights(service).await? == before {
                ensure!(!execution.ended(), "it ended before");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        };
        let shifted = tokio::time::timeout(Duration::from_secs(60), shifted).await;
        shifted.context("the weights did not move")?
    }

    /// A release once it is over, or an error when it is not within this time.
    pub async fn ended(&self, id: &ReleaseId, within: Duration) -> anyhow::Result<Release> {
        let ended = async {
            loop {
                let release = self.release(id).await?;
                if !release.is_active() {
                    return anyhow::Ok(release);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let ended = tokio::time::timeout(within, ended).await;
        ended.with_context(|| format!("{id} did not end"))?
    }

    /// The live weights of stable (blue) and candidate (green).
    pub async fn weights(&self, service: &Service) -> anyhow::Result<(i32, i32)> {
        self.weights_of(&service.balancer).await
    }

    /// The live weights of a balancer's blue and green.
    pub async fn weights_of(&self, balancer: &Balancer) -> anyhow::Result<(i32, i32)> {
        let rules = self.stack.elbv2().describe_rules();
        let rules = rules.rule_arns(&balancer.rule);
        let rules = rules.send().await?;
        let actions = rules.rules().first().context("the rule is gone")?.actions();
        let groups = actions.iter().filter_map(|a| a.forward_config());
        let groups: Vec<_> = groups.flat_map(|c| c.target_groups()).collect();
        let weight = |arn: &str| {
            let group = groups.iter().find(|g| g.target_group_arn() == Some(arn));
            group.and_then(|g| g.weight()).unwrap_or(-1)
        };
        Ok((weight(&balancer.blue), weight(&balancer.green)))
    }
}

/// What a pipeline did.
#[derive(Debug, Default)]
pub struct Ran {
    pub ending: Option<Ending>,
    pub release: Option<ReleaseId>,
    pub summaries: Vec<String>,
    pub variables: BTreeMap<String, String>,
    /// The failed action's code and message.
    pub failure: Option<(String, String)>,
}

impl Ran {
    fn note(&mut self, event: &Event) {
        match event {
            Event::ActionProgress {
                summary,
                external_execution_id,
                ..
            } => {
                self.summaries.extend(summary.clone());
                let id = external_execution_id
                    .clone()
                    .and_then(|id| ReleaseId::try_from(id).ok());
                self.release = id.or(self.release.take());
            }
            Event::ActionSucceeded {
                summary, variables, ..
            } => {
                self.summaries.extend(summary.clone());
                self.variables.extend(variables.clone());
                // One that is over within its first job never says that it goes on.
                let id = variables.get("release").cloned();
                self.release = id.and_then(|id| id.try_into().ok()).or(self.release.take());
            }
            Event::ActionFailed { code, message, .. } => {
                self.failure = Some((code.clone(), message.clone()));
                let (_, id) = message.rsplit_once("; release ").unwrap_or_default();
                let id = id.split(';').next().unwrap_or_default().to_owned();
                self.release = id.try_into().ok().or(self.release.take());
            }
            _ => {}
        }
    }

    pub fn succeeded(&self) -> anyhow::Result<()> {
        let status = self.ending.as_ref().map(|ending| ending.status);
        ensure!(
            status == Some(Status::Succeeded),
            "it did not succeed: {self:#?}"
        );
        Ok(())
    }

    /// It failed with this code, and a message that has all these parts.
    pub fn failed(&self, code: &str, parts: &[&str]) -> anyhow::Result<()> {
        let (was, message) = self
            .failure
            .as_ref()
            .with_context(|| format!("it did not fail: {self:#?}"))?;
        ensure!(was == code, "it failed as {was}, not as {code}: {message}");
        for part in parts {
            ensure!(
                message.contains(part),
                "it does not say '{part}': {message}"
            );
        }
        Ok(())
    }
}

/// A Lambda action of a test's pipeline.
#[derive(Debug, Clone)]
pub struct Action {
    pub function: &'static str,
    pub parameters: String,
    pub output: bool,
}

impl Action {
    /// The action of this function for this section.
    pub fn new(function: &'static str, section: &str) -> Self {
        let execution = "#{codepipeline.PipelineExecutionId}";
        let parameters = serde_json::json!({"section": section, "execution": execution});
        Self {
            function,
            parameters: parameters.to_string(),
            output: false,
        }
    }

    pub fn with_parameters(function: &'static str, parameters: &str) -> Self {
        Self {
            function,
            parameters: parameters.to_owned(),
            output: false,
        }
    }
}

/// The manual approval action beside the first action of [`World::run_with_approval`].
pub const APPROVAL: &str = "Approve";

/// Stands for the pipeline's name in files and in UserParameters.
pub const PIPELINE: &str = "PIPELINE";

/// The stage of a test's actions.
pub const STAGE: &str = "Penstock";

/// What `aws codepipeline get-pipeline` would print. In UserParameters [`PIPELINE`] is its name.
pub fn declaration(name: &str, actions: &[Action], key: Option<&str>, asks: bool) -> String {
    let lambda = actions.iter().enumerate().map(|(number, action)| {
        let outputs = match action.output {
            true => serde_json::json!([{"name": format!("Out{number}")}]),
            false => serde_json::json!([]),
        };
        serde_json::json!({
            "name": format!("Action{number}"),
            "namespace": format!("Action{number}"),
            "runOrder": number + 1,
            "actionTypeId": {"category": "Invoke", "owner": "AWS", "provider": "Lambda", "version": "1"},
            "configuration": {
                "FunctionName": format!("{STACK}-{}", action.function),
                "UserParameters": action.parameters.replace(PIPELINE, name),
            },
            "inputArtifacts": [{"name": "SourceOut"}],
            "outputArtifacts": outputs,
        })
    });
    let approval = asks.then(|| {
        serde_json::json!({
            "name": APPROVAL,
            "runOrder": 1,
            "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"},
            "configuration": {},
            "inputArtifacts": [],
            "outputArtifacts": [],
        })
    });
    let source = serde_json::json!({
        "name": "App",
        "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "CodeCommit", "version": "1"},
        "configuration": {"RepositoryName": "app", "BranchName": "main"},
        "inputArtifacts": [],
        "outputArtifacts": [{"name": "SourceOut"}],
    });
    let mut store = serde_json::json!({"type": "S3", "location": ARTIFACTS});
    if let Some(key) = key {
        store["encryptionKey"] = serde_json::json!({"id": key, "type": "KMS"});
    }
    serde_json::json!({"pipeline": {
        "name": name,
        "roleArn": "arn:aws:iam::000000000000:role/pipeline",
        "artifactStore": store,
        "version": 1,
        "pipelineType": "V2",
        "stages": [
            {"name": "Source", "actions": [source]},
            {"name": STAGE, "actions": lambda.chain(approval).collect::<Vec<_>>()},
        ],
    }})
    .to_string()
}

/// Makes a git repository with these files in one commit.
pub fn commit(folder: &Path, files: &[(&str, &str)]) -> anyhow::Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        std::fs::write(path, text)?;
    }
    for arguments in [
        &["init", "--quiet", "--initial-branch=main"][..],
        &["add", "--all"],
        &[
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            "a version",
        ],
    ] {
        let git = Command::new("git")
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(["-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(folder)
            .status()?;
        ensure!(git.success(), "git {arguments:?} failed");
    }
    Ok(())
}

/// The schedule's event, with this id.
pub fn sweep_event(id: &str) -> Value {
    serde_json::json!({
        "version": "0",
        "id": id,
        "source": "penstock.schedule",
        "detail-type": "Penstock Sweep",
        "account": "000000000000",
        "region": "us-east-1",
        "detail": {},
    })
}

/// What to do at an event of a run of which nothing is expected.
pub async fn nothing(_: &Event) -> anyhow::Result<()> {
    Ok(())
}

/// A service under release.
pub struct Service {
    pub alarm: String,
    pub balancer: Balancer,
    pub stable: Version,
    pub candidate: Version,
}

impl Service {
    /// Its penstock.yaml: quick steps, one-second windows.
    pub fn config(&self) -> String {
        let Balancer {
            rule,
            blue,
            green,
            url,
            ..
        } = &self.balancer;
        let alarm = &self.alarm;
        format!(
            "version: 1\n\
             releases:\n  web:\n    target:\n      alb-rule:\n        rule: {rule}\n        target-groups: [{green}, {blue}]\n\
             \x20   steps: [{{set-weight: 10%}}, {{judge: {{windows: 3}}}}, {{set-weight: 50%}}, {{judge: {{windows: 3}}}}, {{set-weight: 100%}}]\n\
             \x20   window: 1s\n    settle: 2s\n    patience: 30s\n    alarms: [{alarm}]\n\
             health-checks:\n  web:\n    probes:\n      - http: {{url: \"{url}/health\", body-contains: ok, allow-private: true}}\n      - alarm: {{names: [{alarm}]}}\n\
             \x20   interval: 1s\n    in-a-row: 2\n    within: 4s\n"
        )
    }

    /// Takes a group's only host away.
    pub async fn remove(
        &self,
        world: &World,
        version: &Version,
        group: &str,
    ) -> anyhow::Result<()> {
        let target = elbv2::types::TargetDescription::builder().id(HOST);
        let target = target.port(i32::from(version.port)).build();
        let remove = world.stack.elbv2().deregister_targets();
        let remove = remove.target_group_arn(group).targets(target);
        remove.send().await?;
        Ok(())
    }

    /// Sends traffic to it while `work` runs.
    pub async fn under_load<T>(
        &self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let load = Load {
            url: format!("{}/buy", self.balancer.url).parse()?,
            rps: RPS.try_into()?,
            duration: Duration::from_secs(300),
        };
        let load = tokio::spawn(load::run(load, async {
            let _told_or_dropped = stopped.await;
        }));
        let done = work.await;
        let _load_is_over = stop.send(());
        load.await??;
        done
    }
}

/// How long a slow purchase takes.
const SLOW: Duration = Duration::from_millis(300);

/// One version of a service: a real HTTP server on a port of its own.
pub struct Version {
    pub port: u16,
    failing: Arc<AtomicU32>,
    slow: Arc<AtomicU32>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Version {
    pub async fn start() -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let failing = Arc::new(AtomicU32::new(0));
        let slow = Arc::new(AtomicU32::new(0));
        let turn = Arc::new(AtomicU32::new(0));
        let shared = [failing.clone(), slow.clone(), turn];
        let buy = |State([failing, slow, turn]): State<[Arc<AtomicU32>; 3]>| async move {
            let percent = turn.fetch_add(37, Ordering::Relaxed) % 100;
            if percent < slow.load(Ordering::Relaxed) {
                tokio::time::sleep(SLOW).await;
            }
            match percent < failing.load(Ordering::Relaxed) {
                true => StatusCode::INTERNAL_SERVER_ERROR,
                false => StatusCode::OK,
            }
        };
        let app = axum::Router::new()
            .route("/buy", get(buy))
            .route("/health", get(|| async { "ok" }))
            .route("/version", get(move || async move { port.to_string() }))
            .with_state(shared);
        let server = tokio::spawn(async { axum::serve(listener, app).await });
        Ok(Self {
            port,
            failing,
            slow,
            server,
        })
    }

    /// From now on so many percent of the purchases fail.
    pub fn fails(&self, percent: u32) {
        self.failing.store(percent, Ordering::Relaxed);
    }

    /// From now on so many percent of the purchases are slow.
    pub fn slows(&self, percent: u32) {
        self.slow.store(percent, Ordering::Relaxed);
    }

    /// Makes it a target of this group under this address or instance, and waits until it is healthy.
    pub async fn register(
        &self,
        elbv2: &elbv2::Client,
        group: &str,
        id: &str,
    ) -> anyhow::Result<()> {
        use elbv2::types::{TargetDescription, TargetHealthStateEnum};
        let target = TargetDescription::builder()
            .id(id)
            .port(i32::from(self.port));
        let register = elbv2.register_targets().target_group_arn(group);
        register.targets(target.build()).send().await?;
        for _ in 0..100 {
            let health = elbv2
                .describe_target_health()
                .target_group_arn(group)
                .send()
                .await?;
            let states = health.target_health_descriptions().iter();
            let mut states = states.filter_map(|d| d.target_health()?.state());
            if states.any(|state| *state == TargetHealthStateEnum::Healthy) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::bail!("the version on port {} did not become healthy", self.port)
    }
}

impl Drop for Version {
    fn drop(&mut self) {
        self.server.abort();
    }
}
