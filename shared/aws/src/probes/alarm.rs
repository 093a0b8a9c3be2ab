//! CloudWatch alarms, metric and composite.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudwatch::types::{AlarmType, StateValue};
use engine::{Class, PortError};
use release::check::{AlarmProbe, Probed};

use crate::Aws;
use crate::error::failed;

pub(super) async fn probe(aws: &Aws, alarm: &AlarmProbe) -> Result<Probed, PortError> {
    let states = states(aws, &alarm.names).await?;
    let not_ok: Vec<_> = states
        .iter()
        .filter(|(_, state)| **state != StateValue::Ok)
        .map(|(name, state)| format!("alarm '{name}' is {}", state.as_str()))
        .collect();
    // An alarm without data has not looked, and what was not looked at is not healthy.
    Ok(match not_ok.as_slice() {
        [] => Probed::healthy(format!("{0} of {0} alarms OK", states.len())),
        some => Probed::unhealthy(some.join(", ")),
    })
}

pub(super) async fn firing(aws: &Aws, names: &[String]) -> Result<BTreeSet<String>, PortError> {
    let states = states(aws, names).await?;
    let firing = states.into_iter().filter(|(_, s)| *s == StateValue::Alarm);
    Ok(firing.map(|(name, _)| name).collect())
}

/// The state of each of these alarms. CloudWatch leaves out names that it does not know, and
/// composite alarms unless they are asked for by type; a name without a state is an error.
async fn states(aws: &Aws, names: &[String]) -> Result<BTreeMap<String, StateValue>, PortError> {
    let doing = || format!("read the alarms {}", names.join(", "));
    let answer = aws
        .cloudwatch
        .describe_alarms()
        .set_alarm_names(Some(names.to_vec()))
        .alarm_types(AlarmType::MetricAlarm)
        .alarm_types(AlarmType::CompositeAlarm)
        .max_records(100)
        .send()
        .await
        .map_err(|e| failed(doing(), e))?;
    let metric = answer.metric_alarms().iter();
    let composite = answer.composite_alarms().iter();
    let states: BTreeMap<String, StateValue> = metric
        .map(|a| (a.alarm_name(), a.state_value()))
        .chain(composite.map(|a| (a.alarm_name(), a.state_value())))
        .filter_map(|(name, state)| Some((name?.to_owned(), state?.clone())))
        .collect();
    let unknown: Vec<_> = names.iter().filter(|n| !states.contains_key(*n)).collect();
    match unknown.first() {
        None => Ok(states),
        Some(name) => Err(PortError::new(
            Class::Misconfigured,
            doing(),
            format!("there is no alarm '{name}' in this account and region; correct penstock.yaml"),
        )),
    }
}
