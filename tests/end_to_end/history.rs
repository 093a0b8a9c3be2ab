//! What gates remember, in the deployed table: nothing is lost, nothing half written is read, and
//! everything ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, ensure};
use aws::Aws;
use engine::{Class, GateHistory, Memory, Recalled, Stream, remember_run};
use release::gate::{History, POINTS_MAX, Run};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::Test;
use crate::world::World;

pub const TESTS: &[Test] = &[
    (
        "a_history_comes_back_as_it_was_stored_however_large",
        comes_back,
    ),
    ("runs_that_pass_at_once_are_all_remembered", at_once),
    ("what_was_replaced_or_refused_is_deleted", replaced),
    ("a_damaged_history_is_lost_and_not_empty", damaged),
    ("an_expired_history_is_empty", expired),
    ("a_write_whose_answer_is_lost_is_stored_once", answer_lost),
];

/// How long a gate remembers, in days, and how far from it a machine's clock may be.
const KEPT_DAYS: i64 = 400;
const DAY: i64 = 86_400;

fn totals() -> Value {
    json!({"tests": 3, "passed": 2, "failed": 1, "errors": 0, "skipped": 0, "flaky": 0})
}

/// A run with this many suites and failing tests, whose names do not compress.
fn run(number: usize, suites: usize, failing: usize) -> anyhow::Result<Run> {
    let mut state = number as u64;
    let mut name = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        format!(
            "{:016x}",
            (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
        )
    };
    let mut named = |count: usize| -> Value {
        let names = (0..count).map(|place| (name(), json!(place)));
        Value::Object(names.collect())
    };
    let suites = named(suites);
    let failing = named(failing);
    Ok(serde_json::from_value(json!({
        "point": {
            "run": format!("run-{number}"),
            "at": format!("2026-01-01T{:02}:{:02}:00Z", number / 60, number % 60),
            "commit": null, "totals": totals(), "duration_seconds": 0.1,
            "lines": null, "branches": null, "findings": {},
        },
        "suites": suites, "failing": failing, "findings": {},
    }))?)
}

/// Too large for one item.
fn large(number: usize) -> anyhow::Result<Run> {
    run(number, 50_000, 10_000)
}

fn of(run: Run) -> Memory {
    Memory::Kept(History::default().after(run))
}

impl World {
    fn stream(&self) -> anyhow::Result<Stream> {
        Ok(Stream::try_from(format!("{}/Ä 1", self.name("gate")))?)
    }

    /// What is stored under this stream, without the bodies.
    fn items(&self, stream: &Stream) -> anyhow::Result<Vec<Item>> {
        let found = self.table(&format!(
            "pages = client.get_paginator('query').paginate(TableName=table, ConsistentRead=True, \
             KeyConditionExpression='pk = :p', ExpressionAttributeValues={{':p': {{'S': {pk}}}}})\n\
             items = [i for page in pages for i in page['Items']]\n\
             print(json.dumps([[i['sk']['S'], int(i['expires']['N'])] for i in items]))",
            pk = partition(stream)?,
        ))?;
        Ok(serde_json::from_str(&found)?)
    }

    /// Sets an attribute of one item, in Python's notation.
    fn set(&self, stream: &Stream, sk: &str, name: &str, value: &str) -> anyhow::Result<()> {
        let pk = partition(stream)?;
        self.table(&format!(
            "client.update_item(TableName=table, Key={{'pk': {{'S': {pk}}}, 'sk': {{'S': '{sk}'}}}}, \
             UpdateExpression='SET #n = :v', ExpressionAttributeNames={{'#n': '{name}'}}, \
             ExpressionAttributeValues={{':v': {value}}})"
        ))?;
        Ok(())
    }

    fn table(&self, script: &str) -> anyhow::Result<String> {
        let table = self.stack.table();
        self.boto3(&format!(
            "import boto3, json\nclient = boto3.client('dynamodb')\ntable = '{table}'\n{script}"
        ))
    }
}

/// The sort key of an item, and when it expires.
type Item = (String, i64);

/// The partition key as a Python text, which JSON's notation is as well.
fn partition(stream: &Stream) -> anyhow::Result<String> {
    Ok(serde_json::to_string(&format!("gate#{stream}"))?)
}

fn comes_back(world: &World) -> anyhow::Result<()> {
    let (aws, stream) = (&world.aws, world.stream()?);
    world.runtime.block_on(async {
        ensure!(aws.recall(&stream).await? == Recalled::default());
        for (number, memory) in [
            of(run(1, 1, 0)?),
            of(large(2)?),
            of(run(3, 10, 10)?),
            Memory::Kept(History::default()),
        ]
        .iter()
        .enumerate()
        {
            let before = aws.recall(&stream).await?;
            aws.remember(&stream, &before, memory).await?;
            let after = aws.recall(&stream).await?;
            ensure!(after.memory == *memory, "number {number} has changed");
            ensure!(after.version != before.version);
            let chunks = world.items(&stream)?.len() - 1;
            ensure!(
                (chunks >= 2) == (number == 1),
                "number {number} has {chunks} chunks"
            );
        }
        Ok(())
    })
}

fn at_once(world: &World) -> anyhow::Result<()> {
    let (aws, stream) = (&world.aws, world.stream()?);
    let rounds = 50;
    world.runtime.block_on(async {
        for round in 0..rounds {
            // Now and then one of them is so large that it has to be read and written in parts: not in
            // the last rounds, so that no part of it may be left.
            let one = if round % 10 == 0 {
                large(2 * round)?
            } else {
                run(2 * round, 5, 5)?
            };
            let other = run(2 * round + 1, 5, 5)?;
            let (one, other) = tokio::join!(
                remember_run(aws, &stream, &one),
                remember_run(aws, &stream, &other)
            );
            one?;
            other?;
        }
        let Memory::Kept(history) = aws.recall(&stream).await?.memory else {
            anyhow::bail!("it was lost");
        };
        let runs: Vec<_> = history.points.iter().map(|p| p.run.clone()).collect();
        let all = 2 * rounds - POINTS_MAX..2 * rounds;
        let all: Vec<_> = all.map(|number| format!("run-{number}")).collect();
        ensure!(runs == all, "{runs:?}");
        let last = history.last.context("none is the last")?;
        ensure!(last == run(2 * rounds - 1, 5, 5)?);
        ensure!(world.items(&stream)?.len() == 1, "chunks were left");
        Ok(())
    })
}

fn replaced(world: &World) -> anyhow::Result<()> {
    let (aws, stream) = (&world.aws, world.stream()?);
    world.runtime.block_on(async {
        let nothing = aws.recall(&stream).await?;
        aws.remember(&stream, &nothing, &of(large(1)?)).await?;
        let first = world.items(&stream)?;
        let refused = aws.remember(&stream, &nothing, &of(large(2)?)).await;
        ensure!(refused.is_err_and(|error| error.class == Class::Conflict));
        ensure!(world.items(&stream)? == first, "the loser left chunks");
        everything_ends(&first)?;

        let seen = aws.recall(&stream).await?;
        ensure!(seen.memory == of(large(1)?));
        aws.remember(&stream, &seen, &of(large(3)?)).await?;
        let second = world.items(&stream)?;
        ensure!(second.len() == first.len(), "{second:?}");
        let gone = |item: &Item| item.0 == "history" || !second.contains(item);
        ensure!(first.iter().all(gone), "{first:?} {second:?}");
        everything_ends(&second)
    })
}

/// The header in [`KEPT_DAYS`], and each chunk a day after it.
fn everything_ends(items: &[Item]) -> anyhow::Result<()> {
    let now = std::time::UNIX_EPOCH.elapsed()?.as_secs();
    let end = i64::try_from(now)? + KEPT_DAYS * DAY;
    let (_, header) = items
        .iter()
        .find(|(sk, _)| sk == "history")
        .context("no header")?;
    ensure!((header - end).abs() < DAY / 2, "{header} is not {end}");
    let chunks: Vec<_> = items.iter().filter(|(sk, _)| sk != "history").collect();
    ensure!(chunks.len() >= 2);
    ensure!(chunks.iter().all(|(_, expires)| *expires == header + DAY));
    Ok(())
}

fn damaged(world: &World) -> anyhow::Result<()> {
    let (aws, stream) = (&world.aws, world.stream()?);
    world.runtime.block_on(async {
        let lost = async |part: &str| {
            let seen = aws.recall(&stream).await?;
            let Memory::Lost(lost) = &seen.memory else {
                anyhow::bail!("it is not lost, though {part}");
            };
            ensure!(lost.why.contains(part), "{lost:?}");
            // The next run that passes mends it.
            remember_run(aws, &stream, &large(1)?).await?;
            ensure!(aws.recall(&stream).await?.memory == of(large(1)?));
            anyhow::Ok(())
        };
        let remembered = run(0, 5, 5)?;
        remember_run(aws, &stream, &remembered).await?;
        world.set(&stream, "history", "body", "{'B': b'odd'}")?;
        lost("damaged").await?;
        world.set(&stream, "history", "format", "{'S': '2'}")?;
        lost("format 2").await?;
        let items = world.items(&stream)?;
        let (chunk, _) = items
            .iter()
            .rfind(|(sk, _)| sk != "history")
            .context("no chunk")?;
        world.set(&stream, chunk, "body", "{'S': 'no bytes'}")?;
        lost("missing").await?;
        world.set(&stream, "history", "generation", "{'N': '1'}")?;
        lost("no body").await
    })
}

fn expired(world: &World) -> anyhow::Result<()> {
    let (aws, stream) = (&world.aws, world.stream()?);
    world.runtime.block_on(async {
        remember_run(aws, &stream, &run(0, 5, 5)?).await?;
        world.set(&stream, "history", "expires", "{'N': '1'}")?;
        ensure!(aws.recall(&stream).await?.memory == Memory::default());
        remember_run(aws, &stream, &run(1, 5, 5)?).await?;
        ensure!(aws.recall(&stream).await?.memory == of(run(1, 5, 5)?));
        Ok(())
    })
}

/// The SDK sends what it got no answer to again: what stands in the way then is its own write.
fn answer_lost(world: &World) -> anyhow::Result<()> {
    let (seen, run) = (Recalled::default(), large(1)?);
    world.runtime.block_on(async {
        for lost in 0.. {
            let stream = world.stream()?;
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let endpoint = format!("http://{}", listener.local_addr()?);
            let puts = Arc::new(AtomicUsize::new(0));
            let emulator = world.stack.sdk().endpoint_url().unwrap_or_default();
            let emulator = emulator.trim_start_matches("http://").to_owned();
            let proxy = tokio::spawn(lose(listener, emulator, puts.clone(), lost));
            let sdk = world
                .stack
                .sdk()
                .to_builder()
                .endpoint_url(endpoint)
                .build();
            let aws = Aws::new(&sdk, world.stack.table().to_owned());
            aws.remember(&stream, &seen, &of(run.clone())).await?;
            proxy.abort();
            ensure!(world.aws.recall(&stream).await?.memory == of(run.clone()));
            let items = world.items(&stream)?.len();
            if puts.load(Ordering::SeqCst) <= lost {
                ensure!(
                    lost == items,
                    "each of {items} writes has lost its answer once"
                );
                return Ok(());
            }
        }
        Ok(())
    })
}

/// Lets everything through but the answer to the write number `lost`, counted from 0.
async fn lose(listener: TcpListener, to: String, puts: Arc<AtomicUsize>, lost: usize) {
    while let Ok((client, _)) = listener.accept().await {
        let (to, puts) = (to.clone(), puts.clone());
        tokio::spawn(async move {
            let server = TcpStream::connect(to).await?;
            pass(client, server, &puts, lost).await
        });
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    puts: &AtomicUsize,
    lost: usize,
) -> std::io::Result<()> {
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut doomed = false;
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let request = &up[..read?];
                if request.is_empty() {
                    return Ok(());
                }
                // The name of the operation is in the head, which comes in one piece.
                if request.windows(8).any(|part| part == b".PutItem") {
                    doomed = puts.fetch_add(1, Ordering::SeqCst) == lost;
                }
                server.write_all(request).await?;
            }
            read = server.read(&mut down) => {
                let answer = &down[..read?];
                if answer.is_empty() || doomed {
                    return Ok(());
                }
                client.write_all(answer).await?;
            }
        }
    }
}
