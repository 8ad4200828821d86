"""Numbers as an operator reads them: few digits, always a unit."""

from __future__ import annotations

import math

_COUNTS = ("", "k", "M", "G", "T", "P")
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def spoken_number(value: float | None, digits: int = 3) -> str:
    """`1234567` -> `1.23M`; three significant digits; `-` for None, `nan` and `inf` by name."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return str(float(value))
    if abs(value) < 1000 and value == int(value):
        return str(int(value))
    if 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    for power, suffix in enumerate(_COUNTS):
        scaled = value / 1000**power
        if abs(scaled) < 999.5 or suffix == _COUNTS[-1]:
            return _significant(scaled, digits) + suffix
    raise AssertionError("unreachable: the last suffix takes everything")


def spoken_bytes(value: float | None) -> str:
    """`8388608` -> `8 MiB`."""
    if value is None or not math.isfinite(value):
        return "-"
    for power, suffix in enumerate(_BYTES):
        scaled = value / 1024**power
        if abs(scaled) < 999.5 or suffix == _BYTES[-1]:
            return f"{_significant(scaled, 3)} {suffix}"
    raise AssertionError("unreachable: the last suffix takes everything")


def spoken_amount(value: float | None, unit: str) -> str:
    """A number with its unit: bytes in binary steps, anything else as a count."""
    if unit in ("B", "bytes"):
        return spoken_bytes(value)
    return f"{spoken_number(value)} {unit}".rstrip()


def spoken_duration(seconds: float | None) -> str:
    """`3725` -> `1h02m`; at most two units; `-` if unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    whole = max(0, round(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{whole % 60:02}s" if minutes else f"{whole}s"


def _significant(value: float, digits: int) -> str:
    """`digits` significant digits, without an exponent or trailing zeros."""
    magnitude = math.floor(math.log10(abs(value))) if value else 0
    text = f"{value:.{max(0, digits - 1 - magnitude)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
