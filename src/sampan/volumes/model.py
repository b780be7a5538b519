"""A volume as this room keeps it, and the checks of its name and options. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from sampan.errors import InvalidArgument

ANONYMOUS_LABEL = "com.docker.volume.anonymous"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_OPTIONS = ("type", "o", "device", "size")


class Volume(msgspec.Struct, kw_only=True):
    """`created` is RFC 3339 in seconds; `options` are those of the local driver: type, o, device as mount(8) takes them."""

    name: str
    created: str
    driver: str = "local"
    labels: dict[str, str] = {}
    options: dict[str, str] = {}

    @property
    def anonymous(self) -> bool:
        return ANONYMOUS_LABEL in self.labels

    def to_docker(self, mountpoint: str) -> dict[str, Any]:
        return {
            "CreatedAt": self.created,
            "Driver": self.driver,
            "Labels": self.labels or None,
            "Mountpoint": mountpoint,
            "Name": self.name,
            "Options": self.options or None,
            "Scope": "local",
        }


def check_name(name: str) -> None:
    """
    Raises:
        InvalidArgument: in Docker's words.
    """
    if len(name) == 1:
        raise InvalidArgument(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if len(name) > 255 or not _NAME.fullmatch(name):
        raise InvalidArgument(
            f'create {name}: "{name}" includes invalid characters for a local volume name, only '
            '"[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path'
        )


def check_options(name: str, options: Mapping[str, str]) -> None:
    """
    Raises:
        InvalidArgument: an option that the local driver does not know, or one without its companion.
    """
    for key in options:
        if key not in _OPTIONS:
            raise InvalidArgument(f'create {name}: invalid option: "{key}"')
    if any(key in options for key in ("type", "o", "device")):
        for key in ("device", "type"):
            if not options.get(key):
                raise InvalidArgument(f'create {name}: missing required option: "{key}"')
