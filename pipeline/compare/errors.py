"""Where an evaluation goes wrong: the original's tables by group, and the answers to look at.

Episode, train-seen and overall tables are the published ones to the digit. The original's keyword lists for
action families and object categories were never published; ours are the first word of the action, and the
name of the object.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from pipeline.compare.evidence import Evidence
from pipeline.engine.files import publish_bytes, publish_json
from pipeline.metrics.answers import object_names
from pipeline.metrics.json_qa import TEXT_FIELDS, Judged, confusion
from pipeline.metrics.objects import pooled

#: Objects in one answer beyond which it is a list and no answer, as the original counted.
OVERGENERATED = 20

#: Examples of each kind, characters of each, and groups of a table that is cut.
_EXAMPLES, _PREFIX, _GROUPS = 12, 500, 40


class Group(Struct, frozen=True):
    """One row of a table; rates are shares of all its rows, as published.

    Attributes:
        group: its name.
        samples: rows.
        parsed_prediction_rate: answers that are a JSON object with anything in it.
        action_exact_rate, subtask_exact_rate, transition_exact_rate, next_action_exact_rate,
            contact_exact_rate: exact equality, unknown truths included.
        object_precision, object_recall, object_f1: pooled over the rows.
    """

    group: str
    samples: int
    parsed_prediction_rate: float
    action_exact_rate: float
    subtask_exact_rate: float
    transition_exact_rate: float
    next_action_exact_rate: float
    contact_exact_rate: float
    object_precision: float | None
    object_recall: float | None
    object_f1: float | None


class Example(Struct, frozen=True):
    """An answer worth a look.

    Attributes:
        id, episode_id, true_action: which.
        objects: named in it.
        text: its beginning.
    """

    id: str
    episode_id: str
    true_action: str
    objects: int
    text: str


class Analysis(Struct, frozen=True):
    """All tables.

    Attributes:
        overall: one group of all rows.
        episodes, train_seen, action_families, object_names: tables, the weakest first.
        confusions: most frequent wrong (true, said, rows).
        invalid, overgenerated: examples.
    """

    overall: Group
    episodes: tuple[Group, ...]
    train_seen: tuple[Group, ...]
    action_families: tuple[Group, ...]
    object_names: tuple[Group, ...]
    confusions: tuple[tuple[str, str, int], ...]
    invalid: tuple[Example, ...]
    overgenerated: tuple[Example, ...]


def analyse(evidence: Evidence) -> Analysis:
    """The tables of one evaluation."""
    rows = evidence.judged
    wrong = [(t, p, n) for (t, p), n in confusion(rows).cells.most_common() if t != p]
    invalid = [_example(one) for one in rows if not one.answer]
    many = [example for one in rows if (example := _example(one)).objects > OVERGENERATED]
    return Analysis(
        overall=_group("overall", rows),
        episodes=_table(rows, lambda one: [one.row.episode_id]),
        train_seen=_table(rows, _seen),
        action_families=_table(rows, lambda one: [family(one.row.true_label)]),
        object_names=_table(rows, lambda one: sorted(object_names((one.row.true or {}).get("objects")))),
        confusions=tuple(wrong[:_GROUPS]),
        invalid=tuple(invalid[:_EXAMPLES]),
        overgenerated=tuple(many[:_EXAMPLES]),
    )


def family(action: str) -> str:
    """The first word of an action."""
    return action.split(" ", maxsplit=1)[0].lower() or "none"


def publish_analysis(found: Analysis, folder: Path) -> None:
    """Write the tables as CSV, everything as JSON, and a page to read, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("episode", "train_seen", "action_family", "object_name"):
        table = getattr(found, _ATTRIBUTES[name])
        publish_bytes(folder / f"{name}_error_analysis.csv", _csv(table))
    publish_json(folder / "error_analysis_summary.json", msgspec.to_builtins(found))
    publish_bytes(folder / "ERROR_ANALYSIS.md", _markdown(found).encode("utf-8", "replace"))


_ATTRIBUTES: Mapping[str, str] = {
    "episode": "episodes",
    "train_seen": "train_seen",
    "action_family": "action_families",
    "object_name": "object_names",
}


def _seen(one: Judged) -> list[str]:
    seen = one.row.seen_in_train
    return [] if seen is None else ["seen_in_train" if seen else "unseen_in_train"]


def _table(rows: Sequence[Judged], names: Callable[[Judged], Iterable[str]]) -> tuple[Group, ...]:
    groups: dict[str, list[Judged]] = {}
    for one in rows:
        for name in names(one):
            groups.setdefault(name, []).append(one)
    made = [_group(name, found) for name, found in groups.items()]
    return tuple(sorted(made, key=lambda group: (group.parsed_prediction_rate, group.action_exact_rate)))


def _group(name: str, rows: Sequence[Judged]) -> Group:
    counts = pooled(one.objects() for one in rows)
    exact = Counter[str]()
    for one in rows:
        true = one.row.true or {"action": one.row.true_label}
        exact.update(
            field for field in ("action", *TEXT_FIELDS) if one.answer.get(field, _NOTHING) == true.get(field)
        )
    total = len(rows)
    return Group(
        group=name,
        samples=total,
        parsed_prediction_rate=sum(bool(one.answer) for one in rows) / total,
        action_exact_rate=exact["action"] / total,
        subtask_exact_rate=exact["subtask"] / total,
        transition_exact_rate=exact["transition"] / total,
        next_action_exact_rate=exact["next_action"] / total,
        contact_exact_rate=exact["contact"] / total,
        object_precision=counts.precision,
        object_recall=counts.recall,
        object_f1=counts.f1,
    )


_NOTHING = object()


def _example(one: Judged) -> Example:
    objects = one.answer.get("objects")
    return Example(
        id=one.row.id,
        episode_id=one.row.episode_id,
        true_action=one.row.true_label,
        objects=len(objects) if isinstance(objects, list) else 0,
        text=one.row.raw[:_PREFIX],
    )


def _csv(table: Sequence[Group]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Group.__struct_fields__)
    writer.writerows([getattr(group, name) for name in Group.__struct_fields__] for group in table)
    return text.getvalue().encode("utf-8", "replace")


def _markdown(found: Analysis) -> str:
    parts = ["# Error analysis", "", *_lines([found.overall]), ""]
    for title, table in (
        ("Weakest episodes", found.episodes),
        ("Action families", found.action_families),
        ("Seen in training", found.train_seen),
        ("Objects", found.object_names),
    ):
        parts += [f"## {title}", "", *_lines(table[:_GROUPS]), ""]
    parts += ["## Most frequent confusions", "", "| true | said | rows |", "|---|---|---:|"]
    parts += [f"| {_plain(true)} | {_plain(said)} | {rows} |" for true, said, rows in found.confusions]
    return "\n".join([*parts, ""])


def _lines(table: Sequence[Group]) -> list[str]:
    names = ("group", "samples", "parsed_prediction_rate", "action_exact_rate", "object_f1")
    head = [f"| {' | '.join(names)} |", "|---|---:|---:|---:|---:|"]
    return head + [f"| {' | '.join(_shown(getattr(group, name)) for name in names)} |" for group in table]


def _shown(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else _plain(str(value if value is not None else ""))


def _plain(text: str) -> str:
    """Without what would end a cell or colour a terminal."""
    return "".join(c for c in text.replace("|", "/") if c.isprintable())
