"""`RUN --mount=…`: the value's fields, read and checked.

Source: https://docs.docker.com/reference/dockerfile/#run---mount
"""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from sampan.errors import InvalidArgument
from sampan.spec.dockerfile.suggest import did_you_mean
from sampan.types.sizes import parse_size_bytes

_KINDS = ("bind", "cache", "tmpfs", "secret", "ssh")
_ALIASES = {
    "src": "source",
    "target": "target",
    "dst": "target",
    "destination": "target",
    "rw": "readwrite",
    "ro": "readonly",
}
_FLAGS = ("readonly", "readwrite", "required")
_KNOWN = (
    *("type", "from", "source", "target", "readonly", "readwrite", "id", "sharing", "required"),
    *("mode", "uid", "gid", "size", "env"),
)


class MountSpec(NamedTuple):
    """The fields of one `--mount`; `stage` is the value of `from`, empty for the build context."""

    kind: str
    stage: str
    source: str
    target: str
    read_only: bool
    identity: str
    sharing: str
    required: bool
    variable: str
    mode: int
    uid: int
    gid: int
    size_bytes: int


def parse_mount(text: str, directory: str) -> MountSpec:
    """Read one value; `directory` is what relative targets start from.

    Raises:
        InvalidArgument: unknown field or type, or a required one is missing.
    """
    fields = _fields(text)
    kind = fields.get("type", "bind")
    if kind not in _KINDS:
        raise InvalidArgument(f'unsupported mount type "{kind}"{did_you_mean(kind, _KINDS)}')
    target = fields.get("target", "")
    identity = fields.get("id", "")
    if kind == "secret":
        identity = identity or posixpath.basename(fields.get("source", "") or target)
        if not identity:
            raise InvalidArgument(f"one of id or target is required for mount: {text}")
        if not target and "env" not in fields:
            target = f"/run/secrets/{posixpath.basename(identity)}"
    elif not target and kind != "ssh":
        raise InvalidArgument(f"target is required: {text}")
    sharing = fields.get("sharing", "shared")
    if sharing not in ("shared", "private", "locked"):
        raise InvalidArgument(f'unsupported sharing value "{sharing}"')
    read_only = _truth(fields, "readonly", kind == "bind") and not _truth(fields, "readwrite", False)
    default_mode = 0o400 if kind == "secret" else 0o600 if kind == "ssh" else 0o755
    if target:
        target = posixpath.normpath(posixpath.join(directory, target))
    return MountSpec(
        kind=kind,
        stage=fields.get("from", ""),
        source=fields.get("source", ""),
        target=target,
        read_only=read_only,
        identity=identity or target,
        sharing=sharing,
        required=_truth(fields, "required", False),
        variable=fields.get("env", ""),
        mode=_number(fields, "mode", default_mode, 8),
        uid=_number(fields, "uid", 0, 10),
        gid=_number(fields, "gid", 0, 10),
        size_bytes=_size(fields.get("size", "")),
    )


def _fields(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for field in text.split(","):
        name, equals, value = field.partition("=")
        name = _ALIASES.get(name.strip().lower(), name.strip().lower())
        if name not in _KNOWN:
            raise InvalidArgument(f"unexpected key '{name}' in '{field}'{did_you_mean(name, _KNOWN)}")
        if not equals and name not in _FLAGS:
            raise InvalidArgument(f"invalid field '{field}' must be a key=value pair")
        found[name] = value if equals else "true"
    return found


def _truth(fields: dict[str, str], name: str, default: bool) -> bool:
    value = fields.get(name)
    if value is None:
        return default
    if value.lower() not in ("true", "false", "1", "0"):
        raise InvalidArgument(f"invalid value for {name}: {value}")
    return value.lower() in ("true", "1")


def _number(fields: dict[str, str], name: str, default: int, base: int) -> int:
    text = fields.get(name)
    if not text:
        return default
    try:
        return int(text, base)
    except ValueError:
        raise InvalidArgument(f"invalid value {text} for {name}") from None


def _size(text: str) -> int:
    try:
        return parse_size_bytes(text) if text else 0
    except ValueError:
        raise InvalidArgument(f"invalid value for size: {text}") from None
