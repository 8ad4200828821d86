"""Metrics of the JSON question-answering evaluations: Qwen branch and Cosmos reasoner.

`parity` follows formats 3.1 to the bit, keys included. Its macro-F1 averages over every option, also the
1,000 that never occur in the test split, so its ceiling is about 0.16; `supported` says what the same
answers are worth over labels that do occur.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.metrics.answers import FIELDS, Options, is_valid, object_names, parse_answer
from pipeline.metrics.classification import Confusion, ratio
from pipeline.metrics.objects import SetCounts, compare, pooled
from pipeline.metrics.rows import Row

#: Fields compared as exact text where the true one is known.
TEXT_FIELDS = ("subtask", "transition", "next_action", "contact")
UNKNOWN = "unknown"
#: Objects a constant answer may name; the training target has at most 8 (formats 2.4).
LONGEST_CONSTANT_SET = 8


class Judged(NamedTuple):
    """One row with its answer understood.

    Attributes:
        row: as stored.
        answer: the parsed object; empty where there is none.
        label: the action it means.
    """

    row: Row
    answer: dict[str, Any]
    label: str

    @property
    def correct(self) -> bool:
        """Whether the action is right."""
        return self.label == self.row.true_label

    def field_correct(self, field: str) -> bool | None:
        """Whether a text field is right; None where the truth is unknown."""
        true = (self.row.true or {}).get(field, UNKNOWN)
        return None if true == UNKNOWN else bool(self.answer.get(field) == true)

    def objects(self) -> SetCounts:
        """Object names found, invented and missed."""
        return compare(
            object_names((self.row.true or {}).get("objects")), object_names(self.answer.get("objects"))
        )


def judge(rows: Iterable[Row], options: Options) -> list[Judged]:
    """Understand every row's answer anew; what an evaluation stored about it is not believed."""
    judged = []
    for row in rows:
        answer = parse_answer(row.raw)
        judged.append(Judged(row, answer, options.label(row.raw, answer)))
    return judged


def confusion(judged: Iterable[Judged]) -> Confusion:
    """True and predicted actions."""
    return Confusion((one.row.true_label, one.label) for one in judged)


def parity(judged: Sequence[Judged], options: Options) -> dict[str, Any]:
    """The published metrics, under the published keys.

    Args:
        judged: all rows, in the order of the file.
        options: the dataset's action list.

    Returns:
        `metrics.json` without what only the evaluation knew (model, paths); None where the rows do not
        say it, as the true fields in a CSV.
    """
    matrix = confusion(judged)
    labels = matrix.labels(options.labels)
    macro = matrix.macro_f1(labels)
    episodes = len({one.row.episode_id for one in judged})
    seen = [one.correct for one in judged if one.row.seen_in_train is True]
    unseen = [one.correct for one in judged if one.row.seen_in_train is False]
    return {
        "num_samples": len(judged),
        "accuracy": matrix.accuracy,
        "macro_f1": macro,
        "labels": labels,
        "num_eval_episodes": episodes,
        "held_out_episode_count": episodes,
        "unseen_eval_labels": sorted(
            {one.row.true_label for one in judged if one.row.seen_in_train is False}
        ),
        "num_unseen_label_samples": len(unseen),
        "seen_label_accuracy": ratio(sum(seen), len(seen)),
        "unseen_label_accuracy": ratio(sum(unseen), len(unseen)),
        "eval_label_counts": dict(matrix.support.most_common()),
        "json_validity_rate": ratio(sum(is_valid(one.answer) for one in judged), len(judged)),
        "action_macro_f1": macro,
        **{f"{field}_accuracy": field_accuracy(judged, field) for field in TEXT_FIELDS},
        "object_micro_f1": pooled(one.objects() for one in judged).f1 if has_fields(judged) else None,
    }


def field_accuracy(judged: Iterable[Judged], field: str) -> float | None:
    """Share of exact answers over rows whose truth is known."""
    verdicts = [verdict for one in judged if (verdict := one.field_correct(field)) is not None]
    return ratio(sum(verdicts), len(verdicts))


def has_fields(judged: Iterable[Judged]) -> bool:
    """Whether any row brings its true fields."""
    return any(one.row.true is not None for one in judged)


def supported(judged: Sequence[Judged]) -> dict[str, Any]:
    """What the answers are worth over labels that occur in the evaluated rows.

    Returns:
        For the action and each text field: rows, labels with support, accuracy, macro-F1 over these
        labels, balanced accuracy, weighted F1; for objects pooled precision and recall.
    """
    fields = {"action": confusion(judged)} | {field: _field_confusion(judged, field) for field in TEXT_FIELDS}
    found: dict[str, Any] = {field: scores(matrix) for field, matrix in fields.items() if matrix.rows}
    if has_fields(judged):
        counts = pooled(one.objects() for one in judged)
        found["objects"] = {
            "rows": len(judged),
            "precision": counts.precision,
            "recall": counts.recall,
            "micro_f1": counts.f1,
        }
    return found


def scores(matrix: Confusion) -> dict[str, Any]:
    """Metrics over labels with support (the rule of formats 3.4)."""
    return {
        "rows": matrix.rows,
        "labels": len(matrix.support),
        "accuracy": matrix.accuracy,
        "macro_f1": matrix.macro_f1(list(matrix.support)),
        "balanced_accuracy": matrix.balanced_accuracy(),
        "weighted_f1": matrix.weighted_f1(),
    }


def baselines(judged: Sequence[Judged], options: Options) -> dict[str, Any]:
    """What answers without looking are worth on the same rows.

    `constant` always says the label most frequent *in these rows*, the best any constant answer can do;
    `copy` gives the true current action as the next one, which is right in 98.7 % of the published rows.
    `constant_set` always names the most frequent objects, as many as score best. `parity` has the same
    numbers under the keys of the published metrics.
    """
    fields = {"action": confusion(judged)} | {field: _field_confusion(judged, field) for field in TEXT_FIELDS}
    found: dict[str, Any] = {}
    for field, matrix in fields.items():
        label = matrix.most_common()
        if label is None:
            continue
        constant = Confusion((true, label) for true, count in matrix.support.items() for _ in range(count))
        found[field] = {"constant": {"label": label, **scores(constant)}}
    if "next_action" in found:
        pairs = [(_true(one, "next_action"), one.row.true_label) for one in judged]
        found["next_action"]["copy"] = scores(Confusion((t, p) for t, p in pairs if t != UNKNOWN))
    if has_fields(judged):
        found["objects"] = {"constant_set": _constant_objects(judged)}
    return found | {"parity": _parity_baselines(found, fields["action"], options)}


def _parity_baselines(found: Mapping[str, Any], actions: Confusion, options: Options) -> dict[str, Any]:
    constant = found["action"]["constant"]
    options_and_seen = len({*options.labels, *actions.support})
    macro = constant["macro_f1"] * constant["labels"] / options_and_seen
    flat = {"accuracy": constant["accuracy"], "macro_f1": macro, "action_macro_f1": macro}
    for field in TEXT_FIELDS:
        if field in found:
            best = max((kind for kind in found[field].values()), key=lambda kind: float(kind["accuracy"]))
            flat[f"{field}_accuracy"] = best["accuracy"]
    if "objects" in found:
        flat["object_micro_f1"] = found["objects"]["constant_set"]["micro_f1"]
    return flat


def coverage(
    judged: Sequence[Judged],
    *,
    skipped_lines: int = 0,
    expected_rows: int | None = None,
    skipped_episodes: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """How much of what should have been evaluated the metrics speak of.

    Args:
        judged: all rows.
        skipped_lines: lines of the file that were no rows.
        expected_rows: samples of the split, where a dataset manifest states them.
        skipped_episodes: episodes without samples, with reasons.
    """
    ids = Counter(one.row.id for one in judged)
    unseen = sum(one.row.seen_in_train is False for one in judged)
    known = {field: sum(one.field_correct(field) is not None for one in judged) for field in TEXT_FIELDS}
    return {
        "rows": len(judged),
        "expected_rows": expected_rows,
        "share": ratio(len(ids), expected_rows) if expected_rows else None,
        "episodes": len({one.row.episode_id for one in judged}),
        "duplicate_ids": sum(count - 1 for count in ids.values()),
        "skipped_lines": skipped_lines,
        "splits": dict(Counter(one.row.split for one in judged)),
        "valid_json_rows": sum(is_valid(one.answer) for one in judged),
        "unparsable_rows": sum(not one.answer for one in judged),
        "correct_without_valid_json": sum(one.correct and not is_valid(one.answer) for one in judged),
        "missing_fields": {f: n for f in FIELDS if (n := sum(f not in one.answer for one in judged))},
        "rows_with_known_truth": {"action": len(judged), **known},
        "unseen_label_rows": unseen,
        "stored_labels_that_differ": sum(
            one.row.stored_label is not None and one.row.stored_label != one.label for one in judged
        ),
        "skipped_episodes": [{"episode": episode, "reason": reason} for episode, reason in skipped_episodes],
    }


def _field_confusion(judged: Iterable[Judged], field: str) -> Confusion:
    return Confusion(
        (_true(one, field), str(one.answer.get(field, "")))
        for one in judged
        if one.field_correct(field) is not None
    )


def _true(one: Judged, field: str) -> str:
    return str((one.row.true or {}).get(field, UNKNOWN))


def _constant_objects(judged: Sequence[Judged]) -> dict[str, Any]:
    true = [object_names((one.row.true or {}).get("objects")) for one in judged]
    frequency = Counter(name for names in true for name in sorted(names))
    ranked = [name for name, _ in frequency.most_common(LONGEST_CONSTANT_SET)]
    best = max(
        (ranked[:size] for size in range(len(ranked) + 1)),
        key=lambda names: pooled(compare(wanted, names) for wanted in true).f1 or 0.0,
    )
    counts = pooled(compare(wanted, best) for wanted in true)
    return {"objects": best, "micro_f1": counts.f1, "precision": counts.precision, "recall": counts.recall}
