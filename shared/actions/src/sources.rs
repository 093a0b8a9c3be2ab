//! Reports that AWS itself keeps, for the test gate.

use engine::{ActionError, AppendError, Ports, Sourced};
use release::gate::{Found, Gate, GateWait, Patience, Pending, WaitEvent, images};
use release::{Head, JobReply, ReleaseId};

/// What a gate looks at that is not in a report file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The gate.
    pub(crate) gate: &'a Gate,
    /// The build whose reports count, as UserParameters name it.
    pub(crate) build: Option<&'a str>,
    /// The file that the gate's `image-scan` names; None when no input artifact has it.
    pub(crate) image_file: Option<&'a [u8]>,
}

/// What AWS says.
#[derive(Debug)]
pub(crate) enum Looked {
    /// Not everything is finished: this is the job's answer.
    Wait(JobReply),
    /// Everything that was found, and why what was not found is not there.
    Found(Vec<Found>),
}

/// Looks at every source that the gate names. While one is not finished, the gate waits, up to that
/// source's limit, which counts from the first job of `story`; a gate that never waits leaves
/// nothing in the log.
///
/// # Errors
///
/// [`ActionError::Refused`] for report groups without a build, and those of the ports.
pub(crate) async fn look(
    ports: &impl Ports,
    story: &ReleaseId,
    asked: Asked<'_>,
) -> Result<Looked, ActionError> {
    let mut seen = Seen::default();
    build_reports(ports, asked, &mut seen).await?;
    image_findings(ports, asked, &mut seen).await?;
    let Seen { mut found, pending } = seen;
    if pending.is_empty() {
        return Ok(Looked::Found(found));
    }
    let wait = began(ports, story).await?;
    Ok(match wait.patience(ports.now(), &pending, story) {
        Patience::Wait(reply) => Looked::Wait(reply),
        Patience::Over(given_up) => {
            found.extend(given_up);
            Looked::Found(found)
        }
    })
}

/// What has been seen so far.
#[derive(Default)]
struct Seen {
    found: Vec<Found>,
    pending: Vec<Pending>,
}

impl Seen {
    fn add(&mut self, sourced: Sourced, within: jiff::SignedDuration) {
        match sourced {
            Sourced::Pending { what } => self.pending.push(Pending { what, within }),
            Sourced::Found(found) => self.found.extend(found),
        }
    }
}

async fn build_reports(
    ports: &impl Ports,
    asked: Asked<'_>,
    seen: &mut Seen,
) -> Result<(), ActionError> {
    let Some(spec) = &asked.gate.codebuild else {
        return Ok(());
    };
    let Some(build) = asked.build else {
        return Err(ActionError::Refused(
            "the gate looks at report groups, but does not know the build: pass \
             \"build\":\"#{BuildVariables.CODEBUILD_BUILD_ID}\" in UserParameters, with the \
             namespace of the build action"
                .to_owned(),
        ));
    };
    for group in &spec.report_groups {
        seen.add(ports.build_reports(group, build).await?, spec.within);
    }
    Ok(())
}

async fn image_findings(
    ports: &impl Ports,
    asked: Asked<'_>,
    seen: &mut Seen,
) -> Result<(), ActionError> {
    let Some(spec) = &asked.gate.image_scan else {
        return Ok(());
    };
    let Some(bytes) = asked.image_file else {
        let glob = spec.file.clone();
        seen.found.push(Found::Missing { glob });
        return Ok(());
    };
    match images(&spec.file, bytes) {
        Ok(images) => {
            for image in &images {
                seen.add(ports.image_findings(image).await?, spec.within);
            }
        }
        Err(why) => seen.found.push(Found::Unreadable { why }),
    }
    Ok(())
}

/// The wait as the log has it, begun now when it has none.
async fn began(ports: &impl Ports, story: &ReleaseId) -> Result<GateWait, ActionError> {
    let mut head: Head<Option<GateWait>> = ports.load(story).await?;
    if head.state.is_none() {
        let at = ports.now();
        head = match ports.append(story, &head, &[WaitEvent::Began { at }]).await {
            // A duplicate of this job was faster.
            Err(AppendError::Moved) => ports.load(story).await?,
            stored => stored?,
        };
    }
    head.state.ok_or(ActionError::Append(AppendError::Moved))
}

#[cfg(test)]
mod tests;
