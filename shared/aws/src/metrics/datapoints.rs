//! The datapoints of one query, as they are.

use std::collections::BTreeMap;

use engine::PortError;
use jiff::{SignedDuration, Timestamp};
use release::config::Query;

use super::series;
use crate::Aws;

impl Aws {
    /// What CloudWatch has of `query` in this range, by the beginnings of the periods; several of one
    /// period are of several series.
    pub(crate) async fn datapoints(
        &self,
        query: &Query,
        period: SignedDuration,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<BTreeMap<Timestamp, Vec<f64>>, PortError> {
        let period = i32::try_from(period.as_secs()).unwrap_or(i32::MAX);
        let query = series(query, str::to_owned).query("q0".to_owned(), period);
        let mut seen: BTreeMap<Timestamp, Vec<f64>> = BTreeMap::new();
        self.metric_data(vec![query], (from, until), |result| {
            for (time, value) in result.timestamps().iter().zip(result.values()) {
                let at = Timestamp::from_second(time.secs()).ok();
                if let Some(at) = at.filter(|at| (from..until).contains(at)) {
                    seen.entry(at).or_default().push(*value);
                }
            }
            Ok(())
        })
        .await?;
        Ok(seen)
    }
}
