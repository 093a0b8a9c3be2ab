//! Health checks: real servers, a real target group, and functions, alarms and metrics of the
//! emulator, looked at by the compiled function under its own role.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use aws::local::cloudwatch::primitives::DateTime;
use aws::local::cloudwatch::types::{MetricDatum, StateValue};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use engine::{Class, HealthProbe, ReleaseLog};
use jiff::SignedDuration;
use release::check::{Check, CheckEvent, CheckVerdict, RunCheck};
use serde_json::{Value, json};

use crate::Test;
use crate::world::{Action, Ran, World, nothing};

pub const TESTS: &[Test] = &[
    (
        "a_target_is_healthy_when_every_kind_of_probe_says_so",
        healthy,
    ),
    ("each_probe_that_is_not_healthy_says_why", not_healthy),
    (
        "an_address_that_must_not_be_asked_is_not_asked",
        refused_addresses,
    ),
    (
        "a_server_cannot_send_a_probe_where_credentials_are_handed_out",
        redirected,
    ),
    ("an_interruption_starts_the_stable_time_again", interrupted),
    (
        "a_target_that_never_stays_healthy_for_long_enough_fails_in_the_end",
        within_is_over,
    ),
    (
        "what_only_the_configuration_can_mend_is_not_waited_for",
        hopeless,
    ),
    ("a_function_that_is_not_allowed_is_not_asked", not_allowed),
    ("a_teams_own_function_says_pass_fail_or_wait", run_check),
];

const HEALTH_CHECK: &str = "health-check";
/// The namespace of the metrics under test.
const NAMESPACE: &str = "ProbesTest";

/// A server whose every answer is counted.
struct Site {
    url: String,
    looks: Arc<AtomicU32>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Site {
    /// Answers `/health` with 200 unless `is_bad` says otherwise of this look's number, from 0.
    async fn start(is_bad: impl Fn(u32) -> bool + Send + Sync + 'static) -> anyhow::Result<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let looks = Arc::new(AtomicU32::new(0));
        let is_bad = Arc::new(is_bad);
        let health = async move |State(looks): State<Arc<AtomicU32>>, sent: HeaderMap| {
            let status = match is_bad(looks.fetch_add(1, Ordering::SeqCst)) {
                true => StatusCode::SERVICE_UNAVAILABLE,
                false => StatusCode::OK,
            };
            let team = sent.get("x-team").and_then(|team| team.to_str().ok());
            let body = json!({"status": "up", "checks": [{"ok": true}], "team": team});
            let kind = [(header::CONTENT_TYPE, "application/json; charset=utf-8")];
            (status, kind, body.to_string()).into_response()
        };
        let metadata = async || Redirect::temporary("http://169.254.169.254/latest/meta-data/");
        let app = axum::Router::new()
            .route("/health", get(health))
            .route("/moved", get(async || Redirect::temporary("/health")))
            .route("/metadata", get(metadata))
            .with_state(looks.clone());
        let server = tokio::spawn(async { axum::serve(listener, app).await });
        Ok(Self { url, looks, server })
    }

    fn looks(&self) -> u32 {
        self.looks.load(Ordering::SeqCst)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Runs a health check with these probes and keys.
async fn check(world: &World, keys: &str, probes: &[String]) -> anyhow::Result<Ran> {
    check_section(world, "web", keys, probes).await
}

/// As [`check`], under a name of its own, by which its log can be found.
async fn check_section(
    world: &World,
    section: &str,
    keys: &str,
    probes: &[String],
) -> anyhow::Result<Ran> {
    let probes: String = probes
        .iter()
        .map(|probe| format!("      - {probe}\n"))
        .collect();
    let config =
        format!("version: 1\nhealth-checks:\n  {section}:\n    {keys}\n    probes:\n{probes}");
    let files = [("penstock.yaml", config.as_str())];
    let actions = [Action::new(HEALTH_CHECK, section)];
    world.run(&files, &actions, nothing).await
}

/// A health check that is over after a look or two.
const QUICK: &str = "interval: 1s\n    in-a-row: 1\n    within: 2s";

/// A function that answers what it is told to, or fails; its ARN.
pub fn function(world: &World, prefix: &str) -> anyhow::Result<String> {
    let name = world.name(prefix);
    world.boto3(&format!(
        "{MAKE}\n\
         role = boto3.client('iam').create_role(RoleName='{name}', AssumeRolePolicyDocument=TRUST)['Role']['Arn']\n\
         made = client.create_function(FunctionName='{name}', Runtime='python3.12', Handler='app.handler', Timeout=20,\n\
         \x20   Role=role, Code={{'ZipFile': file.getvalue()}})\n\
         client.publish_version(FunctionName='{name}')\n\
         client.create_alias(FunctionName='{name}', Name='live', FunctionVersion='1')\n\
         print(made['FunctionArn'])"
    ))
}

const MAKE: &str = "\
import boto3, io, json, zipfile\n\
client = boto3.client('lambda')\n\
TRUST = json.dumps({'Version': '2012-10-17', 'Statement': [{'Effect': 'Allow',\n\
\x20   'Principal': {'Service': 'lambda.amazonaws.com'}, 'Action': 'sts:AssumeRole'}]})\n\
text = '''\n\
import time\n\
def handler(event, context):\n\
\x20   asked = event.get(\"payload\", event)\n\
\x20   if asked.get(\"fail\"): raise Exception(\"no money\")\n\
\x20   time.sleep(asked.get(\"sleep\", 0))\n\
\x20   told = event.get(\"penstock\", {}).get(\"release\")\n\
\x20   return {\"verdict\": asked.get(\"verdict\", \"pass\"), \"message\": f\"asked by {told}\"}\n\
'''\n\
file = io.BytesIO()\n\
with zipfile.ZipFile(file, 'w') as archive: archive.writestr('app.py', text)";

impl World {
    /// A metric that has had this value in the last minutes, and has it in the next.
    async fn metric(&self, value: f64) -> anyhow::Result<String> {
        let name = self.name("queue");
        let now = SystemTime::UNIX_EPOCH.elapsed()?.as_secs();
        let now = i64::try_from(now)?;
        let data = (-4..=2).map(|minute| {
            MetricDatum::builder()
                .metric_name(&name)
                .value(value)
                .timestamp(DateTime::from_secs(now + 60 * minute))
                .build()
        });
        let put = self.cloudwatch.put_metric_data().namespace(NAMESPACE);
        put.set_metric_data(Some(data.collect())).send().await?;
        Ok(name)
    }
}

fn http(url: &str, more: &str) -> String {
    format!("http: {{url: \"{url}\", allow-private: true{more}}}")
}

fn metric(name: &str, limits: &str) -> String {
    format!(
        "metric: {{namespace: {NAMESPACE}, metric: {name}, settle: 0s, datapoints: 2, {limits}}}"
    )
}

fn healthy(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let site = Site::start(|_| false).await?;
        let queue = world.metric(3.0).await?;
        let function = function(world, "check-smoke")?;
        let health = format!("{}/health", site.url);
        let probes = [
            format!(
                "http: {{urls: [\"{health}\", \"{}/health\"], allow-private: true, slower-than: 4s}}",
                service.balancer.url
            ),
            http(
                &health,
                ", status: 200-299, headers: {Content-Type: application/json}, \
                 request-headers: {X-Team: shop}, body-contains: up, body-matches: '\"ok\": ?true', \
                 body-json: {/status: up, /checks/0/ok: true, /team: shop}",
            ),
            http(&format!("{}/moved", site.url), ", redirects: 1, method: HEAD"),
            format!("alarm: {{names: [{}]}}", service.alarm),
            metric(&queue, "under: 10, over: 0"),
            format!(
                "target-group: {{arn: {}, at-least: 1}}",
                service.balancer.blue
            ),
            format!("target-group: {{arn: {}}}", service.balancer.blue),
            format!("lambda: {{function: {function}, answer-json: {{/verdict: pass}}}}"),
            format!(
                "lambda: {{function: \"{function}:live\", payload: {{verdict: fine}}, \
                 answer-contains: fine}}"
            ),
        ];
        let ran = check(world, "interval: 1s\n    in-a-row: 2\n    within: 60s", &probes).await?;
        ran.succeeded()?;
        ensure!(ran.variables["verdict"] == "healthy", "{ran:#?}");
        let said = ran.summaries.last().context("it said nothing")?;
        ensure!(said.contains("healthy 2 times in a row: "), "{said}");
        ensure!(said.contains("; and 4 more"), "{said}");
        Ok(())
    })
}

fn not_healthy(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        service
            .remove(world, &service.candidate, &service.balancer.green)
            .await?;
        let site = Site::start(|_| true).await?;
        let queue = world.metric(12.0).await?;
        let function = function(world, "check-smoke")?;
        let health = format!("{}/health", site.url);
        let probes = [
            http(&health, ", body-contains: up"),
            http(&health, ", status: 503, body-json: {/status: down}"),
            metric(&queue, "under: 10"),
            metric("no-such-metric", "under: 10"),
            format!("target-group: {{arn: {}}}", service.balancer.green),
        ];
        let ran = check(world, QUICK, &probes).await?;
        ran.failed(
            "JobFailed",
            &[
                "not healthy 1 times in a row within 2s",
                "/health answered 503, not 200",
                "has \"up\" at /status, not \"down\"",
                &format!("{queue} was 12 at"),
                "no-such-metric has no data of 2 of the newest 2 periods",
                "0 of 0 hosts of targetgroup/",
            ],
        )?;
        world.set_alarm(&service.alarm, StateValue::Alarm).await?;
        let probes = [
            format!("alarm: {{names: [{}]}}", service.alarm),
            format!("lambda: {{function: {function}, payload: {{fail: true}}}}"),
            format!("lambda: {{function: {function}, answer-contains: fail}}"),
            http("http://127.0.0.1:1/?token=hush", ""),
        ];
        let ran = check(world, QUICK, &probes).await?;
        ran.failed(
            "JobFailed",
            &[
                &format!("alarm '{}' is ALARM", service.alarm),
                "it failed (Unhandled): ",
                "no money",
                "answer does not contain 'fail'",
                "http://127.0.0.1:1/ did not answer: ",
            ],
        )?;
        let log = std::fs::read_to_string(world.stack.emulator_log())?;
        ensure!(!log.contains("hush"), "a query is in the log");
        Ok(())
    })
}

fn refused_addresses(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let site = Site::start(|_| false).await?;
        let port = site.url.rsplit(':').next().unwrap_or_default();
        for (url, part) in [
            ("http://169.254.169.254/".to_owned(), "link-local"),
            ("http://[fd00:ec2::254]/".to_owned(), "a cloud's service"),
            (
                "http://2852039166/".to_owned(),
                "169.254.169.254 is link-local",
            ),
            ("http://[::ffff:169.254.169.254]/".to_owned(), "link-local"),
        ] {
            let ran = check(world, QUICK, &[http(&url, "")]).await?;
            ran.failed(
                "ConfigurationError",
                &["could not use penstock.yaml: line 4", part],
            )?;
        }
        // Only the resolver knows who that is, and what the probe does not ask for it does not get.
        let url = format!("http://localhost:{port}/health");
        let probe = format!("http: {{url: \"{url}\"}}");
        let ran = check(world, "within: 10m", &[probe]).await?;
        ran.failed(
            "ConfigurationError",
            &["in vain", "was not asked", "allow-private: true"],
        )?;
        ensure!(site.looks() == 0, "it was asked");
        let ran = check(world, QUICK, &[http(&url, "")]).await?;
        ran.succeeded()
    })
}

fn redirected(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let site = Site::start(|_| false).await?;
        let probes = [
            http(&format!("{}/metadata", site.url), ", redirects: 5"),
            http(&format!("{}/moved", site.url), ""),
        ];
        let ran = check(world, QUICK, &probes).await?;
        ran.failed(
            "JobFailed",
            &[
                "led to http://169.254.169.254/latest/meta-data/: 169.254.169.254 is link-local",
                "/moved answered 307, not 200",
            ],
        )
    })
}

/// What the log of this section's check has.
async fn events(world: &World, section: &str) -> anyhow::Result<Vec<CheckEvent>> {
    let id = |line: &Value| line["span"]["release"].as_str().map(str::to_owned);
    let is_it = |id: String| id.starts_with(&format!("{section}-"));
    let begun = || world.logged("job begins", |line| id(line).is_some_and(is_it));
    // The emulator writes a function's lines down a little after its answer has been taken.
    let mut line = begun();
    for _ in 0..100 {
        if line.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        line = begun();
    }
    let line = line?;
    let id = id(&line).context("the check has no id")?;
    Ok(world.aws.events::<Option<Check>>(&id.try_into()?).await?)
}

fn interrupted(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        // Every job comes twice, so a round may take two looks: two bad ones make a bad round.
        let site = Site::start(|look| (3..=4).contains(&look)).await?;
        let keys = "interval: 1s\n    in-a-row: 1\n    stable-for: 4s\n    within: 60s";
        let probe = http(&format!("{}/health", site.url), "");
        let section = world.name("interrupted");
        let ran = check_section(world, &section, keys, &[probe]).await?;
        ran.succeeded()?;
        let events = events(world, &section).await?;
        let mut interrupted_at = None;
        let mut ended_at = None;
        for event in &events {
            match event {
                CheckEvent::Round { at, probed } if !probed[0].healthy => {
                    interrupted_at = Some(*at)
                }
                CheckEvent::Ended { at, healthy, .. } => ended_at = Some((*at, *healthy)),
                CheckEvent::Round { .. } | CheckEvent::Started { .. } => {}
            }
        }
        let interrupted_at = interrupted_at.context("it was not interrupted")?;
        let (at, healthy) = ended_at.context("it did not end")?;
        ensure!(healthy, "{events:#?}");
        let steady = at.duration_since(interrupted_at);
        ensure!(steady >= SignedDuration::from_secs(4), "{events:#?}");
        Ok(())
    })
}

fn within_is_over(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let site = Site::start(|look| look % 3 != 0).await?;
        let keys = "interval: 1s\n    in-a-row: 1\n    stable-for: 5s\n    within: 8s";
        let probe = http(&format!("{}/health", site.url), "");
        let section = world.name("flapping");
        let ran = check_section(world, &section, keys, &[probe]).await?;
        let said = "not healthy 1 times in a row and for 5s within 8s: ";
        ran.failed("JobFailed", &[said])?;
        let events = events(world, &section).await?;
        let times = events.iter().filter_map(|event| match event {
            CheckEvent::Round { at, .. } => Some(*at),
            CheckEvent::Started { .. } | CheckEvent::Ended { .. } => None,
        });
        let times: Vec<_> = times.collect();
        for pair in times.windows(2) {
            let gap = pair[1].duration_since(pair[0]);
            ensure!(gap >= SignedDuration::from_secs(1), "{times:?}");
        }
        Ok(())
    })
}

fn hopeless(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let gone = "arn:aws:lambda:us-east-1:000000000000:function:check-that-is-not-there";
        for (probe, part) in [
            (
                "alarm: {names: [no-such-alarm]}".to_owned(),
                "there is no alarm 'no-such-alarm'",
            ),
            (
                format!("lambda: {{function: {gone}}}"),
                "ResourceNotFoundException",
            ),
        ] {
            let ran = check(world, "within: 10m", &[probe]).await?;
            ran.failed("ConfigurationError", &["looking again is in vain", part])?;
        }
        Ok(())
    })
}

fn not_allowed(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let function = function(world, "shop-orders")?;
        let probe = format!("lambda: {{function: {function}}}");
        let ran = check(world, QUICK, &[probe]).await?;
        let part =
            format!("function {function} is not allowed: the stack's parameter AllowedChecks");
        ran.failed("ConfigurationError", &[&part])
    })
}

fn run_check(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let function = function(world, "check-step")?;
        let context = json!({"release": "web-1"});
        let ask = async |function: &str, payload: Value| {
            let check = json!({"function": function, "payload": payload});
            let check: RunCheck = serde_json::from_value(check)?;
            anyhow::Ok(world.aws.run_check(&check, &context).await)
        };
        for (says, verdict) in [
            ("pass", CheckVerdict::Pass),
            ("fail", CheckVerdict::Fail),
            ("wait", CheckVerdict::Wait),
        ] {
            let answer = ask(&function, json!({"verdict": says})).await??;
            ensure!(answer.verdict == verdict, "{answer:?}");
            ensure!(answer.said == "asked by web-1", "{answer:?}");
        }
        // Longer than any other call may take, and not tried again meanwhile.
        let slow = ask(&function, json!({"sleep": 5})).await??;
        ensure!(slow.verdict == CheckVerdict::Pass, "{slow:?}");
        let gone = format!("{function}-gone");
        for (function, payload, class, part) in [
            (
                &function,
                json!({"fail": true}),
                Class::Retryable,
                "no money",
            ),
            (
                &function,
                json!({"verdict": "maybe"}),
                Class::Retryable,
                "could not understand",
            ),
            (&gone, json!({}), Class::Misconfigured, "ResourceNotFound"),
        ] {
            let error = ask(function, payload).await?;
            let error = error.err().context("it answered")?;
            ensure!(error.class == class, "{error}");
            ensure!(error.to_string().contains(part), "{error}");
        }
        Ok(())
    })
}
