"""Checks the AWS requests that functions sent against AWS's own model of its services.

    check.py [--allowed template.yaml | --untried template.yaml] requests.jsonl...

A local stack records them (cli/src/recorder.rs). The emulator takes much that AWS refuses: a text that
is too long, an enum that does not exist, a member that belongs elsewhere. Exit status: 0 when nothing
was found, 1 when AWS would refuse something, something cannot be read, or nothing was recorded. With a
template also 1 when its roles allow an action that no function ever used, and NOT_EXERCISED does not say
why. What one function did not use and another did is printed only: which of several does it first is a
matter of time.

With --untried nothing is checked: what the template's roles allow and a function has not asked for is
printed, for who wants to know how much was tried. Exit status: 0, or 1 when nothing was recorded.
"""

import argparse
import collections
import json
import re
import sys

import rules
import shapes
import wire
import yaml

# Findings that are printed; the others are counted.
FINDINGS_SHOWN = 40
# The part of a request that is printed with a finding.
REQUEST_SHOWN = 300

# What an action allows is not always the operation of that name.
ACTIONS_OF = {
    ("dynamodb", "TransactWriteItems"): {
        "Put": "PutItem",
        "Update": "UpdateItem",
        "Delete": "DeleteItem",
        "ConditionCheck": "ConditionCheckItem",
    },
}
IAM_PREFIXES = {"elbv2": "elasticloadbalancing"}
IAM_NAMES = {("lambda", "Invoke"): "InvokeFunction"}

# Actions that no function asks the emulator for, and why.
NOT_EXERCISED = {
    "logs:CreateLogStream": "Lambda does, in the function's name",
    "logs:PutLogEvents": "Lambda does, in the function's name",
    "sqs:SendMessage": "Lambda does, when a run failed for good",
    "elasticloadbalancing:AddTags": "the load balancer asks whether the caller may, when a rule is made with tags",
    "synthetics:GetCanaryRuns": "nobody here: the emulator has no Synthetics; shared/aws/src/probes tests it over the wire",
    "dynamodb:DescribeStream": "Lambda does, in the function's name",
    "dynamodb:GetRecords": "Lambda does, in the function's name",
    "dynamodb:GetShardIterator": "Lambda does, in the function's name",
    "dynamodb:ListStreams": "Lambda does, in the function's name",
    "iam:PassRole": "ECS asks whether the caller may, when a task definition with roles is deployed",
    "inspector2:ListFindings": "ECR does, when it is asked for Inspector's findings",
    "inspector2:ListCoverage": "ECR does, when it is asked for Inspector's findings",
}


class Findings:
    """Complaints, each kind once with its first request."""

    def __init__(self):
        self.kinds = {}

    def add(self, record, operation, complaint):
        # Which item of a list it was, and what was there instead, makes no other kind.
        kind = (operation, re.sub(r"\[[^\]]*\]|\d+|'[^']*'", "_", complaint))
        _, _, count = self.kinds.get(kind, (None, None, 0))
        first = self.kinds.get(kind, (record, complaint, 0))
        self.kinds[kind] = (first[0], first[1], count + 1)

    def print(self):
        for (operation, _), (record, complaint, count) in list(self.kinds.items())[:FINDINGS_SHOWN]:
            print(f"\n{operation}: {complaint}")
            print(f"    {count} of them; the first is {_told(record)}")
        if len(self.kinds) > FINDINGS_SHOWN:
            print(f"\nand {len(self.kinds) - FINDINGS_SHOWN} other kinds")


def _told(record):
    """Which request it is, in a line or two."""
    sent = record.get("body") or record.get("body_hex", "")
    sent = sent if len(sent) <= REQUEST_SHOWN else sent[:REQUEST_SHOWN] + "..."
    return (
        f"line {record['line']} of {record['file']}, by {record.get('function', 'an unnamed sender')}, "
        f"answered {record.get('status', 'by nobody')}:\n    {record['method']} {record['uri']} {sent}"
    )


def records(paths):
    """The lines of these recordings, with where they stand."""
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                yield {**json.loads(line), "file": path, "line": number}


def check(paths):
    """Findings; operation -> [requests, refused]; (function, action) that were seen."""
    findings, counts, seen = Findings(), collections.defaultdict(lambda: [0, 0]), set()
    for record in records(paths):
        if "left_off" in record:
            findings.add({**record, "method": "", "uri": ""}, "recording", record["left_off"])
            continue
        try:
            call = wire.read(record)
        except wire.Unreadable as why:
            findings.add(record, record.get("service", "unsigned"), f"it cannot be read: {why}")
            continue
        operation = f"{call.service} {call.operation}"
        counts[operation][0] += 1
        # Without a status nobody waited for the answer any more.
        counts[operation][1] += record.get("status", 0) >= 400
        seen.update((record.get("function"), action) for action in actions_of(call))
        for complaint in complaints(call):
            findings.add(record, operation, complaint)
    return findings, counts, seen


def complaints(call):
    """Everything that AWS would refuse in a call."""
    wrong = list(call.unknown)
    if call.shape is not None:
        wrong.extend(shapes.complaints(call.shape, call.parameters))
    # The rules take parameters that have the model's types.
    return wrong or list(rules.complaints(call))


def actions_of(call):
    """The IAM actions that the call needs."""
    prefix = IAM_PREFIXES.get(call.service, call.service)
    inner = ACTIONS_OF.get((call.service, call.operation))
    if inner is None:
        yield f"{prefix}:{IAM_NAMES.get((call.service, call.operation), call.operation)}"
        return
    for entry in call.parameters.get("TransactItems", ()):
        yield from (f"{prefix}:{inner[name]}" for name in entry)


def allowed(path):
    """(function, action) that the template's roles allow."""

    class Loader(yaml.SafeLoader):
        """Of !Ref, !Sub and their like only what they are applied to matters."""

    Loader.add_multi_constructor("!", _untagged)
    with open(path, encoding="utf-8") as file:
        resources = yaml.load(file, Loader)["Resources"]
    for resource in resources.values():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        properties = resource["Properties"]
        function = properties["FunctionName"].removeprefix("${AWS::StackName}-")
        role = resources[properties["Role"].removesuffix(".Arn")]["Properties"]
        documents = [policy["PolicyDocument"] for policy in role.get("Policies", ())]
        shared = (resources[name]["Properties"] for name in role.get("ManagedPolicyArns", ()))
        documents.extend(policy["PolicyDocument"] for policy in shared)
        for statement in (s for document in documents for s in document["Statement"]):
            action = statement["Action"]
            for one in [action] if isinstance(action, str) else action:
                yield function, one


def _untagged(loader, _suffix, node):
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return loader.construct_mapping(node, deep=True)


def unused(template, seen):
    """(action, functions that may use it, whether that must not be) for what was not used."""
    functions = collections.defaultdict(set)
    for function, action in allowed(template):
        functions[action].add(function)
    for action, may in sorted(functions.items()):
        did = {function for function in may for name, done in seen if done == action and (name or "").endswith(function)}
        if did != may and action not in NOT_EXERCISED:
            yield action, sorted(may - did), not did


def tell_untried(template, paths):
    """Prints what was allowed, and which functions never asked for it; the exit status."""
    seen, full = set(), False
    for record in records(paths):
        if "left_off" in record:
            full = True
            continue
        try:
            call = wire.read(record)
        except wire.Unreadable:
            continue
        seen.update((record.get("function"), action) for action in actions_of(call))
    if not seen:
        print("no AWS request was recorded")
        return 1
    print("allowed by the template, and not asked for" + (" before the recording was full:" if full else ":"))
    for action, functions, by_nobody in unused(template, seen):
        print(f"    {action} by {'anybody' if by_nobody else ', '.join(functions)}")
    return 0


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    whole = parser.add_mutually_exclusive_group()
    whole.add_argument("--allowed", metavar="TEMPLATE", help="also: every action that it allows was seen")
    whole.add_argument("--untried", metavar="TEMPLATE", help="only: what it allows and was not seen")
    parser.add_argument("recordings", nargs="+", metavar="RECORDING")
    arguments = parser.parse_args(arguments)
    if arguments.untried:
        return tell_untried(arguments.untried, arguments.recordings)
    findings, counts, seen = check(arguments.recordings)
    print(f"{'requests':>8} {'refused':>8}  operation")
    for operation, (requests, refused) in sorted(counts.items()):
        print(f"{requests:>8} {refused or '-':>8}  {operation}")
    findings.print()
    never = list(unused(arguments.allowed, seen)) if arguments.allowed else []
    if never:
        print("\nallowed by the template, and not used:")
    for action, functions, by_nobody in never:
        fix = ": test it, take it from the role, or say in NOT_EXERCISED who uses it" if by_nobody else ""
        print(f"    {action} by {', '.join(functions)}{fix}")
    if not counts:
        print("no AWS request was recorded")
    total, kinds = sum(requests for requests, _ in counts.values()), len(findings.kinds)
    print(f"\n{total} AWS requests checked, {kinds or 'no'} kinds of mistakes found")
    by_nobody = any(by_nobody for *_, by_nobody in never)
    return int(bool(kinds) or not counts or by_nobody)


if __name__ == "__main__":
    sys.exit(main())
