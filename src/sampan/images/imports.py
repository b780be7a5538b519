"""`docker import`. See `commit.import_image`; this module is where the room's callers look for it."""

from __future__ import annotations

from sampan.images.commit import import_image

__all__ = ["import_image"]
