//! What AWS keeps of builds and images, for the laptop: the read calls of CodeBuild's report groups
//! and of ECR's image scans, which the emulator lacks.
//!
//! Nothing here makes a report or scans an image: whoever tests a gate says what there is, in AWS's
//! own shapes, through [`Kept`] or the player's door: `PUT /_penstock/report-groups` with a
//! [`ReportGroup`], `PUT /_penstock/images` with an [`Image`]. Putting the same one again replaces
//! it, which is how a report that is being generated gets finished.

mod build_reports;
mod scans;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::put;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::json_api::{self, ApiError};

pub use build_reports::{BuildReport, ReportGroup};
pub use scans::{Image, Scan};

/// The largest thing that may be put, in bytes.
const PUT_BYTES_MAX: usize = 64 << 20;

/// What CodeBuild and ECR keep. A clone is the same one.
#[derive(Debug, Clone, Default)]
pub struct Kept(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    /// By ARN.
    groups: BTreeMap<String, ReportGroup>,
    /// By repository and digest.
    images: BTreeMap<(String, String), Image>,
}

impl Kept {
    /// Makes or replaces a report group with all its reports.
    pub fn put_group(&self, group: ReportGroup) {
        self.all().groups.insert(group.arn.clone(), group);
    }

    /// Makes or replaces an image.
    pub fn put_image(&self, image: Image) {
        let key = (image.repository.clone(), image.digest.clone());
        self.all().images.insert(key, image);
    }

    fn all(&self) -> MutexGuard<'_, All> {
        // Every change is one insert, so a panic leaves a usable state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one call; `None` when its target is neither service's.
    pub(crate) fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Option<Response> {
        let target = headers.get("x-amz-target")?.to_str().ok()?;
        let all = self.all();
        let answer = if let Some(operation) = target.strip_prefix(build_reports::TARGET) {
            build_reports::call(&all, operation, body)
        } else {
            let operation = target.strip_prefix(scans::TARGET)?;
            scans::call(&all, operation, body)
        };
        Some(json_api::answer(answer))
    }

    /// The door for whoever is not in this process.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/_penstock/report-groups", put(put_group))
            .route("/_penstock/images", put(put_image))
            .layer(DefaultBodyLimit::max(PUT_BYTES_MAX))
            .with_state(self)
    }
}

async fn put_group(State(kept): State<Kept>, Json(group): Json<ReportGroup>) -> StatusCode {
    kept.put_group(group);
    StatusCode::NO_CONTENT
}

async fn put_image(State(kept): State<Kept>, Json(image): Json<Image>) -> StatusCode {
    kept.put_image(image);
    StatusCode::NO_CONTENT
}

/// Which part of a list a call asks for.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    next_token: Option<String>,
    max_results: Option<usize>,
}

/// A page's items, and the token of the next one.
type Paged<'a, T> = (&'a [T], Option<String>);

impl Page {
    /// `refused` names the service's own error for an impossible page.
    fn of<'a, T>(
        &self,
        items: &'a [T],
        most: usize,
        refused: &'static str,
    ) -> Result<Paged<'a, T>, ApiError> {
        let size = self.max_results.unwrap_or(most.min(100));
        if !(1..=most).contains(&size) {
            let told = format!("maxResults must be 1 to {most}");
            return Err(ApiError::new(refused, told));
        }
        let from = match &self.next_token {
            None => 0,
            Some(token) => token
                .parse()
                .ok()
                .filter(|from| *from < items.len())
                .ok_or_else(|| ApiError::new(refused, "nextToken is not valid"))?,
        };
        let end = items.len().min(from + size);
        let next = (end < items.len()).then(|| end.to_string());
        Ok((&items[from..end], next))
    }
}

/// An answer of one list.
fn listed<T: Serialize>(key: &str, (items, next): Paged<'_, T>) -> Value {
    let mut answer = json!({ key: items });
    if let Some(next) = next {
        answer["nextToken"] = next.into();
    }
    answer
}
