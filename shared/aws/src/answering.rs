//! A small server that answers AWS's JSON calls and knows nothing of AWS, for tests of what goes over
//! the wire.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use serde_json::Value;

use crate::Aws;

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    /// The operation that the header `x-amz-target` names, without its service.
    pub(crate) operation: Option<String>,
    /// Null when there is none, or it is no JSON.
    pub(crate) body: Value,
    /// The body as it is.
    pub(crate) text: String,
}

/// Ports whose every call is answered by `answer`: a status and a body. The `__type` of an error
/// stands in the head as well, where some services have it.
pub(crate) fn serve(mut answer: impl FnMut(Call) -> (u16, Value) + Send + 'static) -> Aws {
    serve_text(move |call| {
        let (status, answer) = answer(call);
        (status, answer.to_string())
    })
}

/// As [`serve`], for services that answer in XML as well.
pub(crate) fn serve_text(mut answer: impl FnMut(Call) -> (u16, String) + Send + 'static) -> Aws {
    serve_raw(1, move |call| {
        let (status, answer) = answer(call);
        let json: Value = serde_json::from_str(&answer).unwrap_or_default();
        let kind = json["__type"].as_str().unwrap_or_default();
        Some(format!(
            "HTTP/1.1 {status} -\r\ncontent-type: application/x-amz-json-1.1\r\n\
             x-amzn-errortype: {kind}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        ))
    })
}

/// Ports that try so many times, and whose every call has this answer, head and all; None cuts the
/// connection.
pub(crate) fn serve_raw(
    attempts: u32,
    mut answer: impl FnMut(Call) -> Option<String> + Send + 'static,
) -> Aws {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if let Some(answer) = answer(read(&mut stream)) {
                // A client that gave up does not read.
                let _gone = stream.write_all(answer.as_bytes());
            }
        }
    });
    let keys = Credentials::new("test", "test", None, None, "test");
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .retry_config(RetryConfig::standard().with_max_attempts(attempts))
        .endpoint_url(endpoint)
        .build();
    Aws::new(&sdk, "table".to_owned())
}

fn read(stream: &mut TcpStream) -> Call {
    let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut chunk).unwrap();
        assert!(count > 0, "the call was cut off");
        request.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
        };
        let length: usize = header("content-length").unwrap_or("0").parse().unwrap();
        if body.len() < length {
            continue;
        }
        let mut line = head.split(' ').map(str::to_owned);
        let operation = header("x-amz-target").and_then(|target| target.split_once('.'));
        return Call {
            method: line.next().unwrap(),
            path: line.next().unwrap(),
            operation: operation.map(|(_, operation)| operation.to_owned()),
            body: serde_json::from_str(body).unwrap_or_default(),
            text: body.to_owned(),
        };
    }
}
