"""Devices of a container: the rules that its cgroup allows and the nodes that its /dev gets."""

from __future__ import annotations

import os
import re
import stat
from typing import Any

from sampan.errors import SampanError

Device = dict[str, Any]
Rule = dict[str, Any]


def _allow(kind: str, major: int | None, minor: int | None, access: str = "rwm") -> Rule:
    rule: Rule = {"allow": True, "type": kind, "access": access}
    if major is not None:
        rule["major"] = major
    if minor is not None:
        rule["minor"] = minor
    return rule


_DENY_ALL: Rule = {"allow": False, "access": "rwm"}
_DEFAULT_RULES = [
    _DENY_ALL,
    _allow("c", None, None, "m"),
    _allow("b", None, None, "m"),
    _allow("c", 1, 3),  # null
    _allow("c", 1, 5),  # zero
    _allow("c", 1, 7),  # full
    _allow("c", 1, 8),  # random
    _allow("c", 1, 9),  # urandom
    _allow("c", 5, 0),  # tty
    _allow("c", 5, 1),  # console
    _allow("c", 5, 2),  # ptmx
    _allow("c", 136, None),  # pts
]


def collect(host: dict[str, Any]) -> tuple[list[Device], list[Rule]]:
    """Device nodes beyond the standard ones, and the allow-list.

    Raises:
        SampanError: a device that does not exist, or a request for a device driver that we do not have.
    """
    for request in host["DeviceRequests"] or ():
        driver, wanted = request.get("Driver") or "", request.get("Capabilities") or []
        listed = " ".join("[" + " ".join(group) + "]" for group in wanted)
        raise SampanError(f'could not select device driver "{driver}" with capabilities: [{listed}]')
    rules = [{"allow": True, "access": "rwm"}] if host["Privileged"] else list(_DEFAULT_RULES)
    devices: list[Device] = _host_devices() if host["Privileged"] else []
    for mapping in host["Devices"] or ():
        source = mapping.get("PathOnHost") or ""
        access = mapping.get("CgroupPermissions") or "rwm"
        for device in _mapped(source, mapping.get("PathInContainer") or source):
            devices = [known for known in devices if known["path"] != device["path"]] + [device]
            rules.append(_allow(device["type"], device["major"], device["minor"], access))
    rules += [_parse_rule(text) for text in host["DeviceCgroupRules"] or ()]
    return devices, rules


def _parse_rule(text: str) -> Rule:
    found = re.fullmatch(r"([acb]) (\d+|\*):(\d+|\*) ([rwm]{1,3})", text)
    assert found is not None, "validated at create"
    kind, major, minor, access = found.groups()
    numbers = [None if number == "*" else int(number) for number in (major, minor)]
    return _allow(kind, numbers[0], numbers[1], access)


def _mapped(source: str, target: str) -> list[Device]:
    """The node at `source`, or all nodes below it if it is a directory."""
    try:
        if stat.S_ISDIR(os.stat(source).st_mode):
            return [
                device
                for directory, _, files in os.walk(source)
                for name in sorted(files)
                if (
                    device := _node(
                        os.path.join(directory, name), target + os.path.join(directory, name)[len(source) :]
                    )
                )
            ]
        device = _node(source, target)
    except OSError as error:
        raise SampanError(
            f'error gathering device information while adding custom device "{source}": {_reason(error)}'
        ) from None
    if device is None:
        raise SampanError(
            f'error gathering device information while adding custom device "{source}": not a device node'
        )
    return [device]


def _reason(error: OSError) -> str:
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def _node(source: str, target: str) -> Device | None:
    status = os.stat(source)
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        return {
            "path": target,
            "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
            "major": os.major(status.st_rdev),
            "minor": os.minor(status.st_rdev),
            "fileMode": stat.S_IMODE(status.st_mode),
            "uid": status.st_uid,
            "gid": status.st_gid,
        }
    return None


_OWN = {"pts", "shm", "mqueue", "fd", "lxc", ".lxc", ".lxd-mounts", ".udev"}
_STANDARD = {
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
    "/dev/console",
    "/dev/ptmx",
}


def _host_devices() -> list[Device]:
    """Every node of the host's /dev, for `--privileged`."""
    found = []
    for directory, subdirectories, files in os.walk("/dev"):
        if directory == "/dev":
            subdirectories[:] = [name for name in subdirectories if name not in _OWN]
        for name in files:
            path = os.path.join(directory, name)
            if path in _STANDARD or os.path.islink(path):
                continue
            try:
                device = _node(path, path)
            except OSError:
                continue  # it went away meanwhile
            if device is not None:
                found.append(device)
    return found
