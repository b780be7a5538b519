"""The fields of `ps`."""

from __future__ import annotations

import time

from sampan.cli.human import ago, local_time
from sampan.cli.listing import Listing, joined_labels, shorten
from sampan.types.sizes import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Container = dict[str, Any]

DEFAULT_COLUMNS = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"]


def container_listing(*, truncate: bool) -> Listing:
    now_s = time.time()
    return Listing(
        {
            "ID": ("CONTAINER ID", lambda c: c["Id"][:12] if truncate else c["Id"]),
            "Names": ("NAMES", lambda c: _names(c, truncate)),
            "Image": ("IMAGE", lambda c: _image(c, truncate)),
            "Command": ("COMMAND", lambda c: _command(c["Command"], truncate)),
            "CreatedAt": ("CREATED AT", lambda c: local_time(c["Created"])),
            "RunningFor": ("CREATED", lambda c: ago(c["Created"], now_s)),
            "Ports": ("PORTS", lambda c: ports_text(c.get("Ports") or [])),
            "State": ("STATE", lambda c: c["State"]),
            "Status": ("STATUS", lambda c: c["Status"]),
            "Size": ("SIZE", _size),
            "Labels": ("LABELS", lambda c: joined_labels(c.get("Labels"))),
            "Label": ("LABEL", lambda c, name="": (c.get("Labels") or {}).get(name, "")),
            "Mounts": ("MOUNTS", lambda c: _mounts(c, truncate)),
            "LocalVolumes": (
                "LOCAL VOLUMES",
                lambda c: str(sum(m.get("Driver") == "local" for m in c.get("Mounts") or [])),
            ),
            "Networks": ("NETWORKS", lambda c: ",".join((c.get("NetworkSettings") or {}).get("Networks") or {})),
            "Platform": ("PLATFORM", _platform),
        },
        DEFAULT_COLUMNS,
        not_in_json=("Label",),
    )


def _platform(container: Container) -> dict[str, Any] | None:
    found = (container.get("ImageManifestDescriptor") or {}).get("platform")
    return dict(found) if found else None


def _names(container: Container, truncate: bool) -> str:
    names = [name.removeprefix("/") for name in container.get("Names") or []]
    return ",".join([name for name in names if "/" not in name] if truncate else names)


def _image(container: Container, truncate: bool) -> str:
    image = container.get("Image") or "<no image>"
    if truncate:
        if image.removeprefix("sha256:") == container.get("ImageID", "").removeprefix("sha256:"):
            return str(image.removeprefix("sha256:")[:12])
        if "@" in image:
            return str(image.partition("@")[0])
    return str(image)


def _command(command: str, truncate: bool) -> str:
    import json

    return json.dumps(shorten(command, 20) if truncate else command, ensure_ascii=False)


def _size(container: Container) -> str:
    text = decimal_size(container.get("SizeRw") or 0, 3)
    total = container.get("SizeRootFs") or 0
    return f"{text} (virtual {decimal_size(total, 3)})" if total > 0 else text


def _mounts(container: Container, truncate: bool) -> str:
    names = [mount.get("Name") or mount.get("Source") or "" for mount in container.get("Mounts") or []]
    return ",".join(shorten(name, 15) if truncate else name for name in names)


def ports_text(ports: list[dict[str, Any]]) -> str:
    """`0.0.0.0:8080->80/tcp, 81-82/tcp`: sorted, neighbours joined into ranges."""
    ordered = sorted(
        ports, key=lambda p: (p["PrivatePort"], p.get("IP") or "", p.get("PublicPort") or 0, p.get("Type") or "tcp")
    )
    groups: dict[str, list[int]] = {}
    joined: list[str] = []
    mapped: list[str] = []
    order: list[str] = []
    for port in ordered:
        private, kind, address = port["PrivatePort"], port.get("Type") or "tcp", port.get("IP") or ""
        public = port.get("PublicPort") or 0
        key = kind
        if address:
            if public != private:
                mapped.append(f"{_bracketed(address)}:{public}->{private}/{kind}")
                continue
            key = f"{address}/{kind}"
        run = groups.get(key)
        if run is None:
            groups[key] = [private, private]
            order.append(key)
        elif private == run[1] + 1:
            run[1] = private
        else:
            joined.append(_group(key, run))
            groups[key] = [private, private]
    joined.extend(_group(key, groups[key]) for key in order)
    return ", ".join(mapped_last(joined, mapped))


def mapped_last(joined: list[str], mapped: list[str]) -> list[str]:
    """Ports that keep their number come first."""
    return joined + mapped


def _group(key: str, run: list[int]) -> str:
    address, _, kind = key.rpartition("/")
    text = str(run[0]) if run[0] == run[1] else f"{run[0]}-{run[1]}"
    return f"{_bracketed(address)}:{text}->{text}/{kind}" if address else f"{text}/{kind}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
