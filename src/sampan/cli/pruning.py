"""What the `prune` commands print."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def report(title: str, names: list[str] | None) -> None:
    """The removed objects under a title, nothing if there were none."""
    if names:
        sys.stdout.write(title + "\n" + "".join(f"{name}\n" for name in names) + "\n")


def report_images(entries: list[dict[str, str]] | None) -> None:
    """Removed images: names taken away, and layers deleted."""
    report("Deleted Images:", [f"{kind.lower()}: {name}" for entry in entries or [] for kind, name in entry.items()])


def reclaimed(answer: dict[str, Any], label: str = "Total reclaimed space") -> None:
    from sampan.types.sizes import decimal_size

    separator = ":\t" if label == "Total" else ": "
    sys.stdout.write(f"{label}{separator}{decimal_size(answer.get('SpaceReclaimed') or 0)}\n")
