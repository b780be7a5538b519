from __future__ import annotations

import pytest

from sampan.spec.dockerfile.parser import DockerfileError, Document, parse
from sampan.spec.dockerfile.stages import Dockerfile, build_stages
from sampan.spec.dockerfile.syntax import Copy, Healthcheck, Onbuild, Pairs, Run


def lines(text: str) -> list[tuple[str, str]]:
    return [(line.keyword, line.rest) for line in parse(text.encode()).lines]


def stages(text: str) -> Dockerfile:
    return build_stages(parse(text.encode()))


def only(text: str) -> object:
    return stages("FROM scratch\n" + text).stages[0].body[0]


def test_continuations_comments_and_empty_lines() -> None:
    text = "# c\nFROM a\n\nRUN x \\\n# inside\n  && y \\  \n\n  z\nRUN a\\\\\nRUN c"
    assert lines(text) == [("FROM", "a"), ("RUN", "x   && y   z"), ("RUN", "a\\\\"), ("RUN", "c")]
    assert "Empty continuation line found in: RUN x" in parse(text.encode()).warnings[0]


def test_line_numbers_survive_continuations() -> None:
    document = parse(b"FROM a\nRUN b \\\n c\nRUN d\n")
    assert [(line.first, line.last) for line in document.lines] == [(1, 1), (2, 3), (4, 4)]


def test_windows_line_ends_and_bom() -> None:
    assert lines("\ufeffFROM a\r\nRUN x \\\r\n y\r\n") == [("FROM", "a"), ("RUN", "x  y")]


def test_directives() -> None:
    document: Document = parse(b"# syntax = docker/dockerfile:1\n#escape=`\nFROM a\nRUN b `\n c\\\n")
    assert document.escape == "`"
    assert document.directives["syntax"] == "docker/dockerfile:1"
    assert document.lines[1].rest == "b  c\\"
    assert parse(b"# hello\n# escape=`\nFROM a\n").escape == "\\"


def test_heredocs() -> None:
    run = only("RUN <<EOF\necho $X\nEOF\nRUN y")
    assert isinstance(run, Run)
    assert run.command.words == ["echo $X\n"]
    run = only("RUN <<-'E'\n\techo a\n\tE\n")
    assert isinstance(run, Run)
    assert run.command.words == ["echo a\n"]
    assert not run.line.heredocs[0].expand
    run = only("RUN cat <<A >x 3<<B\n1\nA\n2\nB\n")
    assert isinstance(run, Run)
    assert run.command.words == ["cat <<A >x 3<<B\n1\nA\n2\nB\n"]
    copy = only('COPY a <<x <<"y" /dst/\nbody $v\nx\nq\ny\n')
    assert isinstance(copy, Copy)
    assert copy.sources == ["a"]
    assert [(h.name, h.content, h.expand) for h in copy.heredocs] == [("x", "body $v\n", True), ("y", "q\n", False)]
    assert copy.destination == "/dst/"


def test_a_shift_is_no_heredoc() -> None:
    run = only("RUN echo $((1 << 2)) '<<EOF'")
    assert isinstance(run, Run)
    assert run.line.heredocs == []


def test_exec_and_shell_forms() -> None:
    run = only('RUN --mount=type=cache,target=/x --network=none ["a", "b c"]')
    assert isinstance(run, Run)
    assert (run.command.words, run.command.is_shell) == (["a", "b c"], False)
    assert (run.mounts, run.network) == (["type=cache,target=/x"], "none")
    run = only("RUN [ -f x ] && y")
    assert isinstance(run, Run)
    assert (run.command.words, run.command.is_shell) == (["[ -f x ] && y"], True)


def test_copy_flags() -> None:
    copy = only("COPY --from=b --chown=a:b --chmod=u=rwX --link --exclude=*.o --exclude=x a b /c/")
    assert isinstance(copy, Copy)
    assert (copy.source_stage, copy.chown, copy.chmod, copy.link) == ("b", "a:b", "u=rwX", True)
    assert copy.exclude == ["*.o", "x"]
    assert copy.sources == ["a", "b"]
    spaced = only('COPY ["a b", "/c d/"]')
    assert isinstance(spaced, Copy)
    assert (spaced.sources, spaced.destination) == (["a b"], "/c d/")


def test_env_forms() -> None:
    env = only('ENV a=b c="d e" f=g\\ h "i j"=k')
    assert isinstance(env, Pairs)
    assert env.pairs == [("a", "b"), ("c", '"d e"'), ("f", "g\\ h"), ('"i j"', "k")]
    env = only("ENV a b  c=d")
    assert isinstance(env, Pairs)
    assert env.pairs == [("a", "b  c=d")]


def test_healthcheck() -> None:
    check = only("HEALTHCHECK --interval=1m30s --retries=3 CMD exit 0")
    assert isinstance(check, Healthcheck)
    assert (check.test, check.interval_ns, check.retries) == (["CMD-SHELL", "exit 0"], 90 * 10**9, 3)
    check = only('HEALTHCHECK CMD ["a","b"]')
    assert isinstance(check, Healthcheck)
    assert check.test == ["CMD", "a", "b"]


def test_onbuild_keeps_its_expression() -> None:
    trigger = only("onbuild  RUN  echo a")
    assert isinstance(trigger, Onbuild)
    assert trigger.expression == "RUN  echo a"


def test_stages_by_name_and_number() -> None:
    file = stages("ARG v=1\nFROM a AS One\nRUN x\nFROM --platform=linux/arm64 b\nFROM one AS two\n")
    assert [(stage.number, stage.name, stage.start.base) for stage in file.stages] == [
        (0, "one", "a"),
        (1, "", "b"),
        (2, "two", "one"),
    ]
    assert file.find("ONE") is file.stages[0]
    assert file.find("1") is file.stages[1]
    assert file.find("two", before=2) is None
    assert file.find("7") is None


FAULTS = [
    ("FROM a\nNOPE x", "dockerfile parse error on line 2: unknown instruction: NOPE (did you mean COPY?)"),
    ("# only", "failed to parse Dockerfile: file with no instructions"),
    ("FROM a\nENV a", "failed to parse Dockerfile: ENV must have two arguments"),
    (
        "FROM a\nENV a=b c",
        'failed to parse Dockerfile: Syntax error - can\'t find = in "c". Must be of the form: name=value',
    ),
    ("FROM a\nFROM a b", "dockerfile parse error on line 2: FROM requires either one or three arguments"),
    ("FROM a\n\n\nCOPY --foo=1 a b", "dockerfile parse error on line 4: unknown flag: foo (did you mean from?)"),
    ("RUN x", "no build stage in current context"),
    ("FROM a\nONBUILD FROM x", "dockerfile parse error on line 2: FROM isn't allowed as an ONBUILD trigger"),
    ("FROM a\nHEALTHCHECK x", 'dockerfile parse error on line 2: Unknown type "X" in HEALTHCHECK (try CMD)'),
    ("FROM a\nSHELL x", "dockerfile parse error on line 2: SHELL requires the arguments to be in JSON form"),
    ("FROM a\nRUN <<EOF\nx", "failed to parse Dockerfile: unterminated heredoc"),
    ("# escape=x\nFROM a", "failed to parse Dockerfile: invalid escape token 'x' does not match ` or \\"),
    (
        'FROM a\nRUN ["a", 1]',
        "failed to parse Dockerfile: when using JSON array syntax, arrays must be comprised of strings only",
    ),
    ("FROM a AS 1a", None),
    ("FROM a\nWORKDIR", "dockerfile parse error on line 2: WORKDIR requires exactly one argument"),
    ("FROM a\nRUN --mount x", "dockerfile parse error on line 2: missing a value on flag: mount"),
    ("FROM a\nHEALTHCHECK --interval=5 CMD x", 'dockerfile parse error on line 2: time: missing unit in duration "5"'),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_faults_have_dockers_words(text: str, message: str | None) -> None:
    with pytest.raises(DockerfileError) as caught:
        stages(text)
    if message is not None:
        assert str(caught.value) == message
