"""The main job, end to end, through the `sampan` command: what scripts/demo runs once everything is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
DATA_ROOT = "/var/lib/sampan-demo"
EXEC_ROOT = "/run/sampan-demo"
SOCKET = f"{EXEC_ROOT}/sampan.sock"
LOG = f"{EXEC_ROOT}/sampand.log"
WEB = "sampan-demo-web"
ENVIRONMENT = {**os.environ, "SAMPAN_HOST": f"unix://{SOCKET}"}
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")


def sampan(*arguments: str, capture: bool = False) -> str:
    """Run one `sampan` command, shown as the user would type it; ends the demo if it fails."""
    print(f"{BOLD}$ sampan {' '.join(arguments)}{PLAIN}", flush=True)
    done = subprocess.run(
        [BIN / "sampan", *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE if capture else None,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"sampan {arguments[0]} failed with exit code {done.returncode}; the engine's log is {LOG}")
    if capture:
        print(done.stdout, end="", flush=True)
    return done.stdout or ""


def timed(title: str, times: list[tuple[str, float]], step: Callable[[], object]) -> None:
    print(f"\n── {title}", flush=True)
    start = time.monotonic()
    step()
    times.append((title, time.monotonic() - start))


def start_engine() -> subprocess.Popen[bytes]:
    os.makedirs(EXEC_ROOT, mode=0o711, exist_ok=True)
    with open(LOG, "ab") as log:
        engine = subprocess.Popen(
            [BIN / "sampand", "--data-root", DATA_ROOT, "--exec-root", EXEC_ROOT, "-H", f"unix://{SOCKET}"],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    for _ in range(200):
        if engine.poll() is not None:
            raise SystemExit(f"the engine ended at once:\n{Path(LOG).read_text()[-2000:]}")
        if (
            subprocess.run([BIN / "sampan", "version"], env=ENVIRONMENT, capture_output=True, check=False).returncode
            == 0
        ):
            return engine
        time.sleep(0.05)
    raise SystemExit(f"the engine did not answer within 10 s; its log is {LOG}")


def base_image() -> str:
    """The host's own distribution, whose packages can surely be had here."""
    fields = dict(line.rstrip().split("=", 1) for line in open("/etc/os-release") if "=" in line)
    name, codename = fields["ID"].strip('"'), fields.get("VERSION_CODENAME", "").strip('"')
    return f"{name}:{codename}" if name in ("debian", "ubuntu") and codename else "debian:bookworm"


def bootstrap(name: str) -> None:
    listed = subprocess.run(
        [BIN / "sampan", "images", "-q", name], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if listed.stdout.strip():
        print(f"{name} is there from an earlier run")
    else:
        sampan("image", "bootstrap", name)


def fetch_page() -> None:
    address = sampan("port", WEB, "80/tcp", capture=True).splitlines()[0].replace("0.0.0.0", "127.0.0.1")
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
                print(answer.read().decode().strip())
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    raise SystemExit(f"http://{address}/ did not answer; see: sampan logs {WEB}")


def show(times: list[tuple[str, float]]) -> None:
    """The main job. Each step's duration goes into `times`."""
    base = base_image()
    examples = HERE / "examples"
    remove_web()
    timed("base image: busybox", times, lambda: bootstrap("busybox"))
    timed("run it", times, lambda: sampan("run", "--rm", "busybox", "echo", "hello from a container"))
    timed(f"base image: {base}, from the distribution's packages", times, lambda: bootstrap(base))
    timed(
        "build examples/hello: a compiler in one stage, a program alone in the next",
        times,
        lambda: sampan("build", "-t", "hello", "--build-arg", f"BASE={base}", str(examples / "hello")),
    )
    timed("run it", times, lambda: sampan("run", "--rm", "hello"))
    timed(
        "build examples/web: nginx by apt-get",
        times,
        lambda: sampan("build", "-t", "web", "--build-arg", f"BASE={base}", str(examples / "web")),
    )
    timed(
        "run it with a published port", times, lambda: sampan("run", "-d", "--name", WEB, "-p", "127.0.0.1::80", "web")
    )
    timed("fetch its page", times, fetch_page)
    timed("stop and remove it", times, lambda: sampan("rm", "-f", WEB))
    print()
    sampan("images")


def remove_web() -> None:
    subprocess.run([BIN / "sampan", "rm", "-f", WEB], env=ENVIRONMENT, capture_output=True, check=False)


def report(times: list[tuple[str, float]]) -> None:
    print("\nTimes")
    for title, elapsed_s in [*times, ("all of it", sum(elapsed_s for _, elapsed_s in times))]:
        print(f"  {elapsed_s:8.2f} s  {title}")
    print("\nLeft behind, so that the next run is quick:")
    print(f"  {DATA_ROOT}: images and build cache")
    print(f"  {HERE}/.sampan-dev: virtual environment")
    packages = HERE / ".sampan-dev/packages"
    if packages.exists():
        print(f"  Debian packages: {' '.join(sorted(set(packages.read_text().split())))}")
    print("Remove them freely. Containers, bridge, firewall table, cgroups and engine are gone already.")
    print(f"\nTo use Sampan:  sudo {BIN}/sampand &   then:  sudo {BIN}/sampan run --rm busybox echo hello")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    forwarding = FORWARDING.read_text()
    start = time.monotonic()
    engine = start_engine()
    times = [("start the engine", time.monotonic() - start)]
    try:
        show(times)
    finally:
        remove_web()
        engine.send_signal(signal.SIGTERM)
        engine.wait(timeout=20)
        FORWARDING.write_text(forwarding)  # the engine turned it on
    shutil.rmtree(EXEC_ROOT, ignore_errors=True)
    report(times)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
