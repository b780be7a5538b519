from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.build.evaluate import absolute
from sampan.build.mounts import parse_mount
from sampan.build.nodes import Base, Copy, Directory, Layer, Run
from sampan.build.options import BuildOptions
from sampan.build.plan import BaseImage, Plan, make_plan
from sampan.build.state import exposed_ports
from sampan.errors import InvalidArgument, NotFound, SampanError
from sampan.spec.dockerfile.parser import parse
from sampan.spec.dockerfile.stages import build_stages
from sampan.types.platform import Platform

PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAYER = Layer("sha256:" + "a" * 64, "sha256:" + "b" * 64, 7)
IMAGES: dict[str, dict[str, Any]] = {
    "base": {"config": {"Cmd": ["base-cmd"], "Entrypoint": ["base-entry"], "Env": ["A=1"]}},
    "trigger": {"config": {"OnBuild": ["RUN echo $A", "ENV T=1"]}},
}


def plan(text: str, **options: Any) -> Plan:
    async def resolve(name: str, platform: str) -> BaseImage:
        if name not in IMAGES:
            raise NotFound(f"No such image: {name}")
        return BaseImage(f"sha256:{name}", IMAGES[name], (LAYER,), Platform.parse("linux/amd64"))

    return asyncio.run(make_plan(build_stages(parse(text.encode())), BuildOptions(**options), resolve))


def config(text: str, **options: Any) -> dict[str, Any]:
    return plan(text, **options).target.state.config


def history(text: str, **options: Any) -> list[str]:
    return [step.created_by for step in plan(text, **options).target.steps]


def test_entrypoint_forgets_an_inherited_cmd_only() -> None:
    assert config('FROM base\nENTRYPOINT ["x"]')["Cmd"] is None
    assert config('FROM base\nCMD ["c"]\nENTRYPOINT ["x"]')["Cmd"] == ["c"]
    assert config('FROM base\nENTRYPOINT ["x"]\nCMD ["c"]')["Cmd"] == ["c"]
    assert config('FROM base AS a\nCMD ["c"]\nFROM a\nENTRYPOINT ["x"]')["Cmd"] is None


def test_shell_form_uses_the_stages_shell() -> None:
    assert config('FROM base\nSHELL ["/bin/bash", "-ec"]\nCMD echo hi')["Cmd"] == ["/bin/bash", "-ec", "echo hi"]
    step = plan('FROM base\nSHELL ["/b", "-c"]\nRUN x y').target.steps[-1]
    assert isinstance(step.node, Run)
    assert step.node.arguments == ("/b", "-c", "x y")


def test_env_sees_the_environment_before_its_line() -> None:
    assert config("FROM base\nENV a=hello\nENV a=bye b=$a\nENV c=$a")["Env"][-3:] == ["a=bye", "b=hello", "c=bye"]


def test_args_have_the_scope_that_docker_documents() -> None:
    text = "ARG v=1\nARG unused\nFROM base\nRUN a\nARG v\nARG w=$v\nRUN b\nENV w=env\nRUN c"
    runs = [step.node for step in plan(text, build_args={"unused": "x"}).target.steps if isinstance(step.node, Run)]
    assert [node.environment[2:] for node in runs] == [(), ("v=1", "w=1"), ("w=env", "v=1")]
    assert history(text, build_args={"v": "9"})[3] == "|2 v=9 w=9 /bin/sh -c b"


def test_proxies_reach_run_unseen() -> None:
    made = plan("FROM base\nRUN x", build_args={"http_proxy": "p", "nope": "1"})
    node = made.target.node
    assert isinstance(node, Run)
    assert node.hidden_environment == {"http_proxy": "p"}
    assert made.target.steps[0].created_by == "/bin/sh -c x"
    assert made.unconsumed == ["nope"]


def test_from_sees_global_and_platform_arguments() -> None:
    assert plan("ARG b=base\nFROM --platform=$BUILDPLATFORM $b").target.base is not None
    assert config("FROM base\nARG TARGETARCH\nENV x=$TARGETARCH", platform="linux/arm64")["Env"][-1] == "x=arm64"


def test_stages_that_the_target_does_not_need_are_not_planned() -> None:
    text = "FROM base AS a\nFROM nowhere AS b\nFROM base AS c\nCOPY --from=a /x /y\n"
    text += "FROM base AS d\nRUN --mount=from=c,target=/m x"
    assert [stage.name for stage in plan(text).stages] == ["a", "c", "d"]
    assert [stage.name for stage in plan(text, target="c").stages] == ["a", "c"]
    assert [stage.name for stage in plan(text, target="0").stages] == ["a"]
    with pytest.raises(InvalidArgument, match='target stage "zz" could not be found'):
        plan(text, target="zz")


def test_onbuild_triggers_run_first_and_are_not_inherited() -> None:
    made = plan("FROM trigger\nCMD x").target
    assert [(step.text, step.is_trigger) for step in made.steps] == [
        ("RUN echo $A", True),
        ("ENV T=1", True),
        ("CMD x", False),
    ]
    assert made.state.config["OnBuild"] is None


HISTORY = [
    ("ENV a=b c=d", "/bin/sh -c #(nop)  ENV a=b c=d"),
    ('LABEL x="y z"', "/bin/sh -c #(nop)  LABEL x=y z"),
    ("WORKDIR sub", "/bin/sh -c #(nop) WORKDIR /sub"),
    ("EXPOSE 80 443/tcp 53/udp", "/bin/sh -c #(nop)  EXPOSE 443/tcp 53/udp 80"),
    ("VOLUME /a /b", "/bin/sh -c #(nop)  VOLUME [/a /b]"),
    ('ENTRYPOINT ["a\\"b"]', '/bin/sh -c #(nop)  ENTRYPOINT ["a\\"b"]'),
    ("STOPSIGNAL SIGTERM", "/bin/sh -c #(nop)  STOPSIGNAL SIGTERM"),
    ('SHELL ["/bin/sh", "-e"]', "/bin/sh -e #(nop)  SHELL [/bin/sh -e]"),
    ("ONBUILD RUN x", "/bin/sh -c #(nop)  ONBUILD RUN x"),
    ("MAINTAINER me", "/bin/sh -c #(nop)  MAINTAINER me"),
    (
        "HEALTHCHECK --interval=30s --timeout=3s --retries=3 CMD exit 0",
        '/bin/sh -c #(nop)  HEALTHCHECK &{["CMD-SHELL" "exit 0"] "30s" "3s" "0s" "0s" \'\\x03\'}',
    ),
    ("ARG x=1", "/bin/sh -c #(nop)  ARG x=1"),
    ("USER app", "/bin/sh -c #(nop)  USER app"),
    ("COPY --chown=1:2 a /b", "/bin/sh -c #(nop) COPY --chown=1:2 \0source\0 in /b "),
]


@pytest.mark.parametrize(("line", "created_by"), HISTORY)
def test_history_is_written_as_dockerd_writes_it(line: str, created_by: str) -> None:
    assert history(f"FROM base\n{line}") == [created_by]


def test_request_labels_are_the_last_steps() -> None:
    made = plan("FROM base\nLABEL a=0 b=$A", labels={"z": "$A", "a": "2"}).target
    assert made.state.config["Labels"] == {"a": "2", "b": "1", "z": "$A"}
    assert [step.text for step in made.steps[-2:]] == ["LABEL a=2", "LABEL z=$A"]


def test_scratch_has_no_layers_and_a_default_path() -> None:
    made = plan("FROM scratch\nCOPY a /\nWORKDIR /w").target
    assert made.state.config["Env"] == [PATH]
    assert isinstance(made.node, Directory)
    assert isinstance(made.node.parent, Copy)
    assert isinstance(made.node.parent.parent, Base)
    assert made.node.parent.parent.layers == ()


def test_heredocs_expand_unless_quoted() -> None:
    step = plan("FROM base\nCOPY <<a <<'b' /d/\n$A \"q\"\na\n$A\nb\n").target.steps[0]
    assert isinstance(step.node, Copy)
    assert [(inline.name, inline.content) for inline in step.node.inline] == [("a", b'1 "q"\n'), ("b", b"$A\n")]


FAULTS = [
    ("FROM ${X}", "base name (${X}) should not be blank"),
    ("FROM base AS a\nFROM base AS a\nCOPY --from=0 x y", "a stage name already used"),
    ("FROM base\nSTOPSIGNAL FOO", "invalid signal: FOO"),
    ("FROM base\nEXPOSE abc", "Invalid containerPort: abc"),
    ("FROM base\nEXPOSE 99999", "Invalid containerPort: 99999"),
    ("FROM base\nWORKDIR $nope", "cannot normalize nothing"),
    (
        "FROM base\nCOPY a b c",
        "When using COPY with more than one source file, the destination must be a directory and end with a /",
    ),
    ("FROM base\nCOPY --from=nostage /a /b", "invalid from flag value nostage: No such image: nostage"),
    ("FROM base\nRUN --mount=type=bnd,target=/x y", 'unsupported mount type "bnd" (did you mean bind?)'),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_faults_have_dockers_words(text: str, message: str) -> None:
    with pytest.raises(SampanError) as caught:
        plan(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("directory", "path", "expected"),
    [
        ("/w", ".", "/w/"),
        ("/w", "a", "/w/a"),
        ("/w", "a/", "/w/a/"),
        ("/w", "/a/../b", "/b"),
        ("/", "..", "/"),
        ("/w", "../x/.", "/x/"),
    ],
)
def test_destinations(directory: str, path: str, expected: str) -> None:
    assert absolute(directory, path) == expected


def test_ports() -> None:
    assert exposed_ports("80-82/udp") == ["80/udp", "81/udp", "82/udp"]
    assert exposed_ports("127.0.0.1:8080:80") == ["80/tcp"]


def test_mount_fields() -> None:
    cache = parse_mount("type=cache,target=x,sharing=locked,mode=0700,uid=5", "/w")
    assert (cache.target, cache.identity, cache.sharing, cache.mode, cache.uid) == ("/w/x", "/w/x", "locked", 0o700, 5)
    bind = parse_mount("src=a,dst=/b,from=s,rw", "/")
    assert (bind.kind, bind.source, bind.stage, bind.read_only) == ("bind", "a", "s", False)
    secret = parse_mount("type=secret,id=k,required", "/")
    assert (secret.target, secret.required, secret.mode) == ("/run/secrets/k", True, 0o400)
    tmpfs = parse_mount("type=tmpfs,target=/t,size=2m", "/")
    assert tmpfs.size_bytes == 2 << 20
    for bad in ("type=cache", "target=/x,frm=y", "type=cache,target=/x,sharing=no"):
        with pytest.raises(InvalidArgument):
            parse_mount(bad, "/")
