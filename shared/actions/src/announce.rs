//! Tells everybody what happened to releases, from the stream of their log.
//!
//! The stream hands over what is stored and nothing else, in order for each release, until it is told
//! that it was dealt with. So each fact that matters is announced at least once, and nothing that did
//! not happen.

use std::collections::BTreeMap;

use engine::{ANNOUNCEMENTS_MAX, Fact, Heard, Invocation, Listener, PortError, Ports};
use jiff::SignedDuration;
use release::announce::{Announcement, announce, may_matter};
use release::{Head, Release, ReleaseId};
use serde_json::Value;

/// From one try to the next, while AWS does not answer.
const PAUSE: SignedDuration = SignedDuration::from_secs(1);
/// The most tries of one call; the run's deadline comes sooner.
const TRIES_MAX: usize = 600;

/// The function `announce`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Announce;

impl Listener for Announce {
    const NAME: &'static str = "announce";

    async fn run(&self, ports: &impl Ports, call: &Invocation, records: &[Value]) -> Heard {
        let mut telling = Telling::default();
        let mut heard = Heard {
            done: records.len(),
            stopped_by: None,
        };
        for (at, record) in records.iter().enumerate() {
            match telling.hear(ports, call, record).await {
                Ok(announcement) => telling.due.extend(announcement.map(|told| (at, told))),
                Err(error) => {
                    heard = Heard {
                        done: at,
                        stopped_by: Some(error),
                    };
                    break;
                }
            }
        }
        let (told, due) = (telling.put(ports, call).await, telling.due.len());
        if let Err((at, error)) = told {
            heard = Heard {
                done: at,
                stopped_by: Some(error),
            };
        }
        let (records, done) = (records.len(), heard.done);
        tracing::info!(records, done, announcements = due, "stream heard");
        heard
    }
}

/// What there is to announce of the records so far.
#[derive(Default)]
struct Telling {
    /// Releases as they were after the last fact that was heard of them.
    heads: BTreeMap<ReleaseId, Head<Option<Release>>>,
    /// What is due, each with the number of its record.
    due: Vec<(usize, Announcement)>,
}

impl Telling {
    async fn hear(
        &mut self,
        ports: &impl Ports,
        call: &Invocation,
        record: &Value,
    ) -> Result<Option<Announcement>, PortError> {
        let Some(Fact {
            release: id,
            seq,
            event,
        }) = ports.fact(record)?
        else {
            return Ok(None);
        };
        let before = seq.saturating_sub(1);
        let known = self.heads.remove(&id).filter(|head| head.seq == before);
        let head = match known {
            Some(head) => head,
            None if !may_matter(&event) => return Ok(None),
            None => patiently(ports, call, async || ports.load_at(&id, before).await).await?,
        };
        let announcement = announce(&head, &event);
        self.heads.insert(id, head.after(&[event]));
        Ok(announcement)
    }

    /// Puts everything on the bus, or says at which record it could not.
    async fn put(&self, ports: &impl Ports, call: &Invocation) -> Result<(), (usize, PortError)> {
        let mut rest = self.due.as_slice();
        while let Some((at, _)) = rest.first() {
            let next = rest.iter().take(ANNOUNCEMENTS_MAX);
            let next: Vec<_> = next.map(|(_, announcement)| announcement.clone()).collect();
            let put = patiently(ports, call, async || ports.put(&next).await);
            let taken = put.await.map_err(|error| (*at, error))?;
            let (told, after) = rest.split_at(taken.min(next.len()));
            for (_, announcement) in told {
                let (id, what) = (&announcement.detail.id, announcement.kind.detail_type());
                tracing::info!(id, what, "announced");
                announcement
                    .metric_line()
                    .iter()
                    .for_each(|line| ports.measure(line));
            }
            rest = after;
        }
        Ok(())
    }
}

/// Tries again while it may help and this run has time.
async fn patiently<T>(
    ports: &impl Ports,
    call: &Invocation,
    mut attempt: impl AsyncFnMut() -> Result<T, PortError>,
) -> Result<T, PortError> {
    for _ in 0..TRIES_MAX {
        match attempt().await {
            Err(error) if error.class.may_pass() && call.time_left(ports) > PAUSE => {
                tracing::warn!(%error, "trying again");
                ports.sleep(PAUSE).await;
            }
            result => return result,
        }
    }
    attempt().await
}
