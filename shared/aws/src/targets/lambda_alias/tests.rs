//! The target over the wire: a small server that keeps one alias the way Lambda's service model
//! (2015-03-31) says, revisions included.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::answering;

const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:shop";

/// A function with an alias.
#[derive(Debug)]
struct Function {
    version: String,
    weights: Value,
    revision: u64,
    /// The answer of PublishVersion.
    published: (u16, Value),
    /// State and LastUpdateStatus of every version up to 9.
    state: (&'static str, &'static str),
    /// Somebody changes the alias between a read and the next write.
    disturbed: bool,
    /// Every UpdateAlias that was accepted.
    updates: Vec<Value>,
    calls: Vec<String>,
}

type Shared = Arc<Mutex<Function>>;

fn serve() -> (Aws, Shared) {
    let function = Arc::new(Mutex::new(Function {
        version: "7".to_owned(),
        weights: json!({}),
        revision: 1,
        published: (201, json!({"Version": "8"})),
        state: ("Active", "Successful"),
        disturbed: false,
        updates: Vec::new(),
        calls: Vec::new(),
    }));
    let kept = Arc::clone(&function);
    let aws = answering::serve(move |call| {
        // What follows the function's name.
        let rest = call.path.split('/').skip(4).collect::<Vec<_>>().join("/");
        let call_of = format!("{} {rest}", call.method);
        kept.lock().unwrap().answer(call_of, &call.body)
    });
    (aws, function)
}

impl Function {
    fn answer(&mut self, call: String, body: &Value) -> (u16, Value) {
        self.calls.push(call.clone());
        let version = call.split_once("Qualifier=").map(|(_, version)| version);
        let current = json!(self.revision.to_string());
        match call.split('?').next().unwrap() {
            "GET aliases/live" => {
                let alias = self.alias();
                if self.disturbed {
                    self.revision += 1;
                }
                (200, alias)
            }
            "PUT aliases/live" if body["RevisionId"] != current => (
                412,
                json!({"__type": "PreconditionFailedException", "Message": "stale RevisionId"}),
            ),
            "PUT aliases/live" => {
                self.version = body["FunctionVersion"].as_str().unwrap().to_owned();
                self.weights = body["RoutingConfig"]["AdditionalVersionWeights"].clone();
                assert!(
                    self.weights.is_object(),
                    "without a map the routing would stay"
                );
                self.revision += 1;
                self.updates.push(body.clone());
                (200, self.alias())
            }
            "POST versions" => self.published.clone(),
            "GET configuration" if version.is_some_and(|v| v.len() == 1) => {
                let (state, updated) = self.state;
                let reason = "the reason";
                let answer = json!({"Version": version, "State": state, "StateReason": reason, "LastUpdateStatus": updated});
                (200, answer)
            }
            _ => (
                404,
                json!({"__type": "ResourceNotFoundException", "Message": format!("no {call}")}),
            ),
        }
    }

    fn alias(&self) -> Value {
        let mut alias = json!({
            "AliasArn": format!("{FUNCTION}:live"),
            "Name": "live",
            "FunctionVersion": self.version,
            "RevisionId": self.revision.to_string(),
        });
        if self.weights != json!({}) {
            alias["RoutingConfig"] = json!({"AdditionalVersionWeights": self.weights});
        }
        alias
    }
}

fn target(version: NewVersion) -> LambdaAlias {
    LambdaAlias {
        function: FUNCTION.to_owned(),
        alias: "live".to_owned(),
        version,
    }
}

fn from_7_to_8() -> Arms {
    Arms {
        stable: "7".to_owned(),
        candidate: "8".to_owned(),
    }
}

fn weight_of(points: u16) -> Weight {
    Weight::from_basis_points(points).unwrap()
}

#[test]
fn every_weight_survives_the_alias() {
    let arms = from_7_to_8();
    for points in 0..=10_000 {
        let weight = weight_of(points);
        let route = Route::of(&arms, weight);
        assert!(route.others.len() <= 1, "an alias has two versions at most");
        assert_eq!(route.weight(&arms), Some(weight), "{route}");
    }
}

#[test]
fn an_alias_in_a_state_that_no_release_makes_has_no_weight() {
    let arms = from_7_to_8();
    for (version, others) in [
        ("9", vec![]),
        ("$LATEST", vec![]),
        ("7", vec![("9", 0.1)]),
        ("8", vec![("7", 0.1)]),
        ("9", vec![("8", 0.1)]),
        ("7", vec![("8", 0.1), ("9", 0.1)]),
        ("7", vec![("8", 1.1)]),
        ("7", vec![("8", -0.1)]),
        ("7", vec![("8", f64::NAN)]),
        ("7", vec![("7", 0.5)]),
    ] {
        let others = others.into_iter().map(|(v, share)| (v.to_owned(), share));
        let route = Route {
            version: version.to_owned(),
            others: others.collect(),
        };
        assert_eq!(route.weight(&arms), None, "{route}");
    }
}

#[tokio::test]
async fn the_candidate_is_published_or_as_it_is_named() {
    let (aws, function) = serve();
    assert_eq!(
        arms(&aws, &target(NewVersion::Published)).await.unwrap(),
        from_7_to_8()
    );
    let named = arms(&aws, &target(NewVersion::Number(9))).await.unwrap();
    assert_eq!(named.candidate, "9");
    let publishes = |calls: &[String]| calls.iter().filter(|c| *c == "POST versions").count();
    assert_eq!(publishes(&function.lock().unwrap().calls), 1);
    function.lock().unwrap().published.1 = json!({"Version": "7"});
    let same = arms(&aws, &target(NewVersion::Published)).await.unwrap();
    assert_eq!(same.stable, same.candidate, "nothing has changed");
}

#[tokio::test]
async fn nothing_is_published_while_the_alias_is_not_settled() {
    for (version, weights, said) in [
        ("7", json!({"6": 0.1}), "a share of 0.1 to version 6"),
        ("$LATEST", json!({}), "version $LATEST"),
    ] {
        let (aws, function) = serve();
        {
            let mut function = function.lock().unwrap();
            (function.version, function.weights) = (version.to_owned(), weights);
        }
        let error = arms(&aws, &target(NewVersion::Published))
            .await
            .unwrap_err();
        assert_eq!(error.class, Class::Misconfigured);
        let message = error.to_string();
        assert!(message.contains(said), "{message}");
        assert!(message.contains("aws lambda update-alias"), "{message}");
        assert_eq!(function.lock().unwrap().calls, ["GET aliases/live"]);
    }
}

#[tokio::test]
async fn a_candidate_that_cannot_serve_is_waited_for_or_refused() {
    for (state, updated, class, said) in [
        ("Pending", "Successful", Class::Retryable, "still preparing"),
        ("Active", "InProgress", Class::Retryable, "still preparing"),
        ("Inactive", "Successful", Class::Misconfigured, "invoke"),
        (
            "Failed",
            "Successful",
            Class::Misconfigured,
            "Failed (the reason)",
        ),
        ("Active", "Failed", Class::Misconfigured, "the reason"),
        ("Invented", "Successful", Class::Misconfigured, "Invented"),
    ] {
        let (aws, function) = serve();
        function.lock().unwrap().state = (state, updated);
        let error = arms(&aws, &target(NewVersion::Number(8)))
            .await
            .unwrap_err();
        assert_eq!(error.class, class, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let (aws, _) = serve();
    let error = arms(&aws, &target(NewVersion::Number(88)))
        .await
        .unwrap_err();
    assert_eq!(error.class, Class::Misconfigured, "{error}");
    assert!(error.to_string().contains("version 88"), "{error}");
}

#[tokio::test]
async fn what_publishing_meets_is_classified() {
    for (status, kind, class) in [
        (409, "ResourceConflictException", Class::Retryable),
        (429, "TooManyRequestsException", Class::Retryable),
        (403, "AccessDeniedException", Class::Denied),
        (404, "ResourceNotFoundException", Class::Misconfigured),
        (400, "CodeStorageExceededException", Class::Retryable),
        (400, "InvalidParameterValueException", Class::Permanent),
    ] {
        let (aws, function) = serve();
        function.lock().unwrap().published = (status, json!({"__type": kind, "Message": "no"}));
        let error = arms(&aws, &target(NewVersion::Published))
            .await
            .unwrap_err();
        assert_eq!(error.class, class, "{error}");
    }
}

#[tokio::test]
async fn a_release_is_moved_in_single_steps_each_of_them_absolute() {
    let (aws, function) = serve();
    let (target, arms) = (target(NewVersion::Number(8)), from_7_to_8());
    for points in [0, 1, 1_000, 1_000, 5_000, 10_000, 0] {
        let wanted = weight_of(points);
        set_weight(&aws, &target, &arms, wanted, None)
            .await
            .unwrap();
        assert_eq!(weight(&aws, &target, &arms).await.unwrap(), wanted);
    }
    let function = function.lock().unwrap();
    let updates: Vec<_> = function
        .updates
        .iter()
        .map(|u| (u["FunctionVersion"].clone(), u["RoutingConfig"].clone()))
        .collect();
    let all = |version: &str, weights: Value| {
        (
            json!(version),
            json!({ "AdditionalVersionWeights": weights }),
        )
    };
    let expected = [
        all("7", json!({})),
        all("7", json!({"8": 0.0001})),
        all("7", json!({"8": 0.1})),
        all("7", json!({"8": 0.5})),
        all("8", json!({})),
        all("7", json!({})),
    ];
    assert_eq!(
        updates, expected,
        "what is right already is not set again, but for the way back: it outdates what is late"
    );
}

#[tokio::test]
async fn an_alias_that_changes_between_reading_and_writing_is_a_conflict_and_stays() {
    let (aws, function) = serve();
    function.lock().unwrap().disturbed = true;
    let (target, arms) = (target(NewVersion::Number(8)), from_7_to_8());
    let error = set_weight(&aws, &target, &arms, weight_of(1_000), None).await;
    assert_eq!(error.unwrap_err().class, Class::Conflict);
    assert!(function.lock().unwrap().updates.is_empty());
}

#[tokio::test]
async fn an_alias_that_somebody_else_has_moved_is_left_alone_and_named() {
    let (aws, function) = serve();
    {
        let mut function = function.lock().unwrap();
        (function.version, function.weights) = ("9".to_owned(), json!({"8": 0.25}));
    }
    let (target, arms) = (target(NewVersion::Number(8)), from_7_to_8());
    let error = set_weight(&aws, &target, &arms, Weight::ZERO, None).await;
    let error = error.unwrap_err();
    assert_eq!(error.class, Class::Misconfigured);
    let message = error.to_string();
    for part in [
        "function:shop:live",
        "somebody else has moved the alias: it has version 9, with a share of 0.25 to version 8",
        "from version 7 to version 8",
        "--function-version 7 --routing-config AdditionalVersionWeights={}",
        "penstock abort",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(function.lock().unwrap().updates.is_empty());
    assert!(weight(&aws, &target, &arms).await.is_err());
    assert!(live(&aws, &target, &arms).await.is_err());
}

#[tokio::test]
async fn a_version_is_healthy_while_it_is_active() {
    let (aws, function) = serve();
    let (target, mut arms) = (target(NewVersion::Number(8)), from_7_to_8());
    let seen = live(&aws, &target, &arms).await.unwrap();
    assert_eq!((seen.stable_healthy, seen.candidate_healthy), (1, 1));
    assert_eq!(seen.weight, Weight::ZERO);
    arms.candidate = "88".to_owned();
    let seen = live(&aws, &target, &arms).await.unwrap();
    assert_eq!(
        (seen.stable_healthy, seen.candidate_healthy),
        (1, 0),
        "a version that was deleted keeps nobody from seeing the other"
    );
    function.lock().unwrap().state.0 = "Inactive";
    let seen = live(&aws, &target, &arms).await.unwrap();
    assert_eq!((seen.stable_healthy, seen.candidate_healthy), (0, 0));
}
