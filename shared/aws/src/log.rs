//! The release log in one DynamoDB table.
//!
//! | item | `pk` | `sk` | holds |
//! |---|---|---|---|
//! | event | `release#ID` | `event#0000000001` | one fact; on every 16th also the state after it |
//! | target | `target#NAME` | `holder` | the one active release, and the fence |
//! | active | `active#ID` | `release` | until when the sweep leaves it alone, by the index `due` |
//! | watch | `watch#alarm:NAME` | the release | lets an outside event find its release |
//!
//! An append is one conditional write on the next sequence number, of several events or with a
//! claim one transaction. Reading starts at the newest snapshot, so it is one query.
//!
//! What gates remember is in the same table: see `history`. What its stream hands over of new events
//! is read by `stream`.

mod stream;

use std::collections::HashMap;

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, Delete, Put, ReturnValue,
    ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use engine::{AppendError, Class, Clock, Due, Fact, Invocation, PortError, ReleaseLog};
use jiff::{SignedDuration, Timestamp};
use release::account::LOG_EVENTS_MAX;
use release::{Claim, Generation, Head, ReleaseId, Story, TargetId};
use serde_json::Value;

use crate::Aws;
use crate::error::{failed, odd_answer};

/// Every so many events one carries the state.
const SNAPSHOT_EVERY: u64 = 16;
/// Marks snapshots that this version's `apply` made; others are passed over.
const SNAPSHOT_VERSION: &str = "3";
/// The sparse index of what is active, by the time when the sweep is to look at it.
const DUE_INDEX: &str = "due";
/// The partition of that index: one, since no account has so many releases at once that a
/// thousand writes a second would not do.
const SWEEP: &str = "sweep";
/// One query reads a snapshot and everything after it.
const PAGE_ITEMS: i32 = 16;
/// A whole log is read in pages of this size, or of 1 MB, which DynamoDB returns at most.
const LOG_PAGE_ITEMS: i32 = 1_000;
/// The most pages of one answer.
const PAGES_MAX: usize = 1_000;
/// How long facts are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 365);
/// How far two machines' clocks may be apart before a fence could be taken too early.
const SKEW: SignedDuration = SignedDuration::from_secs(5);

/// Takes a fence.
const FENCE: &str = "SET fence_owner = :me, fence_until = :until, generation = :mine";
/// When it may be taken.
const FENCE_CONDITION: &str = "held_by = :release AND generation <= :mine AND \
     (attribute_not_exists(fence_owner) OR fence_owner = :me OR fence_until < :now)";

pub(crate) type Item = HashMap<String, AttributeValue>;

/// A log with more events, and what is to be written for that.
struct Appended<S> {
    head: Head<S>,
    items: Vec<Item>,
    claims: Vec<Claim>,
    expires: Timestamp,
}

/// What kept a write of several items from being done.
enum Refused {
    /// Nothing but the fence.
    Fence,
    Append(AppendError),
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        Self::Append(error)
    }
}

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn key(pk: String, sk: impl Into<String>) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn target_key(target: &TargetId) -> Item {
    key(format!("target#{target}"), "holder")
}

fn watch_key(name: &str, id: &ReleaseId) -> Item {
    key(format!("watch#{name}"), id.as_str())
}

fn active_key(id: &ReleaseId) -> Item {
    key(format!("active#{id}"), "release")
}

fn event_key(seq: u64) -> String {
    format!("event#{seq:010}")
}

fn story_key<S: Story>(id: &ReleaseId) -> String {
    format!("{}#{id}", S::KIND)
}

impl ReleaseLog for Aws {
    async fn load<S: Story>(&self, id: &ReleaseId) -> Result<Head<S>, PortError> {
        self.load_until(id, None).await
    }

    async fn load_at<S: Story>(&self, id: &ReleaseId, seq: u64) -> Result<Head<S>, PortError> {
        match seq {
            0 => Ok(Head::default()),
            _ => self.load_until(id, Some(event_key(seq))).await,
        }
    }

    fn fact(&self, record: &Value) -> Result<Option<Fact>, PortError> {
        stream::fact(record)
    }

    async fn events<S: Story>(&self, id: &ReleaseId) -> Result<Vec<S::Event>, PortError> {
        let doing = format!("read the log of {id}");
        let mut events = Vec::new();
        let mut from = None;
        for _ in 0..PAGES_MAX {
            let page = self.page(&doing, story_key::<S>(id), None, from, LOG_PAGE_ITEMS);
            let page = page.await?;
            for item in page.items() {
                events.push(event::<S>(&doing, item)?);
            }
            if events.len() > LOG_EVENTS_MAX {
                break;
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                events.reverse(); // pages are the newest first
                return Ok(events);
            }
        }
        Err(odd_answer(doing, "it is too long"))
    }

    async fn append<S: Story>(
        &self,
        id: &ReleaseId,
        head: &Head<S>,
        events: &[S::Event],
    ) -> Result<Head<S>, AppendError> {
        let appended = self.appended(id, head, events)?;
        match (appended.items.as_slice(), appended.claims.is_empty()) {
            ([], _) => {}
            ([item], true) => self.put_event(id, item.clone()).await?,
            ([..], _) => match self.write_all(id, &appended, None).await {
                Ok(()) => {}
                Err(Refused::Append(error)) => return Err(error),
                // Nobody asked for one.
                Err(Refused::Fence) => return Err(AppendError::Moved),
            },
        }
        Ok(appended.head)
    }

    async fn append_and_fence<S: Story>(
        &self,
        id: &ReleaseId,
        head: &Head<S>,
        events: &[S::Event],
        target: &TargetId,
        generation: Generation,
        call: &Invocation,
    ) -> Result<(Head<S>, bool), AppendError> {
        let appended = self.appended(id, head, events)?;
        let moves_target = |claim: &Claim| match claim {
            // One write may not change an item twice.
            Claim::Take { .. } | Claim::GiveBack { .. } => true,
            Claim::Wake { .. } => false,
        };
        if !appended.claims.iter().any(moves_target) {
            let fence = self.fencing(target, id, generation, call)?;
            match self.write_all(id, &appended, Some(fence)).await {
                Ok(()) => return Ok((appended.head, true)),
                Err(Refused::Fence) => {}
                Err(Refused::Append(error)) => return Err(error),
            }
        }
        let head = self.append(id, head, events).await?;
        Ok((head, false))
    }

    async fn watching(&self, name: &str) -> Result<Vec<ReleaseId>, PortError> {
        let doing = format!("find the releases that watch {name}");
        let mut ids = Vec::new();
        let mut from = None;
        for _ in 0..PAGES_MAX {
            let page = self.page(&doing, format!("watch#{name}"), None, from, PAGE_ITEMS);
            let page = page.await?;
            for item in page.items() {
                ids.push(release_id(&doing, string(item, "sk").unwrap_or_default())?);
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(ids);
            }
        }
        Err(odd_answer(doing, "there are too many"))
    }

    async fn holder(&self, target: &TargetId) -> Result<Option<ReleaseId>, PortError> {
        let doing = format!("find who holds {target}");
        let page = self.page(&doing, format!("target#{target}"), None, None, PAGE_ITEMS);
        let page = page.await?;
        let holder = page
            .items()
            .first()
            .and_then(|item| string(item, "held_by"));
        holder.map(|id| release_id(&doing, id)).transpose()
    }

    async fn beat(&self, id: &ReleaseId, at: Timestamp, until: Timestamp) -> Result<(), PortError> {
        let told = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(active_key(id)))
            .update_expression("SET asked = :at, due = :until")
            // A job may have read the log before a rollback was decided.
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(woken)")
            .expression_attribute_values(":at", millis(at))
            .expression_attribute_values(":until", millis(until))
            .send()
            .await;
        match told {
            Ok(_) => Ok(()),
            Err(error) if condition_failed(&error) => Ok(()),
            Err(error) => Err(failed(format!("tell the sweep of {id}"), error)),
        }
    }

    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, PortError> {
        let doing = "find what nobody looks after";
        let page = self
            .dynamodb
            .query()
            .table_name(&self.table)
            .index_name(DUE_INDEX)
            .key_condition_expression("sweep = :sweep AND due < :now")
            .expression_attribute_values(":sweep", text(SWEEP))
            .expression_attribute_values(":now", millis(now))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|e| failed(doing, e))?;
        // One that cannot be read does not keep the others waiting.
        let readable = |item| due(item).inspect_err(|error| tracing::error!(%error, "{doing}"));
        Ok(page.items().iter().flat_map(readable).collect())
    }

    async fn take_due(&self, due: &Due, until: Timestamp) -> Result<Option<Timestamp>, PortError> {
        let doing = format!("look after {}", due.id);
        let taken = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(active_key(&due.id)))
            .update_expression("SET due = :until")
            .condition_expression("due = :since")
            .expression_attribute_values(":since", millis(due.since))
            .expression_attribute_values(":until", millis(until))
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match taken {
            Ok(taken) => {
                let item = taken.attributes.unwrap_or_default();
                let asked = instant(&item, "asked");
                asked
                    .map(Some)
                    .ok_or_else(|| odd_answer(doing, "it says not when somebody asked"))
            }
            Err(error) if condition_failed(&error) => Ok(None),
            Err(error) => Err(failed(doing, error)),
        }
    }

    async fn fence(
        &self,
        target: &TargetId,
        release: &ReleaseId,
        generation: Generation,
        call: &Invocation,
    ) -> Result<(), PortError> {
        let doing = format!("fence {target} for generation {generation}");
        let taken = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(target_key(target)))
            .update_expression(FENCE)
            .condition_expression(FENCE_CONDITION)
            .set_expression_attribute_values(Some(self.fence_values(release, generation, call)))
            .send()
            .await;
        taken
            .map(drop)
            .map_err(|error| match condition_failed(&error) {
                true => PortError::new(
                    Class::Conflict,
                    doing,
                    "another run has it, a later generation has had it, or the release is over",
                ),
                false => failed(doing, error),
            })
    }

    async fn unfence(&self, target: &TargetId, call: &Invocation) -> Result<(), PortError> {
        let given_back = self
            .dynamodb
            .update_item()
            .table_name(&self.table)
            .set_key(Some(target_key(target)))
            .update_expression("REMOVE fence_owner, fence_until")
            .condition_expression("fence_owner = :me")
            .expression_attribute_values(":me", text(&call.owner))
            .send()
            .await;
        match given_back {
            Ok(_) => Ok(()),
            Err(error) if condition_failed(&error) => Ok(()),
            Err(error) => Err(failed(format!("give the fence of {target} back"), error)),
        }
    }
}

impl Aws {
    /// The state after the event of this sort key; `None` for the newest.
    async fn load_until<S: Story>(
        &self,
        id: &ReleaseId,
        last: Option<String>,
    ) -> Result<Head<S>, PortError> {
        let doing = format!("load {id}");
        let mut newer = Vec::new();
        let mut from = None;
        for _ in 0..PAGES_MAX {
            let pk = story_key::<S>(id);
            let page = self.page(&doing, pk, last.clone(), from, PAGE_ITEMS);
            let page = page.await?;
            for item in page.items() {
                if let Some(snapshot) = snapshot::<S>(item) {
                    return Ok(replay(snapshot, newer));
                }
                newer.push(event::<S>(&doing, item)?);
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(replay(Head::default(), newer));
            }
        }
        Err(odd_answer(doing, "its log is too long"))
    }

    /// One page of the items under a partition key as they are now, the newest first, beginning with
    /// the sort key `last` if there is one.
    async fn page(
        &self,
        doing: &str,
        pk: String,
        last: Option<String>,
        from: Option<Item>,
        items_max: i32,
    ) -> Result<QueryOutput, PortError> {
        let condition = match last {
            Some(_) => "pk = :pk AND sk <= :last",
            None => "pk = :pk",
        };
        let mut values = Item::from([(":pk".to_owned(), text(pk))]);
        values.extend(last.map(|last| (":last".to_owned(), text(last))));
        self.dynamodb
            .query()
            .table_name(&self.table)
            .key_condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(items_max)
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(|e| failed(doing, e))
    }

    async fn put_event(&self, id: &ReleaseId, item: Item) -> Result<(), AppendError> {
        let put = self
            .dynamodb
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        put.map(drop).map_err(|error| {
            let refused = error.as_service_error();
            match refused.is_some_and(PutItemError::is_conditional_check_failed_exception) {
                true => AppendError::Moved,
                false => failed(append_to(id), error).into(),
            }
        })
    }

    /// What is to be written to append these events.
    fn appended<S: Story>(
        &self,
        id: &ReleaseId,
        head: &Head<S>,
        events: &[S::Event],
    ) -> Result<Appended<S>, PortError> {
        let expires = self.now() + KEPT;
        let mut next = head.clone();
        let (mut items, mut claims) = (Vec::new(), Vec::new());
        for event in events {
            claims.extend(next.state.claim(event));
            next = next.after(std::slice::from_ref(event));
            items.push(event_item(id, &next, event, expires)?);
        }
        Ok(Appended {
            head: next,
            items,
            claims,
            expires,
        })
    }

    /// All of it, and a fence if there is one, or nothing.
    async fn write_all<S>(
        &self,
        id: &ReleaseId,
        appended: &Appended<S>,
        fence: Option<TransactWriteItem>,
    ) -> Result<(), Refused> {
        let events = appended.items.iter().map(|item| self.put_new(item.clone()));
        let claims = appended.claims.iter();
        let claims = claims.flat_map(|claim| self.claim(id, claim, appended.expires));
        let writes: Result<Vec<_>, PortError> = events.chain(claims).collect();
        let mut writes = writes.map_err(AppendError::from)?;
        let fence_at = fence.is_some().then_some(writes.len());
        writes.extend(fence);
        let stored = self
            .dynamodb
            .transact_write_items()
            .set_transact_items(Some(writes))
            .send()
            .await;
        stored
            .map(drop)
            .map_err(|error| refusal(id, appended.items.len(), fence_at, error))
    }

    fn fencing(
        &self,
        target: &TargetId,
        release: &ReleaseId,
        generation: Generation,
        call: &Invocation,
    ) -> Result<TransactWriteItem, PortError> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(target_key(target)))
            .update_expression(FENCE)
            .condition_expression(FENCE_CONDITION)
            .set_expression_attribute_values(Some(self.fence_values(release, generation, call)))
            .build()
            .map_err(|e| PortError::new(Class::Permanent, "build a write", e))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    /// The values in [`FENCE`] and [`FENCE_CONDITION`].
    fn fence_values(&self, release: &ReleaseId, generation: Generation, call: &Invocation) -> Item {
        let now = self.now();
        let until = now + call.time_left(self).max(SignedDuration::ZERO) + SKEW;
        let values = [
            (":release", text(release.as_str())),
            (":mine", number(generation)),
            (":me", text(&call.owner)),
            (":until", millis(until)),
            (":now", millis(now)),
        ];
        values.map(|(name, value)| (name.to_owned(), value)).into()
    }

    fn put_new(&self, item: Item) -> Result<TransactWriteItem, PortError> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|e| PortError::new(Class::Permanent, "build a write", e))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn claim(
        &self,
        id: &ReleaseId,
        claim: &Claim,
        expires: Timestamp,
    ) -> Vec<Result<TransactWriteItem, PortError>> {
        match claim {
            Claim::Take {
                target,
                watches,
                since,
                until,
            } => {
                let mut holder = target_key(target);
                holder.insert("held_by".to_owned(), text(id.as_str()));
                holder.insert("generation".to_owned(), number(0));
                let mut active = active_key(id);
                active.insert("sweep".to_owned(), text(SWEEP));
                active.insert("asked".to_owned(), millis(*since));
                active.insert("due".to_owned(), millis(*until));
                let watches = watches.iter().map(|name| {
                    let mut watch = watch_key(name, id);
                    watch.insert("expires".to_owned(), number(expires.as_second()));
                    self.put_new(watch)
                });
                let held = [self.put_new(holder), self.put_new(active)];
                held.into_iter().chain(watches).collect()
            }
            Claim::Wake { at } => vec![self.wake(id, *at)],
            Claim::GiveBack { target, watches } => {
                // A run that has the fence may still act, under this release and no other.
                let mine = Delete::builder()
                    .condition_expression(
                        "held_by = :me AND (attribute_not_exists(fence_owner) OR fence_until < :now)",
                    )
                    .expression_attribute_values(":me", text(id.as_str()))
                    .expression_attribute_values(":now", millis(self.now()))
                    .return_values_on_condition_check_failure(
                        ReturnValuesOnConditionCheckFailure::AllOld,
                    );
                let keys = watches.iter().map(|name| watch_key(name, id));
                let keys = std::iter::once(active_key(id)).chain(keys);
                let rest = keys.map(|key| self.delete(Delete::builder(), key));
                let target = self.delete(mine, target_key(target));
                std::iter::once(target).chain(rest).collect()
            }
        }
    }

    /// Also of a story that began before there was a sweep.
    fn wake(&self, id: &ReleaseId, at: Timestamp) -> Result<TransactWriteItem, PortError> {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(active_key(id)))
            .update_expression(
                "SET due = :at, sweep = :sweep, woken = :at, asked = if_not_exists(asked, :at)",
            )
            .expression_attribute_values(":at", millis(at))
            .expression_attribute_values(":sweep", text(SWEEP))
            .build()
            .map_err(|e| PortError::new(Class::Permanent, "build a write", e))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn delete(
        &self,
        delete: aws_sdk_dynamodb::types::builders::DeleteBuilder,
        key: Item,
    ) -> Result<TransactWriteItem, PortError> {
        let delete = delete.table_name(&self.table).set_key(Some(key));
        let delete = delete
            .build()
            .map_err(|e| PortError::new(Class::Permanent, "build a write", e))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }
}

fn release_id(doing: &str, id: &str) -> Result<ReleaseId, PortError> {
    ReleaseId::try_from(id.to_owned()).map_err(|e| PortError::new(Class::Permanent, doing, e))
}

fn append_to(id: &ReleaseId) -> String {
    format!("append to the log of {id}")
}

fn event_item<S: Story>(
    id: &ReleaseId,
    head: &Head<S>,
    event: &S::Event,
    expires: Timestamp,
) -> Result<Item, PortError> {
    let json = |result: Result<String, serde_json::Error>| {
        result.map_err(|e| PortError::new(Class::Permanent, append_to(id), e))
    };
    let mut item = key(story_key::<S>(id), event_key(head.seq));
    item.insert("seq".to_owned(), number(head.seq));
    item.insert(
        "event".to_owned(),
        text(json(serde_json::to_string(event))?),
    );
    item.insert("expires".to_owned(), number(expires.as_second()));
    if head.seq.is_multiple_of(SNAPSHOT_EVERY) {
        item.insert(
            "state".to_owned(),
            text(json(serde_json::to_string(&head.state))?),
        );
        item.insert("state_version".to_owned(), text(SNAPSHOT_VERSION));
    }
    Ok(item)
}

pub(crate) fn string<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

fn event<S: Story>(doing: &str, item: &Item) -> Result<S::Event, PortError> {
    let event = string(item, "event").and_then(|json| serde_json::from_str(json).ok());
    event.ok_or_else(|| {
        let why = "it has an event that this version cannot read";
        PortError::new(Class::Permanent, doing, why)
    })
}

fn snapshot<S: Story>(item: &Item) -> Option<Head<S>> {
    let version = string(item, "state_version")?;
    let seq = item.get("seq")?.as_n().ok()?.parse().ok()?;
    let state = serde_json::from_str(string(item, "state")?).ok()?;
    (version == SNAPSHOT_VERSION).then_some(Head { seq, state })
}

/// `newer` is as the query returns it: the newest first.
fn replay<S: Story>(from: Head<S>, mut newer: Vec<S::Event>) -> Head<S> {
    newer.reverse();
    from.after(&newer)
}

fn millis(time: Timestamp) -> AttributeValue {
    number(time.as_millisecond())
}

fn instant(item: &Item, name: &str) -> Option<Timestamp> {
    let millis = item.get(name)?.as_n().ok()?.parse().ok()?;
    Timestamp::from_millisecond(millis).ok()
}

fn due(item: &Item) -> Result<Due, PortError> {
    let doing = "read an item of the sweep's index";
    let id = string(item, "pk").and_then(|pk| pk.strip_prefix("active#"));
    let id = release_id(doing, id.unwrap_or_default())?;
    let since = instant(item, "due").ok_or_else(|| odd_answer(doing, "it has no time"))?;
    Ok(Due { id, since })
}

fn condition_failed<R>(error: &SdkError<UpdateItemError, R>) -> bool {
    let refused = error.as_service_error();
    refused.is_some_and(UpdateItemError::is_conditional_check_failed_exception)
}

/// Why a transaction was cancelled: its events come first, so a log that has moved on is told
/// before a target that is held. Its fence comes last.
fn refusal(
    id: &ReleaseId,
    event_count: usize,
    fence_at: Option<usize>,
    error: SdkError<TransactWriteItemsError, aws_sdk_dynamodb::config::http::HttpResponse>,
) -> Refused {
    let reasons: &[CancellationReason] = match error.as_service_error() {
        Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
            cancelled.cancellation_reasons()
        }
        _ => &[],
    };
    let is = |reason: &CancellationReason, code| reason.code() == Some(code);
    let failed_check = reasons.iter().position(|r| is(r, "ConditionalCheckFailed"));
    let conflict = reasons.iter().position(|r| is(r, "TransactionConflict"));
    if fence_at.is_some() && failed_check.or(conflict) == fence_at {
        return Refused::Fence;
    }
    let refused = match failed_check {
        Some(index) if index < event_count => AppendError::Moved,
        Some(index) => match busy(&reasons[index]) {
            Some((target, holder)) if holder == *id && is_fenced(&reasons[index]) => {
                let why = format!("another run is at work on {target}");
                PortError::new(Class::Conflict, append_to(id), why).into()
            }
            Some((_, holder)) if holder == *id => AppendError::Moved,
            Some((target, holder)) => AppendError::Busy { target, holder },
            None => AppendError::Moved,
        },
        None if conflict.is_some() => {
            PortError::new(Class::Conflict, append_to(id), "another write is under way").into()
        }
        // A throttled transaction is cancelled as well, and the SDK does not try it again.
        None if reasons
            .iter()
            .any(|r| is(r, "ThrottlingError") || is(r, "ProvisionedThroughputExceeded")) =>
        {
            PortError::new(Class::Retryable, append_to(id), "the table is throttled").into()
        }
        None => failed(append_to(id), error).into(),
    };
    Refused::Append(refused)
}

/// Whether a run has the fence of the item that stands in the way.
fn is_fenced(reason: &CancellationReason) -> bool {
    let item = reason.item();
    item.is_some_and(|item| item.contains_key("fence_owner"))
}

/// The item that stands in the way says whose the target is.
fn busy(reason: &CancellationReason) -> Option<(TargetId, ReleaseId)> {
    let item = reason.item()?;
    let target = string(item, "pk")?.strip_prefix("target#")?;
    let holder = ReleaseId::try_from(string(item, "held_by")?.to_owned()).ok()?;
    Some((TargetId(target.to_owned()), holder))
}
