//! The player's Invoke through an alias, by the real SDK, with a small emulator behind it.

use std::sync::{Arc, Mutex};

use aws::local::lambda::error::ProvideErrorMetadata;
use aws::local::lambda::{self, Client};
use aws::local::pipeline::emulator;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use penstock::player::{Player, PlayerConfig};
use serde_json::{Value, json};

const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:shop";

/// The qualifier of each invocation, as the emulator got it.
type Seen = Arc<Mutex<Vec<String>>>;

/// An emulator with one function: its alias `live` sends a share to version 8, which always fails.
async fn start(share: f64) -> (Player, Client, Seen) {
    let seen = Seen::default();
    let alias = move |Path((_, alias)): Path<(String, String)>| async move {
        let weights = json!({"AdditionalVersionWeights": {"8": share}});
        match alias.as_str() {
            "live" => {
                Json(json!({"FunctionVersion": "7", "RoutingConfig": weights})).into_response()
            }
            _ => refusal(),
        }
    };
    let app = Router::new()
        .route(
            "/2015-03-31/functions/{function}/aliases/{alias}",
            get(alias),
        )
        .route("/2015-03-31/functions/{function}/invocations", post(invoke))
        .with_state(Arc::clone(&seen));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, app).await });
    let player = Player::start(PlayerConfig {
        port: 0,
        endpoint,
        ..PlayerConfig::default()
    });
    let player = player.await.unwrap();
    let sdk = emulator(&player.url(), "us-east-1").await;
    (player, Client::new(&sdk), seen)
}

fn refusal() -> Response {
    let kind = [("x-amzn-errortype", "ResourceNotFoundException")];
    let body = Json(json!({"Type": "User", "Message": "no such alias"}));
    (StatusCode::NOT_FOUND, kind, body).into_response()
}

#[derive(serde::Deserialize)]
struct Parameters {
    #[serde(rename = "Qualifier", default)]
    qualifier: String,
}

async fn invoke(
    State(seen): State<Seen>,
    Query(Parameters { qualifier }): Query<Parameters>,
    payload: String,
) -> Response {
    seen.lock().unwrap().push(qualifier.clone());
    let mut answer = format!("{qualifier} got {payload}").into_response();
    let executed = qualifier.parse().unwrap();
    answer
        .headers_mut()
        .insert("x-amz-executed-version", executed);
    if qualifier == "8" {
        let error = "Unhandled".parse().unwrap();
        answer.headers_mut().insert("x-amz-function-error", error);
    }
    answer
}

async fn call(client: &Client, function: &str) -> (Option<String>, Option<String>, String) {
    let call = client.invoke().function_name(function);
    let answer = call.payload(lambda::primitives::Blob::new("a purchase"));
    let answer = answer.send().await.unwrap();
    let payload = answer.payload.unwrap().into_inner();
    (
        answer.executed_version,
        answer.function_error,
        String::from_utf8(payload).unwrap(),
    )
}

#[tokio::test]
async fn an_invocation_through_an_alias_goes_to_the_version_that_its_weights_choose() {
    for (share, version, error) in [(0.0, "7", None), (1.0, "8", Some("Unhandled".to_owned()))] {
        let (player, client, seen) = start(share).await;
        for function in ["shop:live", &format!("{FUNCTION}:live")] {
            let answer = call(&client, function).await;
            let payload = format!("{version} got a purchase");
            assert_eq!(answer, (Some(version.to_owned()), error.clone(), payload));
        }
        assert_eq!(*seen.lock().unwrap(), [version, version]);
        player.stop().await;
    }
}

#[tokio::test]
async fn both_versions_of_a_divided_alias_are_invoked() {
    let (player, client, seen) = start(0.5).await;
    for _ in 0..64 {
        call(&client, "shop:live").await;
    }
    let seen = seen.lock().unwrap().clone();
    assert!(
        ["7", "8"].iter().all(|v| seen.iter().any(|s| s == v)),
        "{seen:?}"
    );
    player.stop().await;
}

#[tokio::test]
async fn a_version_is_invoked_as_it_is_named() {
    let (player, client, seen) = start(1.0).await;
    call(&client, &format!("{FUNCTION}:7")).await;
    assert_eq!(*seen.lock().unwrap(), ["7"]);
    player.stop().await;
}

#[tokio::test]
async fn a_refusal_of_the_emulator_is_passed_on_and_what_is_not_served_says_so() {
    let (player, client, seen) = start(0.5).await;
    let refused = client.invoke().function_name("shop:absent").send().await;
    let refused = refused.unwrap_err().into_service_error();
    assert!(refused.is_resource_not_found_exception(), "{refused:?}");
    assert_eq!(refused.message(), Some("no such alias"));
    let other = client.get_alias().function_name("shop").name("live");
    let other = other.send().await.unwrap_err().into_service_error();
    let said: Value = json!(other.message());
    assert!(said.as_str().unwrap().contains("Invoke only"), "{other:?}");
    assert!(seen.lock().unwrap().is_empty());
    player.stop().await;
}
