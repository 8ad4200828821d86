"""Plots as SVG text, without a library: shares per split, distances with their limits, counts as bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from pipeline.data.audit.balance import Balance

WIDTH, ROW, LABEL = 860, 34, 90


def shares(balance: Balance) -> str:
    """One bar per split, divided by category; hovering names the part."""
    colours = category_colours(balance)
    parts = []
    for line, (split, found) in enumerate(balance.splits.items()):
        top, left = line * ROW, float(LABEL)
        parts.append(_label(split, found.episodes, top))
        for category in colours:
            number = found.counts.get(category, 0)
            width = (WIDTH - LABEL) * number / found.episodes
            title = f"{category}: {number} of {found.episodes} ({number / found.episodes:.0%})"
            parts.append(_bar(left, top, width, colours[category], title))
            if width > 34:
                parts.append(f'<text x="{left + 6:.1f}" y="{top + 19}" class="in">{number}</text>')
            left += width
    return _svg(len(balance.splits) * ROW, parts, "shares of categories per split")


def legend(balance: Balance) -> str:
    """The colours of `shares` with their categories."""
    return "".join(
        f'<span class="key"><i style="background:{colour}"></i>{escape(category)}</span>'
        for category, colour in category_colours(balance).items()
    )


def distances(balance: Balance, limit: float) -> str:
    """Each split's divergence as a bar, with the gate's limit and what chance alone would give."""
    highest = max([limit, *(max(b.divergence, b.chance) for b in balance.splits.values())]) * 1.1 or 1.0

    def place(bits: float) -> float:
        return LABEL + (WIDTH - LABEL) * bits / highest

    parts = []
    for line, (split, found) in enumerate(balance.splits.items()):
        top = line * ROW
        kind = "bad" if found.divergence > limit else "good"
        title = f"{split}: {found.divergence:.3f} bits, chance {found.chance:.3f}"
        parts.append(_label(split, None, top))
        width = place(found.divergence) - LABEL
        parts.append(
            f'<rect class="{kind}" x="{LABEL}" y="{top + 4}" width="{width:.1f}" height="22">'
            f"<title>{escape(title)}</title></rect>"
        )
        mark = place(found.chance)
        parts.append(f'<line class="chance" x1="{mark:.1f}" x2="{mark:.1f}" y1="{top + 2}" y2="{top + 28}"/>')
    height = len(balance.splits) * ROW
    parts.append(
        f'<line class="limit" x1="{place(limit):.1f}" x2="{place(limit):.1f}" y1="0" y2="{height}"/>'
    )
    return _svg(height, parts, "divergence of each split from all episodes")


def histogram(values: Sequence[int], bins: int = 24) -> str:
    """How many episodes have how many of something."""
    if not values:
        return ""
    highest = max(values)
    step = max(1, -(-(highest + 1) // bins))
    counts = [0] * (highest // step + 1)
    for value in values:
        counts[value // step] += 1
    height, width = 120, (WIDTH - LABEL) / len(counts)
    parts = []
    for index, number in enumerate(counts):
        tall = (height - 24) * number / max(counts)
        title = f"{index * step} to {index * step + step - 1}: {number} episodes"
        left = LABEL + index * width
        parts.append(
            f'<rect class="good" x="{left:.1f}" y="{height - 20 - tall:.1f}" width="{max(1, width - 2):.1f}" '
            f'height="{tall:.1f}"><title>{escape(title)}</title></rect>'
        )
    parts.append(f'<text x="{LABEL}" y="{height - 4}">0</text>')
    parts.append(f'<text x="{WIDTH}" y="{height - 4}" text-anchor="end">{highest}</text>')
    return _svg(height, parts, "histogram")


def category_colours(balance: Balance) -> Mapping[str, str]:
    """A colour per category, most frequent first; hues far apart, grey for what nobody could place."""
    return {
        category: "#8a8a8a"
        if category in ("uncategorized", "unparsed")
        else f"hsl({(index * 137) % 360} 50% {34 + 9 * (index % 3)}%)"
        for index, category in enumerate(balance.counts)
    }


def _label(split: str, number: int | None, top: int) -> str:
    text = split if number is None else f"{split} ({number})"
    return f'<text x="0" y="{top + 19}">{escape(text)}</text>'


def _bar(left: float, top: int, width: float, colour: str, title: str) -> str:
    return (
        f'<rect x="{left:.1f}" y="{top + 4}" width="{width:.1f}" height="22" fill="{colour}">'
        f"<title>{escape(title)}</title></rect>"
    )


def _svg(height: int, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
