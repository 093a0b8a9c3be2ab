//! What everybody is told of a release: what its log has, through the stream, the function and the bus.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cli::pipeline::event::Event as Progress;
use cli::stack::STACK;
use engine::ReleaseLog;
use release::announce::{Announcement, Kind, SOURCE, announce};
use release::{By, Event, Head, Order, Outcome, Reason, Release, ReleaseId, Started, Weight};
use serde_json::{Value, json};

use crate::Test;
use crate::world::{Action, Service, World};

pub const TESTS: &[Test] = &[
    (
        "each_change_of_a_promoted_release_is_announced_and_nothing_that_did_not_happen",
        promoted,
    ),
    (
        "each_change_of_a_release_that_went_back_is_announced_and_nothing_that_did_not_happen",
        rolled_back,
    ),
    ("a_rollback_that_is_stuck_pages", stuck),
];

/// For the stream, the function, the rule and the queue, while other tests keep the machine busy.
const ARRIVED_WITHIN: Duration = Duration::from_secs(90);

/// A queue that gets what a rule finds, or what a topic sends.
struct Inbox {
    queue: String,
}

impl Inbox {
    /// Of all announcements of releases to this target.
    fn of_target(world: &World, target: &str) -> anyhow::Result<Self> {
        let pattern = json!({"source": [SOURCE], "detail": {"target": [target]}}).to_string();
        let queue = world.boto3(&format!(
            "import boto3\n\
             sqs, events = boto3.client('sqs'), boto3.client('events')\n\
             queue = sqs.create_queue(QueueName='{name}')['QueueUrl']\n\
             arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=['QueueArn'])['Attributes']['QueueArn']\n\
             events.put_rule(Name='{name}', EventPattern='''{pattern}''')\n\
             events.put_targets(Rule='{name}', Targets=[{{'Id': 'inbox', 'Arn': arn}}])\n\
             print(queue)",
            name = world.name("announced"),
        ))?;
        Ok(Self { queue })
    }

    /// Of all pages of the stack.
    fn of_pages(world: &World) -> anyhow::Result<Self> {
        let queue = world.boto3(&format!(
            "import boto3, json\n\
             sqs, sns = boto3.client('sqs'), boto3.client('sns')\n\
             stack = boto3.client('cloudformation').describe_stacks(StackName='{STACK}')['Stacks'][0]\n\
             topic = [o['OutputValue'] for o in stack['Outputs'] if o['OutputKey'] == 'PagesTopic'][0]\n\
             queue = sqs.create_queue(QueueName='{name}')['QueueUrl']\n\
             arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=['QueueArn'])['Attributes']['QueueArn']\n\
             may = {{'Effect': 'Allow', 'Principal': {{'Service': 'sns.amazonaws.com'}}, 'Action': 'sqs:SendMessage', 'Resource': arn, \
             'Condition': {{'ArnEquals': {{'aws:SourceArn': topic}}}}}}\n\
             policy = json.dumps({{'Version': '2012-10-17', 'Statement': [may]}})\n\
             sqs.set_queue_attributes(QueueUrl=queue, Attributes={{'Policy': policy}})\n\
             sns.subscribe(TopicArn=topic, Protocol='sqs', Endpoint=arn)\n\
             print(queue)",
            name = world.name("pages"),
        ))?;
        Ok(Self { queue })
    }

    /// Every message so far that was not read before.
    fn read(&self, world: &World) -> anyhow::Result<Vec<Value>> {
        let messages = world.boto3(&format!(
            "import boto3, json\n\
             sqs, read = boto3.client('sqs'), []\n\
             while True:\n\
             \x20   some = sqs.receive_message(QueueUrl='{queue}', MaxNumberOfMessages=10).get('Messages', [])\n\
             \x20   if not some: break\n\
             \x20   for message in some:\n\
             \x20       read.append(json.loads(message['Body']))\n\
             \x20       sqs.delete_message(QueueUrl='{queue}', ReceiptHandle=message['ReceiptHandle'])\n\
             print(json.dumps(read))",
            queue = self.queue,
        ))?;
        Ok(serde_json::from_str(&messages)?)
    }

    /// Every message until `is_enough`.
    fn read_until(
        &self,
        world: &World,
        is_enough: impl Fn(&[Value]) -> bool,
    ) -> anyhow::Result<Vec<Value>> {
        let began = Instant::now();
        let mut all = Vec::new();
        loop {
            all.extend(self.read(world)?);
            if is_enough(&all) {
                return Ok(all);
            }
            ensure!(began.elapsed() < ARRIVED_WITHIN, "only this came: {all:#?}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// What follows from the whole log, by its id.
async fn due(world: &World, id: &ReleaseId) -> anyhow::Result<BTreeMap<String, Announcement>> {
    let events = world.aws.events::<Option<Release>>(id).await?;
    let mut head = Head::default();
    let mut due = BTreeMap::new();
    for event in events {
        let announcement = announce(&head, &event);
        due.extend(announcement.map(|told| (told.detail.id.clone(), told)));
        head = head.after(&[event]);
    }
    Ok(due)
}

/// Everything that is due came, nothing else did, and each time it said the same.
fn assert_told(
    world: &World,
    inbox: &Inbox,
    due: &BTreeMap<String, Announcement>,
) -> anyhow::Result<()> {
    let id = |event: &Value| event["detail"]["id"].as_str().map(str::to_owned);
    let has_all = |came: &[Value]| {
        due.keys()
            .all(|due| came.iter().any(|event| id(event).as_ref() == Some(due)))
    };
    let came = inbox.read_until(world, has_all)?;
    for event in came {
        let told = id(&event).and_then(|id| due.get(&id));
        let told = told.with_context(|| format!("the log has no such fact: {event:#}"))?;
        ensure!(event["detail"] == json!(told.detail), "{event:#}");
        ensure!(event["detail-type"] == told.kind.detail_type(), "{event:#}");
        ensure!(event["source"] == SOURCE, "{event:#}");
        ensure!(event["resources"] == json!([told.detail.target]));
        let time: jiff::Timestamp = event["time"].as_str().unwrap_or_default().parse()?;
        // The emulator says when it got the event, EventBridge when it happened.
        ensure!(time.as_second() >= told.at.as_second(), "{event:#}");
    }
    Ok(())
}

fn kinds(due: &BTreeMap<String, Announcement>) -> Vec<Kind> {
    let mut all: Vec<_> = due.values().collect();
    all.sort_by_key(|told| told.detail.seq);
    all.iter().map(|told| told.kind).collect()
}

/// Runs a release of this service; `see` gets its progress.
async fn run(
    world: &World,
    service: &Service,
    see: impl AsyncFnMut(&Progress) -> anyhow::Result<()>,
) -> anyhow::Result<ReleaseId> {
    let config = service.config();
    let actions = [Action::new("canary-shift", "web")];
    let files = [("penstock.yaml", config.as_str())];
    let ran = service.under_load(world.run(&files, &actions, see)).await?;
    ran.release.context("it has an id")
}

fn promoted(world: &World) -> anyhow::Result<()> {
    let service = world.runtime.block_on(world.service())?;
    let inbox = Inbox::of_target(world, &service.balancer.rule)?;
    let due = world.runtime.block_on(async {
        // What is ordered as soon as the action says so.
        let mut orders = [(": watched ", Order::Hold), ("held by ", Order::Resume)]
            .into_iter()
            .peekable();
        let id = run(world, &service, async |event: &Progress| {
            if let Progress::ActionProgress {
                external_execution_id: Some(id),
                summary: Some(summary),
                ..
            } = event
                && let Some((_, order)) = orders.next_if(|(said, _)| summary.contains(said))
            {
                let id = ReleaseId::try_from(id.clone())?;
                let now = jiff::Timestamp::now();
                let by = By::new("arn:aws:iam::000000000000:user/ann", "a test", now);
                engine::give_order(&world.aws, &id, order, &by).await?;
            }
            Ok(())
        });
        due(world, &id.await?).await
    })?;
    assert_told(world, &inbox, &due)?;
    let told = kinds(&due);
    ensure!(told.first() == Some(&Kind::ReleaseStarted), "{told:?}");
    ensure!(told.last() == Some(&Kind::Promoted), "{told:?}");
    for (kind, count) in [(Kind::StepReached, 3), (Kind::Held, 1), (Kind::Resumed, 1)] {
        let counted = told.iter().filter(|told| **told == kind).count();
        ensure!(counted == count, "{kind:?}: {told:?}");
    }
    Ok(())
}

fn rolled_back(world: &World) -> anyhow::Result<()> {
    let service = world.runtime.block_on(world.service())?;
    service.candidate.fails(60);
    let inbox = Inbox::of_target(world, &service.balancer.rule)?;
    let due = world.runtime.block_on(async {
        let id = run(world, &service, async |_: &Progress| Ok(())).await?;
        due(world, &id).await
    })?;
    assert_told(world, &inbox, &due)?;
    let expected = [
        Kind::ReleaseStarted,
        Kind::StepReached,
        Kind::RollingBack,
        Kind::RolledBack,
    ];
    ensure!(kinds(&due) == expected, "{:?}", kinds(&due));
    Ok(())
}

/// A log that says so, of a release of nothing.
fn stuck(world: &World) -> anyhow::Result<()> {
    let inbox = Inbox::of_pages(world)?;
    let id = world.runtime.block_on(async {
        let service = world.service().await?;
        let config = release::config::Config::parse(&service.config())?;
        let at = jiff::Timestamp::now();
        let id = ReleaseId::for_job("web", &world.name("stuck"))?;
        let started: Started = serde_json::from_value(json!({
            "at": at, "release": id, "plan": config.release(None)?.1, "alarms_firing": [],
            "arms": {"stable": service.balancer.blue, "candidate": service.balancer.green},
        }))?;
        let because = Reason::Asked {
            why: "a \"test\"".to_owned(),
            by: None,
        };
        let facts = [
            Event::Started(Box::new(started)),
            Event::RollbackDecided { at, because },
            Event::RollbackStuck {
                at,
                why: "could not set the weight: \"AccessDenied\"".to_owned(),
            },
            serde_json::from_value(json!({
                "event": "ended", "at": at, "outcome": Outcome::RolledBack,
                "proof": {"weight": Weight::ZERO, "healthy_hosts": 1, "candidate_requests": null},
            }))?,
        ];
        let mut head: Head<Option<Release>> = Head::default();
        for fact in facts {
            head = world.aws.append(&id, &head, &[fact]).await?;
        }
        anyhow::Ok(id)
    })?;
    let is_page = |page: &Value| {
        let text = page["Message"].as_str().unwrap_or_default();
        text.contains("a rollback is stuck") && text.contains(id.as_str())
    };
    let pages = inbox.read_until(world, |pages| pages.iter().any(is_page))?;
    let page = pages.into_iter().find(is_page).context("it came")?;
    let text = page["Message"].as_str().unwrap_or_default();
    for part in [
        "could not set the weight: 'AccessDenied'",
        "listener-rule/",
        &format!("penstock status {id}"),
    ] {
        ensure!(text.contains(part), "no '{part}' in: {text}");
    }
    Ok(())
}
