//! What releases do to a load balancer, through the port that they use.

use aws::Aws;
use aws::local::pipeline::emulator;
use engine::{Class, PortError, TrafficTarget};
use release::config::{AlbRule, TargetSpec, TestTraffic};
use release::{Arms, Weight};

use super::*;

/// A shop whose rule and default forward to both groups, all to blue.
struct Released {
    stage: Stage,
    aws: Aws,
    shop: Shop,
    blue: String,
    green: String,
}

impl Released {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let (blue, green) = (stage.group("blue").await, stage.group("green").await);
        let shop = stage.shop(&[(&blue, 1), (&green, 0)]).await;
        let sdk = emulator(&format!("http://{}", stage.endpoint), "us-east-1").await;
        let released = Self {
            aws: Aws::new(&sdk, String::new()),
            stage,
            shop,
            blue,
            green,
        };
        let default = forward(&[(&released.blue, 1), (&released.green, 0)]);
        released.set_default(default).await;
        released
    }

    async fn set_default(&self, action: Action) {
        let modify = self.stage.sdk.modify_listener();
        let modify = modify.listener_arn(&self.shop.listener);
        let modified = modify.default_actions(action).send().await;
        modified.expect("a modified listener");
    }

    /// The target that this rule or listener is.
    fn target(&self, arn: &str) -> TargetSpec {
        TargetSpec::AlbRule(AlbRule {
            rule: arn.to_owned(),
            target_groups: [self.green.clone(), self.blue.clone()],
        })
    }

    fn arms(&self) -> Arms {
        Arms {
            stable: self.blue.clone(),
            candidate: self.green.clone(),
        }
    }

    async fn route(&self, arn: &str, test: Option<&TestTraffic>) -> Result<(), PortError> {
        let (target, arms) = (self.target(arn), self.arms());
        self.aws.route(&target, &arms, test).await
    }

    async fn rules(&self) -> Vec<Rule> {
        let rules = self.stage.sdk.describe_rules();
        let rules = rules.listener_arn(&self.shop.listener).send().await;
        rules.expect("rules").rules.unwrap_or_default()
    }

    async fn priorities(&self) -> Vec<String> {
        let rules = self.rules().await;
        let priorities = rules.into_iter().filter_map(|rule| rule.priority);
        priorities.collect()
    }

    /// Makes a rule by hand that looks like one for test traffic.
    async fn make_rule(&self, priority: i32, tag: Option<&str>) {
        let create = self.stage.sdk.create_rule();
        let tag = tag.map(|value| Tag::builder().key("penstock:release-target").value(value));
        let created = create
            .listener_arn(&self.shop.listener)
            .priority(priority)
            .conditions(path("/shop*"))
            .conditions(condition(&header("x-other", &["1"])))
            .actions(forward(&[(&self.green, 1)]))
            .set_tags(tag.map(|tag| vec![tag.build()]))
            .send()
            .await;
        created.expect("a rule");
    }
}

fn header(name: &str, values: &[&str]) -> TestTraffic {
    TestTraffic::Header {
        name: name.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    }
}

fn condition(test: &TestTraffic) -> RuleCondition {
    let condition = RuleCondition::builder();
    match test {
        TestTraffic::Header { name, values } => {
            let config = HttpHeaderConditionConfig::builder().http_header_name(name);
            let config = config.set_values(Some(values.clone())).build();
            condition.field("http-header").http_header_config(config)
        }
        TestTraffic::Query { key, value } => {
            let pair = QueryStringKeyValuePair::builder().key(key).value(value);
            let config = QueryStringConditionConfig::builder().values(pair.build());
            condition
                .field("query-string")
                .query_string_config(config.build())
        }
    }
    .build()
}

fn sticky(shares: &[(&str, i32)]) -> Action {
    let stickiness = TargetGroupStickinessConfig::builder().enabled(true);
    let config = ForwardActionConfig::builder()
        .set_target_groups(Some(tuples(shares)))
        .target_group_stickiness_config(stickiness.duration_seconds(5400).build());
    Action::builder()
        .r#type(ActionTypeEnum::Forward)
        .order(7)
        .forward_config(config.build())
        .build()
}

#[tokio::test]
async fn a_default_rules_weights_move_and_nothing_else_of_its_listener_does() {
    let released = Released::new().await;
    let (blue, green) = (released.blue.as_str(), released.green.as_str());
    released.set_default(sticky(&[(blue, 9), (green, 0)])).await;
    let target = released.target(&released.shop.listener);
    let arms = released.aws.arms(&target).await.expect("the sides");
    assert_eq!(arms, released.arms());
    for (weight, weights) in [
        (Weight::from_basis_points(2_500).expect("a weight"), (3, 1)),
        (Weight::FULL, (0, 1)),
        (Weight::ZERO, (1, 0)),
    ] {
        let set = released.aws.set_weight(&target, &arms, weight, None).await;
        set.expect("new weights");
        assert_eq!(
            released.aws.weight(&target, &arms).await.expect("a weight"),
            weight
        );
        let rules = released.rules().await;
        let action = &rules.last().expect("the default rule").actions()[0];
        assert_eq!(*action, sticky(&[(blue, weights.0), (green, weights.1)]));
    }
    let rule = &released.rules().await[0];
    let config = rule.actions()[0]
        .forward_config()
        .expect("a forward action");
    assert_eq!(config.target_groups(), tuples(&[(blue, 1), (green, 0)]));
}

#[tokio::test]
async fn a_default_rule_is_named_by_its_listener() {
    let released = Released::new().await;
    let rules = released.rules().await;
    let default = rules.last().and_then(Rule::rule_arn).expect("an ARN");
    let target = released.target(default);
    let test = header("x-test", &["1"]);
    let refusals = [
        released.aws.arms(&target).await.map(drop),
        released.route(default, Some(&test)).await,
    ];
    for refusal in refusals {
        let error = refusal.expect_err("refused");
        assert_eq!(error.class, Class::Misconfigured);
        let advice = format!(
            "write the listener's ARN instead, {}",
            released.shop.listener
        );
        assert!(error.to_string().ends_with(&advice), "{error}");
    }
    let missing = released.target(&format!("{}0", released.shop.listener));
    let error = released.aws.arms(&missing).await.expect_err("missing");
    assert_eq!(error.class, Class::Misconfigured, "{error}");
}

#[tokio::test]
async fn sticky_clients_are_warned_about_and_others_are_not() {
    let released = Released::new().await;
    let target = released.target(&released.shop.listener);
    let warnings = async || released.aws.warnings(&target).await.expect("warnings");
    assert_eq!(warnings().await, Vec::<String>::new());
    let shares = [(released.blue.as_str(), 1), (released.green.as_str(), 0)];
    released.set_default(sticky(&shares)).await;
    let [warning]: [String; 1] = warnings().await.try_into().expect("one warning");
    assert!(
        warning.contains("keeps each client for 1h 30m"),
        "{warning}"
    );
}

#[tokio::test]
async fn test_traffic_has_one_rule_right_before_the_one_that_is_released() {
    let released = Released::new().await;
    let rule = released.shop.rule.as_str();
    let before = released.rules().await;
    let tests = [
        header("X-Test", &["a", "b*"]),
        header("X-Test", &["a"]),
        TestTraffic::Query {
            key: "test".to_owned(),
            value: "1".to_owned(),
        },
    ];
    for test in &tests {
        // Another test than before replaces it; the same again changes nothing.
        released.route(rule, Some(test)).await.expect("a route");
        let once = released.rules().await;
        released.route(rule, Some(test)).await.expect("the same");
        assert_eq!(released.rules().await, once, "{test}");
        assert_eq!(released.priorities().await, ["9", "10", "default"]);
        assert_eq!(once[1..], before[..], "the released rule stays as it was");
        let (path, own) = (&once[0].conditions()[0], &once[0].conditions()[1]);
        assert_eq!(*path, before[0].conditions()[0]);
        assert_eq!(*own, condition(test));
        let config = once[0].actions()[0].forward_config().expect("a forward");
        assert_eq!(config.target_groups(), tuples(&[(&released.green, 1)]));
        let arn = once[0].rule_arn().expect("an ARN");
        let tags = released.stage.sdk.describe_tags().resource_arns(arn);
        let tags = tags.send().await.expect("tags");
        let tag = &tags.tag_descriptions()[0].tags()[0];
        assert_eq!(
            (tag.key(), tag.value()),
            (Some("penstock:release-target"), Some(rule))
        );
    }
    for _ in 0..2 {
        released.route(rule, None).await.expect("no route");
        assert_eq!(released.rules().await, before);
    }
}

#[tokio::test]
async fn test_traffic_of_a_default_rule_comes_after_every_other_rule() {
    let released = Released::new().await;
    let test = header("X-Test", &["a"]);
    let listener = released.shop.listener.as_str();
    released
        .route(listener, Some(&test))
        .await
        .expect("a route");
    assert_eq!(released.priorities().await, ["10", "50000", "default"]);
    let rules = released.rules().await;
    assert_eq!(rules[1].conditions(), [condition(&test)]);
    // That of the other rule is another's.
    let rule = released.shop.rule.as_str();
    released.route(rule, Some(&test)).await.expect("a route");
    released.route(listener, None).await.expect("no route");
    assert_eq!(released.priorities().await, ["9", "10", "default"]);
}

#[tokio::test]
async fn a_rule_that_no_release_of_this_target_made_is_left_alone() {
    let released = Released::new().await;
    let rule = released.shop.rule.as_str();
    released.make_rule(3, None).await;
    released.make_rule(4, Some(&released.shop.listener)).await;
    released.make_rule(5, Some(rule)).await;
    released.route(rule, None).await.expect("no route");
    assert_eq!(released.priorities().await, ["3", "4", "10", "default"]);
}

#[tokio::test]
async fn test_traffic_without_room_is_refused_with_the_fix() {
    let released = Released::new().await;
    let rule = released.shop.rule.as_str();
    let refused = async |arn: &str, test: &TestTraffic, part: &str| {
        let before = released.rules().await;
        let error = released.route(arn, Some(test)).await.expect_err("refused");
        assert_eq!(error.class, Class::Misconfigured, "{error}");
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!(released.rules().await, before);
    };
    let test = header("x-test", &["1"]);
    let patterns = ["/a", "/b", "/c", "/d"].map(|pattern| pattern.to_owned());
    let paths = PathPatternConditionConfig::builder().set_values(Some(patterns.into()));
    let long = RuleCondition::builder()
        .field("path-pattern")
        .path_pattern_config(paths.build());
    let modify = released.stage.sdk.modify_rule().rule_arn(rule);
    let modified = modify.conditions(long.build()).send().await;
    modified.expect("a modified rule");
    let two = header("x-test", &["1", "2"]);
    refused(rule, &two, "its own 4 values and those of `header-route`").await;
    released.make_rule(9, None).await;
    refused(
        rule,
        &test,
        "it has priority 10, and none right before it is free",
    )
    .await;
    released.make_rule(50_000, None).await;
    refused(
        &released.shop.listener,
        &test,
        "the last priority, 50000, is taken",
    )
    .await;
}
