//! Which releases a table has.
//!
//! The log has no index of them, because no function ever asks: each knows its release by the token, the
//! target or the alarm. A person at a terminal does ask, now and then, and pays for a scan: eventually
//! consistent, [`SCAN_PAGES_MAX`] pages of 1 MB at most, some 25 000 read units, under this shell's
//! credentials. The functions' roles may not scan.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::operation::scan::ScanOutput;
use engine::PortError;
use jiff::Timestamp;
use release::{Event, ReleaseId, TargetId};

use crate::Aws;
use crate::error::failed;
use crate::log::{Item, number, string};

/// The most pages of a scan, of 1 MB each.
pub const SCAN_PAGES_MAX: usize = 200;

/// A release, as it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Which.
    pub id: ReleaseId,
    /// What it moves or moved.
    pub target: TargetId,
    /// When it began.
    pub at: Timestamp,
}

/// What a scan found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Every release of the table, for a year; the newest first.
    pub begun: Vec<Begun>,
    /// Those that hold their target.
    pub active: BTreeSet<ReleaseId>,
    /// Releases that this version cannot read.
    pub unreadable: usize,
    /// Whether all of the table was looked at.
    pub is_complete: bool,
}

impl Aws {
    /// The releases of the table, by a scan.
    ///
    /// # Errors
    /// When the table cannot be scanned: the shell's credentials need `dynamodb:Scan`.
    pub async fn releases(&self) -> Result<Listing, PortError> {
        let mut listing = Listing::default();
        let mut from = None;
        for _ in 0..SCAN_PAGES_MAX {
            let page = self.scan(from).await?;
            page.items().iter().for_each(|item| listing.note(item));
            from = page.last_evaluated_key;
            if from.is_none() {
                listing.is_complete = true;
                break;
            }
        }
        listing
            .begun
            .sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        Ok(listing)
    }

    /// First events and holders of targets; the others are read and paid for, and left where they are.
    async fn scan(&self, from: Option<Item>) -> Result<ScanOutput, PortError> {
        let scan = self
            .dynamodb
            .scan()
            .table_name(&self.table)
            .filter_expression("#seq = :first OR attribute_exists(held_by)")
            .projection_expression("pk, held_by, #event")
            .expression_attribute_names("#seq", "seq")
            .expression_attribute_names("#event", "event")
            .expression_attribute_values(":first", number(1))
            .set_exclusive_start_key(from);
        let page = scan.send().await;
        page.map_err(|error| failed("list the releases of the table", error))
    }
}

impl Listing {
    fn note(&mut self, item: &Item) {
        if let Some(id) = string(item, "held_by") {
            self.active.extend(ReleaseId::try_from(id.to_owned()));
            return;
        }
        if !string(item, "pk").is_some_and(|pk| pk.starts_with("release#")) {
            return; // a health check
        }
        let event = string(item, "event").and_then(|event| serde_json::from_str(event).ok());
        match event {
            Some(Event::Started(started)) => self.begun.push(Begun {
                id: started.release,
                target: started.plan.target.id(),
                at: started.at,
            }),
            Some(
                Event::Intended { .. }
                | Event::Performed { .. }
                | Event::Observed { .. }
                | Event::AlarmsChanged { .. }
                | Event::CandidateReady { .. }
                | Event::Checked { .. }
                | Event::Frozen { .. }
                | Event::CleanupFailed { .. }
                | Event::StepDone { .. }
                | Event::Ordered { .. }
                | Event::RollbackDecided { .. }
                | Event::RollbackStuck { .. }
                | Event::Ended { .. },
            )
            | None => self.unreadable += 1,
        }
    }
}
