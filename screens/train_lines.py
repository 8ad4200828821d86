"""The lines of the Train screen, made from what a training's log says. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.engine.snapshot import Row
from pipeline.views.train import TrainFold, smoothed
from screens.terminal.glyphs import Glyphs
from screens.widgets.chart import Series
from screens.widgets.curves import sparkline
from screens.widgets.lines import Piece
from screens.widgets.units import spoken_bytes, spoken_duration, spoken_number

Line = list[Piece]

_PHASES = {
    "model_load": "loading the model",
    "prepare": "preparing (sharding, optimizer)",
    "train": "training",
    "val": "validating",
    "save": "saving",
    "generate": "answering val rows",
}
#: Validations in a row above the best from which it is worth a warning.
_RISING = 2
#: Seconds without an event after which its age is worth a word.
_QUIET_S = 10.0
_LABEL = 12


def headline(fold: TrainFold, row: Row | None, now: float) -> list[Line]:
    """Where it is, how long it takes, what is best, what is wrong."""
    if fold.last is None:
        why = row.status.reason if row else "this run does not train"
        return [[("no training has begun", "text bold"), (f"  {why}", "muted")]]
    return [
        _where(fold, row, now),
        *_quality(fold),
        *([[(fold.trouble, "error bold")]] if fold.trouble else []),
    ]


def curves(fold: TrainFold) -> list[Series]:
    """Train loss as it was, its running mean, and the validations with the best marked."""
    found = [Series("train", fold.loss, "muted"), Series("mean", smoothed(fold.loss), "primary")]
    return [*found, Series("val", fold.val, "accent", "min")] if fold.val else found


def detail_lines(fold: TrainFold, width: int, glyphs: Glyphs) -> list[Line]:
    """The last step, what was answered meanwhile, and what it uses."""
    return [
        *_step(fold, width, glyphs),
        *_generated(fold, width, glyphs),
        *[_device(rank, use, glyphs) for rank, use in sorted(fold.devices.items())],
        *_phases(fold),
    ]


def _where(fold: TrainFold, row: Row | None, now: float) -> Line:
    phase = fold.phases[-1].name if fold.phases else ""
    doing = fold.ended or _PHASES.get(phase, phase or "starting")
    tone = {"failed": "error bold", "complete": "success bold"}.get(fold.ended, "text bold")
    share = f" ({100 * fold.done // fold.total} %)" if fold.total else ""
    pieces: Line = [(doing, tone), (f"  step {fold.done} of {spoken_number(fold.total)}{share}", "text")]
    if fold.eta_s is not None:
        pieces.append((f"  ends in about {spoken_duration(fold.eta_s)}", "accent"))
    if fold.phases and not fold.ended and phase != "train":
        pieces.append((f"  for {spoken_duration(now - fold.phases[-1].began)}", "muted"))
    quiet = now - (fold.last or now)
    if not fold.ended and quiet > _QUIET_S:
        active = row.status.state.active if row else True
        word = "last event" if active else "nobody writes; last event"
        pieces.append((f"  {word} {spoken_duration(quiet)} ago", "warning" if active else "error bold"))
    if fold.attempts > 1:
        pieces.append((f"  attempt {fold.attempts}", "muted"))
    return pieces


def _quality(fold: TrainFold) -> list[Line]:
    best = fold.best
    if best is None:
        return [[("no validation yet", "muted"), *_checkpoint(fold)]]
    told = f"best validation {best[1]:.4f} at step {best[0]:g}"
    lines: list[Line] = [[(told, "success"), *_checkpoint(fold)]]
    if fold.rising >= _RISING:
        rise = f"{best[1]:.4f} to {fold.val[-1][1]:.4f}"
        told = f"validation up {fold.rising} passes in a row: {rise}; the best is kept"
        lines.append([(told, "warning bold")])
    return lines


def _checkpoint(fold: TrainFold) -> Line:
    return [(f"  checkpoint of step {fold.checkpoint}", "muted")] if fold.checkpoint is not None else []


def _step(fold: TrainFold, width: int, glyphs: Glyphs) -> list[Line]:
    step = fold.step
    if not step:
        return []
    facts: list[tuple[str, str]] = [
        ("loss", spoken_number(fold.loss[-1][1], 4)),
        ("rate", spoken_number(_number(step, "lr"))),
        ("gradient", spoken_number(_number(step, "grad_norm"))),
        ("rows/s", spoken_number(_number(step, "rows_per_s"))),
        ("tokens/s", spoken_number(_number(step, "tokens_per_s"))),
    ]
    lines: list[Line] = [_facts("last step", facts)]
    answer, prompt = _number(step, "supervised_tokens"), _number(step, "prompt_tokens")
    if answer is not None and prompt:
        share = 100 * answer / (answer + prompt)
        tokens = [
            ("learned from", f"{spoken_number(answer)} of {spoken_number(answer + prompt)} ({share:.1f} %)"),
            ("media", spoken_number(_number(step, "media_tokens"))),
            ("pictures", spoken_number(_number(step, "frames"))),
        ]
        lines.append(_facts("tokens", tokens))
    if len(fold.norm) > 1:
        room = max(8, width - _LABEL - 12)
        values = [value for _, value in fold.norm[-room:]]
        lines.append([(f"{'gradient':<{_LABEL}}", "muted"), (sparkline(glyphs, values, room), "primary")])
    return lines


def _generated(fold: TrainFold, width: int, glyphs: Glyphs) -> list[Line]:
    if not fold.generated:
        return []
    last = fold.generated[-1]
    values = [v for event in fold.generated if (v := _number(event, "action_accuracy")) is not None]
    right, base = _number(last, "action_accuracy") or 0.0, _number(last, "baseline_action_accuracy") or 0.0
    return [
        [
            (f"{'answers':<{_LABEL}}", "muted"),
            (f"step {last.get('global_step')}: ", "muted"),
            (f"action {right:.3f}", "success" if right > base else "warning"),
            (f" (without looking {base:.3f})", "muted"),
            (f"  valid JSON {_number(last, 'json_validity_rate') or 0.0:.3f}", "text"),
            (f"  to the letter {_number(last, 'exact_rate') or 0.0:.3f}", "text"),
            (f"  of {last.get('rows')} val rows  ", "muted"),
            (sparkline(glyphs, values, max(4, width // 6)), "primary"),
        ]
    ]


def _device(rank: int, use: Mapping[str, Any], glyphs: Glyphs) -> Line:
    used, total = _number(use, "memory_used"), _number(use, "memory_total")
    share = used / total if used is not None and total else None
    load = _number(use, "utilisation")
    bar = glyphs.bar(share, 10) if share is not None else ""
    return [
        (f"{f'rank {rank}':<{_LABEL}}", "muted"),
        (f"{bar} ", "primary"),
        (f"{spoken_bytes(used)} of {spoken_bytes(total)}", "warning" if share and share > 0.95 else "text"),
        (f"  load {load:.0%}" if load is not None else "  load not known", "text"),
        (f"  process {spoken_bytes(_number(use, 'rss'))}  {use.get('name', '')}", "muted"),
    ]


def _phases(fold: TrainFold) -> list[Line]:
    """How long each kind of phase took in all."""
    spent: dict[str, float] = {}
    for phase in fold.phases:
        if phase.ended is not None:
            spent[phase.name] = spent.get(phase.name, 0.0) + phase.ended - phase.began
    if not spent:
        return []
    return [_facts("spent on", [(name, spoken_duration(seconds)) for name, seconds in spent.items()])]


def _facts(label: str, facts: Sequence[tuple[str, str]]) -> Line:
    pieces: Line = [(f"{label:<{_LABEL}}", "muted")]
    for name, value in facts:
        pieces += [(f"{name} ", "muted"), (f"{value}  ", "text")]
    return pieces


def _number(event: Mapping[str, Any], key: str) -> float | None:
    value = event.get(key)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
