//! What everybody is told of releases, as somebody outside gets it: by rules and queues.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cli::stack::STACK;
use engine::ReleaseLog;
use release::announce::{Announcement, SOURCE, announce};
use release::{Head, Release, ReleaseId};
use serde_json::{Value, json};

use crate::world::World;

/// For the stream, the function, the rule and the queue, while other tests keep the machine busy.
const ARRIVED_WITHIN: Duration = Duration::from_secs(90);

/// A queue that gets what a rule finds, or what a topic sends.
pub struct Inbox {
    queue: String,
}

impl Inbox {
    /// Of all announcements of releases to these targets.
    pub fn of_targets(world: &World, targets: &[&str]) -> anyhow::Result<Self> {
        let pattern = json!({"source": [SOURCE], "detail": {"target": targets}}).to_string();
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
    pub fn of_pages(world: &World) -> anyhow::Result<Self> {
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
    pub fn read_until(
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

/// What follows from the whole logs of these releases, by its id.
pub async fn due(
    world: &World,
    releases: impl IntoIterator<Item = &ReleaseId>,
) -> anyhow::Result<BTreeMap<String, Announcement>> {
    let mut due = BTreeMap::new();
    for id in releases {
        let events = world.aws.events::<Option<Release>>(id).await?;
        let mut head = Head::default();
        for event in events {
            let announcement = announce(&head, &event);
            due.extend(announcement.map(|told| (told.detail.id.clone(), told)));
            head = head.after(&[event]);
        }
    }
    Ok(due)
}

/// Everything that is due came, nothing else of these releases did, and each time it said the same.
/// How often something came.
pub fn assert_told(
    world: &World,
    inbox: &Inbox,
    due: &BTreeMap<String, Announcement>,
) -> anyhow::Result<usize> {
    let id = |event: &Value| event["detail"]["id"].as_str().map(str::to_owned);
    let has_all = |came: &[Value]| {
        let came: BTreeSet<_> = came.iter().filter_map(id).collect();
        due.keys().all(|due| came.contains(due))
    };
    let mut came = inbox.read_until(world, has_all)?;
    let releases: BTreeSet<_> = due.values().map(|told| &told.detail.release).collect();
    // A target may have had a release before.
    came.retain(|event| releases.iter().any(|of| event["detail"]["release"] == **of));
    for event in &came {
        let told = id(event).and_then(|id| due.get(&id));
        let told = told.with_context(|| format!("the log has no such fact: {event:#}"))?;
        ensure!(event["detail"] == json!(told.detail), "{event:#}");
        ensure!(event["detail-type"] == told.kind.detail_type(), "{event:#}");
        ensure!(event["source"] == SOURCE, "{event:#}");
        ensure!(event["resources"] == json!([told.detail.target]));
        let time: jiff::Timestamp = event["time"].as_str().unwrap_or_default().parse()?;
        // The emulator says when it got the event, EventBridge when it happened.
        ensure!(time.as_second() >= told.at.as_second(), "{event:#}");
    }
    Ok(came.len())
}
