"""What the emulator's Python does before anything else."""

import json
import re
import secrets
import socketserver
import threading
import time

from ministack.core import iam_actions
from ministack.services import cloudwatch, eventbridge, lambda_svc

# The emulator's Runtime API waits 45 ms for an acknowledgement at every call otherwise.
socketserver.StreamRequestHandler.disable_nagle_algorithm = True


def stat_value(stats, name, points=None, known=cloudwatch._stat_value):
    """A statistic, also CloudWatch's TC(LOW:HIGH), which the emulator lacks: how many values are
    above LOW and at most HIGH, either of which may be left out."""
    bounds = re.fullmatch(r"TC\((\d*\.?\d*):(\d*\.?\d*)\)", name or "")
    if not bounds:
        return known(stats, name, points)
    low, high = (float(bound) if bound else None for bound in bounds.groups())
    samples = cloudwatch._percentile_samples(points or []) or []
    above = [sample for sample in samples if low is None or sample[0] > low]
    return float(sum(count for value, count in above if high is None or value <= high))


cloudwatch._stat_value = stat_value


def lambda_action(method, path, known=iam_actions._lambda_action):
    """What a role must be allowed for a call of Lambda's. Whatever is done with one alias, to the
    emulator it is ListAliases."""
    if not re.search(r"/aliases/[^/]+/?$", path):
        return known(method, path)
    return {"GET": "GetAlias", "PUT": "UpdateAlias", "DELETE": "DeleteAlias"}.get(method)


iam_actions._lambda_action = lambda_action


invoked = threading.local()


def execute(func, event, request_id, known=lambda_svc._execute_function_provided_warm):
    """Remembers the lane that an event names: a word such as lane-0123456789abcdef."""
    lane = re.search(r"\blane-([0-9a-f]{16})", json.dumps(event))
    invoked.lane = lane and lane.group(1)
    return known(func, event, request_id)


lambda_svc._execute_function_provided_warm = execute


def trace_id(_config, inbound=None):
    """On AWS every invocation has one, also when nothing is traced. The SDK sends it with each
    request, which tells what belongs to one invocation. It ends with the event's lane, where it has
    one, which tells what belongs to one of many releases."""
    last = getattr(invoked, "lane", None) or secrets.token_hex(8)
    root = f"{int(time.time()):08x}-{secrets.token_hex(4)}{last}"
    return inbound or f"Root=1-{root};Sampled=0"


lambda_svc._xray_trace_id_for_invocation = trace_id


def worker_env(config, code, port, known=lambda_svc._provided_worker_env):
    """The SDK says in each request which function sends it, and which of its processes: the one that
    asks for events at this port."""
    return known(config, code, port) | {
        "AWS_SDK_UA_APP_ID": config["FunctionName"][:50],
        "AWS_EXECUTION_ENV": f"port-{port}",
    }


lambda_svc._provided_worker_env = worker_env


def dispatch_to_lambda(arn, payload):
    """EventBridge's events wait in Lambda's own queue, from which what fails is tried twice more. The
    emulator gives them one attempt."""
    func, config, _name = lambda_svc._get_func_record_for_ref(arn)
    if func and config:
        record = lambda_svc._execution_record_for_config(func, config)
        lambda_svc.invoke_async_with_retry(record, json.loads(payload))


eventbridge._dispatch_to_lambda = dispatch_to_lambda
