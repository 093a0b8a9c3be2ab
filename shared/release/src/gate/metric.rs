//! The gate's numbers as one line of CloudWatch's embedded metric format, which CloudWatch Logs
//! turns into metrics without a call.
//!
//! Source: "Specification: Embedded metric format" in the CloudWatch user guide: a line of JSON whose
//! `_aws` names a namespace, sets of dimensions and metrics, each the key of a member of the root.

use serde_json::{Map, Value, json};

use super::{GateVerdict, Percent};
use reports::Severity;

/// The namespace of Penstock's metrics.
const NAMESPACE: &str = "Penstock";

impl GateVerdict {
    /// The line, by gate, and by pipeline and gate where the pipeline is known. `Passed` is 1 or 0,
    /// shares are in percent, times in seconds.
    pub fn metric_line(&self, gate: &str, pipeline: Option<&str>) -> String {
        let mut root = Map::from_iter([("Gate".to_owned(), json!(gate))]);
        let mut dimensions = vec![vec!["Gate"]];
        if let Some(pipeline) = pipeline {
            root.insert("Pipeline".to_owned(), json!(pipeline));
            dimensions.push(vec!["Pipeline", "Gate"]);
        }
        let mut metrics = Vec::new();
        for (name, unit, value) in self.metrics() {
            metrics.push(json!({"Name": name, "Unit": unit}));
            root.insert(name.to_owned(), value);
        }
        root.insert(
            "_aws".to_owned(),
            json!({
                "Timestamp": self.point.at.as_millisecond(),
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": dimensions,
                    "Metrics": metrics,
                }],
            }),
        );
        Value::Object(root).to_string()
    }

    fn metrics(&self) -> Vec<(&'static str, &'static str, Value)> {
        let t = &self.totals;
        let mut metrics = vec![
            ("Passed", "Count", json!(u8::from(self.passed()))),
            ("Tests", "Count", json!(t.tests)),
            ("Failed", "Count", json!(t.failed)),
            ("Errors", "Count", json!(t.errors)),
            ("Flaky", "Count", json!(t.flaky)),
            ("Skipped", "Count", json!(t.skipped)),
            ("Duration", "Seconds", json!(self.duration_seconds)),
        ];
        let lines = self
            .coverage
            .and_then(|coverage| Percent::of(coverage.lines));
        metrics.extend(lines.map(|lines| ("LineCoverage", "Percent", json!(lines.value()))));
        if let Some(findings) = &self.findings {
            let count = |severity| json!(findings.get(&severity).copied().unwrap_or(0));
            metrics.push(("Critical", "Count", count(Severity::Critical)));
            metrics.push(("High", "Count", count(Severity::High)));
        }
        metrics
    }
}
