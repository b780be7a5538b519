"""daemon.json and flags: the same keys, never both, and names that keep engines apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampan.daemon import flags
from sampan.engine.config import EngineConfig, load
from sampan.errors import InvalidArgument


def written(tmp_path: Path, value: object) -> str:
    path = tmp_path / "daemon.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def test_file_and_flags_together(tmp_path: Path) -> None:
    path = written(
        tmp_path, {"log-driver": "json-file", "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}}}
    )
    line = flags.parse(
        ["-H", "tcp://127.0.0.1:1", "-H", "unix:///x", "--bip", "10.1.0.1/16", "--default-shm-size", "1g"], "0"
    )
    config = load(path, line.flags, required=True)
    assert config.log_driver == "json-file"
    assert config.hosts == ["tcp://127.0.0.1:1", "unix:///x"]
    assert (config.bip, config.default_shm_size, config.default_ulimits["nofile"].hard) == ("10.1.0.1/16", 1 << 30, 2)


def test_a_key_in_both_places_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"debug": True})
    with pytest.raises(
        InvalidArgument, match=r"both as a flag and in the configuration file: debug: \(from flag: True"
    ):
        load(path, {"debug": True}, required=True)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"no-such-key": 1}', '{"mtu": "x"}', '{"log-level": "loud"}', '{"labels": ["x"]}']
)
def test_bad_files_are_refused_with_their_name(tmp_path: Path, content: str) -> None:
    with pytest.raises(InvalidArgument):
        load(written(tmp_path, content), {}, required=True)


def test_a_missing_file_counts_only_if_named(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.json")
    assert load(absent, {}, required=False) == EngineConfig()
    with pytest.raises(InvalidArgument, match="no such file"):
        load(absent, {}, required=True)


@pytest.mark.parametrize(
    "arguments", [["--mtu", "big"], ["--debug=perhaps"], ["--label", "x", "--log-opt", "x"], ["-H", "nonsense"]]
)
def test_bad_flags_are_refused(arguments: list[str]) -> None:
    with pytest.raises(InvalidArgument):
        load("/nonexistent", flags.parse(arguments, "0").flags, required=False)


def test_engines_with_their_own_roots_never_meet() -> None:
    one, two = EngineConfig(exec_root="/run/a"), EngineConfig(exec_root="/run/b")
    for name in ("instance", "bridge_name", "table_name", "cgroup_root", "socket_path", "pidfile_path"):
        assert getattr(one, name) != getattr(two, name)
        assert getattr(EngineConfig(), name) not in (getattr(one, name), getattr(two, name))
    assert len(one.bridge_name) <= 15


def test_iptables_is_the_other_name_of_firewall(tmp_path: Path) -> None:
    assert load(written(tmp_path, {"iptables": False}), {}, required=True).firewall is False
    assert flags.parse(["--iptables=false"], "0").flags == {"firewall": False}
