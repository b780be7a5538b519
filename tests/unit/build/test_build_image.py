from __future__ import annotations

import json
from typing import Any

from sampan.build.arguments import GlobalArguments, StageArguments
from sampan.build.evaluate import SOURCE_MARK, PlannedStep
from sampan.build.image import StageImage
from sampan.build.nodes import Base, Directory, Layer
from sampan.build.plan import BaseImage
from sampan.build.progress import Result
from sampan.build.state import StageState
from sampan.spec.dockerfile.words import Lexer
from sampan.types.platform import Platform

LOW = Layer("sha256:" + "a" * 64, "sha256:" + "b" * 64, 1)
TOP = Layer("sha256:" + "c" * 64, "sha256:" + "d" * 64, 1)
DOCUMENT = {"created": "2020-01-01T00:00:00Z", "history": [{"created_by": "base"}], "config": {"Cmd": ["x"]}}


def image() -> StageImage:
    platform = Platform.parse("linux/amd64")
    state = StageState({}, platform, StageArguments(GlobalArguments([], {}, {}, Lexer())))
    return StageImage(BaseImage("sha256:base", DOCUMENT, (LOW,), platform), state)


def step(text: str, *, node: bool = False, author: str = "") -> PlannedStep:
    found = Directory(Base((LOW,)), "/") if node else None
    return PlannedStep(text, "config", found, {"Cmd": ["y"], "User": None}, author, f"sh #(nop) {text}")


def document(made: StageImage) -> dict[str, Any]:
    return dict(json.loads(made.document()))


def test_a_configuration_step_is_an_empty_layer() -> None:
    made = image()
    made.add(step("CMD", author="me"), None, 10**9, "k")
    found = document(made)
    assert found["created"] == "1970-01-01T00:00:01Z"
    assert found["author"] == "me"
    assert found["config"] == {"Cmd": ["y"]}
    assert found["rootfs"]["diff_ids"] == [LOW.diff_id]
    assert found["history"][1] == {
        "created": "1970-01-01T00:00:01Z",
        "author": "me",
        "created_by": "sh #(nop) CMD",
        "empty_layer": True,
    }


def test_a_layer_and_its_source_show_in_the_history() -> None:
    made = image()
    made.add(
        step(f"COPY {SOURCE_MARK} in /", node=True),
        Result("k", (LOW, TOP), True, "file:123", 1500000000),
        1500000000,
        "k",
    )
    found = document(made)
    assert found["rootfs"]["diff_ids"] == [LOW.diff_id, TOP.diff_id]
    assert found["history"][1] == {"created": "1970-01-01T00:00:01.5Z", "created_by": "sh #(nop) COPY file:123 in /"}


def test_steps_that_were_not_looked_at_keep_history_and_layers_in_step() -> None:
    made = image()
    made.add(step("a", node=True), None, 1, "k")
    made.add(step("b", node=True), None, 1, "k")
    made.add(step("c", node=True), Result("k", (LOW, TOP), False, "", 1), 1, "k")
    full = [entry for entry in document(made)["history"] if not entry.get("empty_layer")]
    assert len(full) == len(made.layers)


def test_the_same_results_give_the_same_image() -> None:
    first, second = image(), image()
    for made in (first, second):
        made.add(step("CMD"), None, 5, made.key_after(step("CMD"), ""))
    assert first.image_id == second.image_id
    assert first.step_key == second.step_key != image().step_key
