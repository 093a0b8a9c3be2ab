//! Objects from an S3 of our own, which answers as it is told to.

use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region};
use engine::{Artifact, ArtifactStore, Class, Credentials, Input, Job, PortError, UserParameters};
use futures::FutureExt;
use reports::Archive;
use reports::limits::TAIL_BYTES;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::object::{RESUMES_MAX, RangedObject};
use crate::Aws;

/// A request for the object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Request {
    range: String,
    if_match: Option<String>,
}

impl Request {
    fn new(range: &str, if_match: Option<&str>) -> Self {
        Self {
            range: range.to_owned(),
            if_match: if_match.map(str::to_owned),
        }
    }
}

#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The connection ends after this many bytes of the body,
    cut: Option<usize>,
    /// or stays open without a word.
    silent: bool,
}

impl Answer {
    fn error(status: u16, code: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: format!("<Error><Code>{code}</Code><Message>said</Message></Error>").into(),
            cut: None,
            silent: false,
        }
    }

    /// As S3 would.
    fn of(object: &[u8], request: &Request) -> Self {
        if request
            .if_match
            .as_deref()
            .is_some_and(|tag| tag != "\"v1\"")
        {
            return Self::error(412, "PreconditionFailed");
        }
        let range = request.range.strip_prefix("bytes=").unwrap();
        let (first, last) = range.split_once('-').unwrap();
        let all = object.len();
        let bytes = match first {
            "" => all.saturating_sub(last.parse().unwrap())..all,
            first => first.parse().unwrap()..last.parse::<usize>().unwrap() + 1,
        };
        if bytes.is_empty() {
            return Self::error(416, "InvalidRange");
        }
        let content_range = format!("bytes {}-{}/{all}", bytes.start, bytes.end - 1);
        Self {
            status: 206,
            headers: vec![("etag", "\"v1\"".into()), ("content-range", content_range)],
            body: object[bytes].to_vec(),
            cut: None,
            silent: false,
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        for (_, old) in self.headers.iter_mut().filter(|header| header.0 == name) {
            value.clone_into(old);
        }
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|header| header.0 != name);
        self
    }

    fn cut(mut self, after: usize) -> Self {
        self.cut = Some(after);
        self
    }

    fn write(&self, connection: &mut TcpStream) -> std::io::Result<()> {
        let Self { status, body, .. } = self;
        let length = body.len();
        write!(
            connection,
            "HTTP/1.1 {status} -\r\ncontent-length: {length}\r\n"
        )?;
        for (name, value) in &self.headers {
            write!(connection, "{name}: {value}\r\n")?;
        }
        write!(connection, "connection: close\r\n\r\n")?;
        connection.write_all(&body[..self.cut.unwrap_or(length)])
    }
}

/// An S3 with one object, and what it was asked for.
struct S3 {
    url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl S3 {
    /// `answer` sees the request's number, from 0, and what S3 would answer.
    fn with(
        object: Vec<u8>,
        mut answer: impl FnMut(usize, Answer) -> Answer + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            let mut kept_open = Vec::new();
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let Some(request) = read(&connection) else {
                    continue;
                };
                let mut seen = seen.lock().unwrap();
                let answer = answer(seen.len(), Answer::of(&object, &request));
                seen.push(request);
                drop(seen);
                let _nobody_listens = answer.write(&mut connection);
                if answer.silent {
                    kept_open.push(connection);
                }
            }
        });
        Self { url, requests }
    }

    fn new(object: Vec<u8>) -> Self {
        Self::with(object, |_, answer| answer)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    async fn aws(&self) -> Aws {
        let sdk = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .endpoint_url(&self.url)
            .retry_config(RetryConfig::disabled())
            .no_credentials()
            .load()
            .await;
        Aws::new(&sdk, "table".to_owned())
    }

    /// Reads the object on the way that an action does.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(RangedObject) -> T + Send + 'static,
    ) -> T {
        let (aws, job) = (self.aws().await, job());
        let read = aws.read(&job, |mut objects| work(objects.remove(0)));
        read.await.unwrap()
    }
}

fn read(connection: &TcpStream) -> Option<Request> {
    let mut request = Request::default();
    for line in BufReader::new(connection).lines() {
        let line = line.ok()?;
        match line.to_ascii_lowercase().split_once(": ") {
            Some(("range", range)) => range.clone_into(&mut request.range),
            Some(("if-match", tag)) => request.if_match = Some(tag.to_owned()),
            _ if line.is_empty() => return Some(request),
            _ => {}
        }
    }
    None
}

fn job() -> Job {
    Job {
        id: "1".to_owned(),
        token: None,
        parameters: UserParameters::default(),
        inputs: vec![Artifact {
            name: "BuildOut".to_owned(),
            bucket: "artifacts".to_owned(),
            key: "pipe/BuildOut/1".to_owned(),
        }],
        outputs: Vec::new(),
        credentials: Credentials {
            access_key_id: "id".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: "token".to_owned(),
        },
        encryption_key: None,
    }
}

fn object() -> Vec<u8> {
    (0..100_000_u32)
        .map(|number| number.to_le_bytes()[0] ^ number.to_le_bytes()[1])
        .collect()
}

/// All bytes of a range.
fn range(object: &mut RangedObject, bytes: std::ops::Range<u64>) -> Result<Vec<u8>, PortError> {
    let mut read = Vec::new();
    let opened = object.open(bytes);
    let done = opened.and_then(|()| object.read_to_end(&mut read));
    done.map(|_| read).map_err(|e| e.downcast().unwrap())
}

fn tail(object: &mut RangedObject, most: u64) -> Result<u64, PortError> {
    object.open_tail(most).map_err(|e| e.downcast().unwrap())
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in files {
        writer.start_file(*name, stored).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[tokio::test]
async fn each_opening_is_one_range_of_the_version_that_was_first_seen() {
    let s3 = S3::new(object());
    let work = |mut object: RangedObject| {
        assert_eq!(tail(&mut object, 100).unwrap(), 100_000);
        let mut last = Vec::new();
        object.read_to_end(&mut last).unwrap();
        (
            last,
            range(&mut object, 10..20_000).unwrap(),
            range(&mut object, 5..6).unwrap(),
        )
    };
    let (last, middle, one) = s3.read(work).await;
    assert_eq!(last, object()[99_900..]);
    assert_eq!(middle, object()[10..20_000]);
    assert_eq!(one, object()[5..6]);
    let version = Some("\"v1\"");
    let expected = [
        Request::new("bytes=-100", None),
        Request::new("bytes=10-19999", version),
        Request::new("bytes=5-5", version),
    ];
    assert_eq!(s3.requests(), expected);
}

#[tokio::test]
async fn an_object_shorter_than_its_tail_comes_whole() {
    for drop_header in [false, true] {
        let s3 = S3::with(object(), move |_, answer| match drop_header {
            true => answer.without("content-range"),
            false => answer,
        });
        let work = |mut object: RangedObject| {
            let mut all = Vec::new();
            assert_eq!(tail(&mut object, 200_000).unwrap(), 100_000);
            object.read_to_end(&mut all).unwrap();
            all
        };
        assert_eq!(s3.read(work).await, object());
    }
}

#[tokio::test]
async fn a_transfer_that_breaks_is_taken_up_at_the_byte_it_broke_at() {
    let s3 = S3::with(object(), |number, answer| match number {
        0 => answer,
        1 => answer.cut(0),
        2 => answer.cut(1),
        3 => answer.cut(60_000),
        _ => answer,
    });
    let work = |mut object: RangedObject| {
        tail(&mut object, 1).unwrap();
        range(&mut object, 0..90_000).unwrap()
    };
    assert_eq!(s3.read(work).await, object()[..90_000]);
    let ranges: Vec<_> = s3.requests().into_iter().map(|r| r.range).collect();
    let expected = [
        "bytes=-1",
        "bytes=0-89999",
        "bytes=0-89999",
        "bytes=1-89999",
        "bytes=60001-89999",
    ];
    assert_eq!(ranges, expected);
}

#[tokio::test]
async fn a_transfer_that_always_breaks_is_given_up_for_now() {
    let s3 = S3::with(object(), |_, answer| answer.cut(1));
    let work = |mut object: RangedObject| {
        tail(&mut object, 100).unwrap();
        range(&mut object, 0..1000).unwrap_err()
    };
    let error = s3.read(work).await;
    assert_eq!(error.class, Class::Retryable);
    // The tail, the range, and the range again as often as allowed.
    assert_eq!(s3.requests().len(), 2 + RESUMES_MAX as usize);
}

#[tokio::test]
async fn what_s3_refuses_is_told_with_its_class_and_fix() {
    for (status, code, class, part) in [
        (404, "NoSuchKey", Class::Misconfigured, "NoSuchKey"),
        (404, "NoSuchBucket", Class::Misconfigured, "NoSuchBucket"),
        (403, "AccessDenied", Class::Denied, "AccessDenied"),
        (412, "PreconditionFailed", Class::Permanent, "overwritten"),
        (416, "InvalidRange", Class::Misconfigured, "it is empty"),
        (503, "SlowDown", Class::Retryable, "SlowDown"),
        (500, "InternalError", Class::Retryable, "InternalError"),
    ] {
        let s3 = S3::with(object(), move |_, _| Answer::error(status, code));
        // All the way through the zip, as an action has it.
        let error = s3.read(|object| Archive::open(object).map(drop)).await;
        let error = error.unwrap_err().into_input().unwrap();
        let error: PortError = error.downcast().unwrap();
        assert_eq!(error.class, class, "{error}");
        let text = error.to_string();
        let place = "could not fetch artifact BuildOut from s3://artifacts/pipe/BuildOut/1: ";
        assert!(text.starts_with(place) && text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn an_object_overwritten_between_two_ranges_is_not_read_on() {
    let refused = |number: usize, answer: Answer| match number {
        0 => answer,
        _ => Answer::error(412, "PreconditionFailed"),
    };
    let ignored = |number: usize, answer: Answer| match number {
        0 => answer,
        _ => answer.with("etag", "\"v2\""),
    };
    for s3 in [S3::with(object(), refused), S3::with(object(), ignored)] {
        let work = |mut object: RangedObject| {
            tail(&mut object, 100).unwrap();
            range(&mut object, 0..10).unwrap_err()
        };
        let error = s3.read(work).await;
        assert_eq!(error.class, Class::Permanent);
        assert!(error.to_string().contains("retry the stage"), "{error}");
    }
}

#[tokio::test]
async fn other_bytes_than_asked_for_are_not_taken() {
    for content_range in [
        "bytes 1-11/100000",
        "bytes 0-9/100000",
        "bytes 0-11/100000",
        "bytes 0-10/99999",
        "bytes 0-10/*",
        "bytes */100000",
        "0-10/100000",
        "",
    ] {
        let s3 = S3::with(object(), move |number, answer| {
            match (number, content_range) {
                (0, _) => answer,
                (_, "") => answer.without("content-range"),
                (_, other) => answer.with("content-range", other),
            }
        });
        let work = |mut object: RangedObject| {
            tail(&mut object, 100).unwrap();
            range(&mut object, 0..11)
        };
        let error = s3.read(work).await.expect_err(content_range);
        assert_eq!(error.class, Class::Retryable, "{content_range}: {error}");
    }
    let s3 = S3::with(object(), |_, answer| {
        answer.with("content-range", "bytes 0-99/100000")
    });
    let error = s3
        .read(|mut object| tail(&mut object, 100).unwrap_err())
        .await;
    assert_eq!(error.class, Class::Retryable);
    let s3 = S3::with(object(), |_, answer| answer.without("etag"));
    let error = s3
        .read(|mut object| tail(&mut object, 100).unwrap_err())
        .await;
    assert_eq!(error.class, Class::Retryable);
}

#[tokio::test]
async fn a_report_costs_its_own_bytes_and_the_end_of_the_artifact() {
    let passed = b"<testsuite><testcase name='a'/></testsuite>";
    let large = vec![b' '; 4 * TAIL_BYTES as usize];
    let artifact = zip(&[("1", &large), ("out.xml", passed), ("2", &large)]);
    let s3 = S3::new(artifact);
    let (aws, job) = (s3.aws().await, job());
    let read = aws.read(&job, |mut objects| {
        let mut archive = Archive::open(objects.remove(0)).unwrap();
        archive.report("out.xml", None).unwrap();
    });
    read.await.unwrap();
    let header = 30 + "out.xml".len();
    let least = TAIL_BYTES + (header + passed.len()) as u64;
    let fetched = aws.calls.take_artifact_bytes();
    assert!((least..least + 100).contains(&fetched), "{fetched}");
    assert_eq!(aws.calls.take(), 2);
    assert_eq!(aws.calls.take_artifact_bytes(), 0);
}

#[tokio::test]
async fn a_run_that_is_given_up_reads_no_further() {
    let s3 = S3::with(object(), |number, answer| match number {
        0 => answer,
        _ => Answer {
            silent: true,
            ..answer.cut(10)
        },
    });
    let aws = s3.aws().await;
    let (waits, waiting) = mpsc::channel();
    let (tells, told) = mpsc::channel();
    let job = job();
    let read = aws.read(&job, move |mut objects| {
        let object = &mut objects[0];
        tail(object, 100).unwrap();
        waits.send(()).unwrap();
        tells.send(range(object, 0..100)).unwrap();
    });
    // It is given up once it waits for bytes that do not come.
    let given_up = async {
        while waiting.try_recv().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = read => panic!("it cannot end"),
        () = given_up => {}
    }
    // The runtime must be free to turn, or nothing could arrive.
    let told = tokio::task::spawn_blocking(move || told.recv()).await;
    let error = told.unwrap().unwrap().unwrap_err();
    assert!(error.to_string().ends_with("the run is over"), "{error}");
}

#[tokio::test]
async fn a_panic_of_the_work_is_one_of_the_action() {
    let aws = S3::new(object()).aws().await;
    let job = job();
    let read = aws.read(&job, |_| panic!("a bug"));
    let panic = AssertUnwindSafe(read).catch_unwind().await.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug"));
}
