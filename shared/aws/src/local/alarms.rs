//! The bridge from alarms to events: on AWS CloudWatch tells EventBridge about every change of an
//! alarm's state; the emulator does not, and refuses events whose source begins with `aws.`.
//!
//! So the bridge polls `DescribeAlarms` and puts `CloudWatch Alarm State Change` events with the
//! source [`SOURCE`], whose `detail` has exactly the shape that CloudWatch documents.
//! A state that comes and goes within one poll is not seen.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::error::BoxError;
use aws_sdk_cloudwatch::primitives::{DateTime, DateTimeFormat};
use aws_sdk_cloudwatch::types::{
    AlarmType, CompositeAlarm, Dimension, MetricAlarm, MetricDataQuery,
};
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use serde_json::{Map, Value, json};

use super::Outage;

/// The source of the bridge's events; AWS itself uses `aws.cloudwatch`.
pub const SOURCE: &str = "local.cloudwatch";

/// The detail type, as on AWS.
pub const DETAIL_TYPE: &str = "CloudWatch Alarm State Change";

/// How often the alarms are read.
const POLL: Duration = Duration::from_millis(500);

/// Most pages of alarms read in one poll (100 alarms a page).
const PAGES_MAX: usize = 50;

/// Most entries in one `PutEvents` call (AWS quota).
const EVENTS_PER_CALL_MAX: usize = 10;

/// The state in which CloudWatch creates every alarm.
const STATE_OF_A_NEW_ALARM: &str = "INSUFFICIENT_DATA";

/// Why a poll failed. The next one starts from the same memory, so no change is lost.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// `DescribeAlarms` failed.
    #[error("could not read the alarms")]
    Describe(#[source] BoxError),
    /// The account holds more alarms than the bridge is willing to read.
    #[error("could not read all alarms: more than {} of them", PAGES_MAX * 100)]
    TooManyAlarms,
    /// An alarm's timestamp is outside of what a date can say.
    #[error("could not write the time of a state of the alarm '{0}'")]
    Timestamp(String, #[source] BoxError),
    /// `PutEvents` failed, or refused an entry.
    #[error("could not put an alarm's change of state on the event bus")]
    Put(#[source] BoxError),
}

/// Puts an event for every change of an alarm's state.
#[derive(Debug)]
pub struct Bridge {
    cloudwatch: aws_sdk_cloudwatch::Client,
    eventbridge: aws_sdk_eventbridge::Client,
    memory: Memory,
}

impl Bridge {
    /// A bridge between the CloudWatch and the default event bus of `config`.
    pub fn new(config: &SdkConfig) -> Self {
        Self {
            cloudwatch: aws_sdk_cloudwatch::Client::new(config),
            eventbridge: aws_sdk_eventbridge::Client::new(config),
            memory: Memory::default(),
        }
    }

    /// Polls twice a second until it is dropped. Failures are logged and tried again.
    pub async fn run(mut self) {
        let mut outage = Outage::new("alarm bridge");
        let mut ticks = tokio::time::interval(POLL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            outage.note(&self.poll().await);
        }
    }

    /// Reads the alarms once, puts an event for each change since the last call, and returns how many.
    ///
    /// The first poll only remembers: an alarm that was already firing has not changed. An alarm that
    /// appears later began as `INSUFFICIENT_DATA`, as CloudWatch creates it.
    ///
    /// # Errors
    /// A change whose event could not be put is found again by the next poll.
    pub async fn poll(&mut self) -> Result<usize, BridgeError> {
        let alarms = self.alarms().await?;
        let changes = self.memory.changes(&alarms);
        for chunk in changes.chunks(EVENTS_PER_CALL_MAX) {
            self.put(chunk).await?;
            self.memory
                .remember(chunk.iter().map(|change| &change.alarm));
        }
        self.memory.replace(&alarms);
        Ok(changes.len())
    }

    async fn alarms(&self) -> Result<Vec<Alarm>, BridgeError> {
        let mut alarms = Vec::new();
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let page = self
                .cloudwatch
                .describe_alarms()
                // Without the types only metric alarms come back.
                .alarm_types(AlarmType::MetricAlarm)
                .alarm_types(AlarmType::CompositeAlarm)
                .set_next_token(token.take())
                .send()
                .await
                .map_err(|error| BridgeError::Describe(error.into()))?;
            alarms.extend(page.metric_alarms().iter().filter_map(Alarm::from_metric));
            alarms.extend(
                page.composite_alarms()
                    .iter()
                    .filter_map(Alarm::from_composite),
            );
            match page.next_token.filter(|next| !next.is_empty()) {
                Some(next) => token = Some(next),
                None => return Ok(alarms),
            }
        }
        Err(BridgeError::TooManyAlarms)
    }

    async fn put(&self, changes: &[Change]) -> Result<(), BridgeError> {
        let entries = changes
            .iter()
            .map(Change::entry)
            .collect::<Result<Vec<_>, _>>()?;
        let answer = self
            .eventbridge
            .put_events()
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| BridgeError::Put(error.into()))?;
        match answer
            .entries()
            .iter()
            .find_map(|entry| entry.error_message())
        {
            Some(message) => Err(BridgeError::Put(message.into())),
            None => Ok(()),
        }
    }
}

/// The states as last told to the event bus, by ARN. `None` until the first poll.
#[derive(Debug, Default)]
struct Memory {
    told: Option<BTreeMap<String, State>>,
}

impl Memory {
    fn changes(&self, alarms: &[Alarm]) -> Vec<Change> {
        let Some(told) = &self.told else {
            return Vec::new();
        };
        alarms
            .iter()
            .filter_map(|alarm| {
                let previous = told
                    .get(&alarm.arn)
                    .cloned()
                    .unwrap_or_else(|| State::of_a_new_alarm(alarm));
                (previous.value != alarm.state.value).then(|| Change {
                    alarm: alarm.clone(),
                    previous,
                })
            })
            .collect()
    }

    fn remember<'a>(&mut self, alarms: impl Iterator<Item = &'a Alarm>) {
        let told = self.told.get_or_insert_default();
        told.extend(alarms.map(|alarm| (alarm.arn.clone(), alarm.state.clone())));
    }

    /// Forgets alarms that are gone.
    fn replace(&mut self, alarms: &[Alarm]) {
        self.told = None;
        self.remember(alarms.iter());
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Alarm {
    arn: String,
    name: String,
    state: State,
    configuration: Value,
}

#[derive(Clone, Debug, PartialEq)]
struct State {
    value: String,
    reason: String,
    reason_data: Option<String>,
    at: DateTime,
    /// `actionsSuppressedBy` and `actionsSuppressedReason`, of composite alarms only.
    suppressed: Option<(String, String)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Change {
    alarm: Alarm,
    previous: State,
}

impl Alarm {
    fn from_metric(alarm: &MetricAlarm) -> Option<Self> {
        Some(Self {
            arn: alarm.alarm_arn()?.to_owned(),
            name: alarm.alarm_name()?.to_owned(),
            state: State {
                value: alarm.state_value()?.as_str().to_owned(),
                reason: alarm.state_reason().unwrap_or_default().to_owned(),
                reason_data: alarm.state_reason_data().map(str::to_owned),
                at: *alarm
                    .state_transitioned_timestamp()
                    .or(alarm.state_updated_timestamp())?,
                suppressed: None,
            },
            configuration: json!({
                "description": alarm.alarm_description().unwrap_or_default(),
                "metrics": metrics(alarm),
            }),
        })
    }

    fn from_composite(alarm: &CompositeAlarm) -> Option<Self> {
        let mut configuration = Map::new();
        configuration.insert(
            "alarmRule".to_owned(),
            json!(alarm.alarm_rule().unwrap_or_default()),
        );
        insert_some(
            &mut configuration,
            "actionsSuppressor",
            alarm.actions_suppressor(),
        );
        insert_some(
            &mut configuration,
            "actionsSuppressorWaitPeriod",
            alarm.actions_suppressor_wait_period(),
        );
        insert_some(
            &mut configuration,
            "actionsSuppressorExtensionPeriod",
            alarm.actions_suppressor_extension_period(),
        );
        Some(Self {
            arn: alarm.alarm_arn()?.to_owned(),
            name: alarm.alarm_name()?.to_owned(),
            state: State {
                value: alarm.state_value()?.as_str().to_owned(),
                reason: alarm.state_reason().unwrap_or_default().to_owned(),
                reason_data: alarm.state_reason_data().map(str::to_owned),
                at: *alarm
                    .state_transitioned_timestamp()
                    .or(alarm.state_updated_timestamp())?,
                suppressed: alarm.actions_suppressed_by().map(|by| {
                    (
                        by.as_str().to_owned(),
                        alarm
                            .actions_suppressed_reason()
                            .unwrap_or_default()
                            .to_owned(),
                    )
                }),
            },
            configuration: Value::Object(configuration),
        })
    }
}

impl State {
    fn of_a_new_alarm(alarm: &Alarm) -> Self {
        Self {
            value: STATE_OF_A_NEW_ALARM.to_owned(),
            reason: "Unchecked: Initial alarm creation".to_owned(),
            reason_data: None,
            at: alarm.state.at,
            suppressed: None,
        }
    }

    fn json(&self, alarm: &str) -> Result<Value, BridgeError> {
        let mut state = Map::new();
        state.insert("value".to_owned(), json!(self.value));
        state.insert("reason".to_owned(), json!(self.reason));
        insert_some(&mut state, "reasonData", self.reason_data.as_deref());
        state.insert("timestamp".to_owned(), json!(event_time(alarm, &self.at)?));
        if let Some((by, reason)) = &self.suppressed {
            state.insert("actionsSuppressedBy".to_owned(), json!(by));
            state.insert("actionsSuppressedReason".to_owned(), json!(reason));
        }
        Ok(Value::Object(state))
    }
}

impl Change {
    fn detail(&self) -> Result<Value, BridgeError> {
        Ok(json!({
            "alarmName": self.alarm.name,
            "state": self.alarm.state.json(&self.alarm.name)?,
            "previousState": self.previous.json(&self.alarm.name)?,
            "configuration": self.alarm.configuration,
        }))
    }

    fn entry(&self) -> Result<PutEventsRequestEntry, BridgeError> {
        Ok(PutEventsRequestEntry::builder()
            .source(SOURCE)
            .detail_type(DETAIL_TYPE)
            .resources(&self.alarm.arn)
            .detail(self.detail()?.to_string())
            .build())
    }
}

/// `2026-03-01T09:59:58.123+0000`: milliseconds, and no colon in the offset, which RFC 3339 would ask for.
fn event_time(alarm: &str, at: &DateTime) -> Result<String, BridgeError> {
    let whole_seconds = DateTime::from_secs(at.secs())
        .fmt(DateTimeFormat::DateTime)
        .map_err(|error| BridgeError::Timestamp(alarm.to_owned(), error.into()))?;
    let milliseconds = at.subsec_nanos() / 1_000_000;
    Ok(format!(
        "{}.{milliseconds:03}+0000",
        whole_seconds.trim_end_matches('Z')
    ))
}

/// The metrics of an alarm: its queries, or its one metric written as a query.
fn metrics(alarm: &MetricAlarm) -> Vec<Value> {
    if !alarm.metrics().is_empty() {
        return alarm.metrics().iter().map(query).collect();
    }
    let statistic = alarm
        .statistic()
        .map(|statistic| statistic.as_str())
        .or(alarm.extended_statistic());
    vec![json!({
        "id": "m1", // AWS makes one up here, too
        "metricStat": metric_stat(
            alarm.namespace(),
            alarm.metric_name(),
            alarm.dimensions(),
            alarm.period(),
            statistic,
        ),
        "returnData": true,
    })]
}

fn query(query: &MetricDataQuery) -> Value {
    let mut json = Map::new();
    insert_some(&mut json, "id", query.id());
    insert_some(&mut json, "expression", query.expression());
    insert_some(&mut json, "label", query.label());
    if let Some(stat) = query.metric_stat() {
        let metric = stat.metric();
        let stat = metric_stat(
            metric.and_then(|metric| metric.namespace()),
            metric.and_then(|metric| metric.metric_name()),
            metric.map(|metric| metric.dimensions()).unwrap_or_default(),
            stat.period(),
            stat.stat(),
        );
        json.insert("metricStat".to_owned(), stat);
    }
    json.insert(
        "returnData".to_owned(),
        json!(query.return_data().unwrap_or(true)),
    );
    Value::Object(json)
}

fn metric_stat(
    namespace: Option<&str>,
    name: Option<&str>,
    dimensions: &[Dimension],
    period_seconds: Option<i32>,
    stat: Option<&str>,
) -> Value {
    // An object here, although the API has a list of names and values.
    let dimensions: Map<String, Value> = dimensions
        .iter()
        .filter_map(|dimension| Some((dimension.name()?.to_owned(), json!(dimension.value()?))))
        .collect();
    json!({
        "metric": {"namespace": namespace, "name": name, "dimensions": dimensions},
        "period": period_seconds,
        "stat": stat,
    })
}

fn insert_some<T: Into<Value>>(object: &mut Map<String, Value>, key: &str, value: Option<T>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatch::types::{Metric, MetricStat, StateValue, Statistic};

    use super::*;

    fn metric_alarm(state: StateValue, millis: i64) -> Alarm {
        let alarm = MetricAlarm::builder()
            .alarm_name("canary-5xx")
            .alarm_arn("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:canary-5xx")
            .state_value(state)
            .state_reason("because")
            .state_reason_data(r#"{"threshold":1.0}"#)
            .state_transitioned_timestamp(DateTime::from_millis(millis))
            .metrics(
                MetricDataQuery::builder()
                    .id("e1")
                    .expression("100*m2/m1")
                    .label("5xx %")
                    .build(),
            )
            .metrics(
                MetricDataQuery::builder()
                    .id("m1")
                    .metric_stat(
                        MetricStat::builder()
                            .metric(
                                Metric::builder()
                                    .namespace("AWS/ApplicationELB")
                                    .metric_name("RequestCount")
                                    .dimensions(
                                        Dimension::builder()
                                            .name("LoadBalancer")
                                            .value("app/x/1")
                                            .build(),
                                    )
                                    .build(),
                            )
                            .period(60)
                            .stat("Sum")
                            .build(),
                    )
                    .return_data(false)
                    .build(),
            )
            .build();
        Alarm::from_metric(&alarm).expect("a whole alarm")
    }

    /// 2026-03-01T09:59:58.123Z
    const CHANGED_MILLIS: i64 = 1_772_359_198_123;

    #[test]
    fn the_detail_has_the_shape_that_cloudwatch_documents() {
        let change = Change {
            alarm: metric_alarm(StateValue::Alarm, CHANGED_MILLIS),
            previous: metric_alarm(StateValue::Ok, CHANGED_MILLIS - 1_198_123).state,
        };
        let expected = json!({
            "alarmName": "canary-5xx",
            "state": {
                "value": "ALARM", "reason": "because", "reasonData": "{\"threshold\":1.0}",
                "timestamp": "2026-03-01T09:59:58.123+0000"
            },
            "previousState": {
                "value": "OK", "reason": "because", "reasonData": "{\"threshold\":1.0}",
                "timestamp": "2026-03-01T09:40:00.000+0000"
            },
            "configuration": {"description": "", "metrics": [
                {"id": "e1", "expression": "100*m2/m1", "label": "5xx %", "returnData": true},
                {"id": "m1", "metricStat": {
                    "metric": {
                        "namespace": "AWS/ApplicationELB", "name": "RequestCount",
                        "dimensions": {"LoadBalancer": "app/x/1"}
                    },
                    "period": 60, "stat": "Sum"
                }, "returnData": false}
            ]}
        });
        assert_eq!(change.detail().expect("a detail"), expected);
    }

    #[test]
    fn an_alarm_on_one_metric_is_written_as_a_query() {
        let alarm = MetricAlarm::builder()
            .namespace("AWS/ApplicationELB")
            .metric_name("HTTPCode_Target_5XX_Count")
            .statistic(Statistic::Sum)
            .period(10)
            .build();
        let expected = json!([{
            "id": "m1", "returnData": true,
            "metricStat": {
                "metric": {
                    "namespace": "AWS/ApplicationELB", "name": "HTTPCode_Target_5XX_Count", "dimensions": {}
                },
                "period": 10, "stat": "Sum"
            }
        }]);
        assert_eq!(json!(metrics(&alarm)), expected);
    }

    #[test]
    fn a_composite_alarm_carries_its_rule_and_its_suppressor() {
        let alarm = CompositeAlarm::builder()
            .alarm_name("all")
            .alarm_arn("arn:all")
            .alarm_rule("ALARM(a) OR ALARM(b)")
            .actions_suppressor("maintenance")
            .actions_suppressor_wait_period(60)
            .state_value(StateValue::Alarm)
            .state_updated_timestamp(DateTime::from_secs(1))
            .actions_suppressed_by("Alarm".into())
            .actions_suppressed_reason("maintenance is in ALARM")
            .build();
        let alarm = Alarm::from_composite(&alarm).expect("a whole alarm");
        assert_eq!(
            alarm.configuration,
            json!({
                "alarmRule": "ALARM(a) OR ALARM(b)",
                "actionsSuppressor": "maintenance",
                "actionsSuppressorWaitPeriod": 60
            })
        );
        assert_eq!(
            alarm.state.json("all").expect("a state"),
            json!({
                "value": "ALARM", "reason": "", "timestamp": "1970-01-01T00:00:01.000+0000",
                "actionsSuppressedBy": "Alarm", "actionsSuppressedReason": "maintenance is in ALARM"
            })
        );
    }

    #[test]
    fn an_alarm_already_firing_at_the_first_poll_is_no_change() {
        assert_eq!(
            Memory::default().changes(&[metric_alarm(StateValue::Alarm, 1)]),
            []
        );
    }

    #[test]
    fn a_change_is_told_until_it_is_remembered_and_then_no_more() {
        let (ok, firing) = (
            metric_alarm(StateValue::Ok, 1),
            metric_alarm(StateValue::Alarm, 2),
        );
        let mut memory = Memory::default();
        memory.replace(std::slice::from_ref(&ok));
        let change = Change {
            alarm: firing.clone(),
            previous: ok.state,
        };
        let told = std::slice::from_ref(&firing);
        assert_eq!(memory.changes(told), [change]);
        assert_eq!(memory.changes(told).len(), 1, "not yet put, so told again");
        memory.remember([&firing].into_iter());
        assert_eq!(memory.changes(&[firing]), []);
    }

    #[test]
    fn an_alarm_that_appears_later_began_with_insufficient_data() {
        let mut memory = Memory::default();
        memory.replace(&[]);
        assert_eq!(
            memory.changes(&[metric_alarm(StateValue::InsufficientData, 1)]),
            []
        );
        let told = memory.changes(&[metric_alarm(StateValue::Alarm, 1)]);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].previous.value, "INSUFFICIENT_DATA");
    }
}
