//! What the current step has to be asked for.

use release::config::{Approval, ProbeStep, Step};
use release::{Approved, Candidate, CheckVerdict, Checked, Release};
use serde_json::json;

use super::could_observe;
use crate::{Ports, look_at};

/// What the probes or the function of the current step say, if it has any.
pub(super) async fn checked(ports: &impl Ports, release: &Release) -> Option<Checked> {
    match release.current_step()? {
        _ if release.candidate != Candidate::Ready => None,
        Step::Probe(step) => Some(probed(ports, step).await),
        Step::RunCheck(check) => match ports.run_check(check, &context(release)).await {
            Ok(checked) => Some(checked),
            // Nothing that asking again could change.
            Err(error) if !error.class.may_pass() => Some(Checked {
                verdict: CheckVerdict::Fail,
                said: error.to_string(),
            }),
            Err(error) => {
                tracing::warn!(%error, "could not ask {}", check.name());
                Some(Checked {
                    verdict: CheckVerdict::Wait,
                    said: error.to_string(),
                })
            }
        },
        Step::SetWeight(_)
        | Step::Judge { .. }
        | Step::Wait(_)
        | Step::Watch(_)
        | Step::Approve(_)
        | Step::HeaderRoute(_) => None,
    }
}

/// One round of a step's probes, in the words of those that one wants to read about: of what is not
/// healthy, if anything is not.
async fn probed(ports: &impl Ports, step: &ProbeStep) -> Checked {
    let probed = look_at(ports, &step.probes).await;
    let healthy = probed.iter().all(|probed| probed.healthy);
    let verdict = match healthy {
        true => CheckVerdict::Pass,
        false if probed.iter().any(|probed| probed.hopeless) => CheckVerdict::Fail,
        false => CheckVerdict::Wait,
    };
    let told = probed.iter().filter(|probed| probed.healthy == healthy);
    let said: Vec<_> = told.map(|probed| probed.detail.as_str()).collect();
    Checked {
        verdict,
        said: said.join("; "),
    }
}

/// What a function is told about the release that it is to check.
fn context(release: &Release) -> serde_json::Value {
    let started = &release.started;
    json!({
        "release": started.release,
        "target": started.plan.target.id(),
        "stable": started.arms.stable,
        "candidate": started.arms.candidate,
        "weight_basis_points": release.weight.basis_points(),
        "step": release.step + 1,
        "execution": started.execution,
    })
}

/// What somebody decided in the pipeline, if the current step waits for them.
pub(super) async fn approval(ports: &impl Ports, release: &Release) -> Option<Approved> {
    let Some(Step::Approve(Approval {
        action: Some(action),
        ..
    })) = release.current_step()
    else {
        return None;
    };
    let started = &release.started;
    let (pipeline, execution) = (started.pipeline.as_ref()?, started.execution.as_ref()?);
    let approval = ports.approval(pipeline, execution, action).await;
    could_observe("the approval", approval)?
}
