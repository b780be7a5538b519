"""Tables, formats, files, images, networks, volumes, builds."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any


def test_version_and_info(cli: Any) -> None:
    assert "Client:" in cli.out("version")
    assert json.loads(cli.out("version", "--format", "json"))["Server"]["Version"]
    assert cli.out("info", "--format", "{{.OSType}}") == "linux"
    assert cli.out("ping").startswith("OK")


def test_ps(cli: Any, image: str) -> None:
    name = cli.start("--label", "a.b=c", "--label", "d=e")
    table = cli.out("ps", "--filter", f"name={name}").split("\n")
    assert table[0].split() == ["CONTAINER", "ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"]
    assert table[1].endswith(name)
    assert '"sleep 300"' in table[1]
    only = ("--filter", f"name={name}", "--format")
    assert cli.out("ps", *only, "{{.Names}}|{{.Image}}|{{.State}}|{{.Labels}}") == f"{name}|{image}|running|a.b=c,d=e"
    assert cli.out("ps", *only, '{{.Label "d"}}') == "e"
    assert cli.out("ps", *only, "table {{.Names}}\t{{.Status}}").startswith("NAMES")
    assert json.loads(cli.out("ps", *only, "json"))["Names"] == name
    assert len(cli.out("ps", "-q", "--no-trunc", "--filter", f"name={name}")) == 64


def test_inspect(cli: Any, image: str) -> None:
    name = cli.start()
    found = json.loads(cli.out("inspect", name, image))
    assert [len(item["Id"]) for item in found] == [64, 71]
    assert cli.out("inspect", "-f", "{{.Name}} {{range .Config.Cmd}}{{.}} {{end}}", name) == f"/{name} sleep 300 "
    done = cli("inspect", name, "sampan-no-such-thing")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)) == 1
    assert "No such object: sampan-no-such-thing" in done.stderr


def test_life_of_a_container(cli: Any) -> None:
    name = cli.start()
    for command in ("pause", "unpause", "restart", "stop", "start", "kill"):
        words = ["-t", "0"] if command in ("restart", "stop") else []
        assert cli.out(command, *words, name) == name
    assert cli.out("start", name) == name
    assert cli.out("start", name) == name  # a second time is no error
    assert "sleep 300" in cli.out("top", name)
    new = cli.name()
    cli("rename", name, new, check=True)
    assert cli.out("update", "--memory", "64m", "--memory-swap", "64m", new) == new
    assert cli.out("inspect", "-f", "{{.HostConfig.Memory}}", new) == str(64 << 20)
    assert cli.out("rm", "-f", new) == new
    assert cli("rm", new).returncode == 1
    assert cli("rm", "-f", new).returncode == 0


def test_stats_and_events(cli: Any) -> None:
    name = cli.start()
    lines = cli.out("stats", "--no-stream", name).split("\n")
    assert lines[0].startswith("CONTAINER ID")
    assert name in lines[1]
    cli("rm", "-f", name, check=True)
    events = cli.out(
        "events", "--since", "1m", "--until", "0s", "--filter", f"container={name}", "--format", "{{.Action}}"
    )
    actions = events.split("\n")
    assert [action for action in actions if action in ("create", "start", "die", "destroy")] == [
        "create",
        "start",
        "die",
        "destroy",
    ]


def test_cp_both_ways(cli: Any, tmp_path: Path) -> None:
    name = cli.start()
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "e" / "f").write_text("deep")
    (tmp_path / "f").write_text("flat")
    os.symlink("f", tmp_path / "l")
    cli("cp", str(tmp_path / "f"), f"{name}:/tmp/new", check=True)
    cli("cp", str(tmp_path / "d"), f"{name}:/tmp", check=True)
    cli("cp", str(tmp_path / "d") + "/.", f"{name}:/tmp/made", check=True)
    cli("cp", str(tmp_path / "l"), f"{name}:/tmp/l", check=True)
    assert cli.out("exec", name, "sh", "-c", "cd /tmp; find . | sort") == (
        ".\n./d\n./d/e\n./d/e/f\n./l\n./made\n./made/e\n./made/e/f\n./new"
    )
    cli("cp", f"{name}:/tmp/made", str(tmp_path / "back"), check=True)
    assert (tmp_path / "back" / "e" / "f").read_text() == "deep"
    cli("cp", f"{name}:/tmp/new", str(tmp_path), check=True)
    assert (tmp_path / "new").read_text() == "flat"
    archive = subprocess.run(
        [*cli.command, "cp", f"{name}:/tmp/d", "-"], capture_output=True, env=cli.environment, check=True
    )
    assert "d/e/f" in tarfile.open(fileobj=io.BytesIO(archive.stdout)).getnames()
    cli("cp", "-", f"{name}:/root", input=archive.stdout, check=True)
    assert cli.out("exec", name, "cat", "/root/d/e/f") == "deep"
    for words in (
        ["cp", f"{name}:/nope", "."],
        ["cp", "/nope", f"{name}:/"],
        ["cp", "a", "b"],
        ["cp", f"{name}:/tmp/d", str(tmp_path / "f")],
    ):
        assert cli(*words).returncode == 1
    assert cli.out("diff", name).split("\n")[0].split()[0] in ("C", "A")


def test_images(cli: Any, image: str, tmp_path: Path) -> None:
    assert image.replace(":", " ") in " ".join(cli.out("images", image).split())
    assert len(cli.out("images", "-q", "--no-trunc", image)) == 71
    assert cli.out("history", "-q", image)
    assert cli("tag", image, "sampan-cli-test:2").returncode == 0
    assert "sampan-cli-test" in cli.out("images", "--format", "{{.Repository}}")
    archive = str(tmp_path / "image.tar")
    cli("save", "-o", archive, "sampan-cli-test:2", check=True)
    assert cli.out("rmi", "sampan-cli-test:2") == "Untagged: sampan-cli-test:2"
    assert "Loaded image: sampan-cli-test:2" in cli.out("load", "-i", archive)
    cli("rmi", "sampan-cli-test:2", check=True)
    assert cli("rmi", "sampan-cli-test:2").returncode == 1
    assert cli("rmi", "-f", "sampan-cli-test:2").returncode == 0


def test_export_and_commit(cli: Any, tmp_path: Path) -> None:
    name = cli.start()
    cli("exec", name, "touch", "/marked", check=True)
    cli("export", "-o", str(tmp_path / "fs.tar"), name, check=True)
    assert "marked" in tarfile.open(tmp_path / "fs.tar").getnames()
    assert cli.out("commit", "-m", "why", "-c", "CMD true", name, "sampan-cli-test:3").startswith("sha256:")
    assert json.loads(cli.out("inspect", "-f", "{{json .Config.Cmd}}", "sampan-cli-test:3")) == [
        "/bin/sh",
        "-c",
        "true",
    ]
    cli("rmi", "sampan-cli-test:3", check=True)


def test_build(cli: Any, image: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {image}\nARG V=1\nCOPY . /x\nRUN find /x | sort; echo v=$V\nLABEL a=b\n"
    )
    (tmp_path / "keep").write_text("k")
    (tmp_path / "skip.log").write_text("s")
    (tmp_path / ".dockerignore").write_text("*.log\n")
    text = cli.out(
        "build", "-t", "sampan-cli-test:built", "--build-arg", "V=7", "--iidfile", str(tmp_path / "iid"), str(tmp_path)
    )
    assert "Step 1/5" in text and "v=7" in text and "/x/keep" in text and "skip.log" not in text
    assert "Successfully built" in text
    assert cli.out("inspect", "-f", "{{.Id}} {{.Config.Labels.a}}", "sampan-cli-test:built").startswith(
        (tmp_path / "iid").read_text()
    )
    assert cli.out("build", "-q", "-", input=f"FROM {image}\nLABEL q=q\n".encode()).startswith("sha256:")
    failed = cli("build", "-", input=f"FROM {image}\nRUN exit 9\n".encode())
    assert failed.returncode == 9
    assert "returned a non-zero code: 9" in failed.stderr
    assert cli("build", str(tmp_path / "none")).returncode == 1
    cli("rmi", "-f", "sampan-cli-test:built", check=True)


def test_networks_and_volumes(cli: Any) -> None:
    name = cli.name()
    cli("network", "create", "--subnet", "10.213.77.0/24", "--label", "a=b", name, check=True)
    assert cli.out("network", "inspect", "-f", "{{(index .IPAM.Config 0).Subnet}}", name) == "10.213.77.0/24"
    assert name in cli.out("network", "ls")
    assert cli.out("network", "rm", name) == name
    assert cli("network", "rm", name).returncode == 1
    assert cli("network", "rm", "-f", name).returncode == 0
    assert cli.out("volume", "create", "--label", "a=b", name) == name
    assert cli.out("volume", "ls", "-q", "--filter", f"name={name}") == name
    assert cli.out("volume", "rm", name) == name
    assert cli("volume", "rm", name).returncode == 1


def test_system_df_and_port(cli: Any, image: str) -> None:
    assert cli.out("system", "df").split("\n")[0].split() == ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"]
    name = cli.name()
    cli("run", "-d", "--name", name, "-p", "127.0.0.1::80", image, "sleep", "100", check=True)
    assert cli.out("port", name, "80").startswith("127.0.0.1:")
    assert cli("port", name, "81").returncode == 1


def test_completion(cli: Any, image: str) -> None:
    name = cli.start()
    assert name in cli.out("__complete", "rm", name[:8]).split("\n")
    assert image in cli.out("__complete", "run", "--rm", "sampan-cli").split("\n")
    assert "none" in cli.out("__complete", "run", "--network", "no").split("\n")
    assert cli.out("__complete", "image", "in").startswith("inspect\t")
    assert "--format" in cli.out("__complete", "ps", "--fo")
    script = (
        'eval "$(sampan completion bash)"; COMP_WORDS=(sampan rm '
        + name[:14]
        + '); COMP_CWORD=2; _sampan; echo "${COMPREPLY[@]}"'
    )
    environment = {**cli.environment, "PATH": f"{Path(cli.command[0]).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert name in done.stdout.split()


def test_version_is_quick(cli: Any) -> None:
    """At most twice a bare interpreter: the best of several, for other processes only ever add to it."""
    import sys

    environment = {key: value for key, value in cli.environment.items() if key != "PYTHONDONTWRITEBYTECODE"}

    def best(command: list[str]) -> float:
        times = []
        for _ in range(15):
            start = time.perf_counter()
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    # 2.0 is what is promised; the rest is room for the engine's own answer on a busy machine.
    assert best([*cli.command, "version"]) <= 2.4 * best([sys.executable, "-c", "pass"])


def test_the_way_out_is_shown(cli: Any) -> None:
    """The engine's hints reach its own client."""
    assert "hint: known: busybox, debian:" in cli("image", "bootstrap", "hurd:1").stderr
    assert "hint: Sampan is one engine" in cli("swarm", "init").stderr
