"""Of each protocol a request that AWS takes, and what is said of it when one thing about it is wrong."""

import copy
import datetime
import json
import pathlib
import urllib.parse

import cbor2
import check
import pytest
import wire
from botocore import serialize

NOON = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.timezone.utc)
GOOD = {
    "json 1.1": {
        "service": "codepipeline",
        "method": "POST",
        "uri": "/",
        "headers": {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": "CodePipeline_20150709.PutJobSuccessResult",
        },
        "body": {
            "jobId": "00000000-1111-2222-3333-444444444444",
            "executionDetails": {"summary": "x" * 2048, "percentComplete": 100},
            "outputVariables": {"verdict": "promoted"},
        },
    },
    "json 1.0": {
        "service": "dynamodb",
        "method": "POST",
        "uri": "/",
        "headers": {
            "content-type": "application/x-amz-json-1.0",
            "x-amz-target": "DynamoDB_20120810.TransactWriteItems",
        },
        "body": {
            "TransactItems": [
                {
                    "Put": {
                        "TableName": "log",
                        "Item": {"pk": {"S": "release#1"}, "sk": {"S": "event#1"}, "seq": {"N": "1"}},
                        "ConditionExpression": "attribute_not_exists(#pk)",
                        "ExpressionAttributeNames": {"#pk": "pk"},
                    }
                },
                {"Delete": {"TableName": "log", "Key": {"pk": {"S": "release#1"}, "sk": {"S": "holder"}}}},
            ]
        },
    },
    "query": {
        "service": "elasticloadbalancing",
        "method": "POST",
        "uri": "/",
        "headers": {"content-type": "application/x-www-form-urlencoded"},
        "body": "Action=ModifyRule&Version=2015-12-01&RuleArn=arn%3Arule"
        "&Actions.member.1.Type=forward&Actions.member.1.Order=1"
        "&Actions.member.1.ForwardConfig.TargetGroups.member.1.TargetGroupArn=arn%3Ablue"
        "&Actions.member.1.ForwardConfig.TargetGroups.member.1.Weight=999"
        "&Actions.member.1.ForwardConfig.TargetGroupStickinessConfig.Enabled=false",
    },
    "rest-json": {
        "service": "lambda",
        "method": "PUT",
        "uri": "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A123456789012%3Afunction%3Ashop/aliases/live",
        "headers": {"content-type": "application/json"},
        "body": {"FunctionVersion": "1", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.05}}},
    },
    "rest-xml": {
        "service": "s3",
        "method": "PUT",
        "uri": "/bucket/pipeline/Report/zip?x-id=PutObject",
        "headers": {
            "x-amz-server-side-encryption": "aws:kms",
            "x-amz-server-side-encryption-aws-kms-key-id": "arn:key",
        },
        "body_bytes": 10,
    },
    "rpc-v2-cbor": {
        "service": "monitoring",
        "method": "POST",
        "uri": "/service/GraniteServiceVersion20100801/operation/GetMetricData",
        "headers": {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"},
        "body_hex": {
            "StartTime": NOON,
            "EndTime": NOON + datetime.timedelta(minutes=1),
            "MetricDataQueries": [
                {
                    "Id": "errors_0",
                    "MetricStat": {
                        "Metric": {"Namespace": "AWS/Lambda", "MetricName": "Errors", "Dimensions": []},
                        "Period": 60,
                        "Stat": "Sum",
                    },
                }
            ],
        },
    },
}
BODIES = {
    "json 1.1": json.dumps,
    "json 1.0": json.dumps,
    "rest-json": json.dumps,
    "rpc-v2-cbor": lambda body: cbor2.dumps(body, datetime_as_timestamp=True).hex(),
}


def sent(protocol, change=lambda record: None):
    """The recorded line of the protocol's good request, changed first."""
    record = copy.deepcopy(GOOD[protocol])
    change(record)
    for body in record.keys() & {"body", "body_hex"}:
        record[body] = BODIES.get(protocol, str)(record[body])
    return record


def told(record):
    try:
        return check.complaints(wire.read(record))
    except wire.Unreadable as why:
        return [str(why)]


def put(path, value):
    """Sets what is at this path of a record; `...` takes it away."""

    def change(record):
        *branches, leaf = path
        for branch in branches:
            record = record[branch]
        if value is ...:
            del record[leaf]
        else:
            record[leaf] = value

    return change


def form(old, new):
    def change(record):
        assert old in record["body"]
        record["body"] = record["body"].replace(old, new)

    return change


@pytest.mark.parametrize("protocol", GOOD)
def test_what_aws_takes_is_taken(protocol):
    assert told(sent(protocol)) == []


def written_by_botocore(service, operation, parameters, protocol=None):
    """The recorded line of a request that botocore itself writes."""
    model = wire.model_of(service)
    write = serialize.create_serializer(protocol or model.protocol, include_validation=True)
    request = write.serialize_to_request(parameters, model.operation_model(operation))
    body = request["body"]
    if isinstance(body, dict):
        body = urllib.parse.urlencode(body)
    body = body.encode() if isinstance(body, str) else body
    path, _, fixed = request["url_path"].partition("?")
    query = urllib.parse.urlencode(request["query_string"], doseq=True)
    return {
        "service": service,
        "method": request["method"],
        "uri": "?".join(filter(None, (path, "&".join(filter(None, (fixed, query)))))),
        "headers": {name.lower(): value for name, value in request["headers"].items()},
        "body_hex": body.hex(),
    }


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "protocol"),
    [
        ("ecs", "UpdateService", {"service": "web", "desiredCount": 2, "deploymentConfiguration": {"alarms": {
            "alarmNames": ["a"], "rollback": True, "enable": True}}}, None),
        ("ecs", "CreateTaskSet", {"service": "web", "cluster": "c", "taskDefinition": "t:1",
                                  "scale": {"value": 100.0, "unit": "PERCENT"}}, None),
        ("synthetics", "GetCanaryRuns", {"Name": "shop", "MaxResults": 1}, None),
        ("lambda", "Invoke", {"FunctionName": "check", "Qualifier": "live", "Payload": b"{}"}, None),
        ("lambda", "PublishVersion", {"FunctionName": "shop", "CodeSha256": "x"}, None),
        ("elasticloadbalancing", "ModifyListener", {"ListenerArn": "l", "DefaultActions": [
            {"Type": "forward", "ForwardConfig": {"TargetGroups": [{"TargetGroupArn": "g", "Weight": 1}]}}]}, None),
        ("elasticloadbalancing", "CreateRule", {"ListenerArn": "l", "Priority": 1, "Actions": [], "Conditions": [],
                                                "Tags": [{"Key": "penstock:release-target", "Value": "a/ü 1"}]}, None),
        ("elasticloadbalancing", "DescribeTargetHealth", {"TargetGroupArn": "g", "Targets": [
            {"Id": "i-1", "Port": 80}, {"Id": "i-2"}]}, None),
        ("sns", "Publish", {"TopicArn": "t", "Message": "m", "MessageAttributes": {
            "a": {"DataType": "String", "StringValue": "v"}}}, "query"),
        ("sts", "GetCallerIdentity", {}, "query"),
        ("s3", "GetObject", {"Bucket": "b", "Key": "a/b c", "Range": "bytes=0-1"}, None),
        ("s3", "ListObjectsV2", {"Bucket": "b", "Prefix": "a/"}, None),
        ("monitoring", "DescribeAlarms", {"AlarmNames": ["a"], "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]},
         "smithy-rpc-v2-cbor"),
        ("events", "PutEvents", {"Entries": [{"Source": "s", "DetailType": "d", "Detail": "{}", "Time": NOON}]},
         "json"),
    ],
)
def test_what_botocore_writes_is_read_back(service, operation, parameters, protocol):
    record = written_by_botocore(service, operation, parameters, protocol)
    call = wire.read(record)
    assert (call.operation, check.complaints(call)) == (operation, [])
    assert call.parameters.keys() == parameters.keys()


QUERY = ("body_hex", "MetricDataQueries", 0)
TRANSACTED = ("body", "TransactItems", 0)
GROUPS = "Actions.member.1.ForwardConfig.TargetGroups.member"


@pytest.mark.parametrize(
    ("protocol", "change", "complaint"),
    [
        # Shapes: lengths, ranges, patterns, enums, types, what is required, what is unknown.
        ("json 1.1", put(("body", "executionDetails", "summary"), "x" * 2049),
         "executionDetails.summary: 2049 characters, at most 2048 are allowed"),
        ("json 1.1", put(("body", "executionDetails", "summary"), ""),
         "executionDetails.summary: 0 characters, at least 1 must be there"),
        ("json 1.1", put(("body", "executionDetails", "percentComplete"), 101),
         "executionDetails.percentComplete: 101, at most 100 are allowed"),
        ("json 1.1", put(("body", "jobId"), "job"), "jobId: 'job' does not match"),
        ("json 1.1", put(("body", "jobId"), ...), "jobId: required, and absent"),
        ("json 1.1", put(("body", "jobId"), 5), "jobId: 5 is no string"),
        ("json 1.1", put(("body", "outputVariables", "a b"), "1"), "outputVariables's key: 'a b' does not match"),
        ("json 1.1", put(("body", "percent"), 5), "percent: no such member"),
        ("json 1.1", put(("headers", "content-type"), "application/json"), "Content-Type is not"),
        ("json 1.1", put(("headers", "x-amz-target"), "CodePipeline_20150709.Put"), "no operation 'Put'"),
        ("json 1.0", put((*TRANSACTED, "Put", "TableName"), ...), "TransactItems[0].Put.TableName: required"),
        ("json 1.0", put((*TRANSACTED, "Put", "ReturnValuesOnConditionCheckFailure"), "OLD"),
         "'OLD' is none of ALL_OLD, NONE"),
        ("query", form("Order=1", "Order=first"), "Actions[0].Order: 'first' is no integer"),
        ("query", form("Order=1", "Order=50001"), "Actions[0].Order: 50001, at most 50000 are allowed"),
        ("query", form("Type=forward", "Type=divide"), "Actions[0].Type: 'divide' is none of forward"),
        ("query", form("Order=1", "Ordr=1"), "Actions[0].Ordr: no such member"),
        ("query", form("RuleArn=arn%3Arule&", ""), "RuleArn: required, and absent"),
        ("query", form("member.1.TargetGroupArn", "member.3.TargetGroupArn"), "is no list"),
        ("query", form("Version=2015-12-01", "Version=2012-06-01"), "Version is not 2015-12-01"),
        ("rest-json", put(("body", "FunctionVersion"), "one"), "FunctionVersion: 'one' does not match"),
        ("rest-json", put(("body", "RoutingConfig", "AdditionalVersionWeights", "2"), 5.0),
         "AdditionalVersionWeights[2]: 5.0, at most 1.0 are allowed"),
        ("rest-json", put(("uri",), "/2015-03-31/functions/shop/aliases/1"), "Name: '1' does not match"),
        ("rest-json", put(("uri",), "/2015-03-31/functions/shop/alias/live"), "has no operation PUT"),
        ("rest-json", put(("uri",), "/2015-03-31/functions/shop/aliases/live?Force=1"), "?Force: no such parameter"),
        ("rest-json", put(("body", "Weights"), {}), "Weights: no such member"),
        ("rest-xml", put(("headers", "x-amz-server-side-encryption"), "kms"),
         "ServerSideEncryption: 'kms' is none of AES256"),
        ("rest-xml", put(("method",), "PATCH"), "has no operation PATCH"),
        ("rpc-v2-cbor", put((*QUERY, "MetricStat", "Period"), 0), "Period: 0, at least 1 must be there"),
        ("rpc-v2-cbor", put((*QUERY, "MetricStat", "Unit"), "Errors"), "Unit: 'Errors' is none of Seconds"),
        ("rpc-v2-cbor", put((*QUERY, "MetricStat", "Metric", "Namespace"), ":x"), "Namespace: ':x' does not match"),
        ("rpc-v2-cbor", put(("body_hex", "EndTime"), ...), "EndTime: required, and absent"),
        ("rpc-v2-cbor", put(("body_hex", "EndTime"), "soon"), "EndTime: 'soon' is no timestamp"),
        ("rpc-v2-cbor", put(("uri",), "/service/Other/operation/GetMetricData"), "its path is not"),
        # Rules that are in no model.
        ("json 1.1", put(("body", "continuationToken"), "t"), "outputVariables: not allowed beside"),
        ("json 1.0", put((*TRANSACTED, "Put", "ExpressionAttributeNames", "#sk"), "sk"),
         "#sk is defined and in no expression"),
        ("json 1.0", put((*TRANSACTED, "Put", "ConditionExpression"), "size(#pk) > :n"),
         ":n is in an expression and not defined"),
        ("json 1.0", put((*TRANSACTED, "Put", "Item", "sk", "S"), "holder"), "two actions on one item"),
        ("json 1.0", put((*TRANSACTED, "Put", "Item", "sk", "S"), ""), "sk: a key must not be empty"),
        ("json 1.0", put((*TRANSACTED, "Put", "Item", "seq", "S"), "1"), "Item[seq]: 2 types, exactly one"),
        ("json 1.0", put((*TRANSACTED, "Put", "Item", "page"), {"S": "x" * 409_600}), "at most 409600 are allowed"),
        ("query", form("Weight=999", "Weight=1000"), "a Weight of 1000, 0 to 999 are allowed"),
        ("query", form("RuleArn=", "&".join(f"{GROUPS}.{n}.Weight=1" for n in range(2, 7)) + "&RuleArn="),
         "TargetGroups: 6 items, at most 5 are allowed"),
        ("query", form("Enabled=false", "Enabled=true"), "DurationSeconds: required when Enabled"),
        ("rest-json", put(("body", "RoutingConfig", "AdditionalVersionWeights", "3"), 0.1),
         "2 versions beside the alias' own, at most 1"),
        ("rest-xml", put(("headers", "x-amz-server-side-encryption"), "AES256"), "SSEKMSKeyId: only beside"),
        ("rpc-v2-cbor", put((*QUERY, "Id"), "Errors"), "must begin with a lower-case letter"),
        ("rpc-v2-cbor", put((*QUERY, "Expression"), "m1/m2"), "one of MetricStat and Expression"),
        ("rpc-v2-cbor", put((*QUERY, "MetricStat", "Period"), 90), "a Period of 90 s"),
        ("rpc-v2-cbor", put(("body_hex", "EndTime"), NOON), "is not after StartTime"),
    ],
)
def test_what_aws_refuses_is_found(protocol, change, complaint):
    complaints = told(sent(protocol, change))
    assert len(complaints) == 1 and complaint in complaints[0], complaints


@pytest.mark.parametrize("body", ["{", "[]", '"x"', "[" * 100_000, "5"])
def test_a_body_that_is_no_request_is_a_finding(body):
    assert told({**sent("json 1.1"), "body": body})


@pytest.mark.parametrize("body", ["A=1&A=2", "A=1&A.B=2", ".".join("A" * 100) + "=1", "%ff=1"])
def test_a_form_that_is_no_request_is_a_finding(body):
    assert told({**sent("query"), "body": f"Action=ModifyRule&Version=2015-12-01&RuleArn=r&{body}"})


@pytest.mark.parametrize("body", ["", "ff", "a1", "9f9f9f"])
def test_bytes_that_are_no_request_are_a_finding(body):
    assert told({**sent("rpc-v2-cbor"), "body_hex": body})


def run(tmp_path, records, *options):
    recording = tmp_path / "requests.jsonl"
    recording.write_text("".join(json.dumps(record) + "\n" for record in records))
    return check.main([*options, str(recording)])


def test_a_recording_is_summed_up(tmp_path, capsys):
    good = {**sent("json 1.1"), "function": "penstock-canary-shift", "status": 200}
    assert run(tmp_path, [good, {**good, "status": 400}]) == 0
    printed = capsys.readouterr().out
    assert "       2        1  codepipeline PutJobSuccessResult" in printed
    assert "2 AWS requests checked, no kinds of mistakes found" in printed


def test_a_mistake_fails_the_check_and_is_told_once(tmp_path, capsys):
    bad = sent("json 1.1", put(("body", "executionDetails", "summary"), "x" * 2049))
    assert run(tmp_path, [{**bad, "function": "penstock-test-gate", "status": 200}] * 3) == 1
    printed = capsys.readouterr().out
    assert printed.count("2049 characters") == 1
    assert "3 of them; the first is line 1 of" in printed
    assert "by penstock-test-gate, answered 200" in printed


def test_no_recording_and_a_full_one_fail_the_check(tmp_path, capsys):
    assert run(tmp_path, []) == 1
    assert "no AWS request was recorded" in capsys.readouterr().out
    assert run(tmp_path, [sent("json 1.1"), {"left_off": "the recording is full"}]) == 1
    assert "the recording is full" in capsys.readouterr().out


def test_a_request_without_a_signature_fails_the_check(tmp_path, capsys):
    unsigned = sent("json 1.1")
    del unsigned["service"]
    assert run(tmp_path, [unsigned]) == 1
    assert "it is not signed" in capsys.readouterr().out


TEMPLATE = """
Resources:
  Shared:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      PolicyDocument: {Statement: [{Action: "codepipeline:PutJobSuccessResult", Resource: "*"}]}
  Role:
    Type: AWS::IAM::Role
    Properties:
      ManagedPolicyArns: [!Ref Shared]
      Policies: [{PolicyDocument: {Statement: [{Action: ["logs:PutLogEvents", "OWN"], Resource: !Ref Log}]}}]
  Gate:
    Type: AWS::Serverless::Function
    Properties: {FunctionName: !Sub "${AWS::StackName}-gate", Role: !GetAtt Role.Arn}
"""


@pytest.mark.parametrize(("own", "status"), [("dynamodb:PutItem", 0), ("dynamodb:DeleteItem", 0), ("dynamodb:Scan", 1)])
def test_an_action_that_is_allowed_must_be_used(tmp_path, capsys, own, status):
    template = tmp_path / "template.yaml"
    template.write_text(TEMPLATE.replace("OWN", own))
    records = [{**sent(name), "function": "penstock-gate"} for name in ("json 1.1", "json 1.0")]
    assert run(tmp_path, records, "--allowed", str(template)) == status
    assert ("dynamodb:Scan by gate: test it" in capsys.readouterr().out) == bool(status)


@pytest.mark.parametrize("own", ["dynamodb:PutItem", "dynamodb:Scan"])
def test_what_nobody_tried_is_told_and_nothing_else_is_checked(tmp_path, capsys, own):
    template = tmp_path / "template.yaml"
    template.write_text(TEMPLATE.replace("OWN", own))
    records = [{**sent(name), "function": "penstock-gate"} for name in ("json 1.1", "json 1.0")]
    wrong = sent("json 1.1", put(("body", "executionDetails", "summary"), "x" * 2049))
    assert run(tmp_path, [*records, wrong, {"method": "GET", "uri": "/"}], "--untried", str(template)) == 0
    printed = capsys.readouterr().out
    assert ("    dynamodb:Scan by anybody" in printed) == (own == "dynamodb:Scan")
    assert "PutJobSuccessResult" not in printed
    assert run(tmp_path, [*records, {"left_off": "the recording is full"}], "--untried", str(template)) == 0
    assert "not asked for before the recording was full:" in capsys.readouterr().out
    assert run(tmp_path, [], "--untried", str(template)) == 1


def test_the_projects_own_template_is_understood():
    allowed = set(check.allowed(pathlib.Path(__file__).parents[2] / "template.yaml"))
    assert ("canary-shift", "elasticloadbalancing:ModifyRule") in allowed
    assert ("rollback-trigger", "dynamodb:Query") in allowed
    assert ("health-check", "elasticloadbalancing:ModifyRule") not in allowed
