//! The player: CodePipeline, the load balancer and ECS of the laptop on one port, invocations through Lambda's aliases, and
//! what CodeBuild and ECR keep of builds and images, beside the emulator that has the rest.
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use penstock::player::{Player, PlayerConfig};
//!
//! let player = Player::start(PlayerConfig::default()).await?;
//! println!("AWS_ENDPOINT_URL_CODEPIPELINE={}", player.url());
//! player.stop().await;
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use aws::local::alarms::Bridge;
use aws::local::bus::Bus;
use aws::local::metrics::Publisher;
use aws::local::pipeline::{Account, CallError, EMULATOR_KEY, emulator};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

use crate::alb::{Alb, AlbConfig, AlbError};
use crate::aliases::Aliases;
use crate::codedeploy::CodeDeploy;
use crate::ecs::{Ecs, EcsConfig};
use crate::kept::Kept;
use crate::pipeline::{Engine, Settings, api, submit};

/// Where the player listens unless told otherwise.
pub const PORT: u16 = 4570;
/// Where the emulator listens unless told otherwise.
pub const ENDPOINT: &str = "http://127.0.0.1:4566";
/// A call to one of the APIs may be so long, in bytes.
const CALL_BYTES_MAX: usize = 2 << 20;
/// At its end the player waits so long for open connections.
const FAREWELL: Duration = Duration::from_secs(5);
/// A build gets these variables of the player's own environment, and the pipeline's; nothing else.
pub const BUILD_VARIABLES: [&str; 13] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "JAVA_HOME",
    "GOPATH",
];

/// How a player is set up.
#[derive(Debug, Clone)]
pub struct PlayerConfig {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// The emulator.
    pub endpoint: String,
    /// Region in ARNs and calls.
    pub region: String,
    /// Account id in ARNs: 12 digits, those of the emulator.
    pub account: String,
    /// From an answer with a continuation token to the next job.
    pub continuation_delay: Duration,
    /// A function that says nothing for so long has failed.
    pub answer_time_max: Duration,
    /// Every job's event is delivered twice, as AWS may do.
    pub deliver_twice: bool,
    /// What a build's environment begins with.
    pub build_environment: BTreeMap<String, String>,
    /// EC2 instances by id, each with the loopback address that stands for it.
    pub instances: BTreeMap<String, IpAddr>,
}

impl Default for PlayerConfig {
    /// AWS's times, the usual ports, and of the environment what [`BUILD_VARIABLES`] names.
    fn default() -> Self {
        let times = Settings::default();
        let passed = BUILD_VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)));
        Self {
            port: PORT,
            endpoint: ENDPOINT.into(),
            region: times.region,
            account: times.account,
            continuation_delay: times.continuation_delay,
            answer_time_max: times.answer_time_max,
            deliver_twice: false,
            build_environment: passed.collect(),
            instances: BTreeMap::new(),
        }
    }
}

/// Why a player could not start.
#[derive(Debug, thiserror::Error)]
pub enum PlayerError {
    /// The port is taken, or not allowed.
    #[error(
        "could not listen on 127.0.0.1:{port}; does another player run? choose a port with --port"
    )]
    Port {
        /// The port.
        port: u16,
        /// The system's word.
        #[source]
        source: std::io::Error,
    },
    /// The load balancer refused its settings.
    #[error("could not start the load balancer")]
    Alb(#[from] AlbError),
}

/// A running player. Dropping it closes the port; [`Player::stop`] also ends what runs.
#[derive(Debug)]
pub struct Player {
    address: SocketAddr,
    engine: Engine,
    account: Account,
    alb: Arc<Alb>,
    ecs: Ecs,
    codedeploy: CodeDeploy,
    kept: Kept,
    /// The publishers of metrics, the bridge of alarms, and what tells the event bus.
    companions: JoinSet<()>,
    farewell: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Player {
    /// Starts a player. It does not need the emulator until a pipeline runs.
    ///
    /// # Errors
    /// [`PlayerError`].
    pub async fn start(config: PlayerConfig) -> Result<Self, PlayerError> {
        let port = config.port;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
        let listener = listener.map_err(|source| PlayerError::Port { port, source })?;
        let address = listener
            .local_addr()
            .map_err(|source| PlayerError::Port { port, source })?;

        let sdk = emulator(&config.endpoint, &config.region).await;
        let account = Account::new(&sdk);
        let mut companions = JoinSet::new();
        let (news, telling) = Bus::new(&sdk).teller();
        companions.spawn(telling);
        let settings = Settings {
            news: news.clone(),
            ..settings(&config, address)
        };
        let engine = Engine::new(settings, Arc::new(account.clone()));
        let environment = environment(&config, address);
        let balancer = AlbConfig {
            region: config.region.clone(),
            account: config.account.clone(),
            instances: config.instances,
            ..AlbConfig::default()
        };
        let alb = Alb::start(balancer)?;
        let ecs = EcsConfig {
            region: config.region,
            account: config.account,
            environment,
            news,
        };
        let ecs = Ecs::start(ecs, Arc::clone(&alb));

        let counted = alb.clone();
        companions.spawn(Publisher::new(&sdk).run(move || counted.take_finished_seconds()));
        let aliases = Aliases::new(&sdk);
        let invoked = aliases.clone();
        companions.spawn(Publisher::new(&sdk).run(move || invoked.take_finished_seconds()));
        companions.spawn(Bridge::new(&sdk).run());

        let kept = Kept::default();
        let codedeploy = CodeDeploy::default();
        let apis = Apis {
            engine: engine.clone(),
            balancer: alb.router(),
            ecs: ecs.clone(),
            codedeploy: codedeploy.clone(),
            kept: kept.clone(),
        };
        let router = router(apis, aliases);
        let (farewell, told) = oneshot::channel::<()>();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async {
            let _told_or_dropped = told.await;
        });
        let server = tokio::spawn(async {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the player's port failed");
            }
        });
        Ok(Self {
            address,
            engine,
            account,
            alb,
            ecs,
            codedeploy,
            kept,
            companions,
            farewell,
            server,
        })
    }

    /// Where it listens: what `AWS_ENDPOINT_URL_CODEPIPELINE`, `.._ELASTIC_LOAD_BALANCING_V2` and `.._ECS` take.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// The pipelines and their executions.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The load balancer.
    pub fn alb(&self) -> &Arc<Alb> {
        &self.alb
    }

    /// The deployments of CodeDeploy.
    pub fn codedeploy(&self) -> &CodeDeploy {
        &self.codedeploy
    }

    /// What CodeBuild and ECR keep.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// Asks the emulator for its account id.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn emulator_account(&self) -> Result<String, CallError> {
        self.account.id().await
    }

    /// Abandons what runs and closes the port.
    pub async fn stop(mut self) {
        self.companions.shutdown().await;
        self.engine.stop_all().await;
        self.ecs.stop().await;
        let _server_gone = self.farewell.send(());
        if tokio::time::timeout(FAREWELL, &mut self.server)
            .await
            .is_err()
        {
            self.server.abort();
        }
    }
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// What builds and tasks find around them.
fn environment(config: &PlayerConfig, address: SocketAddr) -> BTreeMap<String, String> {
    let mut environment = config.build_environment.clone();
    // What calls AWS finds the emulator, whatever the profile in the home directory says.
    for (name, value) in [
        ("AWS_ENDPOINT_URL", config.endpoint.clone()),
        ("AWS_ENDPOINT_URL_CODEPIPELINE", url(address)),
        ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", url(address)),
        ("AWS_ENDPOINT_URL_ECS", url(address)),
        ("AWS_ENDPOINT_URL_CODEDEPLOY", url(address)),
        ("AWS_ACCESS_KEY_ID", EMULATOR_KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", EMULATOR_KEY.to_owned()),
    ] {
        environment.insert(name.into(), value);
    }
    environment
}

fn settings(config: &PlayerConfig, address: SocketAddr) -> Settings {
    Settings {
        region: config.region.clone(),
        account: config.account.clone(),
        continuation_delay: config.continuation_delay,
        answer_time_max: config.answer_time_max,
        deliver_twice: config.deliver_twice,
        build_environment: environment(config, address),
        ..Settings::default()
    }
}

/// `/` is the API's that the call names, and else the load balancer's; of these only Lambda's has paths.
fn router(apis: Apis, aliases: Aliases) -> Router {
    let (engine, kept) = (apis.engine.clone(), apis.kept.clone());
    Router::new()
        .route("/", post(call))
        .with_state(apis)
        .merge(submit::router(engine))
        .merge(kept.router())
        .merge(aliases.router())
        .layer(middleware::from_fn(only_by_local_name))
}

#[derive(Clone)]
struct Apis {
    engine: Engine,
    balancer: Router,
    ecs: Ecs,
    codedeploy: CodeDeploy,
    kept: Kept,
}

async fn call(State(apis): State<Apis>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, CALL_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    if let Some(answer) = api::answer(&apis.engine, &parts.headers, &body) {
        return answer;
    }
    if let Some(answer) = apis.ecs.answer(&parts.headers, &body) {
        return answer;
    }
    if let Some(answer) = apis.codedeploy.answer(&parts.headers, &body) {
        return answer;
    }
    if let Some(answer) = apis.kept.answer(&parts.headers, &body) {
        return answer;
    }
    if let Some(target) = parts.headers.get("x-amz-target") {
        let told = format!("the player does not serve {target:?}; send it to the emulator");
        let body = serde_json::json!({"__type": "UnknownOperationException", "message": told});
        return (StatusCode::BAD_REQUEST, body.to_string()).into_response();
    }
    match apis
        .balancer
        .oneshot(Request::from_parts(parts, Body::from(body)))
        .await
    {
        Ok(answer) => answer,
        Err(never) => match never {},
    }
}

/// A page in a browser can lead its own name to 127.0.0.1, but not change the name in the request.
async fn only_by_local_name(request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    match name {
        "127.0.0.1" | "localhost" | "[::1]" => next.run(request).await,
        _ => (
            StatusCode::FORBIDDEN,
            "the player answers to 127.0.0.1 and localhost only\n",
        )
            .into_response(),
    }
}
