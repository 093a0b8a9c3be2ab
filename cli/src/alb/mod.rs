//! A load balancer for the laptop: the part of ELBv2 that a release moves, with real traffic behind it.
//!
//! The control plane speaks the ELBv2 Query protocol, so the Rust SDK and boto3 talk to it unchanged
//! (`AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2`). The data plane is a real HTTP proxy: each listener
//! opens its port on 127.0.0.1, splits requests by weight over target groups, checks its targets'
//! health and counts what an ALB would count.
//!
//! What differs from AWS, on purpose: one process and one zone; changes count from the next request
//! (AWS gives no bound); health is checked twice a second; a deregistered target gets no draining time;
//! stickiness is kept and returned but not obeyed; only forward actions, conditions on path,
//! header and query, and protocol HTTP exist; targets are loopback addresses, or instances that stand for some;
//! nothing but rules can be deleted.
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use penstock::alb::{Alb, AlbConfig};
//!
//! let alb = Alb::start(AlbConfig::default())?;
//! let port = tokio::net::TcpListener::bind("127.0.0.1:4570").await?;
//! axum::serve(port, alb.router()).await?;
//! # Ok(()) }
//! ```

mod arn;
mod conditions;
mod described;
mod error;
mod health;
mod instances;
mod operations;
mod proxy;
mod query;
mod rules;
mod state;
mod targets;
mod traffic;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws::local::metrics::Second;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use uuid::Uuid;

use error::ApiError;
use query::Query;
use state::State;
pub(crate) use targets::{GroupUse, TargetHealth};
pub(crate) use traffic::three_digits;

/// Largest request to the control plane.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// How a local load balancer is set up.
#[derive(Clone)]
pub struct AlbConfig {
    /// The region in the ARNs.
    pub region: String,
    /// The account in the ARNs: 12 digits.
    pub account: String,
    /// Seed of the choices by weight and of the ids in ARNs; `None` takes a new one each time.
    pub seed: Option<u64>,
    /// The EC2 instances that target groups of type `instance` may have, each with the loopback
    /// address on which its targets listen.
    pub instances: BTreeMap<String, IpAddr>,
    /// Tells the time.
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Default for AlbConfig {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            account: "000000000000".to_owned(),
            seed: None,
            instances: BTreeMap::new(),
            clock: Arc::new(Timestamp::now),
        }
    }
}

impl fmt::Debug for AlbConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlbConfig")
            .field("region", &self.region)
            .field("account", &self.account)
            .field("seed", &self.seed)
            .field("instances", &self.instances)
            .finish_non_exhaustive()
    }
}

/// Why a load balancer could not start.
#[derive(Debug, thiserror::Error)]
pub enum AlbError {
    /// The account would make ARNs that no SDK accepts.
    #[error("could not start the load balancer: the account must be 12 digits, not '{0}'")]
    Account(String),
    /// The region would make ARNs that no SDK accepts.
    #[error("could not start the load balancer: the region must be like us-east-1, not '{0}'")]
    Region(String),
    /// No instance has such an id, or its address is not of this machine.
    #[error(
        "could not start the load balancer: instance '{0}' at {1}: an id is like i-0123456789abcdef0, \
         and the address must be of this machine alone, like 127.0.0.1"
    )]
    Instance(String, IpAddr),
    /// Its health checks need a runtime to run on.
    #[error("could not start the load balancer outside of a tokio runtime")]
    Runtime(#[from] tokio::runtime::TryCurrentError),
}

/// A running load balancer service. Dropping the last handle closes its ports.
#[derive(Debug)]
pub struct Alb {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
}

/// What the control plane, the proxies and the health checks share.
struct Shared {
    state: Mutex<State>,
    traffic: traffic::Traffic,
    targets: proxy::Targets,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Operations check everything before they change anything, so a panic leaves a usable state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

impl Alb {
    /// Starts an empty load balancer service; load balancers are created through its API.
    ///
    /// # Errors
    /// When `config` could not make valid ARNs, or when there is no tokio runtime.
    pub fn start(config: AlbConfig) -> Result<Arc<Self>, AlbError> {
        let runtime = Handle::try_current()?;
        if config.account.len() != 12 || !config.account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AlbError::Account(config.account));
        }
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if config.region.is_empty() || !config.region.bytes().all(allowed) {
            return Err(AlbError::Region(config.region));
        }
        let random = config
            .seed
            .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
        let home = arn::Home {
            region: config.region,
            account: config.account,
        };
        let instances = instances::Instances::new(config.instances)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(home, random, instances)),
            traffic: traffic::Traffic::default(),
            targets: proxy::targets(),
            clock: config.clock,
        });
        let mut tasks = JoinSet::new();
        tasks.spawn_on(health::poll(Arc::clone(&shared)), &runtime);
        Ok(Arc::new(Self {
            shared,
            tasks: Mutex::new(tasks),
        }))
    }

    /// The control plane: `POST /`, on a port of its own or under a path by `Router::nest_service`.
    pub fn router(self: &Arc<Self>) -> Router {
        let alb = Arc::clone(self);
        let operation = move |body: Bytes| {
            let alb = Arc::clone(&alb);
            async move { alb.respond(&body) }
        };
        Router::new()
            .route("/", post(operation))
            .layer(DefaultBodyLimit::max(REQUEST_BYTES_MAX))
    }

    /// Takes the counts of all seconds that are over, oldest first; each is given out once.
    ///
    /// A load balancer that had a request in a second reports all its groups, idle ones with zeros.
    /// Feed it to [`aws::local::metrics::Publisher`].
    pub fn take_finished_seconds(&self) -> Vec<Second> {
        let mut seconds = self
            .shared
            .traffic
            .take_before(self.shared.now().as_second());
        let state = self.shared.state();
        for second in &mut seconds {
            for group in state.group_dimensions(&second.load_balancer) {
                second.groups.entry(group).or_default();
            }
        }
        seconds
    }

    fn respond(&self, body: &[u8]) -> Response {
        let request_id = Uuid::new_v4().to_string();
        let answer = Query::parse(body).and_then(|query| self.perform(query, &request_id));
        let (status, xml) = match answer {
            Ok(xml) => (StatusCode::OK, xml),
            Err(error) => {
                tracing::debug!(%error, "the load balancer refused a call");
                let status =
                    StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
                (status, query::failure(&request_id, &error))
            }
        };
        (status, [(header::CONTENT_TYPE, "text/xml")], xml).into_response()
    }

    fn perform(&self, query: Query, request_id: &str) -> Result<String, ApiError> {
        let action = query.action.clone();
        let xml = Answer {
            action: &action,
            request_id,
        };
        let state = || self.shared.state();
        match action.as_str() {
            "CreateLoadBalancer" => {
                xml.of(state().create_load_balancer(query.parameters()?, self.shared.now()))
            }
            "CreateTargetGroup" => xml.of(state().create_target_group(query.parameters()?)),
            "CreateListener" => xml.of(self.create_listener(query)),
            "CreateRule" => xml.of(state().create_rule(query.parameters()?)),
            "DeleteRule" => xml.of(state().delete_rule(query.parameters()?)),
            "DescribeTags" => xml.of(state().describe_tags(query.parameters()?)),
            "DescribeLoadBalancers" => xml.of(state().describe_load_balancers(query.parameters()?)),
            "DescribeTargetGroups" => xml.of(state().describe_target_groups(query.parameters()?)),
            "DescribeListeners" => xml.of(state().describe_listeners(query.parameters()?)),
            "DescribeRules" => xml.of(state().describe_rules(query.parameters()?)),
            "DescribeTargetHealth" => xml.of(state().describe_target_health(query.parameters()?)),
            "ModifyListener" => xml.of(state().modify_listener(query.parameters()?)),
            "ModifyRule" => xml.of(state().modify_rule(query.parameters()?)),
            "RegisterTargets" => xml.of(state().register_targets(query.parameters()?)),
            "DeregisterTargets" => xml.of(state().deregister_targets(query.parameters()?)),
            unknown => Err(ApiError::invalid_action(unknown)),
        }
    }

    /// Creates a listener and starts the proxy on its port.
    fn create_listener(&self, query: Query) -> Result<wire::Listeners, ApiError> {
        let (listener, port) = self
            .shared
            .state()
            .create_listener(query.parameters()?, proxy::open)?;
        let front = proxy::Front {
            listener_arn: listener.arn.clone(),
            load_balancer: arn::load_balancer_dimension(&listener.load_balancer_arn).to_owned(),
            port: listener.port,
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn(proxy::serve(port, front, Arc::clone(&self.shared)));
        Ok(operations::one_listener(&listener))
    }
}

/// Writes the answer of one call.
struct Answer<'a> {
    action: &'a str,
    request_id: &'a str,
}

impl Answer<'_> {
    fn of<T: Serialize>(&self, result: Result<T, ApiError>) -> Result<String, ApiError> {
        query::success(self.action, self.request_id, &result?)
    }
}
