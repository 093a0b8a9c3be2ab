//! `penstock local`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::player::{BUILD_VARIABLES, ENDPOINT, PORT, Player, PlayerConfig};

/// Run the player: CodePipeline, the load balancer, ECS and Lambda's aliases of the laptop, until Ctrl-C.
///
/// The emulator (ministack) has the rest of AWS. Tell it, and what else should find the player, where it is:
///
///   export AWS_ENDPOINT_URL=http://127.0.0.1:4566
///   export AWS_ENDPOINT_URL_CODEPIPELINE=http://127.0.0.1:4570
///   export AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2=http://127.0.0.1:4570
///   export AWS_ENDPOINT_URL_ECS=http://127.0.0.1:4570
///   export AWS_ENDPOINT_URL_CODEBUILD=http://127.0.0.1:4570
///   export AWS_ENDPOINT_URL_ECR=http://127.0.0.1:4570
///
/// The emulator has Lambda. Invoke through the player what an alias' weights are to divide:
///
///   aws lambda invoke --endpoint-url http://127.0.0.1:4570 --function-name shop:live answer.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment, after_help = EXAMPLES)]
pub struct Local {
    /// Port on 127.0.0.1.
    #[arg(long, default_value_t = PORT)]
    port: u16,
    /// URL of the emulator.
    #[arg(long, default_value = ENDPOINT, env = "AWS_ENDPOINT_URL")]
    endpoint: String,
    /// Region in ARNs and calls.
    #[arg(long, default_value = "us-east-1", env = "AWS_REGION")]
    region: String,
    /// Seconds from an answer with a continuation token to the next job; on AWS about 30.
    #[arg(long, default_value_t = 30.0, value_name = "SECONDS")]
    continuation_delay: f64,
    /// Seconds after which a function that says nothing has failed; on AWS 1200.
    #[arg(long, default_value_t = 1200.0, value_name = "SECONDS")]
    answer_timeout: f64,
    /// Deliver every job's event twice, as AWS may do: does your function bear it?
    #[arg(long)]
    deliver_twice: bool,
    /// Pass one more variable of this environment to builds, which get PATH, HOME and a few others.
    #[arg(long = "pass-env", value_name = "NAME")]
    pass_env: Vec<String>,
    /// An EC2 instance that target groups of type `instance` may have, and the address of this machine
    /// that stands for it: i-0123456789abcdef0=127.0.0.1
    #[arg(long = "instance", value_name = "ID=ADDRESS", value_parser = instance)]
    instances: Vec<(String, IpAddr)>,
}

const EXAMPLES: &str = "\
Examples:
  penstock local                             as slow as AWS
  penstock local --continuation-delay 1      what a demonstration wants
  penstock local --deliver-twice             each event comes twice";

impl Local {
    /// Runs the command until Ctrl-C.
    ///
    /// # Errors
    /// When the player cannot start.
    pub async fn run(self) -> anyhow::Result<()> {
        let endpoint = self.endpoint.clone();
        let player = Player::start(self.config()?).await?;
        println!("the player listens at {}", player.url());
        if let Err(error) = player.emulator_account().await {
            tracing::debug!(%error, "the emulator does not answer");
            println!("note: no emulator answers at {endpoint} yet; pipelines need it");
        }
        told_to_stop().await.context("could not wait for Ctrl-C")?;
        println!("stopping");
        player.stop().await;
        Ok(())
    }

    fn config(self) -> anyhow::Result<PlayerConfig> {
        let passed = self
            .pass_env
            .iter()
            .map(String::as_str)
            .chain(BUILD_VARIABLES);
        let build_environment: BTreeMap<_, _> = passed
            .filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)))
            .collect();
        Ok(PlayerConfig {
            port: self.port,
            endpoint: self.endpoint,
            region: self.region,
            continuation_delay: seconds("--continuation-delay", self.continuation_delay)?,
            answer_time_max: seconds("--answer-timeout", self.answer_timeout)?,
            deliver_twice: self.deliver_twice,
            build_environment,
            instances: self.instances.into_iter().collect(),
            ..PlayerConfig::default()
        })
    }
}

fn instance(text: &str) -> anyhow::Result<(String, IpAddr)> {
    let (id, address) = text
        .split_once('=')
        .context("write it like i-0123456789abcdef0=127.0.0.1")?;
    let address = address
        .parse()
        .with_context(|| format!("'{address}' is no IP address"))?;
    Ok((id.to_owned(), address))
}

fn seconds(option: &str, value: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(value)
        .with_context(|| format!("{option} {value} is no number of seconds"))
}

/// Waits for Ctrl-C, or for the signal that a supervisor sends.
async fn told_to_stop() -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
    }
}
