"""The life of containers through the API of a real engine."""

from __future__ import annotations

import json
import os
import threading
import time
from typing import Any

import pytest

PREFIX = "/v1.45"


def create(engine: Any, *command: str, name: str = "", host: dict[str, Any] | None = None, **config: Any) -> str:
    body = {"Image": "busybox", "Cmd": list(command), **config, "HostConfig": {"NetworkMode": "none", **(host or {})}}
    status, answer = engine.api("POST", f"{PREFIX}/containers/create?name={name}", body)
    assert status == 201, answer
    return str(answer["Id"])


def run(engine: Any, *command: str, **options: Any) -> str:
    container = create(engine, *command, **options)
    status, answer = start(engine, container)
    assert status == 204, answer
    return container


def start(engine: Any, container: str) -> tuple[int, Any]:
    found: tuple[int, Any] = engine.api("POST", f"{PREFIX}/containers/{container}/start")
    return found


def inspect(engine: Any, container: str) -> Any:
    return engine.api("GET", f"{PREFIX}/containers/{container}/json")[1]


def wait(engine: Any, container: str, condition: str = "not-running") -> int:
    return int(engine.api("POST", f"{PREFIX}/containers/{container}/wait?condition={condition}")[1]["StatusCode"])


def eventually(test: Any, timeout_s: float = 10.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := test()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found
    return found


def leftovers(engine: Any) -> list[str]:
    names = os.listdir(f"{engine.data_root}/containers") + os.listdir(f"{engine.exec_root}/tasks")
    return [name for name in names if not name.startswith("removed-")]


def test_create_start_wait_remove(engine: Any) -> None:
    container = create(engine, "sh", "-c", "exit 7", name="once")
    assert inspect(engine, "once")["State"]["Status"] == "created"
    assert start(engine, container)[0] == 204
    assert wait(engine, container) == 7
    state = inspect(engine, container)["State"]
    assert (state["Status"], state["ExitCode"], state["Running"], state["Pid"]) == ("exited", 7, False, 0)
    assert engine.api("DELETE", f"{PREFIX}/containers/once")[0] == 204
    assert engine.api("GET", f"{PREFIX}/containers/once/json")[0] == 404
    eventually(lambda: not leftovers(engine))


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [("nope", 127, 'exec: "nope": executable file not found in $PATH'), ("/etc", 126, "is a directory")],
)
def test_a_start_that_fails_leaves_state_created(engine: Any, command: str, code: int, text: str) -> None:
    container = create(engine, command, host={"NetworkMode": "bridge"})
    status, answer = start(engine, container)
    assert status == 400 and text in answer["message"]
    found = inspect(engine, container)
    assert (found["State"]["Status"], found["State"]["ExitCode"]) == ("created", code)
    assert text in found["State"]["Error"]
    assert found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == ""
    network = engine.api("GET", f"{PREFIX}/networks/bridge")[1]
    assert container not in network["Containers"]


def test_a_failed_start_with_auto_remove_releases_who_waits(engine: Any) -> None:
    container = create(engine, "nope", host={"AutoRemove": True})
    codes: list[int] = []
    waiting = threading.Thread(target=lambda: codes.append(wait(engine, container, "removed")))
    waiting.start()
    time.sleep(0.1)
    assert start(engine, container)[0] == 400
    waiting.join(10)
    assert codes == [127]
    assert engine.api("GET", f"{PREFIX}/containers/{container}/json")[0] == 404


def test_states_and_their_refusals(engine: Any) -> None:
    container = run(engine, "sleep", "1000", name="p1")
    path = f"{PREFIX}/containers/p1"
    assert start(engine, "p1")[0] == 304
    assert engine.api("POST", f"{path}/pause")[0] == 204
    assert inspect(engine, "p1")["State"]["Paused"]
    assert start(engine, "p1") == (409, {"message": "cannot start a paused container, try unpause instead"})
    assert engine.api("POST", f"{path}/pause")[0] == 409
    assert engine.api("POST", f"{path}/unpause")[0] == 204
    assert engine.api("POST", f"{path}/unpause") == (500, {"message": f"Container {container} is not paused"})
    assert engine.api("DELETE", path)[0] == 409
    assert engine.api("POST", f"{path}/kill?signal=SIG42")[0] == 400
    assert engine.api("POST", f"{path}/kill")[0] == 204
    assert inspect(engine, "p1")["State"]["ExitCode"] == 137
    assert engine.api("POST", f"{path}/kill")[0] == 409
    assert engine.api("POST", f"{path}/stop")[0] == 304
    assert engine.api("POST", f"{path}/rename?name=p2")[0] == 204
    assert engine.api("POST", f"{PREFIX}/containers/p2/restart?t=0")[0] == 204
    assert inspect(engine, "p2")["State"]["Running"]
    assert engine.api("POST", f"{PREFIX}/containers/p2/stop?t=0")[0] == 204
    assert engine.api("POST", f"{PREFIX}/containers/p2/wait?condition=foo") == (
        400,
        {"message": 'invalid condition: "foo"'},
    )


def test_restart_policy_counts_and_gives_up(engine: Any) -> None:
    policy = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2}}
    container = run(engine, "sh", "-c", "exit 3", host=policy)
    eventually(lambda: inspect(engine, container)["RestartCount"] == 2)
    eventually(lambda: inspect(engine, container)["State"]["Status"] == "exited")
    assert inspect(engine, container)["State"]["ExitCode"] == 3


def test_a_stop_between_two_runs_ends_the_restarts(engine: Any) -> None:
    container = run(engine, "false", host={"RestartPolicy": {"Name": "always"}})
    eventually(lambda: inspect(engine, container)["RestartCount"] >= 3)
    assert engine.api("POST", f"{PREFIX}/containers/{container}/stop?t=0")[0] == 204
    count = inspect(engine, container)["RestartCount"]
    time.sleep(0.5)
    found = inspect(engine, container)
    assert (found["State"]["Status"], found["RestartCount"]) == ("exited", count)


def test_health_check_goes_both_ways(engine: Any) -> None:
    check = {"Test": ["CMD-SHELL", "echo probe; test -f /ok"], "Interval": 100_000_000, "Retries": 2}
    container = run(engine, "sleep", "1000", Healthcheck=check)
    assert inspect(engine, container)["State"]["Health"]["Status"] == "starting"
    eventually(lambda: inspect(engine, container)["State"]["Health"]["Status"] == "unhealthy")
    assert inspect(engine, container)["State"]["Health"]["Log"][-1]["Output"] == "probe\n"
    body = {"Cmd": ["touch", "/ok"]}
    exec_id = engine.api("POST", f"{PREFIX}/containers/{container}/exec", body)[1]["Id"]
    engine.api("POST", f"{PREFIX}/exec/{exec_id}/start", {"Detach": True})
    eventually(lambda: inspect(engine, container)["State"]["Health"]["Status"] == "healthy")
    status, listed = engine.api(
        "GET", PREFIX + "/containers/json?filters=" + '{"health":["healthy"]}'.replace('"', "%22")
    )
    assert status == 200 and [each["Id"] for each in listed] == [container]


def test_volumes_are_filled_kept_and_removed(engine: Any) -> None:
    first = run(
        engine, "sh", "-c", "echo kept > /v/f; ls /bin2/busybox", host={"Binds": ["keep1:/v"]}, Volumes={"/bin": {}}
    )
    wait(engine, first)
    names = [mount["Name"] for mount in inspect(engine, first)["Mounts"]]
    assert len(names) == 2
    again = run(engine, "sh", "-c", "test $(cat /v/f) = kept && test -e /bin/busybox", host={"VolumesFrom": [first]})
    assert wait(engine, again) == 0
    anonymous = next(name for name in names if name != "keep1")
    assert engine.api("DELETE", f"{PREFIX}/containers/{again}?v=1")[0] == 204
    assert engine.api("GET", f"{PREFIX}/volumes/{anonymous}")[0] == 200
    assert engine.api("DELETE", f"{PREFIX}/containers/{first}?v=1")[0] == 204
    assert engine.api("GET", f"{PREFIX}/volumes/{anonymous}")[0] == 404
    assert engine.api("GET", f"{PREFIX}/volumes/keep1")[0] == 200
    assert engine.api("DELETE", f"{PREFIX}/volumes/keep1")[0] == 204


def test_namespaces_of_another_container(engine: Any) -> None:
    donor = run(engine, "sh", "-c", "echo z > /dev/shm/z; sleep 1000", host={"IpcMode": "shareable"}, Hostname="donor")
    shared = dict.fromkeys(("NetworkMode", "PidMode", "IpcMode"), f"container:{donor}")
    script = "test $(cat /dev/shm/z) = z && test $(hostname) = donor && test $(cat /etc/hostname) = donor && kill -0 1"
    joined = run(engine, "sh", "-c", script, host=shared)
    assert wait(engine, joined) == 0
    engine.api("DELETE", f"{PREFIX}/containers/{donor}?force=1")
    late = create(engine, "true", host={"NetworkMode": f"container:{donor}"})
    assert start(engine, late)[0] in (404, 409)
    with open("/proc/self/mounts", encoding="ascii") as mounts:
        assert engine.exec_root not in mounts.read()


def test_update_reaches_the_running_container(engine: Any) -> None:
    container = run(engine, "sleep", "1000", host={"Memory": 32 << 20, "MemorySwap": -1})
    path = f"{PREFIX}/containers/{container}"
    assert engine.api("POST", f"{path}/update", {"PidsLimit": 17, "NanoCpus": 500_000_000})[0] == 200
    host = inspect(engine, container)["HostConfig"]
    assert (host["PidsLimit"], host["NanoCpus"]) == (17, 500_000_000)
    status, stats = engine.api("GET", f"{path}/stats?stream=0&one-shot=1")
    assert status == 200 and stats["pids_stats"]["limit"] == 17


def test_a_killed_engine_loses_nothing(engine: Any) -> None:
    live = run(engine, "sleep", "1000", name="live", host={"NetworkMode": "bridge"})
    ends = run(engine, "sh", "-c", "sleep 0.5; exit 9")
    keeps = run(engine, "sh", "-c", "sleep 0.5; exit 4", host={"RestartPolicy": {"Name": "always"}})
    gone = run(engine, "sleep", "0.5", host={"AutoRemove": True})
    address = inspect(engine, live)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    pid = inspect(engine, live)["State"]["Pid"]
    os.mkdir(f"{engine.data_root}/containers/half-made")
    engine.kill()
    time.sleep(0.8)
    engine.start()
    found = inspect(engine, live)
    assert (found["State"]["Running"], found["State"]["Pid"]) == (True, pid)
    assert found["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == address
    assert inspect(engine, ends)["State"]["ExitCode"] == 9
    eventually(lambda: inspect(engine, keeps)["RestartCount"] >= 1)
    eventually(lambda: engine.api("GET", f"{PREFIX}/containers/{gone}/json")[0] == 404)
    eventually(lambda: not os.path.exists(f"{engine.data_root}/containers/half-made"))
    assert engine.api("POST", f"{PREFIX}/containers/{live}/stop?t=0")[0] == 204
    assert inspect(engine, live)["State"]["ExitCode"] == 137


def test_events_of_a_life_in_order(engine: Any) -> None:
    since = time.time()
    container = run(engine, "sh", "-c", "exit 5", host={"NetworkMode": "bridge"})
    wait(engine, container)
    engine.api("DELETE", f"{PREFIX}/containers/{container}")
    query = f"since={since}&until={time.time()}&filters=" + f'{{"container":["{container}"]}}'.replace('"', "%22")
    raw = engine.api("GET", f"{PREFIX}/events?{query}")[1]
    events = [raw] if isinstance(raw, dict) else [json.loads(line) for line in raw.splitlines()]
    assert [event["Action"] for event in events] == ["create", "start", "die", "destroy"]
    assert events[2]["Actor"]["Attributes"]["exitCode"] == "5"


def test_prune_counts_what_it_frees(engine: Any) -> None:
    container = run(engine, "sh", "-c", "dd if=/dev/zero of=/f bs=1k count=100", Labels={"prune": "1"})
    wait(engine, container)
    status, answer = engine.api(
        "POST", PREFIX + "/containers/prune?filters=" + '{"label":["prune"]}'.replace('"', "%22")
    )
    assert (status, answer["ContainersDeleted"]) == (200, [container])
    assert answer["SpaceReclaimed"] >= 102_400


def test_resources_security_and_files(engine: Any) -> None:
    script = (
        "test $(ulimit -n) = 77 && grep -q '^NoNewPrivs:.1' /proc/self/status && test $(pwd) = /made/here && "
        "grep -q '1.2.3.4.extra' /etc/hosts && ! touch /readonly && touch /t/x && test $(hostname) = h1"
    )
    host = {
        "Ulimits": [{"Name": "nofile", "Soft": 77, "Hard": 77}],
        "SecurityOpt": ["no-new-privileges"],
        "ExtraHosts": ["extra:1.2.3.4"],
        "ReadonlyRootfs": True,
        "Tmpfs": {"/t": ""},
    }
    container = run(engine, "sh", "-c", script, host=host, WorkingDir="/made/here/", Hostname="h1")
    assert wait(engine, container) == 0
    assert inspect(engine, container)["Config"]["WorkingDir"] == "/made/here"


def test_a_thousand_containers_are_listed_quickly(engine: Any) -> None:
    for _ in range(100):
        create(engine, "true")
    began = time.perf_counter()
    status, listed = engine.api("GET", f"{PREFIX}/containers/json?all=1")
    assert status == 200 and len(listed) >= 100
    assert time.perf_counter() - began < 0.1


def test_a_volumes_subpath_cannot_lead_out(engine: Any) -> None:
    maker = run(
        engine,
        "sh",
        "-c",
        "mkdir -p /v/in/side && ln -s /etc /v/out && ln -s ../../.. /v/up",
        host={"Binds": ["subp:/v"]},
    )
    assert wait(engine, maker) == 0

    def mount(subpath: str) -> dict[str, Any]:
        options = {"Subpath": subpath}
        return {"Mounts": [{"Type": "volume", "Source": "subp", "Target": "/x", "VolumeOptions": options}]}

    assert wait(engine, run(engine, "test", "-d", "/x/side", host=mount("in"))) == 0
    for escape in ("out", "up", "up/etc"):
        assert start(engine, create(engine, "true", host=mount(escape)))[0] >= 400
