//! The local load balancer, seen from outside: through the Rust SDK and through its listeners' ports.

#[path = "alb/releases.rs"]
mod releases;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws::local::elbv2::config::{BehaviorVersion, Credentials, Region};
use aws::local::elbv2::error::ProvideErrorMetadata;
use aws::local::elbv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, HttpHeaderConditionConfig,
    PathPatternConditionConfig, ProtocolEnum, QueryStringConditionConfig, QueryStringKeyValuePair,
    Rule, RuleCondition, Tag, TargetDescription, TargetGroupStickinessConfig, TargetGroupTuple,
    TargetHealthStateEnum, TargetTypeEnum,
};
use aws::local::elbv2::{Client, Config};
use aws::local::metrics::{GroupCounts, Second};
use axum::Router;
use axum::http::StatusCode;
use jiff::Timestamp;
use penstock::alb::{Alb, AlbConfig};
use penstock::load::{self, Load};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use tokio::net::TcpListener;

const SEED: u64 = 7;

/// An instance of the stage, at 127.0.0.1.
const INSTANCE: &str = "i-0123456789abcdef0";

/// The second at which a stage's clock begins.
const BEGINNING: i64 = 1_790_000_000;

/// Longest wait for something that takes two health checks.
const PATIENCE: Duration = Duration::from_secs(20);

/// A load balancer service, its SDK client and its clock.
struct Stage {
    alb: Arc<Alb>,
    endpoint: SocketAddr,
    sdk: Client,
    clock: Arc<AtomicI64>,
}

/// One load balancer with a listener whose default is `blue`, and a rule for `/shop*`.
struct Shop {
    balancer: String,
    listener: String,
    rule: String,
    port: u16,
}

impl Stage {
    async fn new() -> Self {
        let clock = Arc::new(AtomicI64::new(BEGINNING));
        let hands = Arc::clone(&clock);
        let config = AlbConfig {
            seed: Some(SEED),
            instances: [(INSTANCE.to_owned(), Ipv4Addr::LOCALHOST.into())].into(),
            clock: Arc::new(move || {
                Timestamp::new(hands.load(Ordering::SeqCst), 0).expect("a time")
            }),
            ..AlbConfig::default()
        };
        let alb = Alb::start(config).expect("a load balancer");
        let endpoint = serve(alb.router()).await;
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(format!("http://{endpoint}"))
            .build();
        Self {
            alb,
            endpoint,
            sdk: Client::from_conf(config),
            clock,
        }
    }

    async fn group(&self, name: &str) -> String {
        let created = self
            .sdk
            .create_target_group()
            .name(name)
            .target_type(TargetTypeEnum::Ip)
            .protocol(ProtocolEnum::Http)
            .port(80)
            .health_check_path("/health")
            .healthy_threshold_count(2)
            .unhealthy_threshold_count(2)
            .send()
            .await
            .expect("a target group");
        created.target_groups()[0]
            .target_group_arn()
            .expect("an ARN")
            .to_owned()
    }

    async fn shop(&self, shares: &[(&str, i32)]) -> Shop {
        let balancer = self
            .sdk
            .create_load_balancer()
            .name("shop")
            .send()
            .await
            .expect("a load balancer");
        let balancer = balancer.load_balancers()[0]
            .load_balancer_arn()
            .expect("an ARN")
            .to_owned();
        let port = free_port().await;
        let listener = self
            .sdk
            .create_listener()
            .load_balancer_arn(&balancer)
            .protocol(ProtocolEnum::Http)
            .port(port.into())
            .default_actions(forward(&[(shares[0].0, 1)]))
            .send()
            .await
            .expect("a listener");
        let listener = listener.listeners()[0]
            .listener_arn()
            .expect("an ARN")
            .to_owned();
        let rule = self
            .sdk
            .create_rule()
            .listener_arn(&listener)
            .priority(10)
            .conditions(path("/shop*"))
            .actions(forward(shares))
            .send()
            .await
            .expect("a rule");
        let rule = rule.rules()[0].rule_arn().expect("an ARN").to_owned();
        Shop {
            balancer,
            listener,
            rule,
            port,
        }
    }

    async fn register(&self, group: &str, target: SocketAddr) {
        let registered = self
            .sdk
            .register_targets()
            .target_group_arn(group)
            .targets(description(target))
            .send();
        registered.await.expect("a registered target");
    }

    async fn set_weights(&self, rule: &str, shares: &[(&str, i32)]) {
        let modified = self
            .sdk
            .modify_rule()
            .rule_arn(rule)
            .actions(forward(shares))
            .send();
        modified.await.expect("a modified rule");
    }

    async fn health(&self, group: &str) -> Vec<TargetHealthStateEnum> {
        let health = self
            .sdk
            .describe_target_health()
            .target_group_arn(group)
            .send()
            .await
            .expect("health");
        let states = health
            .target_health_descriptions()
            .iter()
            .map(|it| it.target_health()?.state().cloned());
        states
            .collect::<Option<_>>()
            .expect("a state for each target")
    }

    async fn until_health(&self, group: &str, state: TargetHealthStateEnum) {
        let begun = Instant::now();
        while self.health(group).await != [state.clone()] {
            assert!(
                begun.elapsed() < PATIENCE,
                "the target did not become {state:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All counts until now, by group's name.
    fn counts(&self) -> (Vec<Second>, BTreeMap<String, GroupCounts>) {
        self.clock.fetch_add(1, Ordering::SeqCst);
        let seconds = self.alb.take_finished_seconds();
        let mut sums: BTreeMap<String, GroupCounts> = BTreeMap::new();
        for (group, counts) in seconds.iter().flat_map(|second| &second.groups) {
            let name = group.split('/').nth(1).expect("a name").to_owned();
            let sum = sums.entry(name).or_default();
            sum.requests += counts.requests;
            sum.connection_errors += counts.connection_errors;
            sum.answers
                .iter_mut()
                .zip(counts.answers)
                .for_each(|(sum, n)| *sum += n);
            counts
                .response_micros
                .iter()
                .for_each(|(micros, n)| *sum.response_micros.entry(*micros).or_default() += n);
        }
        (seconds, sums)
    }
}

impl Shop {
    /// Asks for `/shop` so many times over a few kept connections; the number of answers by status.
    async fn ask(&self, times: usize) -> BTreeMap<u16, usize> {
        let client = reqwest::Client::new();
        let mut answers = BTreeMap::new();
        for _ in 0..times {
            *answers
                .entry(get(&client, self.port, "/shop").await)
                .or_default() += 1;
        }
        answers
    }
}

async fn get(client: &reqwest::Client, port: u16, path: &str) -> u16 {
    let answer = client
        .get(format!("http://127.0.0.1:{port}{path}"))
        .send()
        .await
        .expect("an answer");
    let status = answer.status().as_u16();
    answer.bytes().await.expect("a whole answer");
    status
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A target that answers everything with `status`, health checks always with 200.
async fn target(status: u16) -> SocketAddr {
    let status = StatusCode::from_u16(status).expect("a status");
    let router = Router::new().route("/health", axum::routing::get(|| async {}));
    serve(router.fallback(move || async move { status })).await
}

/// A port nobody listens on now.
async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address").port()
}

fn tuples(shares: &[(&str, i32)]) -> Vec<TargetGroupTuple> {
    let tuple = |(arn, weight): &(&str, i32)| {
        TargetGroupTuple::builder()
            .target_group_arn(*arn)
            .weight(*weight)
            .build()
    };
    shares.iter().map(tuple).collect()
}

fn forward(shares: &[(&str, i32)]) -> Action {
    let config = ForwardActionConfig::builder()
        .set_target_groups(Some(tuples(shares)))
        .build();
    Action::builder()
        .r#type(ActionTypeEnum::Forward)
        .forward_config(config)
        .build()
}

fn path(pattern: &str) -> RuleCondition {
    let config = PathPatternConditionConfig::builder()
        .values(pattern)
        .build();
    RuleCondition::builder()
        .field("path-pattern")
        .path_pattern_config(config)
        .build()
}

fn description(target: SocketAddr) -> TargetDescription {
    TargetDescription::builder()
        .id(target.ip().to_string())
        .port(target.port().into())
        .build()
}

#[tokio::test]
async fn ten_thousand_requests_split_by_weight_within_binomial_bounds() {
    let stage = Stage::new().await;
    let (blue, green) = (stage.group("blue").await, stage.group("green").await);
    let shop = stage.shop(&[(&blue, 900), (&green, 100)]).await;
    stage.register(&blue, target(200).await).await;
    stage.register(&green, target(404).await).await;
    let answers = shop.ask(10_000).await;
    let (all, share) = (10_000.0, 0.1);
    let four_sigma = 4.0 * f64::sqrt(all * share * (1.0 - share));
    let green = answers[&404] as f64;
    assert!((green - all * share).abs() < four_sigma, "{answers:?}");
    assert_eq!(answers[&200] + answers[&404], 10_000);
}

#[tokio::test]
async fn new_weights_count_from_the_next_request() {
    let stage = Stage::new().await;
    let (blue, green) = (stage.group("blue").await, stage.group("green").await);
    let shop = stage.shop(&[(&blue, 999), (&green, 0)]).await;
    stage.register(&blue, target(200).await).await;
    stage.register(&green, target(404).await).await;
    for _ in 0..20 {
        stage
            .set_weights(&shop.rule, &[(&blue, 1), (&green, 0)])
            .await;
        assert_eq!(shop.ask(5).await, BTreeMap::from([(200, 5)]));
        stage
            .set_weights(&shop.rule, &[(&blue, 0), (&green, 1)])
            .await;
        assert_eq!(shop.ask(5).await, BTreeMap::from([(404, 5)]));
    }
}

#[tokio::test]
async fn a_group_without_targets_answers_503_and_its_share_is_not_given_to_others() {
    let stage = Stage::new().await;
    let (blue, green) = (stage.group("blue").await, stage.group("green").await);
    let shop = stage.shop(&[(&blue, 1), (&green, 1)]).await;
    stage.register(&blue, target(200).await).await;
    let answers = shop.ask(200).await;
    assert!(answers[&503] > 50 && answers[&200] > 50, "{answers:?}");
    let (seconds, counts) = stage.counts();
    assert_eq!(
        seconds.iter().map(|second| second.elb_5xx).sum::<u64>(),
        answers[&503] as u64
    );
    assert_eq!(counts["blue"].requests, answers[&200] as u64);
    assert_eq!(
        counts["green"],
        GroupCounts::default(),
        "no target was chosen, so nothing reached the group"
    );
}

#[tokio::test]
async fn counts_add_up_exactly_to_the_requests_sent() {
    let stage = Stage::new().await;
    let groups = [
        stage.group("ok").await,
        stage.group("bad").await,
        stage.group("down").await,
    ];
    let shares = [
        (groups[0].as_str(), 3),
        (groups[1].as_str(), 2),
        (groups[2].as_str(), 1),
    ];
    let shop = stage.shop(&shares).await;
    stage.register(&groups[0], target(302).await).await;
    stage.register(&groups[1], target(500).await).await;
    stage
        .register(&groups[2], ([127, 0, 0, 1], free_port().await).into())
        .await;
    let mut asked: BTreeMap<u16, usize> = BTreeMap::new();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    for request in 0..300 {
        if request % 100 == 99 {
            stage.clock.fetch_add(1, Ordering::SeqCst);
        }
        *asked
            .entry(get(&client, shop.port, "/shop").await)
            .or_default() += 1;
    }
    let (seconds, counts) = stage.counts();
    assert_eq!(
        seconds.iter().map(|second| second.at).collect::<Vec<_>>(),
        [0, 1, 2, 3].map(|n| BEGINNING + n)
    );
    assert!(
        seconds.iter().all(|second| second.groups.len() == 3),
        "idle groups are reported, too"
    );
    assert_eq!(
        counts.values().map(|counts| counts.requests).sum::<u64>(),
        300
    );
    assert_eq!(counts["ok"].answers, [0, asked[&302] as u64, 0, 0]);
    assert_eq!(counts["bad"].answers, [0, 0, 0, asked[&500] as u64]);
    assert_eq!(counts["down"].connection_errors, asked[&502] as u64);
    assert_eq!(counts["down"].answers, [0; 4]);
    assert_eq!(
        seconds.iter().map(|second| second.elb_5xx).sum::<u64>(),
        asked[&502] as u64
    );
    assert_eq!(
        counts["bad"].response_micros.values().sum::<u64>(),
        counts["bad"].requests
    );
    assert_eq!(stage.counts().0, [], "a second is given out once");
}

#[tokio::test]
async fn a_request_whose_client_gave_up_is_still_counted() {
    let stage = Stage::new().await;
    let blue = stage.group("blue").await;
    let shop = stage.shop(&[(&blue, 1)]).await;
    let slow =
        Router::new().fallback(|| async { tokio::time::sleep(Duration::from_secs(60)).await });
    stage.register(&blue, serve(slow).await).await;
    let client = reqwest::Client::builder()
        .timeout(Duration::from_millis(300))
        .build()
        .expect("a client");
    let url = format!("http://127.0.0.1:{}/shop", shop.port);
    client.get(url).send().await.expect_err("no answer in time");
    let begun = Instant::now();
    let blue = loop {
        if let Some(counts) = stage.counts().1.remove("blue") {
            break counts;
        }
        assert!(begun.elapsed() < PATIENCE, "the request was not counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(
        blue,
        GroupCounts {
            requests: 1,
            ..GroupCounts::default()
        }
    );
}

#[tokio::test]
async fn connections_are_kept_on_both_sides() {
    let stage = Stage::new().await;
    let blue = stage.group("blue").await;
    let shop = stage.shop(&[(&blue, 1)]).await;
    let connections = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        let service = hyper::service::service_fn(
            |request: hyper::Request<hyper::body::Incoming>| async move {
                let healthy = request.uri().path() == "/health";
                // Health checks come over connections of their own, which must not be counted.
                let close = if healthy { "close" } else { "keep-alive" };
                let answer = hyper::Response::builder()
                    .header("connection", close)
                    .header("x-path", request.uri().path());
                answer.body(http_body_util::Full::new(bytes::Bytes::from("hello")))
            },
        );
        while let Ok((stream, _)) = listener.accept().await {
            let mut first = [0; 9];
            let peeked = stream.peek(&mut first).await.unwrap_or(0);
            if first[..peeked].starts_with(b"GET /shop") {
                counted.fetch_add(1, Ordering::SeqCst);
            }
            let stream = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(stream, service),
            );
        }
    });
    stage.register(&blue, address).await;
    assert_eq!(shop.ask(100).await, BTreeMap::from([(200, 100)]));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_rule_with_the_lowest_priority_that_matches_wins_and_else_the_default() {
    let stage = Stage::new().await;
    let (blue, green, red) = (
        stage.group("blue").await,
        stage.group("green").await,
        stage.group("red").await,
    );
    let shop = stage.shop(&[(&blue, 1)]).await;
    for (priority, pattern, group) in [(20, "/shop/new*", &red), (5, "/shop/n?w/*", &green)] {
        let rule = stage
            .sdk
            .create_rule()
            .listener_arn(&shop.listener)
            .priority(priority);
        rule.conditions(path(pattern))
            .actions(forward(&[(group, 1)]))
            .send()
            .await
            .expect("a rule");
    }
    stage.register(&blue, target(201).await).await;
    stage.register(&green, target(202).await).await;
    stage.register(&red, target(204).await).await;
    let client = reqwest::Client::new();
    for (path, status) in [
        ("/", 201),
        ("/shop/new", 201),
        ("/shop/new/x?y=1", 202),
        ("/shop/naw/", 202),
    ] {
        assert_eq!(get(&client, shop.port, path).await, status, "{path}");
    }
    let rules = stage
        .sdk
        .describe_rules()
        .listener_arn(&shop.listener)
        .send()
        .await
        .expect("rules");
    let priorities: Vec<_> = rules.rules().iter().filter_map(Rule::priority).collect();
    assert_eq!(priorities, ["5", "10", "20", "default"]);
    assert_eq!(rules.rules()[3].is_default(), Some(true));
}

#[tokio::test]
async fn targets_go_from_unused_over_healthy_to_unhealthy() {
    let stage = Stage::new().await;
    let (blue, green) = (stage.group("blue").await, stage.group("green").await);
    let shop = stage.shop(&[(&blue, 1)]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = Router::new().route("/health", axum::routing::get(|| async {}));
    let service = tokio::spawn(async move { axum::serve(listener, router).await });
    stage.register(&green, address).await;
    assert_eq!(stage.health(&green).await, [TargetHealthStateEnum::Unused]);
    stage
        .set_weights(&shop.rule, &[(&blue, 1), (&green, 0)])
        .await;
    assert_eq!(stage.health(&green).await, [TargetHealthStateEnum::Initial]);
    stage
        .until_health(&green, TargetHealthStateEnum::Healthy)
        .await;
    service.abort();
    stage
        .until_health(&green, TargetHealthStateEnum::Unhealthy)
        .await;
    let gone = stage
        .sdk
        .deregister_targets()
        .target_group_arn(&green)
        .targets(description(address));
    gone.send().await.expect("a deregistered target");
    assert_eq!(stage.health(&green).await, []);
    let asked = stage
        .sdk
        .describe_target_health()
        .target_group_arn(&green)
        .targets(description(address));
    let asked = asked.send().await.expect("health");
    let reason = asked.target_health_descriptions()[0]
        .target_health()
        .and_then(|health| health.reason());
    assert_eq!(
        reason.map(|reason| reason.as_str()),
        Some("Target.NotRegistered")
    );
}

#[tokio::test]
async fn refusals_carry_the_codes_of_aws() {
    let stage = Stage::new().await;
    let blue = stage.group("blue").await;
    let shop = stage.shop(&[(&blue, 1)]).await;
    let sdk = &stage.sdk;
    let missing = format!("{}0", shop.rule);
    let error = sdk
        .describe_rules()
        .rule_arns(&missing)
        .send()
        .await
        .expect_err("no such rule")
        .into_service_error();
    assert!(error.is_rule_not_found_exception(), "{error:?}");
    let modify = |action| {
        sdk.modify_rule()
            .rule_arn(&shop.rule)
            .actions(action)
            .send()
    };
    let error = modify(forward(&[("arn:missing", 1)]))
        .await
        .expect_err("no such group")
        .into_service_error();
    assert!(error.is_target_group_not_found_exception(), "{error:?}");
    for weights in [vec![1000], vec![-1], vec![1; 6]] {
        let shares: Vec<_> = weights
            .into_iter()
            .map(|weight| (blue.as_str(), weight))
            .collect();
        let error = modify(forward(&shares))
            .await
            .expect_err("out of range")
            .into_service_error();
        assert_eq!(error.code(), Some("ValidationError"), "{error:?}");
    }
}

#[tokio::test]
async fn what_is_taken_fixed_or_not_here_is_refused_by_name() {
    let stage = Stage::new().await;
    let blue = stage.group("blue").await;
    let shop = stage.shop(&[(&blue, 1)]).await;
    let sdk = &stage.sdk;
    let rule = sdk
        .create_rule()
        .listener_arn(&shop.listener)
        .priority(10)
        .conditions(path("/x"));
    let error = rule
        .actions(forward(&[(&blue, 1)]))
        .send()
        .await
        .expect_err("taken")
        .into_service_error();
    assert!(error.is_priority_in_use_exception(), "{error:?}");
    let rules = sdk
        .describe_rules()
        .listener_arn(&shop.listener)
        .send()
        .await
        .expect("rules");
    let default = rules.rules()[1].rule_arn().expect("an ARN");
    let error = sdk
        .modify_rule()
        .rule_arn(default)
        .actions(forward(&[(&blue, 1)]))
        .send()
        .await;
    let error = error.expect_err("the default rule").into_service_error();
    assert!(error.is_operation_not_permitted_exception(), "{error:?}");
    let error = sdk.delete_rule().rule_arn(default).send().await;
    let error = error.expect_err("the default rule").into_service_error();
    assert!(error.is_operation_not_permitted_exception(), "{error:?}");
    let error = sdk
        .delete_listener()
        .listener_arn(&shop.listener)
        .send()
        .await
        .expect_err("not served");
    assert_eq!(error.code(), Some("InvalidAction"), "{error:?}");
    let outside = "192.0.2.1:80".parse().expect("an address");
    let error = sdk
        .register_targets()
        .target_group_arn(&blue)
        .targets(description(outside))
        .send()
        .await;
    let error = error.expect_err("not loopback").into_service_error();
    assert!(error.is_invalid_target_exception(), "{error:?}");
}

#[tokio::test]
async fn lists_describe_what_was_created() {
    let stage = Stage::new().await;
    let blue = stage.group("blue").await;
    let shop = stage.shop(&[(&blue, 7)]).await;
    let sdk = &stage.sdk;
    let balancers = sdk
        .describe_load_balancers()
        .names("shop")
        .send()
        .await
        .expect("load balancers");
    let balancer = &balancers.load_balancers()[0];
    assert_eq!(balancer.load_balancer_arn(), Some(shop.balancer.as_str()));
    assert_eq!(
        balancer.created_time().map(|time| time.secs()),
        Some(BEGINNING)
    );
    assert!(
        shop.balancer.starts_with(
            "arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/shop/"
        )
    );
    let listeners = sdk
        .describe_listeners()
        .load_balancer_arn(&shop.balancer)
        .send()
        .await
        .expect("listeners");
    assert_eq!(listeners.listeners()[0].port(), Some(shop.port.into()));
    let action = &listeners.listeners()[0].default_actions()[0];
    assert_eq!(
        action.target_group_arn(),
        Some(blue.as_str()),
        "a single group is named both ways"
    );
    assert_eq!(
        action
            .forward_config()
            .map(|config| config.target_groups().len()),
        Some(1)
    );
    let groups = sdk
        .describe_target_groups()
        .load_balancer_arn(&shop.balancer)
        .send()
        .await
        .expect("groups");
    assert_eq!(
        groups.target_groups()[0].target_group_arn(),
        Some(blue.as_str())
    );
    assert_eq!(
        groups.target_groups()[0].health_check_path(),
        Some("/health")
    );
    assert_eq!(
        groups.target_groups()[0].load_balancer_arns(),
        std::slice::from_ref(&shop.balancer)
    );
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let stage = Stage::new().await;
    let blue = stage.group("blue").await;
    let shop = stage.shop(&[(&blue, 1)]).await;
    let sdk = &stage.sdk;
    let first = sdk
        .describe_rules()
        .listener_arn(&shop.listener)
        .page_size(1)
        .send()
        .await
        .expect("a page");
    let second = sdk
        .describe_rules()
        .listener_arn(&shop.listener)
        .marker(first.next_marker().expect("more"));
    let second = second.send().await.expect("a page");
    assert_eq!(
        (
            first.rules().len(),
            second.rules().len(),
            second.next_marker()
        ),
        (1, 1, None)
    );
}

#[tokio::test]
async fn creating_the_same_again_returns_what_exists() {
    let stage = Stage::new().await;
    let blue = stage.group("blue").await;
    let shop = stage.shop(&[(&blue, 1)]).await;
    assert_eq!(stage.group("blue").await, blue);
    let again = stage.sdk.create_load_balancer().name("shop").send().await;
    let again = again.expect("the same load balancer");
    assert_eq!(
        again.load_balancers()[0].load_balancer_arn(),
        Some(shop.balancer.as_str())
    );
}

#[tokio::test]
async fn a_listeners_default_moves_by_modify_listener() {
    let stage = Stage::new().await;
    let (blue, green) = (stage.group("blue").await, stage.group("green").await);
    let shop = stage.shop(&[(&blue, 1)]).await;
    stage.register(&blue, target(200).await).await;
    stage.register(&green, target(404).await).await;
    let client = reqwest::Client::new();
    assert_eq!(get(&client, shop.port, "/").await, 200);
    let modify = stage
        .sdk
        .modify_listener()
        .listener_arn(&shop.listener)
        .default_actions(forward(&[(&green, 1)]));
    modify.send().await.expect("a modified listener");
    assert_eq!(get(&client, shop.port, "/").await, 404);
    assert_eq!(
        get(&client, shop.port, "/shop").await,
        200,
        "rules stay what they were"
    );
}

#[tokio::test]
async fn a_rule_takes_what_meets_all_its_conditions_until_it_is_deleted() {
    let stage = Stage::new().await;
    let (blue, green) = (stage.group("blue").await, stage.group("green").await);
    let shop = stage.shop(&[(&blue, 1)]).await;
    stage.register(&blue, target(200).await).await;
    stage.register(&green, target(404).await).await;
    let test = HttpHeaderConditionConfig::builder()
        .http_header_name("X-Test")
        .values("canary*");
    let pair = QueryStringKeyValuePair::builder().key("t").value("1");
    let query = QueryStringConditionConfig::builder().values(pair.build());
    let headers = RuleCondition::builder().field("http-header");
    let queries = RuleCondition::builder().field("query-string");
    let conditions = [
        path("/shop*"),
        headers.http_header_config(test.build()).build(),
        queries.query_string_config(query.build()).build(),
    ];
    let created = stage
        .sdk
        .create_rule()
        .listener_arn(&shop.listener)
        .priority(9)
        .set_conditions(Some(conditions.to_vec()))
        .actions(forward(&[(&green, 1)]))
        .tags(Tag::builder().key("made:by").value("a test").build())
        .send()
        .await
        .expect("a rule");
    let rule = created.rules()[0].rule_arn().expect("an ARN");
    assert_eq!(created.rules()[0].conditions()[1..], conditions[1..]);
    let client = reqwest::Client::new();
    let ask = async |address: &str, header: &str| {
        let url = format!("http://127.0.0.1:{}{address}", shop.port);
        let answer = client.get(url).header("x-test", header).send().await;
        answer.expect("an answer").status().as_u16()
    };
    assert_eq!(ask("/shop?t=1", "CANARY-7").await, 404);
    for (address, header) in [
        ("/shop?t=2", "canary"),
        ("/shop", "canary"),
        ("/shop?t=1", "stable"),
        ("/?t=1", "canary"),
    ] {
        assert_eq!(ask(address, header).await, 200, "{address} {header}");
    }
    let tags = stage.sdk.describe_tags().resource_arns(rule);
    let tags = tags.resource_arns(&shop.rule).send().await.expect("tags");
    let tags = tags.tag_descriptions();
    assert_eq!(tags[0].tags()[0].value(), Some("a test"));
    assert_eq!(tags[1].tags(), []);
    let delete = || stage.sdk.delete_rule().rule_arn(rule).send();
    delete().await.expect("a deleted rule");
    assert_eq!(ask("/shop?t=1", "canary").await, 200);
    let error = delete().await.expect_err("gone").into_service_error();
    assert!(error.is_rule_not_found_exception(), "{error:?}");
}

#[tokio::test]
async fn an_instance_stands_for_an_address_and_has_the_groups_port() {
    let stage = Stage::new().await;
    let served = target(200).await;
    let group = stage
        .sdk
        .create_target_group()
        .name("fleet")
        .protocol(ProtocolEnum::Http)
        .port(served.port().into())
        .health_check_path("/health")
        .target_type(TargetTypeEnum::Instance)
        .send()
        .await
        .expect("a target group");
    let group = &group.target_groups()[0];
    assert_eq!(group.target_type(), Some(&TargetTypeEnum::Instance));
    let group = group.target_group_arn().expect("an ARN").to_owned();
    let shop = stage.shop(&[(&group, 1)]).await;
    let register = |id: &str| {
        let target = TargetDescription::builder().id(id).build();
        let register = stage.sdk.register_targets().target_group_arn(&group);
        register.targets(target).send()
    };
    let unknown = register("i-0fedcba9876543210").await;
    let unknown = unknown.expect_err("unknown").into_service_error();
    assert!(unknown.is_invalid_target_exception(), "{unknown:?}");
    register(INSTANCE).await.expect("a registered instance");
    stage
        .until_health(&group, TargetHealthStateEnum::Healthy)
        .await;
    let health = stage.sdk.describe_target_health().target_group_arn(&group);
    let health = health.send().await.expect("health");
    let told = health.target_health_descriptions()[0].target();
    assert_eq!(told.and_then(|target| target.id()), Some(INSTANCE));
    assert_eq!(shop.ask(3).await, BTreeMap::from([(200, 3)]));
}

/// Any forward action over some of these groups.
fn any_forward(groups: Vec<String>) -> impl Strategy<Value = Action> {
    let weights = prop::collection::vec(0_i32..=999, 1..=groups.len());
    let duration = prop::option::of(1_i32..=604_800);
    let order = prop::option::of(1_i32..=50_000);
    let arns = Just(groups).prop_shuffle();
    (weights, duration, order, arns).prop_map(|(weights, duration, order, arns)| {
        let stickiness = TargetGroupStickinessConfig::builder()
            .enabled(duration.is_some())
            .set_duration_seconds(duration)
            .build();
        let shares: Vec<_> = arns.iter().map(String::as_str).zip(weights).collect();
        let config = ForwardActionConfig::builder()
            .set_target_groups(Some(tuples(&shares)))
            .target_group_stickiness_config(stickiness)
            .build();
        Action::builder()
            .r#type(ActionTypeEnum::Forward)
            .set_order(order)
            .forward_config(config)
            .build()
    })
}

#[test]
fn whatever_modify_rule_sets_describe_rules_returns() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (stage, groups, shop) = runtime.block_on(async {
        let stage = Stage::new().await;
        let mut groups = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            groups.push(stage.group(name).await);
        }
        let shop = stage.shop(&[(&groups[0], 1)]).await;
        (stage, groups, shop)
    });
    let patterns = prop::collection::vec("/[a-zA-Z0-9_.$~@:+&*?'\"-]{0,60}", 1..=5);
    let mut runner = TestRunner::new(Cases {
        failure_persistence: None,
        ..Cases::with_cases(64)
    });
    let law = |(action, patterns): (Action, Vec<String>)| {
        let paths = PathPatternConditionConfig::builder()
            .set_values(Some(patterns.clone()))
            .build();
        let condition = RuleCondition::builder()
            .field("path-pattern")
            .path_pattern_config(paths)
            .build();
        let modify = stage.sdk.modify_rule().rule_arn(&shop.rule);
        let modify = modify.actions(action.clone()).conditions(condition);
        let describe = stage.sdk.describe_rules().rule_arns(&shop.rule);
        let described = runtime.block_on(async {
            modify.send().await.expect("a modified rule");
            describe.send().await.expect("the rule")
        });
        let rule = &described.rules()[0];
        prop_assert_eq!(rule.actions()[0].forward_config(), action.forward_config());
        prop_assert_eq!(rule.actions()[0].order(), action.order());
        prop_assert_eq!(rule.conditions()[0].values(), patterns.as_slice());
        prop_assert_eq!(rule.priority(), Some("10"));
        Ok(())
    };
    let strategy = (any_forward(groups), patterns);
    runner.run(&strategy, law).expect("the law holds");
}

#[tokio::test]
async fn load_keeps_its_rate_and_its_totals_are_what_the_balancer_counted() {
    let stage = Stage::new().await;
    let (blue, green) = (stage.group("blue").await, stage.group("green").await);
    let shop = stage.shop(&[(&blue, 4), (&green, 1)]).await;
    stage.register(&blue, target(200).await).await;
    stage.register(&green, target(500).await).await;
    let load = Load {
        url: format!("http://127.0.0.1:{}/shop", shop.port)
            .parse()
            .expect("a URL"),
        rps: 200.try_into().expect("a rate"),
        duration: Duration::from_secs(2),
    };
    let totals = load::run(load, std::future::pending())
        .await
        .expect("totals");
    let (_, counts) = stage.counts();
    assert!(
        (200..=401).contains(&totals.sent),
        "never ahead of the schedule: {totals}"
    );
    assert_eq!((totals.failed, totals.skipped), (0, 0), "{totals}");
    assert_eq!(
        totals.answers,
        [
            0,
            counts["blue"].answers[0],
            0,
            0,
            counts["green"].answers[3]
        ]
    );
    assert_eq!(totals.answers.iter().sum::<u64>(), totals.sent);
}

#[tokio::test]
async fn load_stops_when_told_and_still_waits_for_open_requests() {
    let slow =
        Router::new().fallback(|| async { tokio::time::sleep(Duration::from_millis(300)).await });
    let load = Load {
        url: format!("http://{}/", serve(slow).await)
            .parse()
            .expect("a URL"),
        rps: 100.try_into().expect("a rate"),
        duration: Duration::from_secs(60),
    };
    let totals = load::run(load, tokio::time::sleep(Duration::from_millis(500)))
        .await
        .expect("totals");
    assert!(totals.elapsed < Duration::from_secs(10), "{totals}");
    assert!(totals.sent > 20, "{totals}");
    assert_eq!(totals.answers, [0, totals.sent, 0, 0, 0]);
}

/// A CloudWatch that answers its calls as told, the rest with success, and keeps their bodies.
mod cloudwatch {
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    use aws::local::SdkConfig;
    use aws::local::elbv2::config::{
        BehaviorVersion, Credentials, Region, SharedCredentialsProvider,
    };
    use aws::local::metrics::{GroupCounts, PublishError, Publisher, Second};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// How one call is answered.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Answer {
        Success,
        Refusal,
        /// The call is applied, and its answer lost.
        Silence,
    }

    /// The empty map and `{"__type": "Throttling"}`, in CBOR.
    const EMPTY: &[u8] = b"\xa0";
    const THROTTLING: &[u8] = b"\xa1\x66__type\x6aThrottling";

    type Calls = Arc<Mutex<Vec<Vec<u8>>>>;

    async fn start(answers: &[Answer]) -> (Publisher, Calls) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        (publisher(endpoint), answer_calls(listener, answers))
    }

    fn answer_calls(listener: TcpListener, answers: &[Answer]) -> Calls {
        let (mut answers, calls) = (VecDeque::from(answers.to_vec()), Calls::default());
        let kept = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let body = read_request(&mut stream).await;
                kept.lock().expect("calls").push(body);
                let (status, body) = match answers.pop_front().unwrap_or(Answer::Success) {
                    Answer::Success => ("200 OK", EMPTY),
                    Answer::Refusal => ("400 Bad Request", THROTTLING),
                    Answer::Silence => continue,
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nsmithy-protocol: rpc-v2-cbor\r\ncontent-type: application/cbor\r\n\
                     connection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                stream
                    .write_all(&[head.as_bytes(), body].concat())
                    .await
                    .expect("a written answer");
            }
        });
        calls
    }

    fn publisher(endpoint: String) -> Publisher {
        let credentials = Credentials::new("test", "test", None, None, "test");
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .endpoint_url(endpoint)
            .build();
        Publisher::new(&config)
    }

    async fn read_request(stream: &mut TcpStream) -> Vec<u8> {
        let (mut request, end) = (Vec::new(), b"\r\n\r\n");
        loop {
            stream.read_buf(&mut request).await.expect("a request");
            let Some(head) = request.windows(end.len()).position(|window| window == end) else {
                continue;
            };
            let text = String::from_utf8_lossy(&request[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .expect("a length");
            let length: usize = length.parse().expect("a number");
            if request.len() >= head + end.len() + length {
                return request.split_off(head + end.len());
            }
        }
    }

    fn second(at: i64) -> Vec<Second> {
        let groups = [(
            "targetgroup/blue/1".to_owned(),
            GroupCounts {
                requests: 3,
                ..GroupCounts::default()
            },
        )];
        let load_balancer = "app/shop/1".to_owned();
        vec![Second {
            load_balancer,
            at,
            groups: groups.into(),
            ..Second::default()
        }]
    }

    #[tokio::test]
    async fn refused_metrics_are_sent_again_once_and_unchanged() {
        let (mut publisher, calls) = start(&[Answer::Refusal]).await;
        let refused = publisher.publish(second(7)).await;
        assert!(
            matches!(refused, Err(PublishError::Refused { kept: 1, .. })),
            "{refused:?}"
        );
        publisher.publish(Vec::new()).await.expect("sent again");
        publisher
            .publish(Vec::new())
            .await
            .expect("nothing left to send");
        let calls = calls.lock().expect("calls");
        assert_eq!(calls.len(), 2);
        assert_eq!(calls[0], calls[1]);
    }

    #[tokio::test]
    async fn metrics_whose_answer_was_lost_are_never_sent_twice() {
        let (mut publisher, calls) = start(&[Answer::Silence]).await;
        let lost = publisher.publish(second(7)).await;
        assert!(
            matches!(lost, Err(PublishError::Unknown { metrics: 1, .. })),
            "{lost:?}"
        );
        publisher
            .publish(Vec::new())
            .await
            .expect("nothing left to send");
        assert_eq!(calls.lock().expect("calls").len(), 1);
        publisher.publish(second(8)).await.expect("the next second");
        assert_eq!(calls.lock().expect("calls").len(), 2);
    }

    #[tokio::test]
    async fn metrics_wait_while_nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let closed = listener.local_addr().expect("an address");
        drop(listener);
        let mut publisher = publisher(format!("http://{closed}"));
        for at in 1..=3 {
            let refused = publisher.publish(second(at)).await;
            assert!(
                matches!(refused, Err(PublishError::Refused { .. })),
                "{refused:?}"
            );
        }
        let listener = TcpListener::bind(closed).await.expect("the same port");
        let calls = answer_calls(listener, &[]);
        publisher.publish(Vec::new()).await.expect("sent at last");
        let calls = calls.lock().expect("calls");
        let name = b"RequestCount";
        let sent = calls
            .iter()
            .flat_map(|call| call.windows(name.len()))
            .filter(|window| window == name)
            .count();
        assert_eq!(
            (calls.len(), sent),
            (1, 3),
            "each of the three seconds once"
        );
    }
}
