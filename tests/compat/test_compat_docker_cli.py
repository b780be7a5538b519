"""The unchanged docker CLI against the engine: what a Docker user types, and what must come back."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import EngineProcess

pytestmark = pytest.mark.usefixtures("docker_cli")


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "timed out"
        time.sleep(0.02)


def test_version_and_info(engine: EngineProcess) -> None:
    assert "Sampan" in ok(engine.docker("version"))
    assert ok(engine.docker("info", "--format", "{{.Driver}} {{.OSType}}")) == "overlay2 linux\n"


@pytest.mark.parametrize("network", ["none", "bridge", "host"])
def test_run_prints_and_leaves_nothing(engine: EngineProcess, network: str) -> None:
    assert ok(engine.docker("run", "--rm", "--network", network, "busybox", "echo", "hi")) == "hi\n"
    assert ok(engine.docker("ps", "-aq")) == ""


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "sleep 9 & kill -9 $!; wait $!"], 137),
        (["/no/such"], 127),
        (["no-such"], 127),
        (["/etc"], 126),
    ],
)
def test_exit_codes(engine: EngineProcess, command: list[str], code: int) -> None:
    assert engine.docker("run", "--rm", "busybox", *command).returncode == code
    assert ok(engine.docker("ps", "-aq")) == ""


def test_a_killed_container_is_137(engine: EngineProcess) -> None:
    made = ok(engine.docker("run", "-d", "busybox", "sleep", "60")).strip()
    ok(engine.docker("kill", made))
    assert ok(engine.docker("inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", made)).split() == [
        "137",
        "false",
    ]


def test_unknown_image_and_flag_are_125(engine: EngineProcess) -> None:
    assert engine.docker("run", "--rm", "--pull", "never", "no-such-image:1", "true").returncode == 125
    assert engine.docker("run", "--memory", "1m", "busybox", "true").returncode == 125


def test_stdin_stdout_stderr(engine: EngineProcess) -> None:
    done = engine.docker("run", "-i", "--rm", "busybox", "sh", "-c", "cat; echo err >&2", input=b"through\n")
    assert (done.stdout, done.stderr) == ("through\n", "err\n")


def test_megabytes_through_attach(engine: EngineProcess) -> None:
    data = os.urandom(1 << 20) * 20
    environment = {**os.environ, "DOCKER_HOST": engine.host}
    command = ["docker", "run", "-i", "--rm", "busybox", "cat"]
    done = subprocess.run(command, input=data, capture_output=True, timeout=60, env=environment, check=True)
    assert done.stdout == data


def test_environment_user_workdir_hostname(engine: EngineProcess, tmp_path: Path) -> None:
    env_file = tmp_path / "env"
    env_file.write_text("FROM_FILE=1\n")
    flags = [
        "-e",
        "A=b",
        "--env-file",
        str(env_file),
        "-u",
        "1000:1001",
        "-w",
        "/tmp",
        "--hostname",
        "boat",
        "--name",
        "envs",
    ]
    out = ok(
        engine.docker("run", "--rm", *flags, "busybox", "sh", "-c", "echo $A $FROM_FILE; id -u; id -g; pwd; hostname")
    )
    assert out.split() == ["b", "1", "1000", "1001", "/tmp", "boat"]


def test_limits_are_set(engine: EngineProcess) -> None:
    flags = ["--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "--ulimit", "nofile=100:200"]
    made = ok(engine.docker("run", "-d", *flags, "busybox", "sleep", "60")).strip()
    wanted = "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}"
    assert ok(engine.docker("inspect", "-f", wanted, made)).split() == [str(64 << 20), "500000000", "50"]
    assert ok(engine.docker("exec", made, "sh", "-c", "ulimit -n")).strip() == "100"


def test_out_of_memory_is_told(engine: EngineProcess) -> None:
    eater = "a=xxxxxxxx; while true; do a=$a$a; done"
    done = engine.docker("run", "--name", "hog", "--memory", "16m", "busybox", "sh", "-c", eater)
    assert done.returncode == 137
    assert ok(engine.docker("inspect", "-f", "{{.State.OOMKilled}}", "hog")).strip() == "true"


def test_fork_bomb_stays_inside(engine: EngineProcess) -> None:
    out = engine.docker(
        "run", "--rm", "--pids-limit", "20", "busybox", "sh", "-c", "for i in $(seq 50); do sleep 1 & done; wait"
    )
    assert "fork" in out.stderr or out.returncode != 0


def test_binds_volumes_tmpfs(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bound")
    bind = f"{tmp_path}:/mnt:ro"
    assert ok(engine.docker("run", "--rm", "-v", bind, "busybox", "cat", "/mnt/file")) == "bound"
    assert engine.docker("run", "--rm", "-v", bind, "busybox", "touch", "/mnt/x").returncode != 0
    ok(engine.docker("run", "--rm", "-v", "keep:/data", "busybox", "sh", "-c", "echo kept > /data/x"))
    mount = "type=volume,src=keep,dst=/d,readonly"
    assert ok(engine.docker("run", "--rm", "--mount", mount, "busybox", "cat", "/d/x")) == "kept\n"
    ok(engine.docker("volume", "rm", "keep"))
    out = ok(engine.docker("run", "--rm", "--tmpfs", "/t:size=1m,mode=1777", "busybox", "grep", " /t ", "/proc/mounts"))
    assert "tmpfs" in out and "size=1024k" in out
    missing = engine.docker("run", "--rm", "--mount", "type=bind,src=/no/such,dst=/x", "busybox", "true")
    assert missing.returncode == 125 and "bind source path does not exist: /no/such" in missing.stderr


def test_read_only_root(engine: EngineProcess) -> None:
    assert engine.docker("run", "--rm", "--read-only", "busybox", "touch", "/x").returncode == 1


def test_capabilities_and_privileged(engine: EngineProcess) -> None:
    def caps(*flags: str) -> str:
        return ok(engine.docker("run", "--rm", *flags, "busybox", "grep", "CapEff", "/proc/self/status")).split()[1]

    assert caps() == "00000000a80425fb"  # Docker's fourteen
    assert caps("--cap-drop", "ALL") == "0" * 16
    assert caps("--cap-drop", "ALL", "--cap-add", "NET_ADMIN") == "0000000000001000"
    assert int(caps("--privileged"), 16) > 0xA80425FB
    bad = engine.docker("run", "--rm", "--cap-add", "NO_SUCH", "busybox", "true")
    assert bad.returncode == 125 and "NO_SUCH" in bad.stderr


def test_init_reaps(engine: EngineProcess) -> None:
    made = ok(engine.docker("run", "-d", "--init", "busybox", "sh", "-c", "(sleep 0.1 &) ; sleep 60")).strip()
    time.sleep(0.5)
    assert " Z" not in ok(engine.docker("exec", made, "ps"))
    start = time.monotonic()
    ok(engine.docker("stop", made))
    assert time.monotonic() - start < 5  # init passes SIGTERM on


def test_life_of_a_container(engine: EngineProcess) -> None:
    made = ok(engine.docker("create", "--name", "life", "busybox", "sleep", "60")).strip()
    state = ["inspect", "-f", "{{.State.Status}}", "life"]
    assert ok(engine.docker(*state)).strip() == "created"
    assert ok(engine.docker("start", "life")).strip() == "life"
    assert ok(engine.docker(*state)).strip() == "running"
    ok(engine.docker("pause", "life"))
    assert ok(engine.docker(*state)).strip() == "paused"
    ok(engine.docker("unpause", "life"))
    ok(engine.docker("rename", "life", "renamed"))
    refused = engine.docker("rm", "renamed")
    assert (
        refused.returncode == 1
        and "container is running: stop the container before removing or force remove" in refused.stderr
    )
    ok(engine.docker("kill", "-s", "KILL", "renamed"))
    assert ok(engine.docker("wait", "renamed")).strip() == "137"
    ok(engine.docker("restart", "-t", "0", "renamed"))
    ok(engine.docker("stop", "-t", "0", "renamed"))
    assert ok(engine.docker("ps", "-aq", "--no-trunc", "--filter", "status=exited")).strip() == made
    ok(engine.docker("rm", "renamed"))
    assert engine.docker("inspect", made).returncode == 1


def test_restart_policy(engine: EngineProcess) -> None:
    ok(engine.docker("run", "-d", "--name", "again", "--restart", "on-failure:2", "busybox", "false"))
    until(
        lambda: (
            ok(engine.docker("inspect", "-f", "{{.State.Status}} {{.RestartCount}}", "again")).split()
            == ["exited", "2"]
        )
    )


def test_logs(engine: EngineProcess) -> None:
    made = ok(
        engine.docker("run", "-d", "busybox", "sh", "-c", "echo one; echo two >&2; sleep 0.3; echo three")
    ).strip()
    followed = engine.docker("logs", "-f", made)
    assert (followed.stdout, followed.stderr) == ("one\nthree\n", "two\n")
    assert ok(engine.docker("logs", "--tail", "1", made)) == "three\n"
    stamped = ok(engine.docker("logs", "-t", "--tail", "1", made))
    assert stamped.endswith(" three\n") and stamped[:4].isdigit()
    assert ok(engine.docker("logs", "--since", "1h", made)) == "one\nthree\n"
    assert ok(engine.docker("logs", "--until", "1h", made)) == ""


def test_exec(engine: EngineProcess) -> None:
    ok(engine.docker("run", "-d", "--name", "target", "busybox", "sleep", "60"))
    out = ok(engine.docker("exec", "-e", "A=1", "-w", "/tmp", "-u", "7", "target", "sh", "-c", "echo $A; pwd; id -u"))
    assert out.split() == ["1", "/tmp", "7"]
    assert ok(engine.docker("exec", "-i", "target", "cat", input=b"in")) == "in"
    assert engine.docker("exec", "target", "sh", "-c", "exit 9").returncode == 9
    missing = engine.docker("exec", "target", "no-such")
    assert missing.returncode == 127 and "executable file not found" in missing.stdout + missing.stderr
    ok(engine.docker("exec", "-d", "target", "touch", "/detached"))
    until(lambda: engine.docker("exec", "target", "test", "-e", "/detached").returncode == 0)


def test_top_stats_diff_port(engine: EngineProcess) -> None:
    ok(
        engine.docker(
            "run", "-d", "--name", "look", "-p", "127.0.0.1::80/tcp", "busybox", "sh", "-c", "touch /new; sleep 60"
        )
    )
    until(lambda: "A /new" in ok(engine.docker("diff", "look")))
    assert ok(engine.docker("diff", "look")) == "A /new\n"
    assert "sleep 60" in ok(engine.docker("top", "look"))
    assert ok(engine.docker("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "look")).split()[0] == "look"
    assert ok(engine.docker("port", "look", "80/tcp")).startswith("127.0.0.1:")


def test_cp_both_ways(engine: EngineProcess, tmp_path: Path) -> None:
    ok(engine.docker("run", "-d", "--name", "files", "busybox", "sleep", "60"))
    ok(engine.docker("create", "--name", "still", "busybox", "true"))
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_text("content")
    for name in ("files", "still"):
        ok(engine.docker("cp", str(source), f"{name}:/tmp/"))
        ok(engine.docker("cp", f"{name}:/tmp/source/sub", str(tmp_path / name)))
        assert (tmp_path / name / "file").read_text() == "content"
        archive = engine.docker("cp", f"{name}:/tmp/source/sub/file", "-")
        assert "content" in ok(archive)
        missing = engine.docker("cp", f"{name}:/no/such", str(tmp_path))
        assert missing.returncode == 1 and "Could not find the file /no/such in container" in missing.stderr


def test_published_ports(engine: EngineProcess) -> None:
    server = "while true; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\nhello' | nc -l -p 80 >/dev/null; done"
    ok(engine.docker("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sh", "-c", server))
    address = ok(engine.docker("port", "web", "80/tcp")).strip()

    def answered() -> bool:
        try:
            with urllib.request.urlopen(f"http://{address}/", timeout=2) as answer:
                return bool(answer.read() == b"hello")
        except OSError:
            return False

    until(answered)
    taken = engine.docker("run", "-d", "--name", "second", "-p", f"{address}:80", "busybox", "sleep", "1")
    assert taken.returncode == 125 and "port is already allocated" in taken.stderr


def test_containers_reach_each_other(engine: EngineProcess) -> None:
    ok(engine.docker("run", "-d", "--name", "one", "busybox", "sleep", "60"))
    address = ok(engine.docker("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "one")).strip()
    ok(engine.docker("run", "--rm", "busybox", "ping", "-c", "1", "-W", "2", address))
    ok(engine.docker("run", "--rm", "--network", "container:one", "busybox", "ping", "-c", "1", "-W", "2", "127.0.0.1"))


def test_events(engine: EngineProcess) -> None:
    lines: list[str] = []
    environment = {**os.environ, "DOCKER_HOST": engine.host}
    command = ["docker", "events", "--format", "{{.Action}}", "--filter", "type=container"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        stdout = watcher.stdout
        reader = threading.Thread(target=lambda: lines.extend(line.strip() for line in stdout))
        reader.start()
        time.sleep(0.3)
        ok(engine.docker("run", "--rm", "busybox", "true"))
        until(lambda: "destroy" in lines)
        watcher.terminate()
        reader.join()
    assert [line for line in lines if line in ("create", "start", "die", "destroy")] == [
        "create",
        "start",
        "die",
        "destroy",
    ]


def test_images_tag_history_rmi(engine: EngineProcess) -> None:
    ok(engine.docker("tag", "busybox", "mine:1"))
    assert "mine:1" in ok(engine.docker("images", "--format", "{{.Repository}}:{{.Tag}}"))
    assert ok(engine.docker("history", "-q", "busybox"))
    assert "Untagged: mine:1" in ok(engine.docker("rmi", "mine:1"))
    ok(engine.docker("run", "-d", "busybox", "sleep", "60"))
    image = ok(engine.docker("inspect", "-f", "{{.Id}}", "busybox")).strip()
    refused = engine.docker("rmi", image)
    assert refused.returncode == 1 and "image is being used by running container" in refused.stderr


def test_save_load_export_import_commit(engine: EngineProcess, tmp_path: Path) -> None:
    ok(engine.docker("run", "--name", "made", "busybox", "sh", "-c", "echo state > /state"))
    ok(engine.docker("commit", "-c", 'CMD ["cat", "/state"]', "made", "committed:1"))
    assert ok(engine.docker("run", "--rm", "committed:1")) == "state\n"
    archive = tmp_path / "image.tar"
    ok(engine.docker("save", "-o", str(archive), "committed:1"))
    ok(engine.docker("rmi", "-f", "committed:1"))
    assert "Loaded image: committed:1" in ok(engine.docker("load", "-i", str(archive)))
    assert ok(engine.docker("run", "--rm", "committed:1")) == "state\n"
    flat = tmp_path / "flat.tar"
    ok(engine.docker("export", "-o", str(flat), "made"))
    with tarfile.open(flat) as tar:
        assert "state" in [name.lstrip("./") for name in tar.getnames()]
    ok(engine.docker("import", str(flat), "flat:1"))
    assert ok(engine.docker("run", "--rm", "flat:1", "cat", "/state")) == "state\n"
    ok(engine.docker("rmi", "-f", "committed:1", "flat:1"))


def test_classic_build(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE=busybox\nFROM $BASE AS one\nRUN echo built > /file\nFROM busybox\nCOPY --from=one /file /copied\n"
        "COPY local /\nENV A=1\nWORKDIR /w\nCMD cat /copied /local\n"
    )
    (tmp_path / "local").write_text("from context\n")
    assert "Successfully tagged built:1" in ok(engine.docker("build", "-t", "built:1", str(tmp_path)))
    assert ok(engine.docker("run", "--rm", "built:1")) == "built\nfrom context\n"
    assert "Using cache" in ok(engine.docker("build", "-t", "built:1", str(tmp_path)))
    (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN exit 3\n")
    failed = engine.docker("build", str(tmp_path))
    assert failed.returncode == 3 and "returned a non-zero code: 3" in failed.stderr
    (tmp_path / "Dockerfile").write_text("FROM busybox\nNOPE\n")
    broken = engine.docker("build", str(tmp_path))
    assert broken.returncode == 1 and "unknown instruction: NOPE" in broken.stderr
    ok(engine.docker("rmi", "-f", "built:1"))


def test_networks(engine: EngineProcess) -> None:
    ok(engine.docker("network", "create", "net1"))
    ok(
        engine.docker(
            "run", "-d", "--name", "server", "--network", "net1", "--network-alias", "db", "busybox", "sleep", "60"
        )
    )
    for name in ("server", "db"):
        ok(engine.docker("run", "--rm", "--network", "net1", "busybox", "ping", "-c", "1", "-W", "2", name))
    assert engine.docker("network", "rm", "net1").returncode == 1
    ok(engine.docker("rm", "-f", "server"))
    ok(engine.docker("network", "rm", "net1"))
    assert "bridge" in ok(engine.docker("network", "ls"))


def test_df_and_prune(engine: EngineProcess) -> None:
    ok(engine.docker("run", "busybox", "true"))
    assert "Containers" in ok(engine.docker("system", "df"))
    assert "Deleted Containers" in ok(engine.docker("container", "prune", "-f"))
    ok(engine.docker("volume", "create", "v1"))
    assert "v1" in ok(engine.docker("volume", "prune", "-af"))


def test_inspect_is_json(engine: EngineProcess) -> None:
    made = ok(engine.docker("create", "busybox")).strip()
    [record] = json.loads(ok(engine.docker("inspect", made)))
    for key in (
        "Id",
        "State",
        "Config",
        "HostConfig",
        "NetworkSettings",
        "Mounts",
        "GraphDriver",
        "Platform",
        "LogPath",
    ):
        assert key in record


def test_a_terminal(engine: EngineProcess) -> None:
    environment = {**os.environ, "DOCKER_HOST": engine.host}
    script = ["script", "-qec", "docker run --rm -it busybox sh -c 'tty; stty size'", "/dev/null"]
    done = subprocess.run(
        script, capture_output=True, text=True, env=environment, timeout=30, stdin=subprocess.DEVNULL, check=False
    )
    assert "/dev/pts/0" in done.stdout, done
