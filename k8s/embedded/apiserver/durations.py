"""How long ago, as kubectl shows it. Source: https://github.com/kubernetes/apimachinery/blob/master/pkg/util/duration/duration.go."""

from __future__ import annotations

from datetime import UTC, datetime


def since(when: object, now: datetime) -> str:
    """The time from an RFC 3339 timestamp until `now`; `<unknown>` without one."""
    if not isinstance(when, str) or not when:
        return "<unknown>"
    try:
        began = datetime.fromisoformat(when.replace("Z", "+00:00"))
    except ValueError:
        return "<invalid>"
    return human((now - began.astimezone(UTC)).total_seconds())


def human(span_s: float) -> str:
    """A duration in its two most telling units, coarser the longer it is."""
    seconds = int(span_s)
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 10:
        return _two(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}" + (f"{small}{small_unit}" if small else "")
