//! An alias of a Lambda function that divides invocations between two published versions.
//!
//! An alias points to one version and may send a share of its invocations to one other. A release
//! leaves it in one of three states only: all to the stable version; all but a share to the stable
//! version, that share to the candidate; all to the candidate. Every change is one UpdateAlias, so
//! a promotion has no moment in between, and carries the RevisionId of the alias as it was read:
//! Lambda refuses it when anybody has changed the alias since. Any other state is somebody else's,
//! and is left alone.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_lambda::config;
use aws_sdk_lambda::operation::get_alias::GetAliasOutput;
use aws_sdk_lambda::operation::get_function_configuration::GetFunctionConfigurationOutput;
use aws_sdk_lambda::types::{AliasRoutingConfiguration, LastUpdateStatus, State};
use engine::{Class, PortError};
use futures::try_join;
use release::config::{LambdaAlias, NewVersion};
use release::{Arms, Live, Weight};

use crate::Aws;
use crate::error::{failed, odd_answer};
use crate::not_twice::NotTwice;

/// The version that changes with every deployment.
const LATEST: &str = "$LATEST";

/// The version that serves everything, and the one that shall; published first where the
/// configuration says so. Publishing moves no request, and with nothing changed since it answers
/// with the same version again, so a repeated job finds the same candidate.
pub(super) async fn arms(aws: &Aws, target: &LambdaAlias) -> Result<Arms, PortError> {
    let (route, _) = route(aws, target).await?;
    let stable = match route.others.is_empty() {
        true if route.version != LATEST => route.version,
        _ => return Err(unsettled(target, &route)),
    };
    let candidate = match &target.version {
        NewVersion::Published => publish(aws, target).await?,
        NewVersion::Number(number) => number.to_string(),
        NewVersion::File(path) => {
            return Err(PortError::new(
                Class::Permanent,
                format!("find the candidate of {}", target.arn()),
                format!("{path} has not been read"),
            ));
        }
    };
    if candidate != stable {
        ready(aws, target, &candidate).await?;
    }
    Ok(Arms { stable, candidate })
}

fn unsettled(target: &LambdaAlias, route: &Route) -> PortError {
    PortError::new(
        Class::Misconfigured,
        format!("tell the stable version of {}", target.arn()),
        format!(
            "it has {route}; point it to one published version, the one that serves now, with {}, \
             then retry this stage",
            command(target, "VERSION")
        ),
    )
}

/// What puts an alias back by hand.
fn command(target: &LambdaAlias, version: &str) -> String {
    let LambdaAlias {
        function, alias, ..
    } = target;
    format!(
        "`aws lambda update-alias --function-name {function} --name {alias} --function-version \
         {version} --routing-config AdditionalVersionWeights={{}}`"
    )
}

/// The latest version, made of the function as it is now unless it is that already.
async fn publish(aws: &Aws, target: &LambdaAlias) -> Result<String, PortError> {
    let doing = || format!("publish a version of {}", target.function);
    let call = aws.lambda().publish_version();
    let answer = call.function_name(&target.function).send().await;
    let answer = answer.map_err(|e| classified(failed(doing(), e)))?;
    let version = answer.version.filter(|version| version != LATEST);
    version.ok_or_else(|| odd_answer(doing(), "the answer has no version"))
}

/// Refuses a candidate that cannot serve; waits for one that Lambda is still preparing.
async fn ready(aws: &Aws, target: &LambdaAlias, version: &str) -> Result<(), PortError> {
    let configuration = configuration(aws, target, version).await?;
    let state = configuration.state();
    let updated = configuration.last_update_status();
    let (class, what) = match (state, updated) {
        _ if is_active(&configuration) => return Ok(()),
        (Some(State::Pending), _) | (_, Some(LastUpdateStatus::InProgress)) => {
            (Class::Retryable, "Lambda is still preparing it".to_owned())
        }
        (Some(State::Inactive), _) => (
            Class::Misconfigured,
            format!(
                "it was idle for so long that Lambda has put it away; invoke {}:{version} once, \
                 wait until its state is Active, then retry this stage",
                target.function
            ),
        ),
        (state, _) => {
            let state = state.map_or("unknown", State::as_str);
            let reason = configuration.state_reason().unwrap_or("no reason is given");
            let what = format!("its state is {state} ({reason}); publish a version that starts");
            (Class::Misconfigured, what)
        }
    };
    let doing = format!("release version {version} of {}", target.function);
    Err(PortError::new(class, doing, what))
}

/// Where the alias sent its invocations a moment ago, and its revision then.
#[derive(Debug)]
pub struct Reading(Route, String);

/// What [`set_weight`] goes by.
pub(super) async fn read(aws: &Aws, target: &LambdaAlias) -> Result<Reading, PortError> {
    let (live, revision) = route(aws, target).await?;
    Ok(Reading(live, revision))
}

/// Sets the candidate's share, unless it is as it should be.
pub(super) async fn set_weight(
    aws: &Aws,
    target: &LambdaAlias,
    arms: &Arms,
    weight: Weight,
    earlier: Option<Reading>,
) -> Result<(), PortError> {
    let doing = || format!("set the weight of {} to {weight}", target.arn());
    let is_now = earlier.is_none();
    let Reading(live, revision) = match earlier {
        Some(reading) => reading,
        None => read(aws, target).await?,
    };
    match live.weight(arms) {
        // Back to the stable version is written in any case: the new revision outdates every write
        // of another weight that may still be on its way.
        Some(live) if live == weight && weight != Weight::ZERO && is_now => return Ok(()),
        Some(_) => {}
        None => return Err(moved(target, arms, &live, doing())),
    }
    let Route { version, others } = Route::of(arms, weight);
    // An empty map clears the routing; without one it would stay.
    let routing = AliasRoutingConfiguration::builder()
        .set_additional_version_weights(Some(others.into_iter().collect()))
        .build();
    let call = aws.lambda().update_alias();
    let updated = call
        .function_name(&target.function)
        .name(&target.alias)
        .function_version(version)
        .routing_config(routing)
        .revision_id(revision)
        .customize()
        .config_override(config::Builder::new().retry_classifier(NotTwice))
        .send()
        .await;
    updated
        .map(drop)
        .map_err(|e| classified(failed(doing(), e)))
}

fn moved(target: &LambdaAlias, arms: &Arms, route: &Route, doing: String) -> PortError {
    let Arms { stable, candidate } = arms;
    PortError::new(
        Class::Misconfigured,
        doing,
        format!(
            "somebody else has moved the alias: it has {route}, while this release moves it from \
             version {stable} to version {candidate}; to end this release put it back with {}, \
             then `penstock abort` the release; whatever else moves this alias must not do so \
             during a release",
            command(target, stable)
        ),
    )
}

/// The candidate's live share.
pub(super) async fn weight(
    aws: &Aws,
    target: &LambdaAlias,
    arms: &Arms,
) -> Result<Weight, PortError> {
    let (route, _) = route(aws, target).await?;
    let doing = || format!("read the weight of {}", target.arn());
    let weight = route.weight(arms);
    weight.ok_or_else(|| moved(target, arms, &route, doing()))
}

/// The live share, and for both versions 1 when it can serve, else 0.
pub(super) async fn live(aws: &Aws, target: &LambdaAlias, arms: &Arms) -> Result<Live, PortError> {
    let (weight, stable_healthy, candidate_healthy) = try_join!(
        weight(aws, target, arms),
        healthy(aws, target, &arms.stable),
        healthy(aws, target, &arms.candidate)
    )?;
    Ok(Live {
        weight,
        stable_healthy,
        candidate_healthy,
        candidate_ready: candidate_healthy > 0,
    })
}

async fn healthy(aws: &Aws, target: &LambdaAlias, version: &str) -> Result<u32, PortError> {
    match configuration(aws, target, version).await {
        Ok(configuration) => Ok(u32::from(is_active(&configuration))),
        // A version that has been deleted serves nobody; that keeps no release from going back.
        Err(error) if error.class == Class::Misconfigured => Ok(0),
        Err(error) => Err(error),
    }
}

fn is_active(configuration: &GetFunctionConfigurationOutput) -> bool {
    let updated = match configuration.last_update_status() {
        Some(LastUpdateStatus::InProgress | LastUpdateStatus::Failed) => false,
        // A published version is never updated, so its status is mostly absent or Successful.
        None | Some(_) => true,
    };
    updated && configuration.state() == Some(&State::Active)
}

async fn configuration(
    aws: &Aws,
    target: &LambdaAlias,
    version: &str,
) -> Result<GetFunctionConfigurationOutput, PortError> {
    let call = aws.lambda().get_function_configuration();
    let call = call.function_name(&target.function).qualifier(version);
    let doing = || format!("look at version {version} of {}", target.function);
    let answer = call.send().await;
    answer.map_err(|e| classified(failed(doing(), e)))
}

/// Where the alias sends its invocations, and the revision that says so.
async fn route(aws: &Aws, target: &LambdaAlias) -> Result<(Route, String), PortError> {
    let doing = || format!("read alias {}", target.arn());
    let call = aws.lambda().get_alias();
    let call = call.function_name(&target.function).name(&target.alias);
    let answer = call.send().await;
    let answer = answer.map_err(|e| classified(failed(doing(), e)))?;
    let revision = answer.revision_id.clone();
    let revision = revision.ok_or_else(|| odd_answer(doing(), "it has no RevisionId"))?;
    let route = Route::read(answer).ok_or_else(|| odd_answer(doing(), "it has no version"))?;
    Ok((route, revision))
}

/// What Lambda's own words for an error mean here.
fn classified(mut error: PortError) -> PortError {
    if error.said("ResourceNotFoundException") {
        error.class = Class::Misconfigured;
    } else if error.said("PreconditionFailedException") {
        // Somebody has changed the alias since it was read.
        error.class = Class::Conflict;
    } else if error.said("ResourceConflictException") {
        // The function, or a version of it, is being updated.
        error.class = Class::Retryable;
    }
    error
}

/// Where an alias sends its invocations.
#[derive(Debug, Clone, PartialEq)]
struct Route {
    /// The version that gets what the others leave.
    version: String,
    /// Shares above 0, at most 1, by version. Lambda has one entry at most.
    others: BTreeMap<String, f64>,
}

impl Route {
    /// What gives the candidate exactly this share.
    fn of(arms: &Arms, weight: Weight) -> Self {
        let whole = f64::from(Weight::FULL.basis_points());
        let share = f64::from(weight.basis_points()) / whole;
        let (version, others) = match weight {
            Weight::ZERO => (&arms.stable, BTreeMap::new()),
            Weight::FULL => (&arms.candidate, BTreeMap::new()),
            _ => (&arms.stable, [(arms.candidate.clone(), share)].into()),
        };
        Self {
            version: version.clone(),
            others,
        }
    }

    fn read(answer: GetAliasOutput) -> Option<Self> {
        let routing = answer.routing_config;
        let others = routing.and_then(|routing| routing.additional_version_weights);
        let others = others.unwrap_or_default().into_iter();
        Some(Self {
            version: answer.function_version?,
            // NaN is no share of anything, but neither is it none.
            others: others.filter(|(_, share)| *share != 0.0).collect(),
        })
    }

    /// The candidate's share, to the nearest basis point; `None` in a state that no release makes.
    fn weight(&self, arms: &Arms) -> Option<Weight> {
        let mut others = self.others.iter();
        match (others.next(), others.next()) {
            (None, _) if self.version == arms.stable => Some(Weight::ZERO),
            (None, _) if self.version == arms.candidate => Some(Weight::FULL),
            (Some((other, share)), None)
                if self.version == arms.stable
                    && *other == arms.candidate
                    && (0.0..=1.0).contains(share) =>
            {
                let whole = Weight::FULL.basis_points();
                let points = (share * f64::from(whole)).round();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "0 to 10 000 by the guard above"
                )]
                // An entry is never nothing, and never everything.
                let points = (points as u16).clamp(1, whole - 1);
                Weight::from_basis_points(points).ok()
            }
            (None | Some(_), _) => None,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.version)?;
        for (version, share) in &self.others {
            write!(f, ", with a share of {share} to version {version}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
