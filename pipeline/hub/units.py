"""Bytes as the published files print them."""

from __future__ import annotations

MIB = 1 << 20
GIB = 1 << 30


def human(size: float) -> str:
    """`size` bytes with a binary unit and two decimals: `277.71 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    return f"{size:.2f} TiB"
