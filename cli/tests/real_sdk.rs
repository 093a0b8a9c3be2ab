//! The real AWS SDK talks to the player: what it sends is read, and what it gets it understands.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_codepipeline::Client;
use aws_sdk_codepipeline::config::Credentials;
use aws_sdk_codepipeline::error::ProvideErrorMetadata;
use aws_sdk_codepipeline::types::{
    ActionCategory, ActionDeclaration, ActionOwner, ActionTypeId, ApprovalResult, ApprovalStatus,
    ArtifactStore, ArtifactStoreType, FailureDetails, FailureType, OutputArtifact,
    PipelineDeclaration, PipelineExecutionStatus, PipelineType, StageDeclaration,
};
use engine::{Class, Executions};
use penstock::pipeline::event::Status;
use penstock::player::{Player, PlayerConfig};

const JOB: &str = "0f0e0d0c-1111-4222-8333-444455556666";

async fn player() -> (Player, Client) {
    let (player, config) = player_and_config().await;
    (player, Client::new(&config))
}

async fn player_and_config() -> (Player, SdkConfig) {
    // Port 9 (discard): no emulator answers, and none is needed here.
    let config = PlayerConfig {
        port: 0,
        endpoint: "http://127.0.0.1:9".into(),
        ..PlayerConfig::default()
    };
    let player = Player::start(config).await.unwrap();
    let config = aws_config::defaults(BehaviorVersion::latest())
        .endpoint_url(player.url())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .load()
        .await;
    (player, config)
}

fn action(name: &str, category: ActionCategory, provider: &str) -> ActionDeclaration {
    let kind = ActionTypeId::builder()
        .category(category)
        .owner(ActionOwner::Aws)
        .provider(provider)
        .version("1");
    let action = ActionDeclaration::builder()
        .name(name)
        .action_type_id(kind.build().unwrap());
    match provider {
        "S3" => action.output_artifacts(OutputArtifact::builder().name("Src").build().unwrap()),
        _ => action,
    }
    .build()
    .unwrap()
}

fn pipeline() -> PipelineDeclaration {
    let stage = |name: &str, action| {
        StageDeclaration::builder()
            .name(name)
            .actions(action)
            .build()
            .unwrap()
    };
    PipelineDeclaration::builder()
        .name("p")
        .role_arn("arn:aws:iam::000000000000:role/pipeline")
        .pipeline_type(PipelineType::V2)
        .artifact_store(
            ArtifactStore::builder()
                .r#type(ArtifactStoreType::S3)
                .location("b")
                .build()
                .unwrap(),
        )
        .stages(stage("Source", action("App", ActionCategory::Source, "S3")))
        .stages(stage(
            "Ask",
            action("Ask", ActionCategory::Approval, "Manual"),
        ))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_pipeline_made_by_the_sdk_is_shown_as_it_was_made() {
    let (player, client) = player().await;
    client
        .create_pipeline()
        .pipeline(pipeline())
        .send()
        .await
        .unwrap();
    let shown = client.get_pipeline().name("p").send().await.unwrap();
    let mut expected = pipeline();
    expected.version = Some(1);
    let shown_pipeline = shown.pipeline().unwrap();
    assert_eq!(shown_pipeline.stages().len(), 2);
    assert_eq!(shown_pipeline.artifact_store(), expected.artifact_store());
    assert_eq!(shown_pipeline.version(), expected.version());
    assert!(shown.metadata().unwrap().created().is_some());
    let again = client
        .create_pipeline()
        .pipeline(pipeline())
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(again.is_pipeline_name_in_use_exception());
    client
        .update_pipeline()
        .pipeline(pipeline())
        .send()
        .await
        .unwrap();
    let listed = client.list_pipelines().send().await.unwrap();
    assert_eq!(listed.pipelines()[0].version(), Some(2));
    player.stop().await;
}

#[tokio::test]
async fn refusals_arrive_as_the_sdk_s_own_exceptions() {
    let (player, client) = player().await;
    let success = client
        .put_job_success_result()
        .job_id(JOB)
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(success.is_job_not_found_exception());
    let details = FailureDetails::builder()
        .r#type(FailureType::JobFailed)
        .message("m")
        .build()
        .unwrap();
    let failure = client
        .put_job_failure_result()
        .job_id(JOB)
        .failure_details(details)
        .send()
        .await
        .unwrap_err();
    assert!(failure.into_service_error().is_job_not_found_exception());
    let long = client
        .put_job_success_result()
        .job_id(JOB)
        .continuation_token("x".repeat(2049))
        .send()
        .await;
    assert!(
        long.unwrap_err()
            .into_service_error()
            .is_validation_exception()
    );
    let unknown = client
        .get_pipeline_state()
        .name("none")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(unknown.is_pipeline_not_found_exception());
    let unserved = client.list_webhooks().send().await.unwrap_err();
    assert_eq!(unserved.code(), Some("UnknownOperationException"));
    player.stop().await;
}

#[tokio::test]
async fn an_execution_is_followed_through_the_sdk() {
    let (player, client) = player().await;
    client
        .create_pipeline()
        .pipeline(pipeline())
        .send()
        .await
        .unwrap();
    let started = client
        .start_pipeline_execution()
        .name("p")
        .send()
        .await
        .unwrap();
    let id = started.pipeline_execution_id().unwrap();
    let execution = player.engine().execution(id).unwrap();
    // Nobody told the player where the sources are, so the first action says so.
    let (status, message) = tokio::time::timeout(Duration::from_secs(10), execution.end())
        .await
        .unwrap();
    assert_eq!(status, Status::Failed);
    assert!(message.unwrap().contains("pass --source App=PATH[@REV]"));

    let shown = client
        .get_pipeline_execution()
        .pipeline_name("p")
        .pipeline_execution_id(id)
        .send()
        .await
        .unwrap();
    assert_eq!(
        shown.pipeline_execution().unwrap().status(),
        Some(&PipelineExecutionStatus::Failed)
    );
    let state = client.get_pipeline_state().name("p").send().await.unwrap();
    let source = state.stage_states()[0].action_states()[0]
        .latest_execution()
        .unwrap();
    assert_eq!(
        source.error_details().unwrap().code(),
        Some("ConfigurationError")
    );
    assert!(source.last_status_change().is_some());
    let actions = client
        .list_action_executions()
        .pipeline_name("p")
        .send()
        .await
        .unwrap();
    assert_eq!(actions.action_execution_details().len(), 1);
    let approval = ApprovalResult::builder()
        .status(ApprovalStatus::Approved)
        .summary("ok")
        .build()
        .unwrap();
    let answered = client
        .put_approval_result()
        .pipeline_name("p")
        .stage_name("Ask")
        .action_name("Ask");
    let answered = answered
        .result(approval)
        .token("none")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(answered.is_invalid_approval_token_exception());
    let stopped = client
        .stop_pipeline_execution()
        .pipeline_name("p")
        .pipeline_execution_id(id)
        .send()
        .await;
    assert!(
        stopped
            .unwrap_err()
            .into_service_error()
            .is_pipeline_execution_not_stoppable_exception()
    );
    player.stop().await;
}

#[tokio::test]
async fn a_function_finds_out_when_its_execution_began() {
    let (player, config) = player_and_config().await;
    let client = Client::new(&config);
    client
        .create_pipeline()
        .pipeline(pipeline())
        .send()
        .await
        .unwrap();
    let mut executions = Vec::new();
    for _ in 0..3 {
        let started = client.start_pipeline_execution().name("p").send().await;
        let id = started.unwrap().pipeline_execution_id.unwrap();
        let execution = player.engine().execution(&id).unwrap();
        execution.end().await;
        executions.push(execution);
    }
    let ports = aws::Aws::new(&config, "no-table".into());
    for execution in executions {
        let began = ports.began("p", &execution.id.to_string()).await.unwrap();
        let millis = execution.started.as_millisecond();
        // On the wire it is seconds with a fraction, which may round.
        let off = began.map(|began| (began.as_millisecond() - millis).abs());
        assert!(off.is_some_and(|off| off <= 1), "{off:?}");
    }
    assert_eq!(ports.began("p", JOB).await.unwrap(), None);
    for unknown in ["none", "", "not a name"] {
        let error = ports.began(unknown, JOB).await.unwrap_err();
        assert_eq!(error.class, Class::Misconfigured, "{error}");
        assert!(error.to_string().contains("UserParameters"), "{error}");
    }
    player.stop().await;
}
