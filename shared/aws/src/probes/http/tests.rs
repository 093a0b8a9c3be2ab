//! Probes against real servers on this machine, whose addresses are private.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::answering;

/// A server that keeps the requests it got.
struct Server {
    port: u16,
    got: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers each request with what `answer` makes of its path, byte by byte as it is.
    fn start(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let got = Arc::new(Mutex::new(Vec::new()));
        let keep = got.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 4096];
                let count = stream.read(&mut request).unwrap_or_default();
                let request = String::from_utf8_lossy(&request[..count]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                keep.lock().unwrap().push(request);
                // A client that gave up does not read.
                let _gone = stream.write_all(&answer(&path));
            }
        });
        Self { port, got }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn requests(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }
}

fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} -\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn redirect(to: &str) -> Vec<u8> {
    answer(302, &format!("location: {to}\r\n"), "")
}

fn aws(private_too: bool) -> Aws {
    let mut aws = answering::serve(|_| (500, Value::Null));
    aws.probing.private_too = private_too;
    aws
}

/// What a probe sees that may ask private addresses, as this machine's are.
async fn seen(url: &str, mut spec: Value) -> Probed {
    spec["url"] = url.into();
    spec["allow-private"] = true.into();
    probe(&aws(true), &serde_json::from_value(spec).unwrap()).await
}

#[tokio::test]
async fn a_private_address_is_asked_only_where_probe_and_stack_both_say_so() {
    let server = Server::start(|_| answer(200, "", "ok"));
    for url in [
        server.url("/"),
        format!("http://localhost:{}/", server.port), // only the resolver knows
        format!("http://2130706433:{}/", server.port),
        format!("http://[::ffff:127.0.0.1]:{}/", server.port),
    ] {
        for (probe_says, stack_says) in [(false, false), (true, false), (false, true)] {
            let spec = json!({"url": url, "allow-private": probe_says});
            let spec = serde_json::from_value(spec).unwrap();
            let probed = probe(&aws(stack_says), &spec).await;
            assert!(probed.hopeless, "{url}: {probed:?}");
            assert!(probed.detail.contains("AllowPrivateProbes"), "{probed:?}");
        }
    }
    assert_eq!(server.requests(), Vec::<String>::new());
    let localhost = format!("http://localhost:{}/", server.port);
    for url in [server.url("/"), localhost] {
        assert!(seen(&url, json!({})).await.healthy, "{url}");
    }
}

#[tokio::test]
async fn lambdas_own_ports_are_never_asked() {
    let server = Server::start(|_| answer(200, "", "ok"));
    let mut aws = aws(true);
    aws.probing.own_ports = vec![server.port];
    for host in ["127.0.0.1", "localhost"] {
        let url = format!(
            "http://{host}:{}/2018-06-01/runtime/invocation/next",
            server.port
        );
        let spec = json!({"url": url, "allow-private": true});
        let probed = probe(&aws, &serde_json::from_value(spec).unwrap()).await;
        assert!(probed.hopeless, "{probed:?}");
    }
    assert_eq!(server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_expected_is_judged_piece_by_piece() {
    let server = Server::start(|path| match path {
        "/json" => answer(
            200,
            "content-type: application/json\r\n",
            r#"{"status":"up"}"#,
        ),
        "/slow" => {
            std::thread::sleep(Duration::from_millis(50));
            answer(200, "", "ok")
        }
        "/empty" => answer(204, "", ""),
        _ => answer(503, "", "no"),
    });
    let up = json!({"body-json": {"/status": "up"}, "headers": {"Content-Type": "json"}});
    for (path, spec, said) in [
        ("/json", up, None),
        ("/json", json!({"body-matches": "^\\{.*up"}), None),
        (
            "/json",
            json!({"method": "HEAD", "status": "200-299"}),
            None,
        ),
        ("/empty", json!({"status": [200, 204]}), None),
        ("/empty", json!({}), Some("answered 204, not 200")),
        (
            "/none",
            json!({"status": "200-299"}),
            Some("answered 503, not 200-299"),
        ),
        (
            "/json",
            json!({"body-contains": "down"}),
            Some("does not contain 'down'"),
        ),
        (
            "/json",
            json!({"body-json": {"/status": 1}}),
            Some("\"up\" at /status, not 1"),
        ),
        (
            "/json",
            json!({"headers": {"x-version": "7"}}),
            Some("without '7' in a header x-version"),
        ),
        (
            "/slow",
            json!({"slower-than": "1ms"}),
            Some("slower than 1ms"),
        ),
        (
            "/slow",
            json!({"timeout": "1ms"}),
            Some("did not answer within 1ms"),
        ),
    ] {
        let probed = seen(&server.url(path), spec).await;
        assert_eq!(probed.healthy, said.is_none(), "{path}: {probed:?}");
        assert!(
            probed.detail.contains(said.unwrap_or("answered 20")),
            "{probed:?}"
        );
        assert!(!probed.hopeless, "{probed:?}");
    }
}

#[tokio::test]
async fn all_urls_of_a_probe_must_be_healthy() {
    let server = Server::start(|path| match path {
        "/bad" => answer(500, "", ""),
        _ => answer(200, "", ""),
    });
    let look = async |paths: [&str; 3]| {
        let urls = paths.map(|path| server.url(path));
        let spec = json!({"urls": urls, "allow-private": true});
        probe(&aws(true), &serde_json::from_value(spec).unwrap()).await
    };
    let good = look(["/a", "/b", "/c"]).await;
    assert_eq!(
        (good.healthy, &*good.detail),
        (true, "all 3 URLs answered as they should")
    );
    let bad = look(["/a", "/bad", "/c"]).await;
    assert!(
        !bad.healthy && bad.detail.contains("1 of 3 URLs"),
        "{bad:?}"
    );
    assert!(bad.detail.contains("/bad answered 500"), "{bad:?}");
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_the_probe_says_and_no_further() {
    let server = Server::start(|path| match path {
        "/a" => redirect("/b"),
        "/b" => redirect("c"),
        "/c" => answer(200, "", "here"),
        _ => redirect("/loop"),
    });
    let here = json!({"redirects": 2, "body-contains": "here"});
    assert!(seen(&server.url("/a"), here).await.healthy);
    for (path, spec, said) in [
        ("/a", json!({}), "answered 302, not 200"),
        (
            "/a",
            json!({"redirects": 1}),
            "led to more than 1 redirects",
        ),
        (
            "/loop",
            json!({"redirects": 5}),
            "led to more than 5 redirects",
        ),
    ] {
        let probed = seen(&server.url(path), spec).await;
        assert!(
            !probed.healthy && probed.detail.contains(said),
            "{probed:?}"
        );
    }
    assert!(
        seen(&server.url("/a"), json!({"status": 302}))
            .await
            .healthy
    );
}

#[tokio::test]
async fn every_redirect_is_judged_like_the_first_address() {
    let elsewhere = Server::start(|_| answer(200, "", "ok"));
    let here = elsewhere.url("/");
    let server = Server::start(move |path| match path {
        "/metadata" => redirect("http://169.254.169.254/latest/meta-data/"),
        "/decimal" => redirect("http://2852039166/"),
        "/mapped" => redirect("http://[::ffff:169.254.169.254]/"),
        "/file" => redirect("file:///etc/passwd"),
        "/odd" => redirect("http://"),
        _ => redirect(&here),
    });
    for (path, said) in [
        ("/metadata", "169.254.169.254 is link-local"),
        ("/decimal", "169.254.169.254 is link-local"),
        ("/mapped", "is link-local"),
        ("/file", "led to what is no http"),
        ("/odd", "led to what is no URL"),
    ] {
        let probed = seen(&server.url(path), json!({"redirects": 5})).await;
        assert!(probed.detail.contains(said), "{probed:?}");
        // A server may mend that, penstock.yaml cannot.
        assert!(!probed.healthy && !probed.hopeless, "{probed:?}");
    }
    // What is meant for one server is not told to another.
    let spec = json!({"redirects": 1, "request-headers": {"X-Team": "shop"}});
    assert!(seen(&server.url("/other"), spec).await.healthy);
    let told = |server: &Server| server.requests().last().unwrap().contains("x-team: shop");
    assert!(told(&server));
    assert!(!told(&elsewhere));
}

#[tokio::test]
async fn no_body_is_held_beyond_its_limit_and_none_is_unpacked() {
    let long = "x".repeat(BODY_BYTES_MAX + 1);
    let server = Server::start(move |path| match path {
        "/long" => answer(200, "", &long),
        // As large as the client reads on, by its own word.
        "/endless" => {
            let head = "HTTP/1.1 200 -\r\ncontent-length: 1000000000000\r\n\r\n";
            (head.to_owned() + &long).into_bytes()
        }
        "/packed" => answer(200, "content-encoding: gzip\r\n", "ok, as it is"),
        "/heads" => answer(200, &"a: b\r\n".repeat(HEADERS_MAX + 1), ""),
        _ => answer(200, &format!("a: {long}{long}\r\n"), ""),
    });
    for (path, spec, said) in [
        (
            "/long",
            json!({"body-json": {"/a": 1}}),
            "too many to read as JSON",
        ),
        (
            "/endless",
            json!({"body-contains": "y"}),
            "does not contain 'y'",
        ),
        ("/heads", json!({}), "did not answer"),
        ("/head", json!({}), "did not answer"),
    ] {
        let probed = seen(&server.url(path), spec).await;
        assert!(
            !probed.healthy && probed.detail.contains(said),
            "{path}: {probed:?}"
        );
    }
    let packed = json!({"body-contains": "ok, as it is"});
    assert!(seen(&server.url("/packed"), packed).await.healthy);
    assert!(
        server
            .requests()
            .iter()
            .all(|sent| !sent.contains("accept-encoding"))
    );
}

#[tokio::test]
async fn what_a_query_says_stays_out_of_what_is_seen() {
    let server = Server::start(|_| answer(500, "", ""));
    let probed = seen(&server.url("/a?token=hush"), json!({})).await;
    assert!(
        !probed.healthy && !probed.detail.contains("hush"),
        "{probed:?}"
    );
    let nobody = seen("http://127.0.0.1:1/a?token=hush", json!({})).await;
    assert!(nobody.detail.contains("did not answer: "), "{nobody:?}");
    assert!(!nobody.detail.contains("hush"), "{nobody:?}");
}
