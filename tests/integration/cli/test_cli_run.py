"""run, exec, attach: streams, exit codes, signals, terminals."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest

NONE = ("--rm", "--network", "none")


def test_streams_and_exit_code(cli: Any, image: str) -> None:
    done = cli("run", *NONE, image, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out\n", "err\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [(["nonexist"], 127), (["/etc"], 126), (["/etc/passwd"], 126), (["sh", "-c", "kill -9 $$"], 0), (["false"], 1)],
)
def test_exit_codes(cli: Any, image: str, words: list[str], code: int) -> None:
    if code == 0:  # pid 1 cannot kill itself, its child can be killed
        words, code = ["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137
    assert cli("run", *NONE, image, *words).returncode == code


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run"], 1, "'sampan run' requires at least 1 argument"),
        (["run", "--bogus"], 125, "unknown flag: --bogus"),
        (["run", "--rm", "-p", "99999:80", "x"], 125, "invalid hostPort: 99999"),
        (["run", "--pull", "never", "sampan-no-such-image"], 125, "No such image"),
        (["run", "-it", "x"], 1, "the input device is not a TTY"),
        (["exec", "sampan-no-such-container", "true"], 1, "No such container"),
        (["ps", "--filter", "bad"], 125, "want name=value"),
        (["imges"], 1, "did you mean `sampan images`?"),
        (["rename", "a"], 1, "requires 2 arguments"),
    ],
)
def test_errors(cli: Any, words: list[str], code: int, message: str) -> None:
    done = cli(*words)
    assert done.returncode == code
    assert done.stderr.startswith("sampan: ")
    assert message in done.stderr
    assert done.stdout == ""


def test_unreachable_engine_says_how_to_start_it(cli: Any) -> None:
    done = cli("-H", "unix:///nonexistent.sock", "ps")
    assert done.returncode == 1
    assert "cannot connect to the engine at unix:///nonexistent.sock" in done.stderr
    assert "sudo sampand" in done.stderr


def test_stdin_is_carried_whole_and_its_end_too(cli: Any, image: str) -> None:
    data = os.urandom(5_000_000).hex().encode()
    assert cli.out("run", *NONE, "-i", image, "cat", input=data) == data.decode()
    assert cli.out("run", *NONE, "-i", image, "sh", "-c", "cat >/dev/null; echo eof", input=b"x") == "eof"


def test_output_is_not_lost_when_input_is_endless(cli: Any, image: str) -> None:
    with open("/dev/zero", "rb") as zero:
        done = subprocess.run(
            [*cli.command, "run", *NONE, "-i", image, "echo", "done"],
            stdin=zero,
            capture_output=True,
            env=cli.environment,
            timeout=30,
            check=False,
        )
    assert done.stdout == b"done\n"


def test_signals_are_passed_on(cli: Any, image: str) -> None:
    script = "trap 'echo term; exit 42' TERM; echo ready; while :; do sleep 0.1; done"
    process = subprocess.Popen(
        [*cli.command, "run", *NONE, image, "sh", "-c", script], stdout=subprocess.PIPE, env=cli.environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.read() == b"term\n"
    assert process.wait(20) == 42
    process.stdout.close()


def test_options_reach_the_container(cli: Any, image: str) -> None:
    text = cli.out(
        "run",
        *NONE,
        "-e",
        "A=1",
        "-w",
        "/tmp",
        "-u",
        "5:6",
        "-h",
        "box",
        image,
        "sh",
        "-c",
        "echo $A; pwd; id -u; id -g; cat /proc/sys/kernel/hostname",
    )
    assert text.split("\n") == ["1", "/tmp", "5", "6", "box"]


def test_detached_then_logs_wait_and_rm(cli: Any, image: str) -> None:
    name = cli.name()
    identity = cli.out(
        "run", "-d", "--network", "none", "--name", name, image, "sh", "-c", "echo a; echo b >&2; exit 3"
    )
    assert len(identity) == 64
    assert cli.out("wait", name) == "3"
    done = cli("logs", name)
    assert (done.stdout, done.stderr) == ("a\n", "b\n")
    assert cli("logs", "--tail", "1", name).stdout + cli("logs", "--tail", "1", name).stderr in ("a\n", "b\n")
    assert cli.out("rm", name) == name
    assert cli("inspect", name).returncode == 1


def test_exec(cli: Any) -> None:
    name = cli.start("-e", "A=1")
    assert cli.out("exec", "-e", "B=2", "-w", "/tmp", name, "sh", "-c", "echo $A$B; pwd") == "12\n/tmp"
    assert cli("exec", name, "sh", "-c", "exit 3").returncode == 3
    assert cli.out("exec", "-i", name, "cat", input=b"in") == "in"
    assert cli("exec", name, "nonexist").returncode in (126, 127)
    assert cli("exec", "-d", name, "sleep", "1").returncode == 0


def test_terminal(cli: Any, image: str) -> None:
    name = cli.name()
    shell = cli.terminal("run", "-it", "--network", "none", "--name", name, image, "sh", rows=33, columns=101)
    shell.expect("# ")
    shell.type("stty size\r")
    shell.expect("33 101")
    shell.resize(44, 120)
    time.sleep(0.5)
    shell.type("stty size\r")
    shell.expect("44 120")
    shell.type("sleep 100\r")
    time.sleep(0.3)
    shell.type("\x03")
    shell.expect("# ")
    shell.type("\x10\x11")
    assert shell.exit_code() == 0
    assert cli.out("inspect", "-f", "{{.State.Running}}", name) == "true"
    again = cli.terminal("attach", name, rows=30, columns=90)
    time.sleep(0.5)
    again.type("stty size\r")
    again.expect("30 90")
    again.type("exit 5\r")
    assert again.exit_code() == 5
    third = cli.terminal("start", "-ai", name)
    third.expect("# ")
    third.type("echo a\x10b\r")  # one key of the sequence alone is passed on
    third.type("exit 3\r")
    assert third.exit_code() == 3


def test_exec_terminal(cli: Any) -> None:
    name = cli.start()
    shell = cli.terminal("exec", "-it", name, "sh", rows=21, columns=77)
    shell.expect("# ")
    shell.type("stty size\r")
    shell.expect("21 77")
    shell.type("exit 4\r")
    assert shell.exit_code() == 4


def test_own_detach_keys(cli: Any, image: str) -> None:
    name = cli.name()
    shell = cli.terminal("run", "-it", "--detach-keys", "ctrl-x,q", "--network", "none", "--name", name, image, "sh")
    shell.expect("# ")
    shell.type("\x18q")
    assert shell.exit_code() == 0
    assert cli.out("ps", "-q", "--filter", f"name={name}") != ""


def test_attach_without_terminal(cli: Any, image: str) -> None:
    name = cli.name()
    script = "while ! test -e /go; do sleep 0.1; done; echo late; exit 6"
    cli("run", "-d", "--network", "none", "--name", name, image, "sh", "-c", script, check=True)
    process = subprocess.Popen(
        [*cli.command, "attach", name], stdout=subprocess.PIPE, env=cli.environment, stdin=subprocess.DEVNULL
    )
    time.sleep(0.5)
    cli("exec", name, "touch", "/go", check=True)
    assert process.communicate(timeout=20)[0] == b"late\n"
    assert process.returncode == 6
