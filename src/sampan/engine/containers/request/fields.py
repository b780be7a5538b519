"""Every field of a create request with its type and its default, in the order in which inspect shows them.

A request is checked against these tables first; what a client leaves out gets Go's zero value, as in Docker's own JSON.
Kinds: `str bool int list map object any`; a `?` behind it says that null stays null (and is not shown if absent, for those
in `HIDDEN_IF_EMPTY`).
"""

from __future__ import annotations

from typing import Any

from sampan.errors import InvalidArgument

CONFIG_FIELDS: dict[str, tuple[str, Any]] = {
    "Hostname": ("str", ""),
    "Domainname": ("str", ""),
    "User": ("str", ""),
    "AttachStdin": ("bool", False),
    "AttachStdout": ("bool", False),
    "AttachStderr": ("bool", False),
    "ExposedPorts": ("map", None),
    "Tty": ("bool", False),
    "OpenStdin": ("bool", False),
    "StdinOnce": ("bool", False),
    "Env": ("list", None),
    "Cmd": ("words", None),
    "Healthcheck": ("object", None),
    "ArgsEscaped": ("bool", False),
    "Image": ("str", ""),
    "Volumes": ("map", None),
    "WorkingDir": ("str", ""),
    "Entrypoint": ("words", None),
    "NetworkDisabled": ("bool", False),
    "MacAddress": ("str", ""),
    "OnBuild": ("list", None),
    "Labels": ("map", None),
    "StopSignal": ("str", ""),
    "StopTimeout": ("int", None),
    "Shell": ("words", None),
}

HOST_FIELDS: dict[str, tuple[str, Any]] = {
    "Binds": ("list", None),
    "ContainerIDFile": ("str", ""),
    "LogConfig": ("object", None),
    "NetworkMode": ("str", ""),
    "PortBindings": ("map", None),
    "RestartPolicy": ("object", None),
    "AutoRemove": ("bool", False),
    "VolumeDriver": ("str", ""),
    "VolumesFrom": ("list", None),
    "ConsoleSize": ("list", None),
    "Annotations": ("map", None),
    "CapAdd": ("words", None),
    "CapDrop": ("words", None),
    "CgroupnsMode": ("str", ""),
    "Dns": ("list", None),
    "DnsOptions": ("list", None),
    "DnsSearch": ("list", None),
    "ExtraHosts": ("list", None),
    "GroupAdd": ("list", None),
    "IpcMode": ("str", ""),
    "Cgroup": ("str", ""),
    "Links": ("list", None),
    "OomScoreAdj": ("int", 0),
    "PidMode": ("str", ""),
    "Privileged": ("bool", False),
    "PublishAllPorts": ("bool", False),
    "ReadonlyRootfs": ("bool", False),
    "SecurityOpt": ("list", None),
    "StorageOpt": ("map", None),
    "Tmpfs": ("map", None),
    "UTSMode": ("str", ""),
    "UsernsMode": ("str", ""),
    "ShmSize": ("int", 0),
    "Sysctls": ("map", None),
    "Runtime": ("str", ""),
    "Isolation": ("str", ""),
    "CpuShares": ("int", 0),
    "Memory": ("int", 0),
    "NanoCpus": ("int", 0),
    "CgroupParent": ("str", ""),
    "BlkioWeight": ("int", 0),
    "BlkioWeightDevice": ("list", None),
    "BlkioDeviceReadBps": ("list", None),
    "BlkioDeviceWriteBps": ("list", None),
    "BlkioDeviceReadIOps": ("list", None),
    "BlkioDeviceWriteIOps": ("list", None),
    "CpuPeriod": ("int", 0),
    "CpuQuota": ("int", 0),
    "CpuRealtimePeriod": ("int", 0),
    "CpuRealtimeRuntime": ("int", 0),
    "CpusetCpus": ("str", ""),
    "CpusetMems": ("str", ""),
    "Devices": ("list", None),
    "DeviceCgroupRules": ("list", None),
    "DeviceRequests": ("list", None),
    "KernelMemory": ("int", 0),
    "KernelMemoryTCP": ("int", 0),
    "MemoryReservation": ("int", 0),
    "MemorySwap": ("int", 0),
    "MemorySwappiness": ("int?", None),
    "OomKillDisable": ("bool?", None),
    "Init": ("bool?", None),
    "PidsLimit": ("int?", None),
    "Ulimits": ("list", None),
    "CpuCount": ("int", 0),
    "CpuPercent": ("int", 0),
    "IOMaximumIOps": ("int", 0),
    "IOMaximumBandwidth": ("int", 0),
    "Mounts": ("list", None),
    "MaskedPaths": ("list", None),
    "ReadonlyPaths": ("list", None),
}

HIDDEN_IF_EMPTY = frozenset(
    [
        "ExposedPorts",
        "Healthcheck",
        "ArgsEscaped",
        "NetworkDisabled",
        "MacAddress",
        "StopSignal",
        "Shell",
        "Annotations",
        "StorageOpt",
        "Tmpfs",
        "Sysctls",
        "Mounts",
        "KernelMemory",
        "KernelMemoryTCP",
    ]
)
"""Left out of inspect when null, empty, zero or false (Go's `omitempty`)."""
_HIDDEN_IF_NULL = frozenset(["StopTimeout", "Init"])  # pointers in Go: zero and false are values

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "list": (list,),
    "words": (list, str),
    "map": (dict,),
    "object": (dict,),
}
_GO_TYPES = {"str": "string", "bool": "bool", "int": "int64", "list": "[]string", "words": "[]string", "map": "map"}


def fill(body: dict[str, Any], fields: dict[str, tuple[str, Any]], owner: str) -> dict[str, Any]:
    """All fields with the request's values or their defaults; unknown ones are dropped, as Docker's decoder does.

    Raises:
        InvalidArgument: a value of the wrong JSON type, in the words of Go's decoder.
    """
    lowered = {key.lower(): key for key in body} if not body.keys() <= fields.keys() else {}
    filled = {}
    for name, (kind, default) in fields.items():
        value = body.get(name)
        if value is None and lowered and name.lower() in lowered:  # Go matches keys in any case
            value = body[lowered[name.lower()]]
        filled[name] = default if value is None else _checked(value, kind.rstrip("?"), f"{owner}.{name}")
    return filled


def _checked(value: Any, kind: str, name: str) -> Any:
    wanted = _PYTHON_TYPES[kind]
    right = isinstance(value, wanted) and (kind != "int" or not isinstance(value, bool))
    if kind == "int" and isinstance(value, float) and value.is_integer():
        return int(value)
    if not right:
        raise InvalidArgument(
            f"invalid JSON: json: cannot unmarshal {_json_type(value)} into Go struct field {name} of type "
            f"{_GO_TYPES.get(kind, 'object')}"
        )
    if kind == "words" and isinstance(value, str):
        return [value]
    return value


def _json_type(value: Any) -> str:
    for kind, name in ((bool, "bool"), (int, "number"), (float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "object"


def shown(values: dict[str, Any]) -> dict[str, Any]:
    """The form of inspect: as stored, without what Docker omits when it is empty."""
    return {
        name: value
        for name, value in values.items()
        if value or (name not in HIDDEN_IF_EMPTY and (value is not None or name not in _HIDDEN_IF_NULL))
    }
