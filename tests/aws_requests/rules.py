"""What AWS refuses and its model does not say. Each rule names where it stands written."""

import re

RULES = {}

# CodePipeline user guide, quotas: all output variables of one action.
OUTPUT_VARIABLES_BYTES_MAX = 122_880
# CloudWatch API reference, GetMetricData.
METRIC_QUERIES_MAX = 500
DATAPOINTS_MAX = 100_800
# CloudWatch API reference, MetricStat.Period: these, and the multiples of 60.
SHORT_PERIODS = (1, 5, 10, 20, 30)
# Application Load Balancer user guide, quotas: target groups of one action.
GROUPS_MAX = 5
# ELBv2 API reference, TargetGroupTuple.Weight and TargetGroupStickinessConfig.DurationSeconds.
WEIGHT_MAX = 999
STICKINESS_SECONDS_MAX = 604_800
# DynamoDB developer guide, quotas; the size is estimated from below.
ITEM_BYTES_MAX = 400 * 1024
TRANSACTION_BYTES_MAX = 4 * 1024 * 1024
# The release log's own key, for rules about keys.
KEY = ("pk", "sk")
EXPRESSIONS = (
    "ConditionExpression", "UpdateExpression", "KeyConditionExpression",
    "FilterExpression", "ProjectionExpression",
)


def rule(*operations):
    """A rule of these operations: parameters -> complaints."""

    def register(check):
        for operation in operations:
            RULES.setdefault(operation, []).append(check)
        return check

    return register


def complaints(call):
    """What the rules say of a call whose parameters have the model's types."""
    for check in RULES.get((call.service, call.operation), ()):
        yield from check(call.parameters)


# ---------------------------------------------------------------- CodePipeline


@rule(("codepipeline", "PutJobSuccessResult"))
def outputs_end_a_job(parameters):
    """API reference: outputVariables only when there is no continuation token."""
    outputs = parameters.get("outputVariables")
    if outputs is None:
        return
    if "continuationToken" in parameters:
        yield "outputVariables: not allowed beside a continuationToken"
    size = sum(len(key.encode()) + len(value.encode()) for key, value in outputs.items())
    if size > OUTPUT_VARIABLES_BYTES_MAX:
        yield f"outputVariables: {size} bytes, at most {OUTPUT_VARIABLES_BYTES_MAX} are allowed"


# ---------------------------------------------------------------- CloudWatch


@rule(("cloudwatch", "GetMetricData"))
def metric_queries_can_be_answered(parameters):
    """API reference, GetMetricData and MetricDataQuery."""
    queries = parameters["MetricDataQueries"]
    if len(queries) > METRIC_QUERIES_MAX:
        yield f"MetricDataQueries: {len(queries)} items, at most {METRIC_QUERIES_MAX} are allowed"
    ids = [query["Id"] for query in queries]
    if len(set(ids)) < len(ids):
        yield "MetricDataQueries: an Id is there twice"
    for number, query in enumerate(queries):
        where = f"MetricDataQueries[{number}]"
        if not re.fullmatch(r"[a-z][A-Za-z0-9_]*", query["Id"]):
            yield f"{where}.Id: {query['Id']!r} must begin with a lower-case letter and have letters, digits and _"
        if ("MetricStat" in query) == ("Expression" in query):
            yield f"{where}: one of MetricStat and Expression must be there, and not both"
        period = query.get("MetricStat", query).get("Period", 60)
        if period % 60 and period not in SHORT_PERIODS:
            yield f"{where}: a Period of {period} s, only 1, 5, 10, 20, 30 and multiples of 60 are allowed"


@rule(("cloudwatch", "GetMetricData"))
def metrics_are_asked_for_in_bounds(parameters):
    """API reference, GetMetricData: StartTime, MaxDatapoints."""
    start, end = parameters["StartTime"], parameters["EndTime"]
    if start >= end:
        yield f"EndTime: {end} is not after StartTime {start}"
    if parameters.get("MaxDatapoints", 1) not in range(1, DATAPOINTS_MAX + 1):
        yield f"MaxDatapoints: {parameters['MaxDatapoints']}, 1 to {DATAPOINTS_MAX} are allowed"


@rule(("cloudwatch", "DescribeAlarms"))
def named_alarms_may_be_composite(parameters):
    """API reference, AlarmTypes: without it only metric alarms are returned, whatever is named."""
    if parameters.get("AlarmNames") and "CompositeAlarm" not in parameters.get("AlarmTypes", ()):
        yield "AlarmTypes: without CompositeAlarm a composite alarm that is named is silently missing"


# ---------------------------------------------------------------- load balancers


@rule(("elbv2", "ModifyRule"), ("elbv2", "CreateRule"))
def forwards_of_a_rule_are_allowed(parameters):
    yield from _forwards("Actions", parameters)


@rule(("elbv2", "ModifyListener"), ("elbv2", "CreateListener"))
def forwards_of_a_listener_are_allowed(parameters):
    yield from _forwards("DefaultActions", parameters)


def _forwards(member, parameters):
    """API reference, Action, TargetGroupTuple and TargetGroupStickinessConfig; the guide's quotas."""
    for number, action in enumerate(parameters.get(member, ())):
        where = f"{member}[{number}].ForwardConfig"
        config = action.get("ForwardConfig")
        if config is None:
            continue
        groups = config.get("TargetGroups", [])
        if len(groups) > GROUPS_MAX:
            yield f"{where}.TargetGroups: {len(groups)} items, at most {GROUPS_MAX} are allowed"
        for group in groups:
            if group.get("Weight", 0) not in range(WEIGHT_MAX + 1):
                yield f"{where}.TargetGroups: a Weight of {group['Weight']}, 0 to {WEIGHT_MAX} are allowed"
        single = action.get("TargetGroupArn")
        if single and [group.get("TargetGroupArn") for group in groups] != [single]:
            yield f"{member}[{number}].TargetGroupArn: only beside a ForwardConfig of just that group"
        stickiness = config.get("TargetGroupStickinessConfig", {})
        if stickiness.get("Enabled") and stickiness.get("DurationSeconds") is None:
            yield f"{where}.TargetGroupStickinessConfig.DurationSeconds: required when Enabled, and absent"
        if stickiness.get("DurationSeconds", 1) not in range(1, STICKINESS_SECONDS_MAX + 1):
            yield f"{where}.TargetGroupStickinessConfig.DurationSeconds: 1 to {STICKINESS_SECONDS_MAX} are allowed"


@rule(("elbv2", "DescribeRules"))
def rules_are_asked_for_by_one_of_two(parameters):
    """API reference, DescribeRules: a listener or one or more rules."""
    if ("ListenerArn" in parameters) == ("RuleArns" in parameters):
        yield "ListenerArn: it or RuleArns must be there, and not both"


# ---------------------------------------------------------------- Lambda


@rule(("lambda", "UpdateAlias"), ("lambda", "CreateAlias"))
def an_alias_has_two_versions_at_most(parameters):
    """Developer guide, weighted aliases: two versions, both published."""
    weights = parameters.get("RoutingConfig", {}).get("AdditionalVersionWeights", {})
    where = "RoutingConfig.AdditionalVersionWeights"
    if len(weights) > 1:
        yield f"{where}: {len(weights)} versions beside the alias' own, at most 1 is allowed"
    if parameters.get("FunctionVersion") in weights:
        yield f"{where}: the alias' own version {parameters['FunctionVersion']} is in it"
    if weights and parameters.get("FunctionVersion") == "$LATEST":
        yield f"{where}: an alias with weights cannot point to $LATEST"


# ---------------------------------------------------------------- ECS


@rule(("ecs", "DescribeServices"))
def few_services_are_described_at_once(parameters):
    """API reference, DescribeServices: up to 10."""
    if not 1 <= len(parameters["services"]) <= 10:
        yield f"services: {len(parameters['services'])} items, 1 to 10 are allowed"


@rule(("ecs", "CreateTaskSet"), ("ecs", "UpdateTaskSet"))
def a_task_sets_scale_is_a_percentage(parameters):
    """API reference, Scale: a percentage from 0 to 100 of the service's desired count."""
    value = parameters.get("scale", {}).get("value", 0)
    if not 0 <= value <= 100:
        yield f"scale.value: {value}, 0 to 100 are allowed"


# ---------------------------------------------------------------- S3


@rule(("s3", "PutObject"))
def a_key_goes_with_kms(parameters):
    """API reference, PutObject: the key's id only with KMS."""
    encryption = parameters.get("ServerSideEncryption", "")
    if "SSEKMSKeyId" in parameters and not encryption.startswith("aws:kms"):
        yield "SSEKMSKeyId: only beside a ServerSideEncryption of aws:kms or aws:kms:dsse"


# ---------------------------------------------------------------- DynamoDB


@rule(*(("dynamodb", name) for name in ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query")))
def one_action_is_well_formed(parameters):
    yield from _action(parameters, "")


@rule(("dynamodb", "TransactWriteItems"))
def a_transaction_is_well_formed(parameters):
    """API reference, TransactWriteItems: one action an entry, no item twice, 4 MB at most."""
    targets, size = [], 0
    for number, entry in enumerate(parameters["TransactItems"]):
        where = f"TransactItems[{number}]"
        if len(entry) != 1:
            yield f"{where}: {len(entry)} actions, exactly one must be there"
        for name, action in entry.items():
            yield from _action(action, f"{where}.{name}.")
            item = action.get("Key") or action.get("Item", {})
            targets.append((action["TableName"], *(str(item.get(name)) for name in KEY)))
            size += _size(action.get("Item", {}))
    if len(set(targets)) < len(targets):
        yield "TransactItems: two actions on one item"
    if size > TRANSACTION_BYTES_MAX:
        yield f"TransactItems: {size} bytes, at most {TRANSACTION_BYTES_MAX} are allowed"


def _action(action, where):
    yield from _placeholders(action, where)
    for member in ("Item", "Key", "ExpressionAttributeValues", "ExclusiveStartKey"):
        for name, value in action.get(member, {}).items():
            yield from _attribute(value, f"{where}{member}[{name}]")
    for name in KEY:
        value = (action.get("Key") or action.get("Item") or {}).get(name)
        if value in ({"S": ""}, {"B": b""}):
            yield f"{where}{name}: a key must not be empty"
    size = _size(action.get("Item", {}))
    if size > ITEM_BYTES_MAX:
        yield f"{where}Item: {size} bytes, at most {ITEM_BYTES_MAX} are allowed"


def _placeholders(action, where):
    """Developer guide, expressions: what stands in one is defined, and what is defined stands in one.
    A filter must not name the key (API reference, FilterExpression)."""
    text = " ".join(action.get(name, "") for name in EXPRESSIONS)
    for sign, member in (("#", "ExpressionAttributeNames"), (":", "ExpressionAttributeValues")):
        used, defined = set(re.findall(rf"{sign}\w+", text)), set(action.get(member, {}))
        if member in action and not defined:
            yield f"{where}{member}: must not be empty"
        for name in sorted(used - defined):
            yield f"{where}{member}: {name} is in an expression and not defined"
        for name in sorted(defined - used):
            yield f"{where}{member}: {name} is defined and in no expression"
    names = action.get("ExpressionAttributeNames", {})
    in_filter = {names.get(word, word) for word in re.findall(r"[#\w]+", action.get("FilterExpression", ""))}
    for name in sorted(in_filter.intersection(KEY)):
        yield f"{where}FilterExpression: {name} is part of the key, which a filter must not name"


def _attribute(value, where):
    """API reference, AttributeValue: exactly one type. Developer guide, data types: no empty set,
    numbers of up to 38 digits."""
    if len(value) != 1:
        yield f"{where}: {len(value)} types, exactly one must be there"
        return
    [(kind, content)] = value.items()
    if kind in ("SS", "NS", "BS"):
        if not content:
            yield f"{where}: an empty set"
        elif len(set(content)) < len(content):
            yield f"{where}: a value is in the set twice"
    for number in content if kind == "NS" else [content] if kind == "N" else []:
        digits = re.fullmatch(r"-?(\d+(?:\.\d+)?)(?:[eE][-+]?\d+)?", number)
        if not digits or len(digits[1].replace(".", "").strip("0")) > 38:
            yield f"{where}: {number!r} is no number of at most 38 digits"
    inner = content.items() if kind == "M" else enumerate(content) if kind == "L" else ()
    for name, item in inner:
        yield from _attribute(item, f"{where}[{name}]")


def _size(value):
    """Bytes of names and texts: what an item takes at least."""
    if isinstance(value, dict):
        return sum(len(str(key).encode()) + _size(item) for key, item in value.items())
    if isinstance(value, list):
        return sum(map(_size, value))
    return len(value if isinstance(value, bytes) else str(value).encode())
