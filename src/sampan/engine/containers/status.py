"""The STATUS column of `docker ps`. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from sampan.store.containers import ZERO_TIME, StateRecord


def status_text(state: StateRecord, now_s: float) -> str:
    """`Up 5 minutes (healthy)`, `Exited (0) 2 hours ago`, `Created`, …"""
    if state.status == "created":
        return "Created"
    if state.status in ("removing", "dead"):
        return {"removing": "Removal In Progress", "dead": "Dead"}[state.status]
    if state.status == "restarting":
        return f"Restarting ({state.exit_code}) {human_duration(now_s - _seconds(state.finished_at))} ago"
    if state.status == "exited":
        if state.finished_at == ZERO_TIME:
            return "Created"
        return f"Exited ({state.exit_code}) {human_duration(now_s - _seconds(state.finished_at))} ago"
    since = human_duration(now_s - _seconds(state.started_at))
    if state.status == "paused":
        return f"Up {since} (Paused)"
    if state.health is not None and state.health.status:
        text = "health: starting" if state.health.status == "starting" else state.health.status
        return f"Up {since} ({text})"
    return f"Up {since}"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text[:26].rstrip("Z")).replace(tzinfo=UTC).timestamp()


def human_duration(seconds: float) -> str:
    """As go-units prints durations."""
    whole = int(max(0.0, seconds))
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = whole // 60
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(whole / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{hours // 24 // 365} years"
