"""`xops analyze`: where an evaluation goes wrong, by episode, action, object and train-seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console.cli.common import Json
from console.cli.compare import side
from console.output import emit_json, emit_table, emit_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.compare.errors import Group

app = typer.Typer(rich_markup_mode=None)

#: Groups of each table that the terminal gets; files have all.
_SHOWN = 12


@app.command()
def analyze(
    evaluation: Annotated[str, typer.Argument(help="A run, or a package, folder or file of predictions.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Also write CSV, JSON and Markdown there.")
    ] = None,
    json: Json = False,
) -> None:
    """Tables of errors: the weakest groups first, frequent confusions, answers to look at."""
    from pipeline.compare.errors import analyse, publish_analysis

    found = analyse(side(evaluation))
    if out is not None:
        publish_analysis(found, out)
    if json:
        emit_json(found)
        return
    for title, table in (
        ("all rows", [found.overall]),
        ("episode", found.episodes),
        ("seen in train", found.train_seen),
        ("action family", found.action_families),
        ("object", found.object_names),
    ):
        _show(title, table[:_SHOWN])
    emit_table(["true", "said", "rows"], found.confusions[:_SHOWN], empty="no confusion")
    emit_text("")
    for title, examples in (("not valid", found.invalid), ("too many objects", found.overgenerated)):
        for example in examples[:3]:
            emit_text(f"{title}: {example.id}: {example.text[:200]}")


def _show(title: str, table: Sequence[Group]) -> None:
    emit_table(
        [title, "rows", "parsed", "action", "subtask", "transition", "next", "contact", "object F1"],
        [
            (
                group.group,
                group.samples,
                group.parsed_prediction_rate,
                group.action_exact_rate,
                group.subtask_exact_rate,
                group.transition_exact_rate,
                group.next_action_exact_rate,
                group.contact_exact_rate,
                group.object_f1,
            )
            for group in table
        ],
        empty=f"{title}: nothing",
    )
    emit_text("")
