"""Restart back-off, health verdicts, filters and the STATUS column."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from sampan.engine.containers import health, restart_policy, selection
from sampan.engine.containers.model import Container
from sampan.engine.containers.signals import signal_number
from sampan.engine.containers.status import status_text
from sampan.errors import InvalidArgument
from sampan.store.containers import ContainerRecord, HealthRecord, StateRecord
from sampan.types.times import rfc3339


def decide(name: str = "always", **given: Any) -> restart_policy.Decision:
    base = {"exit_code": 1, "restart_count": 0, "last_delay_s": 0.0, "ran_s": 0.0, "stopped_by_user": False}
    return restart_policy.decide({"Name": name, "MaximumRetryCount": given.pop("maximum", 0)}, **{**base, **given})


def test_back_off_doubles_to_a_minute_and_starts_over() -> None:
    delays, last = [], 0.0
    for _ in range(12):
        last = decide(last_delay_s=last).delay_s
        delays.append(last)
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 60.0
    assert decide(last_delay_s=30.0, ran_s=10.0).delay_s == 0.1


def test_policies() -> None:
    assert decide("no") == decide("") == (False, 0.0)
    assert not decide("on-failure", exit_code=0).restart
    assert decide("on-failure", exit_code=3, restart_count=2, maximum=3).restart
    assert not decide("on-failure", exit_code=3, restart_count=3, maximum=3).restart
    assert decide("unless-stopped", exit_code=0).restart
    assert not decide("always", stopped_by_user=True).restart


def test_at_boot_always_ignores_that_a_user_stopped_it() -> None:
    def wanted(name: str, stopped: bool) -> bool:
        return restart_policy.wanted_at_boot({"Name": name}, stopped_by_user=stopped, exit_code=0, was_running=False)

    assert wanted("always", True)
    assert wanted("unless-stopped", False) and not wanted("unless-stopped", True)
    assert not wanted("no", False)


PLAN = health.Plan(["true"], 1, 1, 2, 10, 1)


def probe(code: int) -> health.Result:
    return health.Result(0, 1, code, "")


def test_health_verdicts() -> None:
    record = HealthRecord()
    health.judge(record, probe(1), PLAN, in_start_period=True)
    assert (record.status, record.failing_streak) == ("starting", 0)
    assert health.judge(record, probe(1), PLAN, in_start_period=False) == "starting"
    assert health.judge(record, probe(1), PLAN, in_start_period=False) == "unhealthy"
    assert health.judge(record, probe(0), PLAN, in_start_period=False) == "healthy"
    for _ in range(6):
        health.judge(record, probe(0), PLAN, in_start_period=False)
    assert len(record.log) == 5


def test_health_plan_defaults() -> None:
    found = health.plan({"Healthcheck": {"Test": ["CMD-SHELL", "x"]}, "Shell": None})
    assert found == health.Plan(["/bin/sh", "-c", "x"], 30, 30, 3, 0, 5)
    assert health.plan({"Healthcheck": {"Test": ["NONE"]}, "Shell": None}) is None


def container(name: str, number: int, status: str = "running", **fields: Any) -> Container:
    config = {"Labels": fields.pop("labels", {}), "ExposedPorts": None}
    record = ContainerRecord(f"{number:064x}", name, "", number, "img", "sha256:1", config, {"NetworkMode": "bridge"})
    record.state = StateRecord(status=status, **fields)
    record.endpoints = {"bridge": {}}
    return Container(record, "")


class Engine(SimpleNamespace):
    def get(self, name: str) -> Any:
        return next(each for each in self.all if each.name == name)


@pytest.fixture
def engine() -> Any:
    known = [
        container("one", 1, labels={"a": "1"}),
        container("two", 2, "exited", exit_code=3),
        container("three", 3, "paused", health=HealthRecord(status="healthy")),
    ]
    return SimpleNamespace(containers=Engine(all=known), networks=Engine(all=[]), known=known)


def names(engine: Any, **options: Any) -> list[str]:
    return [each.name for each in selection.select(engine, engine.known, options)]


def test_list_filters(engine: Any) -> None:
    assert names(engine) == ["three", "one"]
    assert names(engine, all=True) == ["three", "two", "one"]
    assert names(engine, limit=2) == ["three", "two"]
    assert names(engine, filters={"status": ["exited"]}) == ["two"]
    assert names(engine, filters={"exited": ["3"]}) == ["two"]
    assert names(engine, all=True, filters={"label": ["a=1"]}) == ["one"]
    assert names(engine, all=True, filters={"name": ["^/t"]}) == ["three", "two"]
    assert names(engine, filters={"before": ["two"]}) == ["one"]
    assert names(engine, filters={"health": ["healthy"]}) == ["three"]
    assert names(engine, all=True, filters={"is-task": ["true"]}) == []


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"bogus": ["1"]}, "invalid filter 'bogus'"),
        (
            {"status": ["rubbish"]},
            "invalid filter 'status=rubbish': invalid value for state (rubbish): must be one of created, running, paused, "
            "restarting, removing, exited, dead",
        ),
    ],
)
def test_bad_filters(engine: Any, filters: dict[str, list[str]], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        names(engine, filters=filters)
    assert caught.value.message == message


def test_status_column() -> None:
    now = 1_700_000_000.0
    started = rfc3339(int((now - 125) * 1e9))
    assert status_text(StateRecord("running", started_at=started), now) == "Up 2 minutes"
    assert status_text(StateRecord("paused", started_at=started), now) == "Up 2 minutes (Paused)"
    healthy = StateRecord("running", started_at=started, health=HealthRecord("starting"))
    assert status_text(healthy, now) == "Up 2 minutes (health: starting)"
    assert status_text(StateRecord("exited", exit_code=7, finished_at=started), now) == "Exited (7) 2 minutes ago"


def test_signals() -> None:
    assert [signal_number(text) for text in ("9", "KILL", "sigterm", "RTMIN+3")] == [9, 9, 15, 37]
    for bad in ("0", "SIG42", "65", ""):
        with pytest.raises(InvalidArgument):
            signal_number(bad)
