"""`xops metrics`: recompute metrics from stored predictions, with baselines, intervals and coverage."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from console.cli.common import Json
from console.output import emit_json, emit_table, emit_text

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Bootstrap = Annotated[int, typer.Option(min=0, max=100_000, help="Resamples for the intervals; 0 for none.")]


@app.command("json-qa")
def json_qa(
    predictions: Annotated[Path, typer.Argument(help="predictions.jsonl or predictions.csv.")],
    dataset_manifest: Annotated[
        Path | None, typer.Option(help="dataset_manifest.json with the label list and split counts.")
    ] = None,
    options: Annotated[Path | None, typer.Option(help="Labels alone: a JSON list, or one a line.")] = None,
    bootstrap: Bootstrap = 1000,
    json: Json = False,
) -> None:
    """Recompute the metrics of a JSON question-answering evaluation."""
    from pipeline.engine.errors import UsageError
    from pipeline.metrics.options import read_dataset_facts, read_options
    from pipeline.metrics.report import json_qa_report

    if dataset_manifest and options:
        raise UsageError("the labels come from one place", hint="give --dataset-manifest or --options")
    facts = read_dataset_facts(dataset_manifest) if dataset_manifest else None
    facts = read_options(options) if options else facts
    report = json_qa_report(predictions, facts, resamples=bootstrap)
    _show(report, json=json)


@app.command("future-window")
def future_window(
    predictions: Annotated[Path, typer.Argument(help="future_predictions.jsonl.")],
    bootstrap: Bootstrap = 1000,
    json: Json = False,
) -> None:
    """Recompute the retrieval metrics of a future-window evaluation."""
    from pipeline.metrics.future_window import report

    _show(report(predictions, resamples=bootstrap), json=json)


@app.command("forward-dynamics")
def forward_dynamics(
    metrics: Annotated[Path, typer.Argument(help="metrics.json with its losses.")],
    baseline: Annotated[
        Path | None, typer.Option(help="metrics.json of the untrained model on the same samples.")
    ] = None,
    bootstrap: Bootstrap = 1000,
    json: Json = False,
) -> None:
    """Recompute the loss summary of a forward-dynamics evaluation."""
    from pipeline.metrics.forward_dynamics import report

    _show(report(metrics, baseline=baseline, resamples=bootstrap), json=json)


@app.command()
def suite(
    directory: Annotated[Path, typer.Argument(help="Directory of one task, with its predictions.csv.")],
    bootstrap: Bootstrap = 1000,
    json: Json = False,
) -> None:
    """Recompute the metrics of one task of the twelve-task suite."""
    from pipeline.metrics.suite import report

    _show(report(directory, resamples=bootstrap), json=json)


def _show(report: dict[str, Any], *, json: bool) -> None:
    if json:
        emit_json(report)
        return
    intervals = report["intervals"]
    rows = [
        (name, value, _interval(intervals.get(name)), _baseline(report["baselines"], name))
        for name, value in report["parity"].items()
        if value is None or isinstance(value, (int, float))
    ]
    emit_table(["metric", "value", "95 % by episode", "without looking"], rows, empty="no metric")
    for title in ("supported", "baselines", "coverage"):
        emit_text("")
        emit_table([title, "value"], _flat(report[title]), empty=f"{title}: nothing")


def _interval(found: Any) -> str:
    return f"{found.low:.4g} to {found.high:.4g}" if found else ""


def _baseline(baselines: Mapping[str, Any], name: str) -> Any:
    """What a constant, copied or random answer scores in this metric."""
    found = baselines.get("parity", {}).get(name)
    for kind in ("constant", "chance"):
        found = baselines.get(f"{kind}_{name}") if found is None else found
    return found


def _flat(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested metrics as lines; long lists as their length."""
    lines: list[tuple[str, Any]] = []
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            lines += _flat(item, f"{name}.")
        elif isinstance(item, (list, tuple)):
            lines.append(
                (name, f"{len(item)} listed with --json" if len(item) > 3 else ", ".join(map(str, item)))
            )
        else:
            lines.append((name, item))
    return lines
