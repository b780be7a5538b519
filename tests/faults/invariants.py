"""What must be true of an engine whenever nothing is under way, however many of its processes were killed before."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from typing import Any

from tests.conftest import EngineProcess
from tests.faults.footprint import Footprint

SETTLE_S = 15.0
_RESTING = {"created", "running", "paused", "exited"}
_OWN_PROCESSES = {"sampand", "zygote", "spare", "launcher", "reserve"}


def check(engine: EngineProcess) -> None:
    """Wait until all is in order.

    Raises:
        AssertionError: what is still wrong after `SETTLE_S`.
    """
    _await(lambda: broken(engine), engine)


def check_empty(engine: EngineProcess) -> None:
    """Like `check`, for an engine whose containers, volumes and networks were removed."""
    _await(lambda: broken(engine) + left_behind(engine), engine)


def check_stopped(engine: EngineProcess) -> None:
    """An engine that has been stopped, without containers: only its data is left."""
    _await(lambda: after_stop(engine), engine)


def _await(find: Any, engine: EngineProcess) -> None:
    deadline = time.monotonic() + SETTLE_S
    while found := find():
        if time.monotonic() > deadline:
            raise AssertionError("\n".join(found) + f"\n--- the engine's log:\n{engine.log_tail()}")
        time.sleep(0.1)


def broken(engine: EngineProcess) -> list[str]:
    """Every invariant that does not hold now, as a sentence."""
    status, listed = engine.api("GET", "/containers/json?all=1")
    if status != 200:
        return [f"the list of containers answers {status}: {listed}"]
    footprint = Footprint(engine)
    containers = []
    found = []
    for each in listed:
        status, seen = engine.api("GET", f"/containers/{each['Id']}/json")
        if status != 200:
            found.append(f"container {each['Id'][:12]} is listed, but inspect answers {status}")
        else:
            containers.append(seen)
    found += _containers(containers, _stopped_by_user(engine))
    found += _running(containers, footprint)
    found += _network(engine, containers, footprint)
    found += _files(engine, containers, footprint)
    found += _layers(engine, containers)
    return found


def _stopped_by_user(engine: EngineProcess) -> set[str]:
    with sqlite3.connect(f"file:{engine.data_root}/sampan.db?mode=ro", uri=True) as database:
        rows = database.execute("SELECT id, record FROM containers")
        return {each for each, record in rows if json.loads(record)["state"].get("stopped_by_user")}


def _containers(containers: list[dict[str, Any]], stopped: set[str]) -> list[str]:
    found = []
    for each in containers:
        state = each["State"]
        if state["Status"] not in _RESTING:
            found.append(f"container {each['Name']} rests in state {state['Status']}")
        if state["Running"] and not os.path.exists(f"/proc/{state['Pid']}"):
            found.append(f"container {each['Name']} runs, but its process {state['Pid']} does not exist")
        if state["Status"] == "exited" and state["FinishedAt"].startswith("0001"):
            found.append(f"container {each['Name']} has exited, but never finished")
        if not state["Running"] and state["Pid"]:
            found.append(f"container {each['Name']} does not run, but has pid {state['Pid']}")
        always = each["HostConfig"]["RestartPolicy"]["Name"] == "always" and each["Id"] not in stopped
        if state["Status"] == "exited" and always and not state["Error"]:
            found.append(f"container {each['Name']} should have been restarted")
        if state["Status"] == "exited" and each["HostConfig"]["AutoRemove"]:
            found.append(f"container {each['Name']} should have been removed")
    return found


def _running(containers: list[dict[str, Any]], footprint: Footprint) -> list[str]:
    live = {each["Id"] for each in containers if each["State"]["Running"]}
    found = []
    if (tasks := set(footprint.tasks())) != live:
        found.append(f"tasks without a running container: {tasks - live}; running without a task: {live - tasks}")
    if (cgroups := footprint.cgroups()) != live:
        found.append(f"cgroups without a running container: {cgroups - live}; running without: {live - cgroups}")
    shims = {task.get("shim_pid") for task in footprint.tasks().values()}
    for pid, role in footprint.processes().items():
        if role not in _OWN_PROCESSES and pid not in shims:
            found.append(f"process {pid} ({role}) serves no container: {footprint.describe(pid)}")
    if mounts := footprint.mounts():
        found.append(f"mounts on the host: {mounts}")
    return found


def _network(engine: EngineProcess, containers: list[dict[str, Any]], footprint: Footprint) -> list[str]:
    found = []
    networks = engine.api("GET", "/networks")[1]
    bridged = {each["Id"]: each for each in networks if each["Driver"] == "bridge"}
    if len(footprint.bridges()) != len(bridged):
        found.append(f"bridges {footprint.bridges()} for networks {[each['Name'] for each in bridged.values()]}")
    endpoints = published = 0
    live = {each["Id"] for each in containers if each["State"]["Running"]}
    for each in containers:
        if each["Id"] in live:
            endpoints += sum(1 for one in each["NetworkSettings"]["Networks"].values() if one["NetworkID"] in bridged)
            ports = each["NetworkSettings"]["Ports"] or {}
            published += sum(1 for port in ports.values() for one in port or () if ":" not in one["HostIp"])
    if len(footprint.veths()) != endpoints:
        found.append(f"{len(footprint.veths())} veths for {endpoints} endpoints")
    if footprint.published() != published:
        found.append(f"{footprint.published()} ports in the firewall, {published} published")
    with sqlite3.connect(f"file:{engine.data_root}/sampan.db?mode=ro", uri=True) as database:
        leases = {row[0] for row in database.execute("SELECT container_id FROM endpoints")}
    if leases - {each["Id"] for each in containers}:
        found.append(f"addresses are leased to containers that are no more: {leases}")
    return found


def _files(engine: EngineProcess, containers: list[dict[str, Any]], footprint: Footprint) -> list[str]:
    found = [f"unfinished: {path}" for path in footprint.unfinished()]
    known = {each["Id"] for each in containers}
    on_disk = set(os.listdir(f"{engine.data_root}/containers"))
    if on_disk != known:
        found.append(f"directories without a container: {on_disk - known}; containers without: {known - on_disk}")
    volumes = {each["Name"] for each in engine.api("GET", "/volumes")[1]["Volumes"] or ()}
    on_disk = {name for name in os.listdir(f"{engine.data_root}/volumes") if not name.startswith(".")}
    if on_disk != volumes:
        found.append(f"directories without a volume: {on_disk - volumes}; volumes without: {volumes - on_disk}")
    for directory in ("shm", "rootfs"):
        path = f"{engine.exec_root}/{directory}"
        if os.path.isdir(path) and os.listdir(path) and not known:
            found.append(f"files in {path}: {os.listdir(path)}")
    return found


def chain_ids(diff_ids: list[str]) -> list[str]:
    """OCI image specification, "Layer ChainID"."""
    chain: list[str] = []
    for diff_id in diff_ids:
        text = f"{chain[-1]} {diff_id}" if chain else ""
        chain.append("sha256:" + hashlib.sha256(text.encode()).hexdigest() if chain else diff_id)
    return chain


def _layers(engine: EngineProcess, containers: list[dict[str, Any]]) -> list[str]:
    found = []
    needed: set[str] = set()
    blobs: set[str] = set()
    for each in engine.api("GET", "/images/json?all=1")[1]:
        status, image = engine.api("GET", f"/images/{each['Id']}/json")
        if status != 200:
            found.append(f"image {each['Id'][:19]} is listed, but inspect answers {status}")
            continue
        needed |= {chain.partition(":")[2] for chain in chain_ids(image["RootFS"]["Layers"] or [])}
    status, usage = engine.api("GET", "/system/df")
    if status != 200:
        found.append(f"df answers {status}: {usage}")
    with sqlite3.connect(f"file:{engine.data_root}/sampan.db?mode=ro", uri=True) as database:
        for (layers,) in database.execute("SELECT layers FROM build_results"):
            needed |= {layer[0].partition(":")[2] for layer in json.loads(layers)}
        for (record,) in database.execute("SELECT record FROM containers"):
            needed |= {path.split("/")[-2] for path in json.loads(record).get("lower_dirs", ()) if "/stubs" not in path}
        manifests = [json.loads(row[0]) for row in database.execute("SELECT manifest FROM images") if row[0]]
    on_disk = {name for name in os.listdir(f"{engine.data_root}/layers") if len(name) == 64}
    if on_disk != needed:
        found.append(f"layers that nobody needs: {on_disk - needed}; layers that are missing: {needed - on_disk}")
    for name in on_disk:
        try:
            with open(f"{engine.data_root}/layers/{name}/layer.json", "rb") as file:
                blob = json.load(file).get("blob")
                blobs |= {blob.partition(":")[2]} if blob else set()
        except (OSError, ValueError) as error:
            found.append(f"layer {name[:12]} is not whole: {error}")
        documents = database.execute("SELECT id, manifest_digest FROM images").fetchall()
        names = [row[0] for row in database.execute("SELECT name FROM image_references")]
    blobs |= {digest.partition(":")[2] for row in documents for digest in row if digest}
    blobs |= {name.rpartition(":")[2] for name in names if "@" in name}
    listed = [layer["digest"] for manifest in manifests for layer in manifest.get("layers", ())]
    blobs |= {digest.partition(":")[2] for digest in listed}
    if stray := set(os.listdir(f"{engine.data_root}/content/blobs/sha256")) - blobs:
        found.append(f"blobs that nobody needs: {stray}")
    return found


def left_behind(engine: EngineProcess) -> list[str]:
    """What an engine without containers must not have."""
    footprint = Footprint(engine)
    found = []
    if processes := {pid: role for pid, role in footprint.processes().items() if role not in _OWN_PROCESSES}:
        found.append(f"processes: {processes}")
    if pids := footprint.container_processes():
        found.append(f"processes in our cgroups: {pids}")
    return found


def after_stop(engine: EngineProcess) -> list[str]:
    """What a stopped engine must not have on the host."""
    footprint = Footprint(engine)
    found = [f"process {pid} ({role})" for pid, role in footprint.processes().items()]
    found += [f"interface {name}" for name in (*footprint.bridges(), *footprint.veths())]
    found += [f"table {table}" for table in footprint.tables()]
    if footprint.has_cgroup():
        found.append(f"cgroup {footprint.instance}")
    left = set(os.listdir(engine.exec_root)) - {"lock", "tasks", "rootfs", "shm", "sampan.sock"}
    found += [f"file {name} in the exec root" for name in left]
    found += [f"task {name}" for name in os.listdir(f"{engine.exec_root}/tasks")]
    return found
