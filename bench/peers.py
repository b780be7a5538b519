"""Sampan beside another engine, in one run, alternating; prints medians, ratios against the budget, and a plot.

    bench/peers.py --ours unix:///run/sampan/sampan.sock --peer unix:///var/run/docker.sock [-n 15] [--only run,exec]

Without --ours an engine of its own is started. Quote the ratios; times depend on the machine and its neighbours.

Builds are measured as users run them, by `docker build`: with BuildKit on the peer, which needs the CLI's buildx plugin
(below DOCKER_CONFIG or installed; without it the classic builder is measured there, and the row says so), and with the
classic protocol on ours.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import registry
from api import Engine, processes, pss_kib, tree

IMAGE = "sampan-bench-busybox:latest"
_APPLETS = ("sh", "true", "sleep", "echo", "cat", "touch")


class Row(NamedTuple):
    name: str
    budget: float
    unit: str
    ours: float
    peer: float

    @property
    def ratio(self) -> float:
        return self.ours / self.peer if self.peer else float("nan")


def main() -> None:
    options = _options()
    peer = Engine("peer", options.peer)
    with contextlib.ExitStack() as stack:
        ours = Engine("sampan", options.ours or stack.enter_context(_own_engine()))
        engines = (ours, peer)
        print(f"sampan {ours.version()} beside {peer.version()}, {options.n} runs each, alternating")
        for engine in engines:
            _load_image(engine)
        rows: list[Row] = []
        for name, measure in MEASURES.items():
            if not options.only or name in options.only.split(","):
                for row in measure(engines, options.n):
                    rows.append(row)
                    print(_line(row), flush=True)
        print("\n" + _plot(rows))
        for engine in engines:
            engine.call("DELETE", f"/images/{IMAGE}?force=1")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", default="", help="socket of a sampand; default: start one")
    parser.add_argument("--peer", required=True, help="socket of the engine to compare with")
    parser.add_argument("-n", type=int, default=15, help="runs of each measure (default 15)")
    parser.add_argument("--only", default="", help=f"comma-separated part of: {', '.join(MEASURES)}")
    return parser.parse_args()


@contextlib.contextmanager
def _own_engine() -> Iterator[str]:
    root = tempfile.mkdtemp(prefix="sampan-bench-", dir="/var/tmp")
    os.chmod(root, 0o711)
    sampand = Path(sys.executable).parent / "sampand"
    socket = f"unix://{root}/run/sampan.sock"
    command = [sampand, "--data-root", f"{root}/data", "--exec-root", f"{root}/run", "-H", socket]
    with open(f"{root}/log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    for _ in range(200):
        try:
            Engine("sampan", socket).version()
            break
        except OSError:
            time.sleep(0.05)
    try:
        yield socket
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(root, ignore_errors=True)


def _load_image(engine: Engine) -> None:
    """The same busybox into both, by `docker import`'s endpoint."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for folder in ("bin", "etc", "tmp"):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        tar.add("/bin/busybox", "bin/busybox")
        for applet in _APPLETS:
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    repo, tag = IMAGE.split(":")
    engine.call("POST", f"/images/create?fromSrc=-&repo={repo}&tag={tag}", archive.getvalue())


# --- measures


def _alternate(engines: tuple[Engine, Engine], n: int, work: Callable[[Engine], float | None]) -> tuple[float, float]:
    """Medians, in ms, of `work` on each engine in turn; `work` may give its own elapsed seconds."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(n + 1):
        for engine, series in zip(engines, times, strict=True):
            start = time.perf_counter()
            own = work(engine)
            elapsed = own if own is not None else time.perf_counter() - start
            if turn:  # the first is the warm-up
                series.append(elapsed * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


def _docker(engine: Engine, *arguments: str) -> None:
    environment = {**os.environ, "DOCKER_HOST": engine.host}
    subprocess.run(["docker", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)


def measure_run(engines: tuple[Engine, Engine], n: int) -> Iterator[Row]:
    for network, budget in (("none", 0.25), ("bridge", 0.2)):
        found = _alternate(engines, n, lambda e: _docker(e, "run", "--rm", "--network", network, IMAGE, "true"))  # noqa: B023
        yield Row(f"docker run --rm --network {network}", budget, "ms", *found)


def _cycle(engine: Engine, network: str) -> None:
    made = engine.call(
        "POST", "/containers/create", {"Image": IMAGE, "Cmd": ["true"], "HostConfig": {"NetworkMode": network}}
    )["Id"]
    engine.call("POST", f"/containers/{made}/start")
    engine.call("POST", f"/containers/{made}/wait")
    engine.call("DELETE", f"/containers/{made}")


def measure_cycle(engines: tuple[Engine, Engine], n: int) -> Iterator[Row]:
    for network, budget in (("none", 0.08), ("bridge", 0.10)):
        found = _alternate(engines, n, lambda e: _cycle(e, network))  # noqa: B023
        yield Row(f"API create+start+wait+remove, {network}", budget, "ms", *found)


def _idle(engine: Engine, network: str = "none") -> str:
    body = {"Image": IMAGE, "Cmd": ["sleep", "3600"], "HostConfig": {"NetworkMode": network}}
    made = str(engine.call("POST", "/containers/create", body)["Id"])
    engine.call("POST", f"/containers/{made}/start")
    return made


def measure_exec(engines: tuple[Engine, Engine], n: int) -> Iterator[Row]:
    names = {engine.name: _idle(engine) for engine in engines}
    found = _alternate(engines, n, lambda e: _docker(e, "exec", names[e.name], "true"))
    for engine in engines:
        engine.call("DELETE", f"/containers/{names[engine.name]}?force=1")
    yield Row("docker exec c true", 0.5, "ms", *found)


def measure_memory(engines: tuple[Engine, Engine], n: int) -> Iterator[Row]:
    count = 20
    idle, each = [], []
    for engine in engines:
        base = tree(engine.pid())
        idle.append(sum(map(pss_kib, base)) / 1024)
        total_before = sum(map(pss_kib, base))
        made = [_idle(engine) for _ in range(count)]
        time.sleep(1)
        inits = {engine.call("GET", f"/containers/{one}/json")["State"]["Pid"] for one in made}
        parents = processes()
        shims = {parents[init] for init in inits}  # whoever else works on this machine is not counted
        grown = sum(map(pss_kib, (tree(engine.pid()) | shims) - inits)) - total_before
        each.append(grown / 1024 / count)
        for one in made:
            engine.call("DELETE", f"/containers/{one}?force=1")
    yield Row("memory per idle container (PSS)", 0.25, "MiB", *each)
    yield Row("idle engine (PSS)", 0.3, "MiB", *idle)


def measure_pull(engines: tuple[Engine, Engine], n: int) -> Iterator[Row]:
    layer, diff_id = registry.heavy_layer()
    with registry.serve() as address:
        registry.push(address, "heavy", layer, diff_id)

        def pull(engine: Engine) -> float:
            start = time.perf_counter()
            engine.call("POST", f"/images/create?fromImage={address}/heavy&tag=latest")
            elapsed = time.perf_counter() - start
            engine.call("DELETE", f"/images/{address}/heavy:latest?force=1")
            return elapsed

        found = _alternate(engines, min(n, 5), pull)
    yield Row(f"pull of a {len(layer) >> 20} MiB layer, 8,743 entries", 0.5, "ms", *found)


_BUILT = "sampan-bench-built"


def _write_context(directory: str, seed: str) -> None:
    steps = "\n".join(f"RUN echo {seed}-{number} > /file-{number}" for number in range(8))
    Path(directory, "Dockerfile").write_text(f"FROM {IMAGE}\n{steps}\n")


def _has_buildx() -> bool:
    return subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0


def _docker_build(engine: Engine, directory: str, tag: str, *, buildkit: bool) -> None:
    environment = {**os.environ, "DOCKER_HOST": engine.host, "DOCKER_BUILDKIT": "1" if buildkit else "0"}
    command = ["docker", "build", "--network", "none", "-t", f"{_BUILT}:{tag}", directory]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def measure_build(engines: tuple[Engine, Engine], n: int) -> Iterator[Row]:
    buildx = _has_buildx()
    builder = "BuildKit" if buildx else "classic, no buildx here"
    tags = [(engine, "same") for engine in engines]
    with tempfile.TemporaryDirectory() as directory:

        def build(engine: Engine, tag: str) -> None:
            _docker_build(engine, directory, tag, buildkit=buildx and engine.name == "peer")

        def fresh(engine: Engine) -> float:
            tag = str(time.time_ns())
            tags.append((engine, tag))
            _write_context(directory, tag)
            start = time.perf_counter()
            build(engine, tag)
            return time.perf_counter() - start

        yield Row(f"docker build, 8 RUN ({builder})", 0.2, "ms", *_alternate(engines, min(n, 7), fresh))
        _write_context(directory, "same")
        rebuilt = _alternate(engines, n, lambda engine: build(engine, "same"))
        yield Row(f"docker build, all cached ({builder})", 0.3, "ms", *rebuilt)
    for engine, tag in tags:
        engine.call("DELETE", f"/images/{_BUILT}:{tag}?force=1")


MEASURES: dict[str, Callable[[tuple[Engine, Engine], int], Iterator[Row]]] = {
    "run": measure_run,
    "cycle": measure_cycle,
    "exec": measure_exec,
    "memory": measure_memory,
    "pull": measure_pull,
    "build": measure_build,
}


# --- printing


def _line(row: Row) -> str:
    verdict = "ok" if row.ratio <= row.budget else "OVER"
    return (
        f"{row.name:42} {row.ours:9.2f} {row.unit:3}  peer {row.peer:9.2f} {row.unit:3}  "
        f"ratio {row.ratio:6.3f}  budget {row.budget:5.2f}  {verdict}"
    )


def _plot(rows: list[Row]) -> str:
    """A bar per row: the ratio, on a scale where the peer is the full width; `|` marks the budget."""
    width = 50
    lines = [f"{'ratio to the peer (= full width)':42} 0{' ' * (width - 2)}1"]
    for row in rows:
        bar = ["█" if cell < round(min(row.ratio, 1) * width) else "·" for cell in range(width)]
        bar[min(width - 1, round(row.budget * width))] = "|"
        lines.append(f"{row.name:42} {''.join(bar)} {row.ratio:.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
