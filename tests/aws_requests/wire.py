"""A request as it was sent -> the operation of botocore's service model, and its parameters.

Each protocol of AWS writes the same parameters down in another way; what is read here are the five
that the SDK for Rust speaks. Libraries that read requests (moto's, for one) drop what the model does
not know, and that is one of the things looked for.
"""

import base64
import binascii
import functools
import json
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.session
import cbor2

# The service that a request is signed for -> botocore's name of it, where they differ.
SIGNED_AS = {"monitoring": "cloudwatch", "elasticloadbalancing": "elbv2"}
# S3's query carries the operation's name too; it is no parameter.
OPERATION_NAMED = "x-id"
# A query such as `A.1.1.1...` must not make a tree as deep as it is long.
QUERY_DEPTH_MAX = 32


class Unreadable(Exception):
    """The request cannot be read as a call of any operation; says why."""


@dataclass
class Call:
    """A call of an operation with its parameters, by the names of the model."""

    service: str
    operation: str
    shape: object
    parameters: dict
    # What was sent and has no place in the model: 'Actions[0].Foo: no such member'.
    unknown: list = field(default_factory=list)


@functools.cache
def model_of(signed_as):
    """The model of the service that a request is signed for."""
    name = SIGNED_AS.get(signed_as, signed_as)
    try:
        return _session().get_service_model(name)
    except botocore.exceptions.UnknownServiceError:
        raise Unreadable(f"no service is called {signed_as!r}") from None


@functools.cache
def _session():
    return botocore.session.get_session()


def read(record):
    """The call that a line of a recording stands for."""
    if not record.get("service"):
        raise Unreadable("it is not signed")
    model = model_of(record["service"])
    for says_so, protocol, reader in PROTOCOLS:
        if says_so(record):
            break
    else:
        protocol, reader = model.protocol, _read_rest
    if protocol not in model.metadata.get("protocols", [model.protocol]):
        raise Unreadable(f"{model.service_name} does not speak {protocol}")
    return reader(record, model)


def _header(record, name):
    return record.get("headers", {}).get(name, "")


def _body(record):
    if "body" in record:
        return record["body"].encode()
    return bytes.fromhex(record.get("body_hex", ""))


def _operation(model, name):
    if name not in model.operation_names:
        raise Unreadable(f"{model.service_name} has no operation {name!r}")
    return model.operation_model(name)


def _call(model, operation, parameters, unknown):
    return Call(model.service_name, operation.name, operation.input_shape, parameters, unknown)


# ---------------------------------------------------------------- JSON and CBOR


def _read_json(record, model):
    prefix, _, name = _header(record, "x-amz-target").partition(".")
    if prefix != model.metadata["targetPrefix"]:
        raise Unreadable(f"X-Amz-Target does not begin with {model.metadata['targetPrefix']}")
    expected = f"application/x-amz-json-{model.metadata['jsonVersion']}"
    if _header(record, "content-type") != expected:
        raise Unreadable(f"its Content-Type is not {expected}")
    return _read_document(model, _operation(model, name), _json(_body(record) or b"{}"))


def _read_cbor(record, model):
    path = re.fullmatch(r"/service/([^/]+)/operation/([^/]+)", record["uri"])
    if not path or path[1] != model.metadata["targetPrefix"]:
        raise Unreadable(f"its path is not /service/{model.metadata['targetPrefix']}/operation/NAME")
    try:
        document = cbor2.loads(_body(record)) if _body(record) else {}
    except (cbor2.CBORDecodeError, ValueError) as error:
        raise Unreadable(f"its body is no CBOR: {error}") from None
    return _read_document(model, _operation(model, path[2]), document)


def _read_document(model, operation, document):
    unknown = []
    shape = operation.input_shape
    parameters = _document(shape, document, "", unknown) if shape else {}
    return _call(model, operation, parameters, unknown)


def _json(body):
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"its body is no JSON: {error}") from None


def _document(shape, value, where, unknown):
    """JSON or CBOR -> parameters. A value of the wrong type stays as it is, for the check to see."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        members = {m.serialization.get("name", name): name for name, m in shape.members.items()}
        return _known_members(shape, members, value, where, unknown, _document)
    if kind == "list" and isinstance(value, list):
        return [_document(shape.member, v, f"{where}[{i}]", unknown) for i, v in enumerate(value)]
    if kind == "map" and isinstance(value, dict):
        return {k: _document(shape.value, v, f"{where}[{k}]", unknown) for k, v in value.items()}
    if kind == "blob" and isinstance(value, str):
        return _blob(value)
    return value


def _known_members(shape, members, sent, where, unknown, read_member):
    """The members that the model knows, by its names; null is as good as absent."""
    found = {}
    for key, value in sent.items():
        place = f"{where}.{key}".lstrip(".")
        if key not in members:
            unknown.append(f"{place}: no such member")
        elif value is not None:
            name = members[key]
            found[name] = read_member(shape.members[name], value, place, unknown)
    return found


def _blob(text):
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return text


# ---------------------------------------------------------------- forms (the query protocol)


def _read_query(record, model):
    tree = _tree(parse_qsl(_body(record).decode("utf-8", "replace"), keep_blank_values=True))
    name, version = tree.pop("Action", None), tree.pop("Version", None)
    if version != model.api_version:
        raise Unreadable(f"its Version is not {model.api_version}")
    operation = _operation(model, name)
    unknown = []
    shape = operation.input_shape
    parameters = _form(shape, tree, "", unknown) if shape else {}
    return _call(model, operation, parameters, unknown)


def _tree(pairs):
    """`A.member.1=x` -> {"A": {"member": {"1": "x"}}}"""
    tree = {}
    for key, value in pairs:
        *branches, leaf = key.split(".")
        if len(branches) > QUERY_DEPTH_MAX:
            raise Unreadable("a name in its form is nested too deeply")
        node = tree
        for branch in branches:
            node = node.setdefault(branch, {})
            if not isinstance(node, dict):
                raise Unreadable(f"{key} is in its form, and so is a part of that name")
        if leaf in node:
            raise Unreadable(f"{key} is in its form twice")
        node[leaf] = value
    return tree


def _form(shape, node, where, unknown):
    kind = shape.type_name
    if kind == "structure" and isinstance(node, dict):
        members = {m.serialization.get("name", name): name for name, m in shape.members.items()}
        return _known_members(shape, members, node, where, unknown, _form)
    if kind == "list":
        return _form_list(shape, node, where, unknown)
    if kind == "map":
        return _form_map(shape, node, where, unknown)
    return _scalar(shape, node)


def _form_list(shape, node, where, unknown):
    if node == "":
        return []
    if not shape.serialization.get("flattened") and isinstance(node, dict):
        node = node.get(shape.member.serialization.get("name", "member"))
    items = _numbered(node)
    if items is None:
        return node
    return [_form(shape.member, item, f"{where}[{i}]", unknown) for i, item in enumerate(items)]


def _form_map(shape, node, where, unknown):
    if not shape.serialization.get("flattened") and isinstance(node, dict):
        node = node.get("entry")
    entries = _numbered(node)
    if entries is None or not all(isinstance(entry, dict) for entry in entries):
        return node
    key, value = (s.serialization.get("name", n) for s, n in ((shape.key, "key"), (shape.value, "value")))
    return {e.get(key): _form(shape.value, e.get(value), f"{where}[{e.get(key)}]", unknown) for e in entries}


def _numbered(node):
    """The items of a list whose keys are 1 to its length, or None when it is no such list."""
    if not isinstance(node, dict):
        return None
    numbers = [str(number) for number in range(1, len(node) + 1)]
    return [node[number] for number in numbers] if node.keys() == set(numbers) else None


def _scalar(shape, text):
    """Text -> what it stands for, or as it is when it stands for nothing of that type."""
    kind = shape.type_name
    if not isinstance(text, str):
        return text
    if kind in ("integer", "long") and re.fullmatch(r"-?\d+", text):
        return int(text)
    if kind in ("float", "double") and re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", text):
        return float(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return _blob(text) if kind == "blob" else text


# ---------------------------------------------------------------- REST


def _read_rest(record, model):
    url = urlsplit(record["uri"])
    query = {}
    for key, value in parse_qsl(url.query, keep_blank_values=True):
        query.setdefault(key, []).append(value)
    operation, labels = _routed(model, record["method"], url.path, query)
    shape = operation.input_shape
    unknown = []
    if shape is None:
        return _call(model, operation, {}, unknown)
    parameters = {}
    for name, member in shape.members.items():
        at = member.serialization.get("name", name)
        match member.serialization.get("location"):
            case "uri":
                parameters[name] = _scalar(member, labels[at])
            case "querystring" if at in query:
                parameters[name] = _from_query(member, query.pop(at))
            case "header" if _header(record, at.lower()):
                parameters[name] = _scalar(member, _header(record, at.lower()))
    unknown.extend(f"?{key}: no such parameter in its query" for key in query)
    parameters.update(_rest_body(record, model, shape, unknown))
    return _call(model, operation, parameters, unknown)


def _from_query(member, values):
    if member.type_name == "list":
        return [_scalar(member.member, value) for value in values]
    return _scalar(member, values[0])


def _routed(model, method, path, query):
    """The operation whose method, path and fixed query the request has, and what its path says."""
    named = query.pop(OPERATION_NAMED, [None])[0]
    found = []
    for operation in _routes(model)[method]:
        template = urlsplit(operation.http["requestUri"])
        fixed = dict(parse_qsl(template.query, keep_blank_values=True))
        labels = re.fullmatch(_path_pattern(template.path), path)
        if labels and all(query.get(key) == [value] for key, value in fixed.items()):
            # The more of the path is literal, and of the query fixed, the better it fits.
            fits = (operation.name == named, len(fixed), -template.path.count("{"))
            found.append((fits, operation, fixed, labels.groupdict()))
    if not found:
        raise Unreadable(f"{model.service_name} has no operation {method} {path}")
    _, operation, fixed, labels = max(found, key=lambda route: route[0])
    for key in fixed:
        del query[key]
    names = {_group(m.serialization["name"]): m.serialization["name"]
             for m in operation.input_shape.members.values() if m.serialization.get("location") == "uri"}
    return operation, {names[group]: unquote(value) for group, value in labels.items()}


@functools.cache
def _routes(model):
    routes = {method: [] for method in ("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS")}
    for name in model.operation_names:
        operation = model.operation_model(name)
        routes[operation.http["method"]].append(operation)
    return routes


@functools.cache
def _path_pattern(template):
    """`/{Bucket}/{Key+}` -> a pattern with a group for each label; the last may have slashes."""
    pattern = ""
    for literal, label, greedy in re.findall(r"([^{]*)(?:\{([^}+]+)(\+?)\})?", template):
        pattern += re.escape(literal)
        if label:
            pattern += f"(?P<{_group(label)}>{'.+' if greedy else '[^/]+'})"
    return pattern + "/?"


def _group(label):
    return "label_" + re.sub(r"\W", "_", label)


def _rest_body(record, model, shape, unknown):
    """The parameters in the body of a REST call."""
    payload = shape.serialization.get("payload")
    if payload and shape.members[payload].type_name == "blob":
        # It was there; what it was is not recorded.
        return {payload: b""} if record.get("body_bytes") or _body(record) else {}
    if record.get("body_bytes"):
        raise Unreadable("its body has parameters and was not recorded")
    body = _body(record)
    if not body:
        return {}
    if model.protocol != "rest-json":
        raise Unreadable("its body is XML, which this check does not read")
    document = _json(body)
    if payload:
        return {payload: _document(shape.members[payload], document, payload, unknown)}
    if not isinstance(document, dict):
        raise Unreadable("its body is no JSON object")
    members = {m.serialization.get("name", name): name
               for name, m in shape.members.items() if "location" not in m.serialization}
    return _known_members(shape, members, document, "", unknown, _document)


# How a request says which protocol it speaks; none of these is REST.
PROTOCOLS = (
    (lambda r: _header(r, "smithy-protocol") == "rpc-v2-cbor", "smithy-rpc-v2-cbor", _read_cbor),
    (lambda r: _header(r, "x-amz-target") != "", "json", _read_json),
    (lambda r: _header(r, "content-type").startswith("application/x-www-form-urlencoded"), "query", _read_query),
)
