//! A verdict over the reports in the input artifacts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Write};

use engine::{Action, ActionError, Class, Input, Invocation, Job, PortError, Ports, chain};
use release::gate::{Found, Gate, GateVerdict};
use release::{FailureKind, JobReply};
use reports::{Archive, ReadError};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::artifacts::{Inputs, failed, in_config};

/// The action `test-gate`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TestGate;

impl Action for TestGate {
    const NAME: &'static str = "test-gate";

    async fn run(
        &self,
        ports: &impl Ports,
        _call: &Invocation,
        job: &Job,
    ) -> Result<JobReply, ActionError> {
        let asked = job.clone();
        let judged = Inputs::read(ports, job, move |inputs| {
            let config = inputs.config()?;
            let section = asked.parameters.section.as_deref();
            let (name, gate) = config.gate(section).map_err(in_config(&asked))?;
            Ok((name.to_owned(), gate.judge(&look(gate, inputs)?)))
        });
        let (gate, verdict) = judged.await?;
        tracing::info!(
            gate,
            passed = verdict.passed,
            tests = verdict.tests.totals.tests
        );
        if let Some(output) = job.outputs.first() {
            ports.store(job, output, result_zip(&verdict)?).await?;
        }
        Ok(match verdict.passed {
            true => JobReply::Succeed {
                summary: verdict.summary(),
                outputs: verdict.outputs(),
            },
            false => JobReply::Fail {
                kind: FailureKind::JobFailed,
                message: verdict.summary(),
            },
        })
    }
}

/// Everything that the gate's globs find. What cannot be read is found too, as unreadable.
fn look<I: Input>(gate: &Gate, inputs: &mut Inputs<I>) -> Result<Vec<Found>, ActionError> {
    let mut found = Vec::new();
    // Two globs may match one file; it is read once.
    let mut seen = BTreeSet::new();
    for glob in &gate.reports {
        // Files are read in the order in which they are stored, and told in that of their names.
        let mut of_glob = BTreeMap::new();
        let mut matched = false;
        for (number, archive) in inputs.archives().enumerate() {
            let paths = archive.find([glob.as_str()]);
            for path in paths.map_err(|e: ReadError| ActionError::Refused(chain(&e)))? {
                matched = true;
                if seen.insert((number, path.clone())) {
                    let report = read(archive, &path, gate)?;
                    of_glob.insert((number, path), report);
                }
            }
        }
        if !matched {
            found.push(Found::Missing { glob: glob.clone() });
        }
        found.extend(of_glob.into_values());
    }
    Ok(found)
}

fn read<I: Input>(archive: &mut Archive<I>, path: &str, gate: &Gate) -> Result<Found, PortError> {
    match archive.report(path, gate.format) {
        Ok(report) => Ok(Found::Report {
            path: path.to_owned(),
            report,
        }),
        Err(error) => match failed(error) {
            Ok(port) => Err(port),
            Err(error) => Ok(Found::Unreadable { why: chain(&error) }),
        },
    }
}

/// The output artifact: `result.json`, zipped as CodePipeline has its artifacts.
fn result_zip(verdict: &GateVerdict) -> Result<Vec<u8>, PortError> {
    let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
        PortError::new(Class::Permanent, "write result.json", error)
    };
    let json = serde_json::to_vec_pretty(verdict).map_err(|e| broken(e.into()))?;
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("result.json", SimpleFileOptions::default())
        .map_err(|e| broken(e.into()))?;
    zip.write_all(&json).map_err(|e| broken(e.into()))?;
    let zip = zip.finish().map_err(|e| broken(e.into()))?;
    Ok(zip.into_inner())
}
