"""Times and durations in words."""

from __future__ import annotations


def ago(then: float, now: float) -> str:
    """How long ago ``then`` was, such as ``3 min ago``; both are seconds since the epoch."""
    gone = now - then
    if gone < 5:
        return "just now"
    for size, unit in ((60.0, "s"), (3600.0, "min"), (86400.0, "h")):
        if gone < size:
            small = size / (60.0 if unit != "h" else 24.0)
            return f"{int(gone / small)} {unit} ago"
    days = int(gone / 86400.0)
    return "1 day ago" if days == 1 else f"{days} days ago"


def duration(seconds: float) -> str:
    """A duration for a reader: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 03 min``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: int) -> str:
    """A number of bytes for a reader: ``512 B``, ``3.4 kB``, ``120 MB`` (powers of 1000)."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"
        value /= 1000.0
    return f"{value:.1f} TB"


def plural(count: int, word: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
