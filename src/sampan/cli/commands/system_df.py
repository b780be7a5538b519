"""`sampan system df`."""

from __future__ import annotations

import sys

from sampan.cli.command import Command
from sampan.cli.context import Context
from sampan.cli.flags import Options
from sampan.cli.listing import Listing
from sampan.types.sizes import decimal_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FLAGS = """
    --format string   Print through a template: 'json', 'table', 'table TEMPLATE' or 'TEMPLATE' (Go's template language)
-v, --verbose         Every object
"""


def run(context: Context, options: Options, arguments: list[str]) -> int:
    from sampan.cli.listing import show

    usage = context.engine.system.disk_usage()
    format = options.text("format")
    if options.on("verbose"):
        if format:
            from sampan.cli.template import print_value

            print_value(format, usage)
        else:
            _verbose(usage)
        return 0
    show(_listing(), [_images(usage), _containers(usage), _volumes(usage), _cache(usage)], format)
    return 0


def _listing() -> Listing:
    return Listing(
        {
            "Type": ("TYPE", lambda row: row["Type"]),
            "TotalCount": ("TOTAL", lambda row: str(row["Total"])),
            "Active": ("ACTIVE", lambda row: str(row["Active"])),
            "Size": ("SIZE", lambda row: decimal_size(row["Size"])),
            "Reclaimable": ("RECLAIMABLE", _reclaimable),
        },
        ["Type", "TotalCount", "Active", "Size", "Reclaimable"],
    )


def _reclaimable(row: dict[str, Any]) -> str:
    text = decimal_size(row["Free"])
    if row["Size"] > 0 and row.get("percent", True):
        return f"{text} ({int(row['Free'] * 100 / row['Size'])}%)"
    return text


def _images(usage: dict[str, Any]) -> dict[str, Any]:
    images = usage.get("Images") or []
    total = usage.get("LayersSize") or 0
    used = sum(
        image["Size"] - image["SharedSize"]
        for image in images
        if image.get("Containers", 0) > 0 and image["Size"] != -1 and image.get("SharedSize", -1) != -1
    )
    active = sum(image.get("Containers", 0) > 0 for image in images)
    return {"Type": "Images", "Total": len(images), "Active": active, "Size": total, "Free": total - used}


def _containers(usage: dict[str, Any]) -> dict[str, Any]:
    containers = usage.get("Containers") or []
    running = [item for item in containers if item.get("State") in ("running", "paused", "restarting")]
    size = sum(item.get("SizeRw") or 0 for item in containers)
    free = size - sum(item.get("SizeRw") or 0 for item in running)
    return {"Type": "Containers", "Total": len(containers), "Active": len(running), "Size": size, "Free": free}


def _volumes(usage: dict[str, Any]) -> dict[str, Any]:
    volumes = [item for item in usage.get("Volumes") or [] if item.get("UsageData")]
    used = [item for item in volumes if item["UsageData"]["RefCount"] > 0]
    size = sum(max(item["UsageData"]["Size"], 0) for item in volumes)
    free = size - sum(max(item["UsageData"]["Size"], 0) for item in used)
    return {
        "Type": "Local Volumes",
        "Total": len(usage.get("Volumes") or []),
        "Active": len(used),
        "Size": size,
        "Free": free,
    }


def _cache(usage: dict[str, Any]) -> dict[str, Any]:
    entries = usage.get("BuildCache") or []
    size = usage.get("BuilderSize") or sum(entry["Size"] for entry in entries if not entry.get("Shared"))
    free = size - sum(entry["Size"] for entry in entries if entry.get("InUse") and not entry.get("Shared"))
    active = sum(bool(entry.get("InUse")) for entry in entries)
    return {
        "Type": "Build Cache",
        "Total": len(entries),
        "Active": active,
        "Size": size,
        "Free": free,
        "percent": False,
    }


def _verbose(usage: dict[str, Any]) -> None:
    from sampan.cli.listing import default_table
    from sampan.cli.rows_containers import container_listing
    from sampan.cli.rows_images import image_listing, image_rows
    from sampan.cli.rows_more import volume_listing

    images = image_listing(truncate=True)
    sizes = ["Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers"]
    parts = [
        ("Images space usage:", default_table(images, image_rows(usage.get("Images") or [], digests=False), sizes)),
        (
            "Containers space usage:",
            default_table(
                container_listing(truncate=True),
                usage.get("Containers") or [],
                ["ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"],
            ),
        ),
        (
            "Local Volumes space usage:",
            default_table(volume_listing(), usage.get("Volumes") or [], ["Name", "Links", "Size"]),
        ),
    ]
    for title, table in parts:
        sys.stdout.write(f"{title}\n\n{table}\n")
    cache = _cache(usage)
    sys.stdout.write(f"Build cache usage: {decimal_size(cache['Size'])}\n\n")
    sys.stdout.write(default_table(_cache_listing(), usage.get("BuildCache") or [], list(_cache_listing().fields)))


def _cache_listing() -> Listing:
    from sampan.cli.human import ago, parse_time

    return Listing(
        {
            "ID": ("CACHE ID", lambda e: e["ID"][:12]),
            "CacheType": ("CACHE TYPE", lambda e: e.get("Type", "")),
            "Size": ("SIZE", lambda e: decimal_size(e["Size"], 3)),
            "CreatedSince": ("CREATED", lambda e: ago(parse_time(e.get("CreatedAt") or ""))),
            "LastUsedSince": ("LAST USED", lambda e: ago(parse_time(e["LastUsedAt"])) if e.get("LastUsedAt") else ""),
            "UsageCount": ("USAGE", lambda e: str(e.get("UsageCount", 0))),
            "Shared": ("SHARED", lambda e: str(bool(e.get("Shared"))).lower()),
        },
        ["ID"],
    )


COMMAND = Command(run, "", 0, 0, FLAGS)
