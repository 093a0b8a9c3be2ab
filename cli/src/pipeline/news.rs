//! What CodePipeline tells EventBridge of an execution: the state changes of itself, its stages and its
//! actions, in the shapes that its user guide documents.

use aws::local::bus::BusEvent;
use serde_json::{Map, Value, json};

use super::clock;
use super::declaration::Action;
use super::engine::Settings;
use super::event::{Event, Status};
use super::execution::Execution;

/// The source of these events; AWS's own is `aws.codepipeline`.
const SOURCE: &str = "local.codepipeline";

/// Says everything that happens in this execution, until its end.
pub(super) async fn tell(settings: &Settings, execution: &Execution) {
    settings.news.say(news(settings, execution, "STARTED"));
    let mut sequence = 0;
    loop {
        let entry = execution.journal.entry(sequence).await;
        sequence = entry.sequence + 1;
        if let Some(event) = of_entry(settings, execution, &entry.event) {
            settings.news.say(event);
        }
        if matches!(entry.event, Event::ExecutionEnded { .. }) {
            return;
        }
    }
}

fn of_entry(settings: &Settings, execution: &Execution, event: &Event) -> Option<BusEvent> {
    let of_action = |stage, action, state| of_action(settings, execution, (stage, action), state);
    match event {
        Event::StageStarted { stage } => Some(of_stage(settings, execution, stage, "STARTED")),
        Event::StageEnded { stage, status } => {
            Some(of_stage(settings, execution, stage, state(*status)?))
        }
        Event::ExecutionStopping => Some(news(settings, execution, "STOPPING")),
        Event::ExecutionEnded { status, .. } => Some(news(settings, execution, state(*status)?)),
        Event::ActionStarted { stage, action, .. } => Some(of_action(stage, action, "STARTED")),
        Event::ActionSucceeded { stage, action, .. } => Some(of_action(stage, action, "SUCCEEDED")),
        Event::ActionAbandoned { stage, action } => Some(of_action(stage, action, "ABANDONED")),
        Event::ActionFailed {
            stage,
            action,
            code,
            message,
            ..
        } => {
            let mut event = of_action(stage, action, "FAILED");
            event.detail["execution-result"] =
                json!({"external-execution-summary": message, "error-code": code});
            Some(event)
        }
        Event::ActionProgress { .. } | Event::Output { .. } | Event::ApprovalNeeded { .. } => None,
    }
}

/// The events' word for it.
fn state(status: Status) -> Option<&'static str> {
    match status {
        Status::InProgress | Status::Stopping => None,
        Status::Stopped => Some("STOPPED"),
        Status::Succeeded => Some("SUCCEEDED"),
        Status::Failed => Some("FAILED"),
        Status::Superseded => Some("SUPERSEDED"),
    }
}

fn news(settings: &Settings, execution: &Execution, state: &str) -> BusEvent {
    change(settings, execution, "Pipeline", state, Map::new())
}

fn of_stage(settings: &Settings, execution: &Execution, stage: &str, state: &str) -> BusEvent {
    let more = Map::from_iter([("stage".to_owned(), json!(stage))]);
    change(settings, execution, "Stage", state, more)
}

fn of_action(
    settings: &Settings,
    execution: &Execution,
    (stage, action): (&str, &str),
    state: &str,
) -> BusEvent {
    let mut more = Map::from_iter([
        ("stage".to_owned(), json!(stage)),
        ("action".to_owned(), json!(action)),
        ("region".to_owned(), json!(settings.region)),
    ]);
    if let Some(Action { action_type_id, .. }) = declared(execution, stage, action) {
        more.insert("type".to_owned(), json!(action_type_id));
    }
    change(settings, execution, "Action", state, more)
}

fn declared<'a>(execution: &'a Execution, stage: &str, action: &str) -> Option<&'a Action> {
    let stages = &execution.registered.pipeline.declaration.stages;
    let stage = stages.iter().find(|it| it.name == stage)?;
    stage.actions.iter().find(|it| it.name == action)
}

fn change(
    settings: &Settings,
    execution: &Execution,
    level: &str,
    state: &str,
    mut detail: Map<String, Value>,
) -> BusEvent {
    let declaration = &execution.registered.pipeline.declaration;
    let Settings {
        region, account, ..
    } = settings;
    detail.extend([
        ("pipeline".to_owned(), json!(declaration.name)),
        ("execution-id".to_owned(), json!(execution.id.to_string())),
        ("start-time".to_owned(), json!(execution.started)),
        ("state".to_owned(), json!(state)),
        // A whole number is written as a fraction on AWS, too.
        ("version".to_owned(), json!(f64::from(declaration.version))),
        ("pipeline-execution-attempt".to_owned(), json!(1.0)),
    ]);
    BusEvent {
        source: SOURCE.to_owned(),
        detail_type: format!("CodePipeline {level} Execution State Change"),
        resources: vec![format!(
            "arn:aws:codepipeline:{region}:{account}:{}",
            declaration.name
        )],
        detail: Value::Object(detail),
        at: clock::now(),
    }
}
