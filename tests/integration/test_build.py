"""Builds through the API of a real engine: messages, images, cache, errors, and that nothing is left."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import uuid
from typing import Any

import pytest
from tests.building import Builds, Files, context, make_builds
from tests.conftest import EngineProcess


@pytest.fixture(scope="module")
def builds(engine_process: EngineProcess) -> Builds:
    return make_builds(engine_process)


def test_messages_are_those_of_dockerd(builds: Builds) -> None:
    messages = builds.build("FROM BASE\nRUN echo hi; echo err >&2\nCMD a", t=["x1:t", "x2"], nocache="1")
    text = "".join(message.get("stream", "") for message in messages)
    assert text.startswith("Step 1/3 : FROM build-base:t\n ---> ")
    assert "Step 2/3 : RUN echo hi; echo err >&2\n ---> Running in " in text
    assert "hi\n" in text
    assert "\x1b[91merr\n\x1b[0m" in text
    assert " ---> Removed intermediate container " in text
    image_id = next(message["aux"]["ID"] for message in messages if "aux" in message)
    assert text.endswith(
        f"Successfully built {image_id[7:19]}\nSuccessfully tagged x1:t\nSuccessfully tagged x2:latest\n"
    )
    assert builds.inspect("x1:t")["Id"] == image_id
    assert builds.inspect(image_id[7:19])["RepoTags"] == ["x1:t", "x2:latest"]


def test_a_second_build_is_answered_from_the_cache_and_gives_the_same_image(builds: Builds) -> None:
    dockerfile = "FROM BASE\nENV A=1\nRUN echo $A >/a\nCOPY f /f\nWORKDIR /w\nCMD x"
    _, first = builds.ok(dockerfile, {"f": "1"})
    text, second = builds.ok(dockerfile, {"f": "1"})
    assert second == first
    assert text.count(" ---> Using cache\n") == 5
    text, third = builds.ok(dockerfile, {"f": "2"})
    assert third != first
    assert text.count(" ---> Using cache\n") == 2
    text, fourth = builds.ok(dockerfile, {"f": "1"}, nocache="1")
    assert "Using cache" not in text
    assert fourth != first


def test_an_argument_counts_only_where_it_is_seen(builds: Builds) -> None:
    dockerfile = "FROM BASE\nRUN echo a\nARG X=1\nRUN echo b"
    builds.ok(dockerfile)
    text, _ = builds.ok(dockerfile, buildargs='{"UNUSED": "1"}')
    assert text.count("Using cache") == 3
    assert "[Warning] One or more build-args [UNUSED] were not consumed\n" in text
    text, _ = builds.ok(dockerfile, buildargs='{"X": "2"}')
    assert text.count("Using cache") == 2
    assert "\nb\n" in text


def test_copy_lays_files_down_as_docker_does(builds: Builds) -> None:
    files: Files = {"d/f": "f", "d/in/g": "g", "d/abs": "->/etc/passwd", "a.txt": "a", "b.txt": "b", "top": "->a.txt"}
    dockerfile = """FROM BASE
RUN mkdir -p -m 750 /ex && mkdir /ex2 && ln -s /ex2 /exl && echo old >/old && ln -s /old /fl && mkdir -p /rep/f
WORKDIR /w
COPY d /new
COPY d /ex
COPY d /exl
COPY top /top
COPY a.txt /fl
COPY d /rep
COPY *.txt /wild/
COPY --chown=app:staff --chmod=640 a.txt /own/a
COPY --exclude=in d /excluded
COPY --parents d/in/g /parents/
COPY a.txt .
COPY <<EOF /here
text
EOF
"""
    _, image = builds.ok(dockerfile, files)
    stat = builds.sh(image, "stat -c '%n %A %u:%g' /new /new/f /new/abs /ex /ex2/in/g /top /own/a /own /w/a.txt /here")
    assert stat.splitlines() == [
        "/new drwxr-xr-x 0:0",
        "/new/f -rw-r--r-- 0:0",
        "/new/abs lrwxrwxrwx 0:0",
        "/ex drwxr-x--- 0:0",
        "/ex2/in/g -rw-r--r-- 0:0",
        "/top -rw-r--r-- 0:0",
        "/own/a -rw-r----- 1000:50",
        "/own drwxr-xr-x 1000:50",
        "/w/a.txt -rw-r--r-- 0:0",
        "/here -rw-r--r-- 0:0",
    ]
    out = builds.sh(image, "cat /old /rep/f /here; ls /wild /excluded /parents/d/in")
    assert out == "aftext\n/excluded:\nabs\nf\n\n/parents/d/in:\ng\n\n/wild:\na.txt\nb.txt\n"


def test_stages_and_images_as_sources(builds: Builds) -> None:
    dockerfile = """FROM BASE AS unneeded
RUN false
FROM BASE AS made
RUN mkdir /out && echo 1 >/out/a && chmod 700 /out/a
FROM scratch AS final
COPY --from=made /out/a /a
COPY --from=BASE /bin/busybox /bin/sh
"""
    text, image = builds.ok(dockerfile)
    assert "unneeded" not in text
    assert builds.inspect(image)["RootFS"]["Layers"].__len__() == 2
    assert builds.sh(image, "echo *; [ -x /a ] && echo yes").startswith("a bin")


def test_add_unpacks_local_archives(builds: Builds) -> None:
    tar = context({"etc/new": "n", "x/y": "z"})
    dockerfile = "FROM BASE\nRUN chmod 711 /etc\nADD t.tar /\nADD t.tgz /gz/\nCOPY t.tar /plain"
    _, image = builds.ok(dockerfile, {"t.tar": tar, "t.tgz": gzip.compress(tar)})
    out = builds.sh(image, "cat /etc/new /x/y /gz/x/y; stat -c %a /etc; [ -f /plain ] && ls -d /etc/passwd")
    assert out == "nzz711\n/etc/passwd\n"


def test_run_environment_user_directory_and_mounts(builds: Builds) -> None:
    dockerfile = """FROM BASE
ARG X=arg
ENV E=env
WORKDIR /w
USER app
RUN echo $X $E $http_proxy $(pwd) $(id -u) $HOME
USER root
RUN --mount=type=bind,target=/m cat /m/f && ! touch /m/g 2>/dev/null
RUN --mount=type=bind,target=/m,rw touch /m/g && cat /m/f
RUN --mount=type=cache,target=/c echo kept >>/c/f
RUN --mount=type=cache,target=/c cat /c/f
RUN --mount=type=tmpfs,target=/t touch /t/x && stat -f -c %T /t
RUN --mount=type=secret,id=nope cat /run/secrets/nope || echo none
RUN <<EOF
echo one
echo two
EOF
RUN ls /
"""
    text, image = builds.ok(dockerfile, {"f": "bound\n"}, buildargs='{"http_proxy":"p"}')
    assert "arg env p /w 1000 /home/app\n" in text
    assert text.count("bound\n") == 2
    assert "kept\n" in text
    assert "none\n" in text
    assert "one\ntwo\n" in text
    assert builds.inspect(image)["Config"]["Env"][-1] == "E=env"
    shown = builds.sh(image, "ls /")
    assert not {"m", "c", "t"} & set(shown.split())


def test_run_leaves_no_mount_points_in_the_image(builds: Builds) -> None:
    _, image = builds.ok("FROM BASE\nRUN true", nocache="1")
    assert len(builds.inspect(image)["RootFS"]["Layers"]) == 1


def test_failing_run_has_its_code(builds: Builds) -> None:
    message = builds.fault("FROM BASE\nRUN echo before; exit 7")
    assert message["error"] == "The command '/bin/sh -c echo before; exit 7' returned a non-zero code: 7"
    assert message["errorDetail"]["code"] == 7


FAULTS = [
    (
        "FROM BASE\nCOPY nofile /x",
        "COPY failed: file not found in build context or excluded by .dockerignore: stat nofile",
    ),
    ('FROM BASE\nRUN ["nope"]', 'exec: "nope": executable file not found in $PATH'),
    ("FROM BASE\nUSER nouser\nRUN id", "unable to find user nouser: no matching entries in passwd file"),
    ("FROM scratch", "No image was generated. Is your Dockerfile empty?"),
    ("FROM BASE\nCOPY --chown=nobody1 f /b", "can't find uid for user nobody1: no such user: nobody1"),
    ("FROM BASE\nADD http://127.0.0.1:1/x /x", 'ADD failed: Get "http://127.0.0.1:1/x"'),
]


@pytest.mark.parametrize(("dockerfile", "message"), FAULTS)
def test_faults_in_the_stream(builds: Builds, dockerfile: str, message: str) -> None:
    assert message in builds.fault(dockerfile, {"f": ""})["error"]


def test_faults_before_the_stream(builds: Builds) -> None:
    good = context({"Dockerfile": "FROM scratch\nCMD a"})
    cases: list[tuple[bytes, dict[str, Any], int, str]] = [
        (
            context({"Dockerfile": "FROM a\nNOPE x"}),
            {},
            400,
            "dockerfile parse error on line 2: unknown instruction: NOPE",
        ),
        (context({"Dockerfile": ""}), {}, 400, "the Dockerfile (Dockerfile) cannot be empty"),
        (context({"a": ""}), {}, 500, "Cannot locate specified Dockerfile: Dockerfile"),
        (good, {"target": "nope"}, 400, 'target stage "nope" could not be found'),
        (good, {"dockerfile": "../x"}, 500, "forbidden path outside the build context: ../x ()"),
        (good, {"t": "Bad:"}, 500, "invalid reference format"),
        (good, {"buildargs": "{bad"}, 400, "error reading build args: invalid character 'b'"),
        (b"this is no tar" * 100, {}, 400, ""),
    ]
    for body, query, status, message in cases:
        got, answer = builds.raw(body, **query)
        assert got == status, (query, answer)
        assert isinstance(answer, dict)
        assert message in answer["message"]


def test_quiet_says_only_the_id(builds: Builds) -> None:
    messages = builds.build("FROM BASE\nRUN echo hi", q="1", nocache="1")
    assert len(messages) == 1
    assert builds.inspect(messages[0]["stream"].strip())["Id"] == messages[0]["stream"].strip()


def test_the_first_step_is_shown_before_its_image_is_pulled(builds: Builds) -> None:
    messages = builds.build("ARG A=1\nFROM 127.0.0.1:1/nothing\nRUN true")
    text = "".join(message.get("stream", "") for message in messages)
    assert text == "Step 1/3 : ARG A=1\nStep 2/3 : FROM 127.0.0.1:1/nothing\n"
    assert 'Get "http://127.0.0.1:1/v2/": dial tcp 127.0.0.1:1: connect: connection refused' in messages[-1]["error"]


def test_a_volume_is_there_for_later_steps(builds: Builds) -> None:
    _, image = builds.ok("FROM BASE\nVOLUME /v /unused\nRUN echo kept >/v/f")
    assert builds.sh(image, "cat /v/f; ls -d /unused || true").startswith("kept\n")
    assert not builds.left_over()


def test_a_step_that_cannot_be_planned_is_named(builds: Builds) -> None:
    messages = builds.build("FROM BASE\nRUN true\nEXPOSE 99999")
    text = "".join(message.get("stream", "") for message in messages)
    assert text == "Step 1/3 : FROM build-base:t\nStep 3/3 : EXPOSE 99999\n"
    assert messages[-1]["error"] == "Invalid containerPort: 99999"


def test_a_stage_cannot_copy_from_itself(builds: Builds) -> None:
    error = builds.fault("FROM BASE\nCOPY --from=0 /f /f")["error"]
    assert error == "invalid from flag value 0: refers to current build stage"


def test_quiet_shows_everything_of_a_build_that_fails(builds: Builds) -> None:
    messages = builds.build("FROM BASE\nRUN echo seen; exit 3", q="1")
    text = "".join(message.get("stream", "") for message in messages)
    assert text.startswith("Step 1/2 : FROM ") and "seen\n" in text
    assert messages[-1]["errorDetail"]["code"] == 3


def test_what_only_other_systems_have_is_refused(builds: Builds) -> None:
    body = context({"Dockerfile": f"FROM {builds.base}", "large": b"x" * 200_000})
    status, answer = builds.raw(body, isolation="hyperv")
    assert (status, answer["message"]) == (400, 'unsupported isolation: "hyperv"')  # type: ignore[call-overload]
    status, answer = builds.raw(body, securityopt='["foo"]')
    assert (status, answer["message"]) == (400, "security options are not supported on linux")  # type: ignore[call-overload]


def test_dockerignore_in_the_tar_is_honoured(builds: Builds) -> None:
    files: Files = {".dockerignore": "*.log\n!keep.log", "a.log": "", "keep.log": "", "a": ""}
    _, image = builds.ok("FROM BASE\nCOPY . /c/", files)
    assert builds.sh(image, "ls /c").split() == ["Dockerfile", "a", "keep.log"]


def test_a_client_that_leaves_stops_its_build(builds: Builds) -> None:
    engine = builds.engine
    body = context({"Dockerfile": f"FROM {builds.base}\nRUN echo started; sleep 1000"})
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(engine.socket)
    head = f"POST /build?nocache=1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    seen = b""
    while b"started" not in seen:
        seen += connection.recv(65536)
    connection.close()
    assert builds.left_over() == []


def test_stages_run_side_by_side_and_nothing_is_left(builds: Builds) -> None:
    stages = "".join(f"FROM BASE AS s{n}\nRUN sleep 1; echo {n} >/{n}\n" for n in range(3))
    copies = "".join(f"COPY --from=s{n} /{n} /\n" for n in range(3))
    start = time.monotonic()
    _, image = builds.ok(f"{stages}FROM BASE\n{copies}", nocache="1")
    assert time.monotonic() - start < 2.5
    assert builds.sh(image, "cat /0 /1 /2").split() == ["0", "1", "2"]
    assert builds.left_over() == []


def test_concurrent_builds(builds: Builds) -> None:
    seen: list[str] = []
    dockerfile = f"FROM BASE\nRUN sleep 0.5; echo {uuid.uuid4().hex} >/id"
    threads = [threading.Thread(target=lambda: seen.append(builds.ok(dockerfile)[1])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    layers = {tuple(builds.inspect(image)["RootFS"]["Layers"]) for image in seen}
    assert len(seen) == 4
    assert len(layers) == 1


def test_prune_gives_space_back_and_keeps_images(builds: Builds) -> None:
    _, image = builds.ok("FROM BASE\nRUN head -c 1000000 /dev/zero >/big", nocache="1")
    status, answer = builds.engine.api("POST", "/build/prune?all=1")
    assert status == 200
    assert answer["CachesDeleted"]
    assert builds.sh(image, "ls /big") == "/big\n"
    builds.engine.api("DELETE", f"/images/{image}?force=1")
    text, _ = builds.ok("FROM BASE\nRUN echo after prune")
    assert "Using cache" not in text
