//! Starts functions against a tiny Lambda Runtime API, and takes the time to their first request.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The request with which a function says that it is ready for an event.
/// <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
const NEXT: &str = "GET /2018-06-01/runtime/invocation/next ";
/// A longer request line is none of a runtime's.
const REQUEST_LINE_BYTES_MAX: u64 = 1_024;
/// Lambda gives a function 10 s to start; a busy laptop may need longer.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How often a start is checked for having failed.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// zlib's default, which Python's zipfile and so sam use.
const ZIP_LEVEL: i64 = 6;

/// What Lambda sets for a function, as far as one of the contenders reads it; they get nothing else.
const ENVIRONMENT: [(&str, &str); 11] = [
    ("AWS_ACCESS_KEY_ID", "test"),
    ("AWS_DEFAULT_REGION", "us-east-1"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
    ("AWS_REGION", "us-east-1"),
    ("AWS_SECRET_ACCESS_KEY", "test"),
    ("PENSTOCK_ALLOWED_TARGETS", "*"),
    ("PENSTOCK_TABLE", "bench"),
];

/// A program whose start is measured.
#[derive(Debug)]
pub struct Contender {
    /// What it is called in the table.
    pub name: String,
    program: PathBuf,
    script: Option<PathBuf>,
}

/// One start.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// From before the process was made to its request for a first event, in seconds.
    pub seconds: f64,
    /// The most memory that was resident until then, in bytes; `None` where the system does not tell.
    pub memory_bytes: Option<u64>,
}

/// How large what is uploaded to Lambda is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// The executable or script, in bytes.
    pub file_bytes: u64,
    /// A zip with only that in it, in bytes.
    pub zip_bytes: u64,
}

impl Contender {
    /// The binary that cargo-lambda built: `DIRECTORY/NAME/bootstrap`.
    ///
    /// # Errors
    /// When it is not there; `fix` is what the user is told to do then.
    pub fn built(directory: &Path, name: &str, fix: &str) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            program: existing(directory.join(name).join("bootstrap"), fix)?,
            script: None,
        })
    }

    /// A script for this interpreter.
    ///
    /// # Errors
    /// When one of them is not there; `fix` is what the user is told to do then.
    pub fn script(
        name: &str,
        interpreter: &Path,
        script: &Path,
        fix: &str,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            program: existing(interpreter.to_owned(), fix)?,
            script: Some(existing(script.to_owned(), fix)?),
        })
    }

    /// Starts it, waits until it asks for an event, and ends it.
    ///
    /// # Errors
    /// When it does not start, ends by itself, asks for something else, or takes too long.
    pub fn start(&self) -> anyhow::Result<Start> {
        let doing = || format!("could not start {}", self.name);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("could not listen")?;
        let api = listener
            .local_addr()
            .context("could not listen")?
            .to_string();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || sender.send(first_request(&listener)));
        let mut command = Command::new(&self.program);
        command
            .args(&self.script)
            .env_clear()
            .envs(ENVIRONMENT)
            .env("AWS_LAMBDA_RUNTIME_API", api)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let began = Instant::now();
        let mut process = Running(command.spawn().with_context(doing)?);
        let first = loop {
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(first) => break first.with_context(doing)?,
                Err(RecvTimeoutError::Disconnected) => bail!("{}: the Runtime API broke", doing()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(status) = process.0.try_wait().with_context(doing)? {
                bail!(
                    "{}: it ended before it asked for an event, with {status}",
                    doing()
                );
            }
            ensure!(
                began.elapsed() < START_TIME_MAX,
                "{} in {START_TIME_MAX:?}",
                doing()
            );
        };
        let start = Start {
            seconds: first.at.duration_since(began).as_secs_f64(),
            memory_bytes: memory_bytes_max(process.0.id()),
        };
        drop(process); // before its connection, whose end it would complain about
        Ok(start)
    }

    /// How large it is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn size(&self) -> anyhow::Result<Size> {
        let path = self.script.as_ref().unwrap_or(&self.program);
        let doing = || format!("could not zip {}", path.display());
        let mut file = File::open(path).with_context(doing)?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(ZIP_LEVEL));
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file("bootstrap", options).with_context(doing)?;
        let file_bytes = io::copy(&mut file, &mut zip).with_context(doing)?;
        let zipped = zip.finish().with_context(doing)?.into_inner();
        Ok(Size {
            file_bytes,
            zip_bytes: zipped.len().try_into().unwrap_or(u64::MAX),
        })
    }
}

/// Starts each contender `rounds` times, in rounds that each begin with another one, so that whatever
/// else the machine does hits all of them alike. Gives each contender's starts, round by round.
///
/// A round before these is not counted: it brings the files into memory.
///
/// # Errors
/// When a contender does not start.
pub fn race<const N: usize>(
    contenders: &[Contender; N],
    rounds: usize,
) -> anyhow::Result<[Vec<Start>; N]> {
    for contender in contenders {
        contender.start()?;
    }
    let mut starts = [const { Vec::new() }; N];
    for round in 0..rounds {
        for turn in 0..N {
            let index = (round + turn) % N;
            starts[index].push(contenders[index].start()?);
        }
    }
    Ok(starts)
}

fn existing(path: PathBuf, fix: &str) -> anyhow::Result<PathBuf> {
    ensure!(path.is_file(), "could not find {}: {fix}", path.display());
    Ok(path)
}

/// A process that ends with its measurement, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _may_be_gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// A request for an event. It is never answered, so its sender waits as long as this lives.
struct FirstRequest {
    at: Instant,
    _connection: TcpStream,
}

fn first_request(listener: &TcpListener) -> io::Result<FirstRequest> {
    let (connection, _) = listener.accept()?;
    let mut line = String::new();
    BufReader::new(&connection)
        .take(REQUEST_LINE_BYTES_MAX)
        .read_line(&mut line)?;
    let at = Instant::now();
    if !line.starts_with(NEXT) {
        return Err(io::Error::other(format!("its first request was {line:?}")));
    }
    Ok(FirstRequest {
        at,
        _connection: connection,
    })
}

/// Only Linux has the file.
fn memory_bytes_max(process: u32) -> Option<u64> {
    resident_bytes_max(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

/// `VmHWM` of a process's status, which is in units of 1,024 bytes. See proc_pid_status(5).
fn resident_bytes_max(status: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    kib.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// What the Runtime API makes of a client that sends this.
    fn asked(request: &str) -> io::Result<FirstRequest> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        first_request(&listener)
    }

    #[test]
    fn only_a_request_for_an_event_is_a_start() {
        assert!(asked("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n").is_ok());
        for other in [
            "POST /2018-06-01/runtime/init/error HTTP/1.1\r\n",
            "GET /2018-06-01/runtime/invocation/nextday HTTP/1.1\r\n",
        ] {
            let error = asked(other)
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default();
            assert!(error.contains(other.split(' ').nth(1).unwrap()), "{error}");
        }
    }

    #[test]
    fn memory_is_read_where_the_system_tells() {
        assert_eq!(
            resident_bytes_max("VmPeak:\t 9 kB\nVmHWM:\t    3 kB\nVmRSS:\t 2 kB\n"),
            Some(3_072)
        );
        assert_eq!(resident_bytes_max("VmPeak:\t 9 kB\n"), None);
        assert_eq!(resident_bytes_max("VmHWM:\t many kB\n"), None);
    }

    #[test]
    fn a_missing_binary_is_told_with_what_builds_it() {
        let error =
            Contender::built(Path::new("no-such"), "test-gate", "run `make build`").unwrap_err();
        let path = Path::new("no-such/test-gate/bootstrap");
        assert_eq!(
            error.to_string(),
            format!("could not find {}: run `make build`", path.display())
        );
    }

    #[test]
    fn a_zip_is_smaller_than_what_repeats_itself() {
        let path = std::env::current_exe().unwrap();
        let contender = Contender {
            name: "self".into(),
            program: path.clone(),
            script: None,
        };
        let size = contender.size().unwrap();
        assert_eq!(size.file_bytes, path.metadata().unwrap().len());
        assert!((1..size.file_bytes).contains(&size.zip_bytes), "{size:?}");
    }
}
