"""Attacks on builds (see THREAT_MODEL.md): contexts, archives, mounts and links that want out; secrets that want in."""

from __future__ import annotations

import os
import uuid

import pytest
from tests.building import Builds, Files, context, make_builds
from tests.conftest import EngineProcess


@pytest.fixture(scope="module")
def builds(engine_process: EngineProcess) -> Builds:
    return make_builds(engine_process)


def test_hostile_contexts_stay_in_their_place(builds: Builds) -> None:
    mark = f"/tmp/escaped-{uuid.uuid4().hex}"
    escape = context({"../../../../../.." + mark: "x", "Dockerfile": "FROM scratch\nCOPY . /"})
    status, _ = builds.raw(escape)
    assert status == 400
    linked: Files = {"l": "->/etc", "Dockerfile": f"FROM {builds.base}\nCOPY l/shadow /s\n"}
    messages = builds.raw(context(linked))[1]
    assert isinstance(messages, list)
    assert "file not found in build context" in messages[-1]["error"]
    assert not os.path.exists(mark)


def test_an_added_archive_does_not_climb_out(builds: Builds) -> None:
    mark = f"/tmp/escaped-{uuid.uuid4().hex}"
    climbing = context({"../../../../../../../.." + mark: "x"})
    assert "error" in builds.fault("FROM BASE\nADD t.tar /", {"t.tar": climbing})
    through_link = context({"out": "->/tmp", "out/" + mark[5:]: "x"})
    builds.build("FROM BASE\nADD t.tar /a/", {"t.tar": through_link})
    assert not os.path.exists(mark)


def test_a_link_in_the_image_does_not_lead_a_copy_out(builds: Builds) -> None:
    mark = f"escaped-{uuid.uuid4().hex}"
    _, image = builds.ok(
        f"FROM BASE\nRUN ln -s /tmp /t && ln -s ../../../../../tmp /u\nCOPY f /t/{mark}\nCOPY f /u/{mark}2", {"f": "1"}
    )
    assert not os.path.exists(f"/tmp/{mark}")
    assert not os.path.exists(f"/tmp/{mark}2")
    assert builds.sh(image, f"cat /tmp/{mark} /tmp/{mark}2") == "11"


def test_links_of_a_stage_stay_in_the_stage(builds: Builds) -> None:
    dockerfile = "FROM BASE AS s\nRUN ln -s / /root/all && ln -s /etc/shadow /root/s\nFROM BASE\n"
    assert "file does not exist" in builds.fault(dockerfile + "COPY --from=s /root/s /s")["error"]
    _, image = builds.ok(dockerfile + "COPY --from=s /root/all/etc/passwd /p")
    assert builds.sh(image, "cat /p").count("\n") == 2


MOUNTS = ["source=../../../../etc", "source=l", "from=s,source=/root/up/etc", "from=s,source=../../../etc"]


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_bind_shows_only_its_source(builds: Builds, mount: str) -> None:
    files: Files = {"l": "->/etc", "etc/mine": ""}
    stage = "FROM BASE AS s\nRUN ln -s ../../../../.. /root/up && echo mine >/etc/mine\nFROM BASE\n"
    messages = builds.build(
        f"{stage}RUN --mount=type=bind,{mount},target=/m ls /m && ! [ -e /m/shadow ]", files, nocache="1"
    )
    text = "".join(message.get("stream", "") for message in messages)
    assert "mine" in text or "error" in messages[-1]
    assert "error" not in messages[-1] or "not found" in messages[-1]["error"]


def test_a_working_directory_through_a_descriptor_is_harmless(builds: Builds) -> None:
    for number in range(3, 12):
        messages = builds.build(
            f"FROM BASE\nWORKDIR /proc/self/fd/{number}\nRUN ls ../../.. ; cat ../../../../etc/hostname", nocache="1"
        )
        text = "".join(message.get("stream", "") for message in messages)
        with open("/etc/hostname", encoding="utf-8") as file:
            assert file.read().strip() not in text


def test_run_has_no_way_to_the_host(builds: Builds) -> None:
    text, _ = builds.ok(
        "FROM BASE\nRUN [ $(ls /proc/self/fd | sort | grep -c .) = 4 ] && "
        "! (echo 1 >/proc/sys/kernel/panic) 2>/dev/null && ! mkdir /sys/fs/cgroup/x 2>/dev/null && echo safe",
        nocache="1",
    )
    assert "safe\n" in text
