//! What gates remember, in the table of the release log.
//!
//! | item | `pk` | `sk` | holds |
//! |---|---|---|---|
//! | header | `gate#STREAM` | `history` | which `generation` it is, and the `body` or how many `chunks` it has |
//! | chunk | `gate#STREAM` | `history#GENERATION#000` | one part of a body that does not fit into the header |
//!
//! A body is the memory as JSON, compressed by zlib, whose checksum tells a damaged one. Every write
//! is a generation of its own: first its chunks, which nobody can see yet, then the header, on
//! condition that it still is the one that was seen. So a header never names a chunk that has not
//! been stored, and of two writers one is refused. The chunks of the generation that was replaced,
//! or of the writer that was refused, are deleted at once if possible, and else when they expire.

use std::io::{Read, Write};

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::operation::put_item::{PutItemError, PutItemOutput};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use engine::{Class, Clock, GateHistory, Lost, Memory, PortError, Recalled, Stream};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use futures::stream::{self, StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::Aws;
use crate::error::failed;
use crate::log::{Item, key, number, string, text};

/// How long a gate remembers after its last run that passed.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 400);
/// Chunks outlive the header that names them: DynamoDB deletes what has expired in any order.
const CHUNKS_OUTLIVE: SignedDuration = SignedDuration::from_hours(24);
/// How bodies are written; another version of Penstock may write them in another way.
const FORMAT: &str = "1";
/// The part of a body in one item, in bytes. An item has 400 KB at most, with its names and keys.
const CHUNK_BYTES: usize = 350_000;
/// The largest body before it is compressed, in bytes.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// The most chunks that are read: those of the largest body, were it not to shrink at all.
const CHUNKS_MAX: usize = BODY_BYTES_MAX / CHUNK_BYTES + 8;
/// How many chunks are read, written or deleted at once.
const CHUNKS_AT_ONCE: usize = 8;
/// How often a history is read again because a newer one replaced it meanwhile.
const READS_MAX: usize = 8;
/// The sort key of headers.
const HEADER: &str = "history";

impl GateHistory for Aws {
    async fn recall(&self, stream: &Stream) -> Result<Recalled, PortError> {
        let doing = || format!("read the history of {stream}");
        let mut missing_of = None;
        for _ in 0..READS_MAX {
            let Some(header) = self.get(stream, HEADER.to_owned(), &doing).await? else {
                return Ok(Recalled::default());
            };
            let version = string(&header, "generation").map(str::to_owned);
            let memory = match Stored::of(&header, self.now()) {
                Stored::Expired => Memory::default(),
                Stored::Odd(why) => lost(why),
                Stored::Inline(body) => unpack(body).unwrap_or_else(lost),
                Stored::Chunks(_) if missing_of.is_some() && missing_of == version => {
                    lost("a part of it is missing".to_owned())
                }
                Stored::Chunks(names) => match self.chunks(stream, &names, &doing).await? {
                    Some(body) => unpack(&body).unwrap_or_else(lost),
                    None => {
                        missing_of = version;
                        continue;
                    }
                },
            };
            return Ok(Recalled { memory, version });
        }
        let why = "it was replaced faster than it could be read";
        Err(PortError::new(Class::Conflict, doing(), why))
    }

    async fn remember(
        &self,
        stream: &Stream,
        seen: &Recalled,
        memory: &Memory,
    ) -> Result<(), PortError> {
        let doing = || format!("store the history of {stream}");
        let body = pack(memory).map_err(|why| PortError::new(Class::Permanent, doing(), why))?;
        let expires = self.now() + KEPT;
        let generation = Uuid::new_v4().simple().to_string();
        let mut header = key(partition(stream), HEADER);
        header.insert("generation".to_owned(), text(&generation));
        header.insert("format".to_owned(), text(FORMAT));
        header.insert("expires".to_owned(), number(expires.as_second()));
        let mut mine = Vec::new();
        if body.len() <= CHUNK_BYTES {
            header.insert("body".to_owned(), bytes(body));
        } else {
            let parts: Vec<&[u8]> = body.chunks(CHUNK_BYTES).collect();
            header.insert("chunks".to_owned(), number(parts.len()));
            mine = chunk_names(&generation, parts.len());
            let expires = expires + CHUNKS_OUTLIVE;
            self.put_chunks(stream, &mine, &parts, expires, &doing)
                .await?;
        }
        let unwanted = match self.put_header(header, seen).await {
            Ok(replaced) => chunks_of(replaced.attributes.as_ref()),
            Err(error) => match now_stored(&error) {
                // The answer to an earlier attempt of this same call was lost.
                Some(item) if string(item, "generation") == Some(&generation) => return Ok(()),
                _ if is_refused(&error) => {
                    self.delete_chunks(stream, mine).await;
                    let why = "something else has been stored since it was read";
                    return Err(PortError::new(Class::Conflict, doing(), why));
                }
                // It may have been stored nevertheless, so its chunks stay until they expire.
                _ => return Err(failed(doing(), error)),
            },
        };
        self.delete_chunks(stream, unwanted).await;
        Ok(())
    }
}

impl Aws {
    async fn get(
        &self,
        stream: &Stream,
        sk: String,
        doing: &impl Fn() -> String,
    ) -> Result<Option<Item>, PortError> {
        let got = self
            .dynamodb
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(partition(stream), sk)))
            .consistent_read(true)
            .send()
            .await;
        got.map(|got| got.item).map_err(|e| failed(doing(), e))
    }

    /// All of a body's chunks in order; None when one is not there.
    async fn chunks(
        &self,
        stream: &Stream,
        names: &[String],
        doing: &impl Fn() -> String,
    ) -> Result<Option<Vec<u8>>, PortError> {
        let mut parts = stream::iter(names.iter().cloned())
            .map(|name| self.get(stream, name, doing))
            .buffered(CHUNKS_AT_ONCE);
        let mut body = Vec::new();
        while let Some(item) = parts.try_next().await? {
            match item.as_ref().and_then(body_of) {
                Some(part) => body.extend_from_slice(part),
                None => return Ok(None),
            }
        }
        Ok(Some(body))
    }

    async fn put_chunks(
        &self,
        stream: &Stream,
        names: &[String],
        parts: &[&[u8]],
        expires: Timestamp,
        doing: &impl Fn() -> String,
    ) -> Result<(), PortError> {
        let puts = names.iter().zip(parts).map(async |(name, part)| {
            let mut item = key(partition(stream), name);
            item.insert("body".to_owned(), bytes(part.to_vec()));
            item.insert("expires".to_owned(), number(expires.as_second()));
            let put = self.put(item).send().await;
            put.map(drop).map_err(|e| failed(doing(), e))
        });
        let mut puts = stream::iter(puts).buffer_unordered(CHUNKS_AT_ONCE);
        while let Some(()) = puts.try_next().await? {}
        Ok(())
    }

    fn put(&self, item: Item) -> PutItemFluentBuilder {
        let put = self.dynamodb.put_item().table_name(&self.table);
        put.set_item(Some(item))
    }

    async fn put_header(
        &self,
        header: Item,
        seen: &Recalled,
    ) -> Result<PutItemOutput, SdkError<PutItemError>> {
        let put = self
            .put(header)
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match &seen.version {
            Some(seen) => put
                .condition_expression("generation = :seen")
                .expression_attribute_values(":seen", text(seen)),
            // Nothing, or a header that does not say which generation it is.
            None => put
                .condition_expression("NOT attribute_type(generation, :text)")
                .expression_attribute_values(":text", text("S")),
        }
        .send()
        .await
    }

    /// What is left here expires, so an error is only told.
    async fn delete_chunks(&self, stream: &Stream, names: Vec<String>) {
        let deletes = names.into_iter().map(async |name| {
            let delete = self.dynamodb.delete_item().table_name(&self.table);
            let delete = delete.set_key(Some(key(partition(stream), name)));
            let doing = || format!("delete a replaced history of {stream}");
            delete.send().await.map_err(|e| failed(doing(), e))
        });
        let deletes = stream::iter(deletes).buffer_unordered(CHUNKS_AT_ONCE);
        let deleted: Result<Vec<_>, PortError> = deletes.try_collect().await;
        if let Err(error) = deleted {
            tracing::info!(%stream, %error, "left to expire");
        }
    }
}

fn partition(stream: &Stream) -> String {
    format!("gate#{stream}")
}

fn bytes(body: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(body))
}

fn chunk_names(generation: &str, count: usize) -> Vec<String> {
    let names = (0..count).map(|place| format!("{HEADER}#{generation}#{place:03}"));
    names.collect()
}

fn lost(why: String) -> Memory {
    Memory::Lost(Lost { why, told: None })
}

/// What a header says.
enum Stored<'a> {
    /// It is over, though DynamoDB has not deleted it yet.
    Expired,
    Inline(&'a [u8]),
    /// The sort keys of the chunks.
    Chunks(Vec<String>),
    /// Nothing that this version can read.
    Odd(String),
}

impl<'a> Stored<'a> {
    fn of(header: &'a Item, now: Timestamp) -> Self {
        let expires: Option<i64> = parsed(header, "expires");
        if expires.is_some_and(|expires| expires <= now.as_second()) {
            return Self::Expired;
        }
        match string(header, "format") {
            Some(FORMAT) => {}
            Some(other) => return Self::Odd(format!("it has format {other}, not {FORMAT}")),
            None => return Self::Odd("it has no format".to_owned()),
        }
        match (body_of(header), chunks_of(Some(header))) {
            (Some(body), _) => Self::Inline(body),
            (None, names) if names.is_empty() => Self::Odd("it has no body".to_owned()),
            (None, names) => Self::Chunks(names),
        }
    }
}

fn parsed<T: std::str::FromStr>(item: &Item, name: &str) -> Option<T> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

fn body_of(item: &Item) -> Option<&[u8]> {
    Some(item.get("body")?.as_b().ok()?.as_ref())
}

/// The sort keys of the chunks that a header names.
fn chunks_of(header: Option<&Item>) -> Vec<String> {
    let names = header.and_then(|header| {
        let count = parsed(header, "chunks").filter(|count| *count <= CHUNKS_MAX)?;
        Some(chunk_names(string(header, "generation")?, count))
    });
    names.unwrap_or_default()
}

fn is_refused(error: &SdkError<PutItemError>) -> bool {
    let refused = error.as_service_error();
    refused.is_some_and(PutItemError::is_conditional_check_failed_exception)
}

/// The item that stood in the way.
fn now_stored(error: &SdkError<PutItemError>) -> Option<&Item> {
    match error.as_service_error()? {
        PutItemError::ConditionalCheckFailedException(refused) => refused.item(),
        _ => None, // whatever else the SDK knows or may add
    }
}

/// The memory as it is stored; why not, if it cannot be.
fn pack(memory: &Memory) -> Result<Vec<u8>, String> {
    let json = serde_json::to_vec(memory).map_err(|e| e.to_string())?;
    if json.len() > BODY_BYTES_MAX {
        return Err(format!(
            "it has {} bytes, and at most {BODY_BYTES_MAX} are kept: too many suites, failing tests \
             or findings were let pass; let the gate read fewer reports",
            json.len()
        ));
    }
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::default());
    let written = packed.write_all(&json).and_then(|()| packed.finish());
    written.map_err(|e| e.to_string())
}

/// The memory from what was stored; why not, if it cannot be read.
fn unpack(packed: &[u8]) -> Result<Memory, String> {
    let mut json = Vec::new();
    ZlibDecoder::new(packed)
        .take(BODY_BYTES_MAX as u64 + 1)
        .read_to_end(&mut json)
        .map_err(|e| format!("it is damaged: {e}"))?;
    if json.len() > BODY_BYTES_MAX {
        return Err(format!("it has more than {BODY_BYTES_MAX} bytes"));
    }
    serde_json::from_slice(&json).map_err(|e| format!("it is of another version: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_900_000_000;

    fn zlib(json: &[u8]) -> Vec<u8> {
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(json).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn a_body_is_the_same_after_it_was_packed() {
        let memory = lost("ä".repeat(100_000));
        let packed = pack(&memory).unwrap();
        assert!(packed.len() < 10_000);
        assert_eq!(unpack(&packed).unwrap(), memory);
    }

    #[test]
    fn a_damaged_body_is_told_from_a_whole_one() {
        let whole = pack(&Memory::default()).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            assert!(unpack(&damaged).is_err(), "byte {place}");
            assert!(unpack(&whole[..place]).is_err(), "cut at {place}");
        }
        assert!(unpack(&zlib(b"{\"kept\":{}}")).is_err());
        assert!(unpack(&zlib(b"[")).is_err());
    }

    #[test]
    fn no_body_takes_more_memory_than_the_largest_one() {
        let bomb = zlib(&vec![b' '; BODY_BYTES_MAX + 1]);
        assert!(bomb.len() < BODY_BYTES_MAX / 100);
        assert!(unpack(&bomb).unwrap_err().contains("more than"));
        let refused = pack(&lost("x".repeat(BODY_BYTES_MAX))).unwrap_err();
        assert!(refused.contains("fewer reports"), "{refused}");
    }

    #[test]
    fn the_largest_body_that_does_not_shrink_has_chunks_enough() {
        let mut state = 1_u64;
        let noise = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        });
        let noise: Vec<u8> = noise.take(1024 * 1024).collect();
        let packed = zlib(&noise).len() - noise.len();
        let most = CHUNKS_MAX * CHUNK_BYTES - BODY_BYTES_MAX;
        assert!(packed * (BODY_BYTES_MAX / noise.len()) < most);
    }

    fn header(changes: &[(&str, Option<AttributeValue>)]) -> Item {
        let mut item = key("gate#a".to_owned(), HEADER);
        item.insert("generation".to_owned(), text("g"));
        item.insert("format".to_owned(), text(FORMAT));
        item.insert("expires".to_owned(), number(NOW + 1));
        item.insert("chunks".to_owned(), number(2));
        for (name, value) in changes {
            match value {
                Some(value) => item.insert((*name).to_owned(), value.clone()),
                None => item.remove(*name),
            };
        }
        item
    }

    #[test]
    fn a_header_says_where_its_body_is_or_that_it_cannot_be_read() {
        let now = Timestamp::from_second(NOW).unwrap();
        let read =
            |changes: &[(&str, Option<AttributeValue>)]| match Stored::of(&header(changes), now) {
                Stored::Expired => "expired".to_owned(),
                Stored::Inline(body) => format!("{} bytes", body.len()),
                Stored::Chunks(names) => names.join(" "),
                Stored::Odd(why) => why,
            };
        assert_eq!(read(&[]), "history#g#000 history#g#001");
        assert_eq!(read(&[("body", Some(bytes(vec![1, 2])))]), "2 bytes");
        assert_eq!(read(&[("expires", Some(number(NOW)))]), "expired");
        assert_eq!(
            read(&[("format", Some(text("2")))]),
            "it has format 2, not 1"
        );
        assert_eq!(read(&[("format", None)]), "it has no format");
        for odd in [
            ("generation", None),
            ("chunks", None),
            ("chunks", Some(number(0))),
            ("chunks", Some(number(CHUNKS_MAX + 1))),
            ("chunks", Some(number(-1))),
            ("chunks", Some(text("2"))),
        ] {
            assert_eq!(read(&[odd]), "it has no body");
        }
    }
}
