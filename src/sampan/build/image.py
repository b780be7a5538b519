"""From a stage's steps and their results to an image's configuration, as dockerd writes it.

A configuration has one history entry per instruction; those that added no layer say so (`empty_layer`). The times come from
the results, so that a build that is answered from the cache gives the very same image again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from sampan.build import keys
from sampan.build.evaluate import SOURCE_MARK, PlannedStep
from sampan.build.nodes import Layer
from sampan.build.plan import BaseImage
from sampan.build.progress import Result
from sampan.build.state import StageState
from sampan.types.digest import Digest, sha256_of
from sampan.types.platform import Platform
from sampan.types.times import rfc3339

_encode = msgspec.json.Encoder().encode


class _Step(NamedTuple):
    planned: PlannedStep
    created_ns: int
    changed: bool | None  # None: the step itself was not looked at
    source: str


class StageImage:
    """The image of a stage as it grows. `step_key` identifies how it came to be so far, times apart."""

    def __init__(self, base: BaseImage | StageImage | None, state: StageState) -> None:
        self.platform: Platform = state.platform
        self.config: dict[str, Any] = state.config
        self.author = state.author
        self._steps: list[_Step] = []
        self.base: BaseImage | None = None
        self.layers: tuple[Layer, ...] = ()
        self.image_id = ""
        self.step_key = keys.digest_of("start", "")
        if isinstance(base, StageImage):
            self.base, self.layers, self.image_id = base.base, base.layers, base.image_id
            self._steps, self.step_key = list(base._steps), base.step_key
        elif base is not None:
            self.base, self.layers, self.image_id = base, base.layers, base.image_id
            self.step_key = keys.digest_of("start", base.image_id)

    def key_after(self, step: PlannedStep, node_key: str) -> str:
        """The step key that adding `step` leads to."""
        return keys.digest_of("step", self.step_key, node_key, step.created_by.encode("utf-8", "surrogateescape").hex())

    def add(self, step: PlannedStep, result: Result | None, created_ns: int, step_key: str) -> str:
        """Add a step; `result` is None for one that changes only the configuration or was not looked at. Gives the new
        image's id."""
        looked_at = result is not None or step.node is None
        changed = (result is not None and result.changed) if looked_at else None
        self._steps.append(_Step(step, created_ns, changed, result.source if result is not None else ""))
        if result is not None:
            self.layers = result.layers
        self.config, self.author, self.step_key = step.config, step.author, step_key
        self.image_id = sha256_of(self.document())
        return self.image_id

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to make an image of: `FROM scratch` and no more."""
        return self.base is None and not self._steps

    @property
    def unchanged(self) -> bool:
        """Whether this is the base image itself."""
        return not self._steps

    def document(self) -> bytes:
        """The image configuration (https://github.com/opencontainers/image-spec/blob/main/config.md)."""
        base: dict[str, Any] = dict(self.base.document) if self.base is not None else {}
        created = rfc3339(self._steps[-1].created_ns) if self._steps else base.get("created", rfc3339(0))
        document: dict[str, Any] = {
            "architecture": self.platform.architecture,
            "config": {name: value for name, value in sorted(self.config.items()) if value is not None},
            "created": created,
            "history": [*(base.get("history") or []), *self._history()],
            "os": self.platform.os,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
        }
        if self.author:
            document["author"] = self.author
        if self.platform.variant:
            document["variant"] = self.platform.variant
        return _encode(dict(sorted(document.items())))

    def _history(self) -> list[dict[str, Any]]:
        base_layers = len(self.base.layers) if self.base is not None else 0
        missing = len(self.layers) - base_layers - sum(1 for step in self._steps if step.changed)
        entries = []
        for step in self._steps:
            changed = step.changed
            if changed is None:
                changed, missing = missing > 0, missing - 1
            entry: dict[str, Any] = {"created": rfc3339(step.created_ns)}
            if step.planned.author:
                entry["author"] = step.planned.author
            entry["created_by"] = printable(step.planned.created_by.replace(SOURCE_MARK, step.source))
            if not changed:
                entry["empty_layer"] = True
            entries.append(entry)
        return entries

    def digest(self) -> Digest:
        return sha256_of(self.document())


def printable(text: str) -> str:
    """JSON cannot hold bytes that are not UTF-8: they become U+FFFD, as in Go."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
