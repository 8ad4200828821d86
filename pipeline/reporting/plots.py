"""Plots as SVG text, without a library: curves of a training, metrics beside their baselines."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from pipeline.reporting.facts import MetricRow

WIDTH, HEIGHT, LEFT, BOTTOM = 860, 300, 60, 30
_ROW = 30
_NAMES = 210

Points = Sequence[tuple[float, float]]

#: Points a curve is drawn with at most; the picture has no more columns.
_MOST = 800


def curves(train: Points, val: Points) -> str:
    """Loss over steps: training as it was, its running mean, and the validations as marks."""
    if not train:
        return "<p>No step was recorded.</p>"
    values = [value for _, value in (*train, *val)]
    high, low = max(values), min(0.0, *values)
    last = max(step for step, _ in (*train, *val)) or 1.0

    def place(step: float, value: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 10) * step / last
        return x, 10 + (HEIGHT - BOTTOM - 10) * (1 - (value - low) / ((high - low) or 1.0))

    parts = [_axes(last, low, high)]
    parts.append(_line([place(*p) for p in _thinned(train)], "raw"))
    parts.append(_line([place(*p) for p in _thinned(_smoothed(train))], "mean"))
    best = min(val, key=lambda point: point[1], default=None)
    for point in val:
        x, y = place(*point)
        kind = "best" if point is best else "val"
        title = f"step {point[0]:g}: validation {point[1]:.4f}{' (kept)' if point is best else ''}"
        parts.append(
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{title}</title></circle>'
        )
    return _svg(HEIGHT, parts, "loss over steps")


def metric_bars(rows: Sequence[MetricRow]) -> str:
    """Every metric as a bar, its interval as a whisker, and what is scored without looking as a mark."""
    parts = []
    span = WIDTH - _NAMES - 60
    for index, row in enumerate(rows):
        top = index * _ROW
        value = row.value or 0.0
        parts.append(f'<text x="0" y="{top + 19}">{escape(row.name)}</text>')
        parts.append(f'<rect class="bar" x="{_NAMES}" y="{top + 6}" width="{span * value:.1f}" height="16"/>')
        parts.append(f'<text x="{WIDTH - 50}" y="{top + 19}">{value:.4f}</text>')
        if row.low is not None and row.high is not None:
            left, right = _NAMES + span * row.low, _NAMES + span * row.high
            parts.append(
                f'<line class="whisker" x1="{left:.1f}" x2="{right:.1f}" y1="{top + 14}" y2="{top + 14}"/>'
            )
        if row.baseline is not None:
            x = _NAMES + span * row.baseline
            parts.append(
                f'<line class="baseline" x1="{x:.1f}" x2="{x:.1f}" y1="{top + 3}" y2="{top + 25}">'
                f"<title>without looking: {row.baseline:.4f}</title></line>"
            )
    return _svg(len(rows) * _ROW, parts, "metrics and their baselines")


def _axes(last: float, low: float, high: float) -> str:
    base = HEIGHT - BOTTOM
    return (
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - 10}" y1="{base}" y2="{base}"/>'
        f'<text x="{LEFT}" y="{HEIGHT - 8}">0</text>'
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 8}" text-anchor="end">{last:g} steps</text>'
        f'<text x="{LEFT - 6}" y="20" text-anchor="end">{high:.3g}</text>'
        f'<text x="{LEFT - 6}" y="{base}" text-anchor="end">{low:.3g}</text>'
    )


def _line(points: Points, kind: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline class="{kind}" points="{path}"/>'


def _smoothed(points: Points) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    mean = points[0][1]
    for step, value in points:
        mean += (value - mean) * 0.1
        found.append((step, mean))
    return found


def _thinned(points: Points) -> Points:
    return points if len(points) <= _MOST else [points[i * len(points) // _MOST] for i in range(_MOST)]


def _svg(height: int, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )
