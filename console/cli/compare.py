"""`xops compare A B`: two evaluations of the same questions, metric by metric and row by row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.cli.common import Json, find_run
from console.output import emit_json, emit_table, emit_text

if TYPE_CHECKING:
    from pipeline.compare.compare import Comparison
    from pipeline.compare.evidence import Evidence

app = typer.Typer(rich_markup_mode=None)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A run, or a package, folder or file of predictions.")],
    b: Annotated[str, typer.Argument(help="The one that is judged against it.")],
    common: Annotated[
        bool, typer.Option("--common", help="Compare the common rows where the sides have others too.")
    ] = False,
    bootstrap: Annotated[
        int, typer.Option(min=0, max=100_000, help="Resamples for the intervals; 0 for none.")
    ] = 1000,
    json: Json = False,
) -> None:
    """Compare two evaluations: deltas with paired intervals, settings, flipped rows, slices."""
    from pipeline.compare.compare import compare as compared

    found = compared(side(a), side(b), common=common, resamples=bootstrap)
    if json:
        emit_json(found)
    else:
        _show(found)


def side(name: str) -> Evidence:
    """A path where there is one of that name, else a run of the workspace."""
    from pipeline.compare.evidence import of_path, of_run

    path = Path(name)
    return of_path(path) if path.exists() else of_run(find_run(name))


def _show(found: Comparison) -> None:
    emit_text(f"A {found.a} {found.kind_a}   B {found.b} {found.kind_b}")
    emit_text(f"{found.rows} common rows of {found.rows_a} and {found.rows_b}, {found.episodes} episodes")
    if not found.results:
        emit_text("NOT RESULTS: at least one side is a smoke or overfit run")
    emit_text("")
    emit_table(
        ["metric", "A", "B", "B - A", "95 % by episode", "verdict", "without looking"],
        [(m.name, m.a, m.b, m.delta, _interval(m.low, m.high), m.verdict, m.baseline) for m in found.metrics],
        empty="no metric",
    )
    emit_text("")
    emit_table(
        ["setting", "A", "B"],
        [(name, str(one), str(other)) for name, (one, other) in found.settings.items()],
        empty="no recorded setting differs",
    )
    emit_text("")
    fields = dict.fromkeys((*found.gained, *found.lost))
    emit_table(
        ["field", "rows gained", "rows lost"],
        [(field, found.gained.get(field, 0), found.lost.get(field, 0)) for field in fields],
        empty="no row flipped",
    )
    emit_text("")
    emit_table(
        ["slice", "of", "rows", "A", "B"],
        [(s.name, s.by, s.rows, s.a, s.b) for s in found.slices if s.a != s.b],
        empty="no slice differs",
    )


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:+.4f} to {high:+.4f}"
