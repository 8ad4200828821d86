"""The report as one HTML file that needs nothing else: no script, no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from pipeline.reporting.facts import Facts
from pipeline.reporting.plots import curves, metric_bars

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem }
h2 { margin-top: 2.5rem; font-size: 1.2rem }
table { border-collapse: collapse; font-size: .85rem }
th, td { text-align: left; padding: .25rem 1rem .25rem 0; border-bottom: 1px solid var(--line) }
td.n { text-align: right; font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto; margin: .5rem 0 }
svg text { font-size: 12px; fill: currentColor }
.axis { stroke: currentColor; opacity: .5 }
.raw { fill: none; stroke: #7a93b8; stroke-width: 1; opacity: .5 }
.mean { fill: none; stroke: #2f6db5; stroke-width: 2 }
.val { fill: #b5762f }
.best { fill: #2c7a54 }
.bar { fill: #2f6db5 }
.whisker { stroke: currentColor; stroke-width: 2 }
.baseline { stroke: #c0492f; stroke-width: 3 }
.pass { color: #2c7a54 }
.fail { color: #c0492f; font-weight: 600 }
p.note { opacity: .75; font-size: .9rem }
"""

#: The page may load and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(facts: Facts) -> str:
    """The whole file."""
    metrics, meta = facts.metrics, facts.meta
    coverage = metrics["coverage"]
    badge = "" if facts.kind in {"pilot", "verified"} else f' <span class="fail">{escape(facts.kind)}</span>'
    body = [
        f"<h1>Run {_text(facts.run_id)}{badge}</h1>",
        f"<p>{coverage['merged_prediction_rows']} of {coverage['expected_eval_samples']} rows of split "
        f"<code>{_text(metrics['eval_split'])}</code>, {metrics['held_out_episode_count']} episodes.</p>",
        "<h2>Metrics</h2>",
        metric_bars(facts.rows),
        '<p class="note">Red: the best answer without looking. Line: 95 % by resampling episodes. '
        "action_macro_f1 averages over every label option, also those that never occur.</p>",
        "<h2>Over labels that occur</h2>",
        _supported(facts.supported),
        "<h2>Loss</h2>",
        curves(facts.curve, facts.validations_at),
        "<h2>Most frequent confusions</h2>",
        _table(
            ("true", "said", "rows"), [(_cell(t), _cell(p), _cell(n, "n")) for t, p, n in facts.confusions]
        ),
        "<h2>Validation</h2>",
        _validation(facts),
        "<h2>Skipped episodes</h2>",
        _table(("episode", "why"), [(_cell(path), _cell(why)) for path, why in facts.skipped]),
        "<h2>Settings</h2>",
        _table(("setting", "value"), [(_cell(k), _cell(v)) for k, v in meta["settings"].items()]),
        "<h2>Lineage</h2>",
        _table(("what", "sha256 or name"), [(_cell(k), _cell(v)) for k, v in _lineage(facts)]),
    ]
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{_text(facts.run_id)}</title><style>{_STYLE}</style>\n" + "\n".join(body) + "\n</html>\n"
    )


def _supported(supported: Mapping[str, Any]) -> str:
    names = ("rows", "labels", "accuracy", "macro_f1", "balanced_accuracy", "weighted_f1", "micro_f1")
    rows = [
        (_cell(field), *(_cell(_number(found.get(name)), "n") for name in names))
        for field, found in supported.items()
    ]
    return _table(("field", *names), rows)


def _validation(facts: Facts) -> str:
    rows = [
        (_cell(name), f'<td class="{"pass" if status == "pass" else "fail"}">{escape(status)}</td>')
        for name, status in facts.validations.items()
    ]
    issues = [(_cell(i["stage"]), _cell(i["severity"]), _cell(i["message"])) for i in facts.issues]
    return _table(("of", "verdict"), rows) + _table(("stage", "severity", "issue"), issues)


def _lineage(facts: Facts) -> Iterable[tuple[str, Any]]:
    for key in ("model_id", "adapter_sha256", "dataset_sha256", "prompt_hash"):
        yield key, facts.meta[key]
    yield "base configuration", facts.meta["base_model"]["config_sha256"]
    yield "identity of the answers", facts.metrics["identity"]


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "<p>None.</p>"
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any, kind: str = "") -> str:
    return f'<td class="{kind}">{_text(value)}</td>' if kind else f"<td>{_text(value)}</td>"


def _text(value: Any) -> str:
    return escape("".join(c if c.isprintable() else " " for c in str(value)))


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
