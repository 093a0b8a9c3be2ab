//! An object in S3, read by ranges.

use std::io::{self, Read};
use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use bytes::{Buf, Bytes};
use engine::{Artifact, Class, Input, PortError, chain};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::calls::Calls;
use crate::error::{failed, odd_answer};

/// How often the transfers of one object may break and be taken up again.
pub(super) const RESUMES_MAX: u32 = 16;
/// The longest wait for the next bytes of a transfer.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// An object in S3. Each opening is one `GetObject` of that range, made when the first byte of it is
/// read; its body is handed on as it arrives. All ranges are of the version that the first one was.
///
/// Reads wait for the runtime that it was made in, so they must not happen on a thread of that
/// runtime. Their errors hold a [`PortError`].
pub struct RangedObject {
    runtime: Handle,
    client: Client,
    artifact: Artifact,
    calls: Calls,
    /// Closes when nobody waits any more for what is read.
    waited_for: watch::Receiver<()>,
    /// The object's ETag, from the first answer on.
    version: Option<String>,
    /// Its bytes in all, from the first answer on.
    all: u64,
    /// What reads still give.
    left: Range<u64>,
    /// The answer that gives it, if there is one yet.
    body: Option<ByteStream>,
    /// What of the body has arrived and not been read.
    chunk: Bytes,
    resumes_left: u32,
}

impl RangedObject {
    pub(super) fn new(
        client: Client,
        artifact: Artifact,
        calls: Calls,
        waited_for: watch::Receiver<()>,
    ) -> Self {
        Self {
            runtime: Handle::current(),
            client,
            artifact,
            calls,
            waited_for,
            version: None,
            all: 0,
            left: 0..0,
            body: None,
            chunk: Bytes::new(),
            resumes_left: RESUMES_MAX,
        }
    }

    fn doing(&self) -> String {
        let Artifact { name, bucket, key } = &self.artifact;
        format!("fetch artifact {name} from s3://{bucket}/{key}")
    }

    /// Waits for the runtime, unless nobody waits for this.
    fn wait<T>(&self, future: impl Future<Output = T>) -> Result<T, PortError> {
        let mut waited_for = self.waited_for.clone();
        let done = self.runtime.block_on(async {
            tokio::select! {
                biased;
                _closed = waited_for.changed() => None,
                done = future => Some(done),
            }
        });
        let given_up = || PortError::new(Class::Retryable, self.doing(), "the run is over");
        done.ok_or_else(given_up)
    }

    /// Asks for a range. Returns the answer, which bytes it has, and how many there are in all.
    fn get(&mut self, range: String) -> Result<(ByteStream, Range<u64>, u64), PortError> {
        let call = self.client.get_object();
        let call = call
            .bucket(&self.artifact.bucket)
            .key(&self.artifact.key)
            .range(range)
            .set_if_match(self.version.clone());
        let answer = self.wait(call.send())?;
        let answer = answer.map_err(|error| self.refused(error))?;
        let Some((bytes, all)) = extent(&answer) else {
            return Err(odd_answer(
                self.doing(),
                "S3 did not say which bytes these are",
            ));
        };
        match (&self.version, answer.e_tag) {
            (_, None) => return Err(odd_answer(self.doing(), "S3 gave it no ETag")),
            (Some(version), Some(other)) if *version != other => return Err(self.overwritten()),
            (_, version) => self.version = version,
        }
        Ok((answer.body, bytes, all))
    }

    fn refused(&self, error: SdkError<GetObjectError, HttpResponse>) -> PortError {
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        let mut refused = failed(self.doing(), error);
        match status {
            // What is not there is the pipeline's mistake.
            Some(404) => refused.class = Class::Misconfigured,
            Some(412) => return self.overwritten(),
            Some(416) if self.version.is_none() => return self.empty(),
            _ => {}
        }
        refused
    }

    fn overwritten(&self) -> PortError {
        let why = "it was overwritten while it was being read; retry the stage";
        PortError::new(Class::Permanent, self.doing(), why)
    }

    fn empty(&self) -> PortError {
        let why = "it is empty; list the reports and penstock.yaml under the buildspec's artifacts";
        PortError::new(Class::Misconfigured, self.doing(), why)
    }

    /// Asks for what is left.
    fn resume(&mut self) -> Result<ByteStream, PortError> {
        let Range { start, end } = self.left;
        let (body, bytes, all) = self.get(format!("bytes={start}-{}", end.saturating_sub(1)))?;
        match bytes == self.left && all == self.all {
            true => Ok(body),
            false => Err(odd_answer(self.doing(), "S3 answered with other bytes")),
        }
    }

    /// The next bytes as they arrive, over as many requests as it takes.
    fn arrive(&mut self) -> Result<Bytes, PortError> {
        loop {
            let mut body = match self.body.take() {
                Some(body) => body,
                None => self.resume()?,
            };
            let next = self.wait(async { timeout(SILENCE_MAX, body.next()).await })?;
            let why = match next {
                Ok(Some(Ok(chunk))) => {
                    self.calls.fetched(chunk.len());
                    self.body = Some(body);
                    match chunk.is_empty() {
                        true => continue,
                        false => return Ok(chunk),
                    }
                }
                Ok(Some(Err(broken))) => chain(&broken),
                Ok(None) => "the answer ended early".to_owned(),
                Err(elapsed) => chain(&elapsed),
            };
            let Some(left) = self.resumes_left.checked_sub(1) else {
                return Err(PortError::new(Class::Retryable, self.doing(), why));
            };
            self.resumes_left = left;
            tracing::warn!(
                at = self.left.start,
                why,
                "the transfer broke, and is taken up"
            );
        }
    }
}

impl Read for RangedObject {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.left.end.saturating_sub(self.left.start);
        let room = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        if self.chunk.is_empty() {
            self.chunk = self.arrive().map_err(io::Error::other)?;
        }
        let count = room.min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..count]);
        self.left.start += count as u64;
        Ok(count)
    }
}

impl Input for RangedObject {
    fn open_tail(&mut self, most: u64) -> io::Result<u64> {
        let (body, bytes, all) = self
            .get(format!("bytes=-{most}"))
            .map_err(io::Error::other)?;
        if all == 0 {
            return Err(io::Error::other(self.empty()));
        }
        if bytes != (all.saturating_sub(most)..all) {
            let odd = odd_answer(
                self.doing(),
                "S3 answered with other bytes than the last ones",
            );
            return Err(io::Error::other(odd));
        }
        self.chunk = Bytes::new();
        self.body = Some(body);
        self.left = bytes;
        self.all = all;
        Ok(all)
    }

    fn open(&mut self, bytes: Range<u64>) -> io::Result<()> {
        self.chunk = Bytes::new();
        self.body = None;
        self.left = bytes;
        Ok(())
    }
}

/// Which bytes an answer has, and how many there are in all.
fn extent(answer: &GetObjectOutput) -> Option<(Range<u64>, u64)> {
    let Some(range) = answer.content_range() else {
        // All of them, as HTTP allows whatever was asked for.
        let all = answer.content_length()?.try_into().ok()?;
        return Some((0..all, all));
    };
    let (bytes, all) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = bytes.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    Some((first..last.checked_add(1)?, all.parse().ok()?))
}
