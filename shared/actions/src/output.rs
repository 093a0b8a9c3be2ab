//! The output artifact: a zip of a page for people and of the result for programs.

use std::io::{Cursor, Write};

use engine::{Class, Job, PortError, Ports};
use zip::ZipWriter;
use zip::result::ZipError;
use zip::write::SimpleFileOptions;

/// Stores these files as the job's output artifact; nothing, when it has none. `files` is asked for
/// them only then.
pub(crate) async fn store(
    ports: &impl Ports,
    job: &Job,
    files: impl AsyncFnOnce() -> Result<Vec<(&'static str, String)>, PortError>,
) -> Result<(), PortError> {
    match job.outputs.first() {
        Some(output) => ports.store(job, output, zip(&files().await?)?).await,
        None => Ok(()),
    }
}

/// As text that a person can read too.
pub(crate) fn result_json(result: &impl serde::Serialize) -> Result<String, PortError> {
    serde_json::to_string_pretty(result)
        .map_err(|error| PortError::new(Class::Permanent, "write result.json", error))
}

/// Zipped as CodePipeline has its artifacts.
fn zip(files: &[(&str, String)]) -> Result<Vec<u8>, PortError> {
    let broken = |error: ZipError| PortError::new(Class::Permanent, "zip the report", error);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default())
            .and_then(|()| Ok(zip.write_all(text.as_bytes())?))
            .map_err(broken)?;
    }
    Ok(zip.finish().map_err(broken)?.into_inner())
}
