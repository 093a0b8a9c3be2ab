"""Parameters against the shapes of botocore's service model: what is required, types, lengths,
ranges, sizes, patterns, enums, unions.

botocore itself checks what is required, types and the lower bounds only, and of no other SDK's requests.
"""

import datetime
import math

# The models' patterns are Java's and say \p{L}, which Python's own `re` does not know.
import regex
from botocore.utils import parse_timestamp

# The longest part of a value that a complaint shows.
SHOWN_MAX = 60
INTEGER_BOUNDS = {"integer": 2**31, "long": 2**63}


def complaints(shape, value, where=""):
    """What AWS would refuse, as 'MEMBER: why', in order."""
    check = CHECKS.get(shape.type_name)
    if check is None:
        yield f"{where}: the type {shape.type_name} is not known to this check"
    else:
        yield from check(shape, value, where)


def _shown(value):
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


def _wrong_type(shape, value, where):
    yield f"{where}: {_shown(value)} is no {shape.type_name}"


def _within(shape, measure, where, unit):
    """`measure` is between the model's bounds, both of which may be absent."""
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and measure < low:
        yield f"{where}: {measure}{unit}, at least {low} must be there"
    if high is not None and measure > high:
        yield f"{where}: {measure}{unit}, at most {high} are allowed"


def _structure(shape, value, where):
    if not isinstance(value, dict):
        yield from _wrong_type(shape, value, where)
        return
    for name in shape.required_members:
        if name not in value:
            yield f"{where}.{name}".lstrip(".") + ": required, and absent"
    if shape.is_tagged_union and len(value) != 1:
        yield f"{where}: {len(value)} members of a union, exactly one must be there"
    for name, member in value.items():
        yield from complaints(shape.members[name], member, f"{where}.{name}".lstrip("."))


def _list(shape, value, where):
    if not isinstance(value, list):
        yield from _wrong_type(shape, value, where)
        return
    yield from _within(shape, len(value), where, " items")
    for number, item in enumerate(value):
        yield from complaints(shape.member, item, f"{where}[{number}]")


def _map(shape, value, where):
    if not isinstance(value, dict):
        yield from _wrong_type(shape, value, where)
        return
    yield from _within(shape, len(value), where, " entries")
    for key, item in value.items():
        yield from complaints(shape.key, key, f"{where}'s key")
        yield from complaints(shape.value, item, f"{where}[{key}]")


def _string(shape, value, where):
    if not isinstance(value, str):
        yield from _wrong_type(shape, value, where)
        return
    yield from _within(shape, len(value), where, " characters")
    pattern = shape.metadata.get("pattern")
    # The services match the whole text, whether or not the pattern has anchors.
    if pattern:
        yield from _matches(pattern, value, where)
    if shape.enum and value not in shape.enum:
        yield f"{where}: {_shown(value)} is none of {', '.join(shape.enum)}"


def _matches(pattern, value, where):
    try:
        matches = regex.fullmatch(pattern, value)
    except regex.error as error:
        yield f"{where}: the model's pattern {_shown(pattern)} cannot be read: {error}"
    else:
        if not matches:
            yield f"{where}: {_shown(value)} does not match {_shown(pattern)}"


def _integer(shape, value, where):
    if not isinstance(value, int) or isinstance(value, bool):
        yield from _wrong_type(shape, value, where)
        return
    bound = INTEGER_BOUNDS[shape.type_name]
    if not -bound <= value < bound:
        yield f"{where}: {value} does not fit into {shape.type_name}"
    yield from _within(shape, value, where, "")


def _float(shape, value, where):
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        yield from _wrong_type(shape, value, where)
    elif not math.isfinite(value):
        yield f"{where}: {value} is no number"
    else:
        yield from _within(shape, value, where, "")


def _boolean(shape, value, where):
    if not isinstance(value, bool):
        yield from _wrong_type(shape, value, where)


def _timestamp(shape, value, where):
    """Seconds since 1970, a date and time of CBOR, or a text such as 2026-01-01T12:00:00Z."""
    if isinstance(value, str):
        try:
            parse_timestamp(value)
        except ValueError:
            yield from _wrong_type(shape, value, where)
    elif not isinstance(value, (int, float, datetime.datetime)) or isinstance(value, bool):
        yield from _wrong_type(shape, value, where)


def _blob(shape, value, where):
    """Of a body that was not recorded nobody knows more than that it was there."""
    if not isinstance(value, bytes):
        yield from _wrong_type(shape, value, where)
    elif value:
        yield from _within(shape, len(value), where, " bytes")


CHECKS = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "character": _string,
    "integer": _integer,
    "long": _integer,
    "float": _float,
    "double": _float,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "blob": _blob,
}
