"""Durations and sizes as a spec and settings write them."""

from __future__ import annotations

import re

_SECONDS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60}
_SECONDS |= {"h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([a-zA-Z]+)\s*")
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([KMGTP]?)(i?)B?", re.IGNORECASE)


def seconds_of(text: str) -> float | None:
    """Seconds of a duration such as ``90s``, ``10 min`` or ``1h 30m``; None: it is none."""
    total, rest = 0.0, text.strip()
    while rest:
        match = _DURATION.match(rest)
        unit = match[2].lower() if match else ""
        size = _SECONDS.get(unit) or _SECONDS.get(unit.removesuffix("s"))
        if match is None or size is None:
            return None
        total += float(match[1]) * size
        rest = rest[match.end() :]
    return total or None


def bytes_of(text: str) -> int | None:
    """Bytes of a size such as ``2G`` (powers of 1000) or ``512Mi`` (of 1024); None: it is none."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        return None
    power = " KMGTP".index(match[2].upper() or " ")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** power) or None
