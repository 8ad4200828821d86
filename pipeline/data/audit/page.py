"""The balance report and episode atlas as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from pipeline.data.audit.plots import distances, histogram, legend, shares
from pipeline.data.audit.report import Review
from pipeline.data.audit.rows import AuditRow

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem }
h2 { margin-top: 2.5rem; font-size: 1.2rem }
table { border-collapse: collapse; width: 100%; font-size: .85rem }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; vertical-align: top }
th, td { border-bottom: 1px solid var(--line) }
td.n { text-align: right; font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto; margin: .5rem 0 }
svg text { font-size: 13px; fill: currentColor }
svg text.in { fill: #fff }
.good { fill: #3f8f6b }
.bad { fill: #c0492f }
.limit { stroke: #c0492f; stroke-width: 2; stroke-dasharray: 4 3 }
.chance { stroke: currentColor; stroke-width: 2 }
.key { display: inline-block; margin-right: 1rem; font-size: .85rem }
.key i { display: inline-block; width: .8em; height: .8em; margin-right: .35em }
.pass { color: #2c7a54 }
.fail { color: #c0492f; font-weight: 600 }
.tag { border: 1px solid var(--line); border-radius: .6em; padding: 0 .5em; white-space: nowrap }
p.note { opacity: .75; font-size: .9rem }
"""

#: The page may load and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(review: Review) -> str:
    """The whole file."""
    body = [
        "<h1>Content balance and episode atlas</h1>",
        f"<p>{len(review.rows)} episodes, split <code>{review.split_hash}</code>, "
        f"{escape(review.generated_at)}.</p>",
        _checks(review),
        "<h2>Splits by leading tag</h2>",
        shares(review.by_tag),
        f"<p>{legend(review.by_tag)}</p>",
        "<h2>Distance of each split from all episodes</h2>",
        distances(review.by_tag, review.limits.max_divergence),
        f'<p class="note">Jensen-Shannon divergence in bits. Dashed: the limit, '
        f"{review.limits.max_divergence:g}. Solid mark: 95 of 100 random assignments within size bands "
        "stay below it.</p>",
        "<h2>Splits by the published keyword groups</h2>",
        shares(review.by_group),
        f"<p>{legend(review.by_group)}</p>",
        "<h2>Labelled windows per episode</h2>",
        histogram([row.labelled_windows for row in review.rows]),
        "<h2>Proposed swaps</h2>",
        _swaps(review),
        *_skipped(review),
        "<h2>Atlas</h2>",
        _atlas(review.rows),
    ]
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>Content balance</title><style>{_STYLE}</style>\n" + "\n".join(body) + "\n</html>\n"
    )


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any, kind: str = "") -> str:
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def _checks(review: Review) -> str:
    answers = {True: ("pass", "pass"), False: ("FAIL", "fail"), None: ("to be signed", "")}
    return _table(
        ("check", "answer", "detail"),
        [(_cell(c.name), _cell(*answers[c.ok]), _cell(c.detail)) for c in review.checks],
    )


def _swaps(review: Review) -> str:
    if not review.swaps:
        return "<p>None: the limits hold, or no exchange within a size band helps.</p>"
    rows = [
        (
            _cell(n, "n"),
            _cell(swap.first),
            _cell(f"{swap.first_split} to {swap.second_split}"),
            _cell(swap.first_category),
            _cell(swap.second),
            _cell(f"{swap.second_split} to {swap.first_split}"),
            _cell(swap.second_category),
            _cell(f"{swap.before:.3f} to {swap.after:.3f}"),
        )
        for n, swap in enumerate(review.swaps, 1)
    ]
    return _table(("", "episode", "split", "shows", "episode", "split", "shows", "divergence"), rows)


def _skipped(review: Review) -> list[str]:
    if not review.skipped:
        return []
    rows = [(_cell(path), _cell(reason)) for path, reason in review.skipped.items()]
    return ["<h2>Not audited</h2>", _table(("episode", "why"), rows)]


def _atlas(rows: Sequence[AuditRow]) -> str:
    return _table(
        ("episode", "split", "band", "main task", "tags", "frames", "windows"),
        [
            (
                _cell(row.episode_path),
                _cell(row.split),
                _cell(row.size_band),
                _cell(row.main_task or row.error or "no caption"),
                f"<td>{''.join(_tag(tag.name, tag.share) for tag in row.tags)}</td>",
                _cell(row.frame_count, "n"),
                _cell(row.labelled_windows, "n" if row.labelled_windows else "n fail"),
            )
            for row in rows
        ],
    )


def _tag(name: str, share: float) -> str:
    return f'<span class="tag" title="{share:.0%} of the labelled time">{escape(name)}</span> '
