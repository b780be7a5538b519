"""Whether and when a container that ended is started again. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

FIRST_DELAY_S = 0.1
MAX_DELAY_S = 60.0
RESET_AFTER_S = 10.0


class Decision(NamedTuple):
    restart: bool
    delay_s: float = 0.0


def decide(
    policy: dict[str, Any],
    *,
    exit_code: int,
    restart_count: int,
    last_delay_s: float,
    ran_s: float,
    stopped_by_user: bool,
) -> Decision:
    """`last_delay_s` is the delay before the run that ended (0: none), `restart_count` the restarts so far.

    The delay doubles from 100 ms to a minute; a run of 10 s or more starts it over.
    """
    name = policy.get("Name") or "no"
    if stopped_by_user or not _wanted(name, policy.get("MaximumRetryCount") or 0, exit_code, restart_count):
        return Decision(False)
    if ran_s >= RESET_AFTER_S or last_delay_s == 0:
        return Decision(True, FIRST_DELAY_S)
    return Decision(True, min(last_delay_s * 2, MAX_DELAY_S))


def _wanted(name: str, maximum: int, exit_code: int, restart_count: int) -> bool:
    if name in ("always", "unless-stopped"):
        return True
    return name == "on-failure" and exit_code != 0 and (maximum == 0 or restart_count < maximum)


def wanted_at_boot(policy: dict[str, Any], *, stopped_by_user: bool, exit_code: int, was_running: bool) -> bool:
    """Whether the engine's start starts a container that does not run: `always` ignores that a user stopped it."""
    name = policy.get("Name") or "no"
    if name == "always":
        return True
    if name == "unless-stopped":
        return not stopped_by_user
    return name == "on-failure" and was_running and exit_code != 0 and not stopped_by_user
