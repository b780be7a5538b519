"""The fields of `history`, `network ls`, `volume ls` and `search`."""

from __future__ import annotations

import time

from sampan.cli.human import ago, local_time, parse_time
from sampan.cli.listing import Listing, joined_labels, short_id, shorten
from sampan.types.sizes import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def history_listing(*, truncate: bool, human: bool) -> Listing:
    now_s = time.time()

    def created_since(layer: dict[str, Any]) -> str:
        if not human:
            return created_at(layer)
        return "" if layer["Created"] <= 0 else ago(layer["Created"], now_s)

    def created_at(layer: dict[str, Any]) -> str:
        # RFC 3339 in our own time zone.
        text = local_time(layer["Created"], zone_name=False)
        zone = text[-5:]
        return text[:10] + "T" + text[11:19] + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")

    def created_by(layer: dict[str, Any]) -> str:
        text = layer.get("CreatedBy", "").replace("\t", " ")
        return shorten(text, 45) if truncate else text

    return Listing(
        {
            "ID": ("IMAGE", lambda layer: short_id(layer["Id"]) if truncate else layer["Id"]),
            "CreatedSince": ("CREATED", created_since),
            "CreatedAt": ("CREATED AT", created_at),
            "CreatedBy": ("CREATED BY", created_by),
            "Size": ("SIZE", lambda layer: decimal_size(layer["Size"], 3) if human else str(layer["Size"])),
            "Comment": ("COMMENT", lambda layer: layer.get("Comment", "")),
        },
        ["ID", "CreatedSince", "CreatedBy", "Size", "Comment"],
    )


def network_listing(*, truncate: bool) -> Listing:
    return Listing(
        {
            "ID": ("NETWORK ID", lambda n: n["Id"][:12] if truncate else n["Id"]),
            "Name": ("NAME", lambda n: n["Name"]),
            "Driver": ("DRIVER", lambda n: n["Driver"]),
            "Scope": ("SCOPE", lambda n: n["Scope"]),
            "IPv4": ("IPV4", lambda n: _word(n.get("EnableIPv4", True))),
            "IPv6": ("IPV6", lambda n: _word(n.get("EnableIPv6"))),
            "Internal": ("INTERNAL", lambda n: _word(n.get("Internal"))),
            "Labels": ("LABELS", lambda n: joined_labels(n.get("Labels"))),
            "Label": ("LABEL", lambda n, name="": (n.get("Labels") or {}).get(name, "")),
            "CreatedAt": ("CREATED AT", lambda n: _created(n.get("Created", ""))),
        },
        ["ID", "Name", "Driver", "Scope"],
    )


def _created(text: str) -> str:
    """As Go prints a time with its fraction."""
    if not text:
        return "0001-01-01 00:00:00 +0000 UTC"
    body = local_time(parse_time(text))
    fraction = text.partition(".")[2].rstrip("Z")
    fraction = "".join(
        character for character in fraction.partition("+")[0].partition("-")[0] if character.isdigit()
    ).rstrip("0")
    return f"{body[:19]}.{fraction}{body[19:]}" if fraction else body


def volume_listing() -> Listing:
    return Listing(
        {
            "Name": ("VOLUME NAME", lambda v: v["Name"]),
            "Driver": ("DRIVER", lambda v: v["Driver"]),
            "Scope": ("SCOPE", lambda v: v["Scope"]),
            "Mountpoint": ("MOUNTPOINT", lambda v: v["Mountpoint"]),
            "Labels": ("LABELS", lambda v: joined_labels(v.get("Labels"))),
            "Label": ("LABEL", lambda v, name="": (v.get("Labels") or {}).get(name, "")),
            "Links": ("LINKS", lambda v: str(v["UsageData"]["RefCount"]) if v.get("UsageData") else "N/A"),
            "Size": ("SIZE", lambda v: decimal_size(v["UsageData"]["Size"]) if v.get("UsageData") else "N/A"),
            "Availability": ("AVAILABILITY", lambda v: "N/A"),
            "Group": ("GROUP", lambda v: "N/A"),
            "Status": ("STATUS", lambda v: "N/A"),
        },
        ["Driver", "Name"],
    )


def search_listing(*, truncate: bool) -> Listing:
    def description(found: dict[str, Any]) -> str:
        text = found.get("description", "").replace("\n", " ").replace("\r", " ")
        return shorten(text, 45) if truncate else text

    return Listing(
        {
            "Name": ("NAME", lambda found: found["name"]),
            "Description": ("DESCRIPTION", description),
            "StarCount": ("STARS", lambda found: str(found.get("star_count", 0))),
            "IsOfficial": ("OFFICIAL", lambda found: "[OK]" if found.get("is_official") else ""),
        },
        ["Name", "Description", "StarCount", "IsOfficial"],
    )


def _word(value: object) -> str:
    return "true" if value else "false"
