//! What the template promises: each function may do exactly its actions, and nothing is lost.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

fn template() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    // Tags such as !Ref fall away: what is checked here are names and numbers.
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn actions(policy: &Value, into: &mut BTreeSet<String>) {
    for statement in policy["Statement"].as_array().unwrap() {
        assert_eq!(statement["Effect"], "Allow");
        match &statement["Action"] {
            Value::String(action) => drop(into.insert(action.clone())),
            Value::Array(all) => into.extend(all.iter().map(|a| a.as_str().unwrap().to_owned())),
            other => panic!("no action: {other}"),
        }
    }
}

/// Everything that a function's role may do.
fn may(function: &str) -> BTreeSet<String> {
    let template = template();
    let role = &template["Resources"][format!("{function}Role")]["Properties"];
    let mut all = BTreeSet::new();
    for policy in role["Policies"].as_array().unwrap() {
        actions(&policy["PolicyDocument"], &mut all);
    }
    for shared in role["ManagedPolicyArns"].as_array().into_iter().flatten() {
        let shared = &template["Resources"][shared.as_str().unwrap()];
        actions(&shared["Properties"]["PolicyDocument"], &mut all);
    }
    all
}

#[test]
fn each_function_may_do_exactly_what_it_does() {
    let logs = ["logs:CreateLogStream", "logs:PutLogEvents"];
    let answers = [
        "codepipeline:PutJobSuccessResult",
        "codepipeline:PutJobFailureResult",
    ];
    let releases = [
        "dynamodb:Query",
        "dynamodb:PutItem",
        "dynamodb:UpdateItem",
        "dynamodb:DeleteItem",
        "elasticloadbalancing:DescribeListeners",
        "elasticloadbalancing:DescribeRules",
        "elasticloadbalancing:DescribeTags",
        "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:ModifyListener",
        "elasticloadbalancing:ModifyRule",
        "elasticloadbalancing:DeleteRule",
        "lambda:GetAlias",
        "lambda:UpdateAlias",
        "lambda:GetFunctionConfiguration",
        "ecs:DescribeServices",
        "ecs:UpdateService",
        "ecs:UpdateServicePrimaryTaskSet",
        "ecs:DeleteTaskSet",
        "iam:PassRole",
        "codedeploy:BatchGetDeployments",
        "codedeploy:ListDeployments",
        "codedeploy:StopDeployment",
        "ecs:ListServiceDeployments",
        "ecs:StopServiceDeployment",
        "codepipeline:DisableStageTransition",
        "codepipeline:RollbackStage",
        "codepipeline:GetPipelineState",
        "codepipeline:ListPipelineExecutions",
    ];
    let set = |parts: &[&[&str]]| -> BTreeSet<String> {
        parts
            .iter()
            .copied()
            .flatten()
            .map(|action| (*action).to_owned())
            .collect()
    };
    let compares = [
        "dynamodb:GetItem",
        "dynamodb:DeleteItem",
        "codepipeline:ListPipelineExecutions",
    ];
    let waits = ["dynamodb:Query", "dynamodb:PutItem"];
    let kept = [
        "codebuild:ListReportsForReportGroup",
        "codebuild:BatchGetReports",
        "codebuild:DescribeTestCases",
        "codebuild:DescribeCodeCoverages",
        "ecr:DescribeImages",
        "ecr:DescribeImageScanFindings",
        "inspector2:ListFindings",
        "inspector2:ListCoverage",
    ];
    assert_eq!(
        may("TestGate"),
        set(&[&logs, &answers, &compares, &waits, &kept])
    );
    let probes = [
        "cloudwatch:DescribeAlarms",
        "cloudwatch:GetMetricData",
        "ecs:DescribeServices",
        "elasticloadbalancing:DescribeTargetHealth",
        "lambda:InvokeFunction",
        "synthetics:GetCanaryRuns",
    ];
    let candidates = [
        "lambda:PublishVersion",
        "ecs:CreateTaskSet",
        "ecs:DescribeTaskDefinition",
    ];
    assert_eq!(
        may("CanaryShift"),
        set(&[
            &logs,
            &answers,
            &releases,
            &probes,
            &candidates,
            &[
                "codepipeline:ListActionExecutions",
                "elasticloadbalancing:CreateRule",
                "elasticloadbalancing:AddTags"
            ]
        ])
    );
    let check = ["dynamodb:Query", "dynamodb:PutItem"];
    assert_eq!(may("HealthCheck"), set(&[&logs, &answers, &check, &probes]));
    assert_eq!(
        may("RollbackTrigger"),
        set(&[&logs, &releases, &["sqs:SendMessage"]])
    );
    let announces = [
        "dynamodb:DescribeStream",
        "dynamodb:GetRecords",
        "dynamodb:GetShardIterator",
        "dynamodb:ListStreams",
        "dynamodb:Query",
        "events:PutEvents",
        "sqs:SendMessage",
    ];
    assert_eq!(may("Announce"), set(&[&logs, &announces]));
}

/// Every statement of this document that allows this action.
fn statements_with<'a>(document: &'a Value, action: &str) -> Vec<&'a Value> {
    let all = document["Statement"].as_array().unwrap().iter();
    let has = |statement: &&Value| match &statement["Action"] {
        Value::String(one) => one == action,
        Value::Array(several) => several.iter().any(|a| a == action),
        other => panic!("no action: {other}"),
    };
    all.filter(has).collect()
}

#[test]
fn only_allowed_targets_can_be_moved_or_changed() {
    let template = template();
    let resources = &template["Resources"];
    let shared = &resources["MoveReleases"]["Properties"]["PolicyDocument"];
    let own = &resources["CanaryShiftRole"]["Properties"]["Policies"][0]["PolicyDocument"];
    for (document, action) in [
        (shared, "elasticloadbalancing:ModifyListener"),
        (shared, "elasticloadbalancing:ModifyRule"),
        (shared, "elasticloadbalancing:DeleteRule"),
        (shared, "lambda:GetAlias"),
        (shared, "lambda:UpdateAlias"),
        (shared, "ecs:DescribeServices"),
        (shared, "ecs:UpdateService"),
        (shared, "ecs:UpdateServicePrimaryTaskSet"),
        (shared, "codedeploy:BatchGetDeployments"),
        (shared, "codedeploy:ListDeployments"),
        (shared, "ecs:ListServiceDeployments"),
        (shared, "codepipeline:DisableStageTransition"),
        (shared, "codepipeline:RollbackStage"),
        (own, "lambda:PublishVersion"),
        (own, "elasticloadbalancing:CreateRule"),
        (own, "elasticloadbalancing:AddTags"),
    ] {
        let statements = statements_with(document, action);
        assert_eq!(statements.len(), 1, "{action}");
        assert_eq!(statements[0]["Resource"], "AllowedTargets", "{action}");
    }
    // A function's configuration has its environment, so it is read of allowed functions only:
    // each pattern, and each pattern with `:*`.
    let statements = statements_with(shared, "lambda:GetFunctionConfiguration");
    let joined = &statements[0]["Resource"][1];
    assert_eq!(joined[0], "${Functions},${Versions}:*");
    assert_eq!(joined[1]["Functions"], json!([",", "AllowedTargets"]));
    assert_eq!(joined[1]["Versions"], json!([":*,", "AllowedTargets"]));
    // Of each service's pattern the one of its deployments as well.
    let statements = statements_with(shared, "ecs:StopServiceDeployment");
    assert_eq!(statements.len(), 2);
    assert_eq!(statements[0]["Resource"], "AllowedTargets");
    let joined = &statements[1]["Resource"][1];
    assert_eq!(joined[0], "${Deployments}/*");
    let of_services = json!([":service/", ["/*,", "AllowedTargets"]]);
    let of_deployments = json!([":service-deployment/", of_services]);
    assert_eq!(joined[1]["Deployments"], of_deployments);
    // Of each service's pattern the one of its task sets.
    for (document, action) in [(shared, "ecs:DeleteTaskSet"), (own, "ecs:CreateTaskSet")] {
        let statements = statements_with(document, action);
        assert_eq!(statements.len(), 1, "{action}");
        let joined = &statements[0]["Resource"][1];
        assert_eq!(joined[0], "${TaskSets}/*");
        let of_services = json!([":service/", ["/*,", "AllowedTargets"]]);
        assert_eq!(
            joined[1]["TaskSets"],
            json!([":task-set/", of_services]),
            "{action}"
        );
    }
}

#[test]
fn roles_are_passed_to_ecs_tasks_and_only_those_that_are_named() {
    let template = template();
    let shared = &template["Resources"]["MoveReleases"]["Properties"]["PolicyDocument"];
    let statements = statements_with(shared, "iam:PassRole");
    assert_eq!(statements.len(), 1);
    assert_eq!(statements[0]["Resource"], "PassedRoles");
    assert_eq!(
        statements[0]["Condition"]["StringEquals"]["iam:PassedToService"],
        "ecs-tasks.amazonaws.com"
    );
    let default = &template["Parameters"]["PassedRoles"]["Default"];
    assert_eq!(default, "arn:aws:iam::000000000000:role/none");
}

#[test]
fn no_rule_can_be_deleted_but_those_that_a_release_made_and_tagged() {
    let template = template();
    let resources = &template["Resources"];
    let shared = &resources["MoveReleases"]["Properties"]["PolicyDocument"];
    let own = &resources["CanaryShiftRole"]["Properties"]["Policies"][0]["PolicyDocument"];
    assert_eq!(
        statements_with(shared, "elasticloadbalancing:DeleteRule")[0]["Condition"],
        json!({"Null": {"aws:ResourceTag/penstock:release-target": "false"}})
    );
    // Or the tag could be put on any rule first.
    assert_eq!(
        statements_with(own, "elasticloadbalancing:AddTags")[0]["Condition"],
        json!({"StringEquals": {"elasticloadbalancing:CreateAction": "CreateRule"}})
    );
}

#[test]
fn only_functions_that_are_allowed_can_be_asked() {
    let template = template();
    let resources = &template["Resources"];
    let shared = &resources["Probe"]["Properties"]["PolicyDocument"];
    let statements = statements_with(shared, "lambda:InvokeFunction");
    assert_eq!(statements.len(), 1);
    assert_eq!(statements[0]["Resource"], "AllowedChecks");
    let parameters = &template["Parameters"];
    // Nobody's account, and nobody's function.
    let nobody = "arn:aws:lambda:us-east-1:000000000000:function:none";
    assert_eq!(parameters["AllowedChecks"]["Default"], nobody);
    assert_eq!(parameters["AllowPrivateProbes"]["Default"], "false");
    for function in ["HealthCheck", "CanaryShift"] {
        let variables = &resources[function]["Properties"]["Environment"]["Variables"];
        let checks = json!([",", "AllowedChecks"]);
        assert_eq!(variables["PENSTOCK_ALLOWED_CHECKS"], checks, "{function}");
        let private = &variables["PENSTOCK_ALLOW_PRIVATE_PROBES"];
        assert_eq!(private, "AllowPrivateProbes", "{function}");
    }
}

#[test]
fn a_gate_reaches_what_gates_remember_and_no_release() {
    let role = template()["Resources"]["TestGateRole"]["Properties"].clone();
    let statements = &role["Policies"][0]["PolicyDocument"]["Statement"];
    let statements = statements.as_array().unwrap().iter();
    let of_the_table: Vec<_> = statements
        .filter(|statement| statement["Resource"] == "ReleaseLog.Arn")
        .collect();
    let keys = of_the_table.iter().map(|statement| {
        statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"].clone()
    });
    let keys: Vec<_> = keys.collect();
    let expected = [["gate#*"], ["gate-wait#*"]].map(|keys| json!(keys));
    assert_eq!(keys, expected);
}

#[test]
fn every_function_has_its_own_role_and_logs_that_end() {
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    let functions = resources
        .iter()
        .filter(|(_, r)| r["Type"] == "AWS::Serverless::Function");
    let mut seen = 0;
    for (name, function) in functions {
        assert_eq!(
            function["Properties"]["Role"],
            format!("{name}Role.Arn"),
            "{name}"
        );
        assert_eq!(
            function["Properties"]["LoggingConfig"]["LogGroup"],
            format!("{name}Logs")
        );
        assert_eq!(
            function["Metadata"]["BuildMethod"], "rust-cargolambda",
            "{name}"
        );
        assert_eq!(
            resources[&format!("{name}Logs")]["Properties"]["RetentionInDays"],
            "LogRetentionDays"
        );
        seen += 1;
    }
    assert_eq!(seen, 5);
}

#[test]
fn the_release_log_is_kept_safe() {
    let table = template()["Resources"]["ReleaseLog"].clone();
    assert_eq!(table["DeletionPolicy"], "Retain");
    let table = &table["Properties"];
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(
        table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
        true
    );
    assert_eq!(table["TimeToLiveSpecification"]["AttributeName"], "expires");
    assert_eq!(table["SSESpecification"]["SSEEnabled"], true);
}

/// The rules that hand events to rollback-trigger, by name.
fn rules() -> Vec<(String, Value)> {
    let template = template();
    let events = &template["Resources"]["RollbackTrigger"]["Properties"]["Events"];
    let events = events.as_object().unwrap().iter();
    events
        .filter(|(_, event)| event["Type"] == "EventBridgeRule")
        .map(|(name, event)| (name.clone(), event["Properties"].clone()))
        .collect()
}

#[test]
fn an_event_that_cannot_be_handled_is_kept() {
    let template = template();
    let trigger = &template["Resources"]["RollbackTrigger"]["Properties"];
    let policy = &template["Resources"]["LostEventsPolicy"]["Properties"]["PolicyDocument"];
    let may_keep = &policy["Statement"][0]["Condition"]["ArnEquals"]["aws:SourceArn"];
    let mut may_keep: Vec<_> = may_keep.as_array().unwrap().iter().collect();
    let rules = rules();
    assert_eq!(rules.len(), 7);
    for (name, rule) in &rules {
        assert_eq!(rule["DeadLetterConfig"]["Arn"], "LostEvents.Arn", "{name}");
        assert_eq!(rule["RetryPolicy"]["MaximumRetryAttempts"], 20, "{name}");
        may_keep.retain(|arn| **arn != format!("RollbackTrigger{name}.Arn"));
    }
    assert_eq!(may_keep, Vec::<&Value>::new());
    let destination = &trigger["EventInvokeConfig"]["DestinationConfig"]["OnFailure"];
    assert_eq!(destination["Destination"], "LostEvents.Arn");
}

/// Whether EventBridge hands this event on: each field of the pattern has one of its values. `!If`
/// has lost its tag, and stands for what is so on AWS.
fn matches(pattern: &Value, event: &Value) -> bool {
    match pattern {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, pattern)| matches(pattern, &event[name])),
        Value::Array(choice) if choice.first() == Some(&json!("IsLocal")) => {
            matches(&choice[2], event)
        }
        Value::Array(any) => any.iter().any(|one| match one {
            Value::Object(rule) => {
                let prefix = rule["anything-but"]["prefix"].as_str().unwrap();
                event.as_str().is_some_and(|text| !text.starts_with(prefix))
            }
            literal => literal == event,
        }),
        other => panic!("no pattern: {other}"),
    }
}

#[test]
fn every_event_that_asks_for_a_rollback_passes_one_rule_and_no_other_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events");
    let rules = rules();
    let mut used = BTreeSet::new();
    let paths = std::fs::read_dir(folder).unwrap();
    let paths = paths.map(|file| file.unwrap().path());
    for path in paths.filter(|path| path.is_file()) {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let event: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let passed = rules
            .iter()
            .filter(|(_, rule)| matches(&rule["Pattern"], &event));
        let passed: Vec<_> = passed.map(|(rule, _)| rule.as_str()).collect();
        let is_outside = event["detail-type"].is_string();
        let asks = is_outside && !["alarm-cleared", "sweep"].contains(&name.as_str());
        assert_eq!(passed.len(), usize::from(asks), "{name}: {passed:?}");
        used.extend(passed.into_iter().map(str::to_owned));
        if asks {
            // AWS's own service sends it, or it is a request.
            let mut event = event.clone();
            event["source"] = json!("aws.s3");
            let passes = rules
                .iter()
                .any(|(_, rule)| matches(&rule["Pattern"], &event));
            assert!(!passes, "{name} from another service");
        }
    }
    assert_eq!(used.len(), rules.len(), "a rule without a sample: {used:?}");
}

#[test]
fn only_what_is_stored_of_releases_is_announced_and_in_nobody_elses_name() {
    let template = template();
    let resources = &template["Resources"];
    let stream = &resources["ReleaseLog"]["Properties"]["StreamSpecification"];
    assert_eq!(stream["StreamViewType"], "NEW_IMAGE");
    let facts = &resources["Announce"]["Properties"]["Events"]["NewFacts"]["Properties"];
    assert_eq!(facts["Stream"], "ReleaseLog.StreamArn");
    let pattern = facts["FilterCriteria"]["Filters"][0]["Pattern"].as_str();
    let pattern: Value = serde_json::from_str(pattern.unwrap()).unwrap();
    let keys = json!({
        "pk": {"S": [{"prefix": "release#"}]},
        "sk": {"S": [{"prefix": "event#"}]},
    });
    assert_eq!(
        pattern,
        json!({"eventName": ["INSERT"], "dynamodb": {"Keys": keys}})
    );
    let own = &resources["AnnounceRole"]["Properties"]["Policies"][0]["PolicyDocument"];
    let puts = statements_with(own, "events:PutEvents");
    assert_eq!(puts.len(), 1);
    assert_eq!(
        puts[0]["Condition"]["ForAllValues:StringEquals"],
        json!({"events:source": ["penstock"]})
    );
}

#[test]
fn what_cannot_be_announced_is_tried_again_and_kept_and_holds_nobody_up_for_good() {
    let facts =
        template()["Resources"]["Announce"]["Properties"]["Events"]["NewFacts"]["Properties"]
            .clone();
    assert_eq!(facts["StartingPosition"], "TRIM_HORIZON");
    assert_eq!(
        facts["FunctionResponseTypes"],
        json!(["ReportBatchItemFailures"])
    );
    assert_eq!(facts["BisectBatchOnFunctionError"], true);
    assert!(facts["MaximumRetryAttempts"].as_i64().unwrap() > 0);
    // The stream itself keeps a record for a day.
    let age = facts["MaximumRecordAgeInSeconds"].as_i64().unwrap();
    assert!((3_600..86_400).contains(&age), "{age}");
    let destination = &facts["DestinationConfig"]["OnFailure"];
    assert_eq!(destination["Destination"], "LostEvents.Arn");
}

#[test]
fn every_trouble_pages() {
    let template = template();
    let resources = template["Resources"].as_object().unwrap();
    let alarms = resources
        .iter()
        .filter(|(_, r)| r["Type"] == "AWS::CloudWatch::Alarm");
    let mut metrics = BTreeSet::new();
    for (name, alarm) in alarms {
        let alarm = &alarm["Properties"];
        assert_eq!(alarm["AlarmActions"], json!(["Pages"]), "{name}");
        // Only alarms of these names may publish.
        let alarm_name = alarm["AlarmName"].as_str().unwrap();
        assert!(alarm_name.starts_with("${AWS::StackName}-"), "{name}");
        let metric = alarm["MetricName"].as_str().unwrap();
        metrics.insert((metric, alarm["Dimensions"][0]["Value"].as_str()));
    }
    let expected = [
        (
            "ApproximateNumberOfMessagesVisible",
            Some("LostEvents.QueueName"),
        ),
        ("Errors", Some("Announce")),
        ("Errors", Some("RollbackTrigger")),
        ("IteratorAge", Some("Announce")),
        ("RollbackStuck", None),
    ];
    assert_eq!(metrics, BTreeSet::from(expected));
    let rule = &resources["StuckRollbacks"]["Properties"];
    let stuck = release::announce::Kind::RollbackStuck.detail_type();
    assert_eq!(rule["EventPattern"]["source"], json!(["penstock"]));
    assert_eq!(rule["EventPattern"]["detail-type"], json!([stuck]));
    assert_eq!(rule["Targets"][0]["Arn"], "Pages");
}

#[test]
fn pages_are_not_encrypted_with_a_key_that_no_page_gets_through() {
    let template = template();
    let key = &template["Resources"]["Pages"]["Properties"]["KmsMasterKeyId"];
    assert_eq!(*key, json!(["PagesHaveKey", "PagesKey", "AWS::NoValue"]));
    assert_eq!(template["Parameters"]["PagesKey"]["Default"], "");
}

#[test]
fn every_minute_somebody_looks_after_what_nobody_else_does() {
    let template = template();
    let sweep = &template["Resources"]["RollbackTrigger"]["Properties"]["Events"]["Sweep"];
    assert_eq!(sweep["Type"], "ScheduleV2");
    let schedule = &sweep["Properties"];
    assert_eq!(schedule["ScheduleExpression"], "rate(1 minute)");
    let event: Value = serde_json::from_str(schedule["Input"].as_str().unwrap()).unwrap();
    assert_eq!(event["detail-type"], release::sources::SWEEP);
    assert_eq!(event["source"], release::sources::SWEEP_SOURCE);
    let index = &template["Resources"]["ReleaseLog"]["Properties"]["GlobalSecondaryIndexes"][0];
    assert_eq!(index["IndexName"], "due");
    assert_eq!(index["Projection"]["ProjectionType"], "KEYS_ONLY");
}

/// What EventBridge makes of an event for a target: each `<name>` becomes what its path finds, as it
/// is, without escaping; nothing where there is nothing.
fn transformed(transformer: &Value, event: &Value) -> String {
    let template = transformer["InputTemplate"].as_str().unwrap().to_owned();
    let paths = transformer["InputPathsMap"].as_object().unwrap();
    paths.iter().fold(template, |text, (name, path)| {
        let path = path.as_str().unwrap().replace("$.", "/").replace('.', "/");
        let found = event.pointer(&path).and_then(Value::as_str);
        text.replace(&format!("<{name}>"), found.unwrap_or_default())
    })
}

fn announced() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events/announced");
    let samples = std::fs::read_dir(folder).unwrap();
    let samples = samples.map(|sample| std::fs::read_to_string(sample.unwrap().path()).unwrap());
    samples
        .map(|text| serde_json::from_str(&text).unwrap())
        .collect()
}

fn example(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/examples")
        .join(name);
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn every_announcement_becomes_a_notification_that_a_chat_shows() {
    let rule = example("slack.yaml")["Resources"]["Announcements"]["Properties"].clone();
    let wanted = rule["EventPattern"]["detail-type"].as_array().unwrap();
    let events = announced();
    assert_eq!(events.len(), wanted.len());
    for event in events {
        assert!(wanted.contains(&event["detail-type"]), "{event:#}");
        let text = transformed(&rule["Targets"][0]["InputTransformer"], &event);
        let notification: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(notification["version"], "1.0");
        assert_eq!(notification["source"], "custom");
        assert_eq!(notification["id"], event["detail"]["id"]);
        let description = &notification["content"]["description"];
        assert_eq!(*description, event["detail"]["text"]);
        assert_eq!(
            notification["metadata"]["threadId"],
            event["detail"]["release"]
        );
    }
}

#[test]
fn what_people_are_written_is_one_sentence_of_text() {
    let page = template()["Resources"]["StuckRollbacks"]["Properties"].clone();
    let mail = example("email.yaml")["Resources"]["Ends"]["Properties"].clone();
    for rule in [page, mail] {
        let types = rule["EventPattern"]["detail-type"].as_array().unwrap();
        let mut seen = 0;
        for event in announced()
            .iter()
            .filter(|e| types.contains(&e["detail-type"]))
        {
            let text = transformed(&rule["Targets"][0]["InputTransformer"], event);
            let read: String = serde_json::from_str(&text).unwrap();
            assert!(read.contains(event["detail"]["text"].as_str().unwrap()));
            assert!(!read.contains(['<', '>']), "{read}");
            seen += 1;
        }
        assert_eq!(seen, types.len());
    }
}
