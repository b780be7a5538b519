"""--device, --device-*, --blkio-weight-device, --gpus and --ulimit."""

from __future__ import annotations

from sampan.cli.flags import Options
from sampan.errors import InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parse_devices(options: Options) -> dict[str, Any]:
    return {
        "Devices": [parse_device(text) for text in options.many("device") if not _is_cdi(text)],
        "DeviceCgroupRules": options.many("device-cgroup-rule") or None,
        "DeviceRequests": _requests(options),
        "BlkioWeightDevice": [_rate(text, "Weight", size=False) for text in options.many("blkio-weight-device")],
        "BlkioDeviceReadBps": [_rate(text, "Rate", size=True) for text in options.many("device-read-bps")],
        "BlkioDeviceWriteBps": [_rate(text, "Rate", size=True) for text in options.many("device-write-bps")],
        "BlkioDeviceReadIOps": [_rate(text, "Rate", size=False) for text in options.many("device-read-iops")],
        "BlkioDeviceWriteIOps": [_rate(text, "Rate", size=False) for text in options.many("device-write-iops")],
    }


def parse_device(text: str) -> dict[str, str]:
    """`/dev/x[:/dev/y[:rwm]]`; the second part may be the permissions."""
    parts = text.split(":")
    source, target, access = parts[0], parts[0], "rwm"
    if len(parts) > 3 or not source:
        raise InvalidArgument(f"invalid device specification: {text}")
    if len(parts) == 3:
        target, access = parts[1], parts[2]
    elif len(parts) == 2:
        if _is_access(parts[1]):
            access = parts[1]
        else:
            target = parts[1]
    if not _is_access(access):
        raise InvalidArgument(f"invalid device mode: {access}")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": access}


def _is_access(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def _is_cdi(text: str) -> bool:
    return not text.startswith("/") and "=" in text and "/" in text.partition("=")[0]


def _requests(options: Options) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = []
    cdi = [text for text in options.many("device") if _is_cdi(text)]
    if cdi:
        found.append({"Driver": "cdi", "DeviceIDs": cdi})
    for text in options.many("gpus"):
        request: dict[str, Any] = {"Driver": "", "Count": 0, "Capabilities": [["gpu"]], "Options": {}}
        for field in text.split(","):
            key, mark, value = field.partition("=")
            count = value if key == "count" else field if not mark else ""
            if count:
                if count != "all" and not count.lstrip("-").isdigit():
                    raise InvalidArgument(f'invalid count ({count}): value must be either "all" or an integer')
                request["Count"] = -1 if count == "all" else int(count)
            elif key == "driver":
                request["Driver"] = value
            elif key == "device":
                request["DeviceIDs"] = value.split(";")
            elif key == "capabilities":
                request["Capabilities"] = [[*value.split(";"), "gpu"]]
        found.append(request)
    return found or None


def _rate(text: str, key: str, *, size: bool) -> dict[str, Any]:
    path, mark, value = text.rpartition(":")
    try:
        if not mark or not path.startswith("/dev/"):
            raise ValueError("want /dev/PATH:NUMBER")
        if size:
            from sampan.types.sizes import parse_size_bytes

            return {"Path": path, key: parse_size_bytes(value)}
        return {"Path": path, key: int(value)}
    except ValueError:
        raise InvalidArgument(f"invalid rate for device: {text}", hint="want /dev/PATH:NUMBER") from None


def parse_ulimit(text: str) -> dict[str, Any]:
    """`nofile=1024[:2048]`. Raises InvalidArgument."""
    name, mark, value = text.partition("=")
    if not mark:
        raise InvalidArgument(f"invalid ulimit argument: {text}", hint="want name=soft[:hard]")
    soft_text, mark, hard_text = value.partition(":")
    try:
        soft = int(soft_text)
        hard = int(hard_text) if mark else soft
    except ValueError:
        raise InvalidArgument(f"invalid ulimit value: {text}", hint="limits are whole numbers, -1 for none") from None
    if hard >= 0 and (soft > hard or soft == -1):
        raise InvalidArgument(f"ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
    return {"Name": name, "Soft": soft, "Hard": hard}
