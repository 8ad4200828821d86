"""Future windows: what a world model sees, and what it must say comes next (seed 00, C20).

Two rules. `strict` puts the context in the frames right before a labelled window, so that nothing of the
target is ever visible: the original's context is centred on the target's neighbourhood, and most of its
"futures" lie inside it. `published` pairs labelled window i with window i + 5 of the same episode, as the
published retrieval did; it exists to reproduce its 378 pairs and is marked as what it is.

All frames are 0-based, every `end_frame` is inside. Paths are relative to the roots of the neutral index.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from pipeline.data.index.record import WindowRecord
from pipeline.data.layout import ANNOTATION
from pipeline.data.splits import episode_path
from pipeline.engine.gates import Check

Rule = Literal["strict", "published"]

#: Where each conditioning stream lies in the annotation.
_GROUPS = {"pose": "slam", "depth": "depth", "mocap": "full_body_mocap", "imu": "imu"}
#: Most ids listed in a check's evidence.
_SHOWN = 20


class FutureRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How contexts and targets are cut.

    Attributes:
        rule: see the module.
        context_frames: length of a strict context.
        horizon_frames: length of a strict target, which begins with the labelled window.
        horizon_windows: distance of published pairs, in labelled windows.
    """

    rule: Rule = "strict"
    context_frames: Annotated[int, Meta(ge=1)] = 120
    horizon_frames: Annotated[int, Meta(ge=1)] = 60
    horizon_windows: Annotated[int, Meta(ge=1)] = 5


class FramesSpan(Struct, frozen=True):
    """First and last frame, both inside."""

    start_frame: int
    end_frame: int


class FutureSample(Struct, frozen=True, kw_only=True):
    """One sample, in the shape of seed 00 with its provenance.

    Attributes:
        id: `<episode>:future:<ordinal>:f<frames>`, or `:h<windows>` under the published rule.
        episode_id, split: whose.
        context_window, target_window: frames that are seen, and that are to be predicted.
        conditioning: stream -> where it lies; None for one that is not there.
        target: the same for what is predicted, with the transition, contact and action of its window.
        context_record_id, future_record_id: records of the neutral index; the first is empty where no
            labelled window is the context.
        rule: which rule made it.
    """

    id: str
    episode_id: str
    split: str
    context_window: FramesSpan
    target_window: FramesSpan
    conditioning: dict[str, str | None]
    target: dict[str, Any]
    context_record_id: str
    future_record_id: str
    rule: Rule


class Futures(Struct, frozen=True, kw_only=True):
    """All samples of an index.

    Attributes:
        samples: by episode as the index has them, by target's start.
        records: of the index; each is a sample's target or left out.
        left_out: reason -> records that are no sample's target.
    """

    samples: tuple[FutureSample, ...]
    records: int
    left_out: dict[str, int]


def make_futures(records: Iterable[WindowRecord], rule: FutureRule, frames: dict[str, int]) -> Futures:
    """Cut an index into future samples.

    Args:
        records: the neutral index.
        rule: how.
        frames: frames of each episode, by id; a strict target must end inside.
    """
    episodes: dict[tuple[str, str], list[WindowRecord]] = defaultdict(list)
    count = 0
    for record in records:
        episodes[record.episode_id, record.split].append(record)
        count += 1
    samples: list[FutureSample] = []
    left_out: Counter[str] = Counter()
    make = _published if rule.rule == "published" else _strict
    for (episode_id, _), windows in episodes.items():
        windows.sort(key=lambda record: record.window.start_frame)
        for found in make(windows, rule, frames.get(episode_id, 0)):
            if isinstance(found, FutureSample):
                samples.append(found)
            else:
                left_out[found] += 1
    return Futures(samples=tuple(samples), records=count, left_out=dict(left_out))


def future_checks(futures: Futures, rule: FutureRule) -> list[Check]:
    """What must hold before anything is trained on them."""
    samples = futures.samples
    overlapping = [s.id for s in samples if s.target_window.start_frame <= s.context_window.end_frame]
    strict = rule.rule == "strict"
    wrong = [s.id for s in samples if strict and not _has_lengths(s, rule)]
    splits: dict[str, set[str]] = defaultdict(set)
    for sample in samples:
        splits[sample.episode_id].add(sample.split)
    leaked = sorted(episode for episode, found in splits.items() if len(found) > 1)
    left = sum(futures.left_out.values())
    return [
        Check(
            name="target_strictly_after_context",
            ok=not overlapping if strict else None if overlapping else True,
            detail=f"{len(overlapping)} of {len(samples)} targets begin inside their context",
            evidence={"ids": overlapping[:_SHOWN]},
        ),
        Check(
            name="horizon_honoured",
            ok=not wrong,
            detail=f"{len(wrong)} samples are not {rule.context_frames} + {rule.horizon_frames} frames",
            evidence={"ids": wrong[:_SHOWN]},
        ),
        Check(
            name="no_episode_in_two_splits",
            ok=not leaked,
            detail=f"{len(leaked)} episodes in more than one split",
            evidence={"episodes": leaked[:_SHOWN]},
        ),
        Check(
            name="records_conserved",
            ok=bool(samples) and futures.records == len(samples) + left,
            detail=f"{futures.records} records = {len(samples)} targets + {left} left out",
            evidence={"left_out": futures.left_out},
        ),
    ]


def _has_lengths(sample: FutureSample, rule: FutureRule) -> bool:
    context, target = sample.context_window, sample.target_window
    return (
        context.end_frame - context.start_frame + 1 == rule.context_frames
        and target.end_frame - target.start_frame + 1 == rule.horizon_frames
        and target.start_frame == context.end_frame + 1
    )


def _strict(windows: Sequence[WindowRecord], rule: FutureRule, frames: int) -> Iterator[FutureSample | str]:
    """Every labelled window that has a whole context before it and a whole horizon from it on."""
    ordinal = 0
    for record in windows:
        start = record.window.start_frame
        context = FramesSpan(start - rule.context_frames, start - 1)
        target = FramesSpan(start, start + rule.horizon_frames - 1)
        if context.start_frame < 0:
            yield "no whole context before it"
        elif target.end_frame >= frames:
            yield "the episode ends inside its horizon"
        else:
            name = f"{record.episode_id}:future:{ordinal:05d}:f{rule.horizon_frames}"
            ordinal += 1
            yield _sample(name, record, context, target, context_record=None, rule="strict")


def _published(windows: Sequence[WindowRecord], rule: FutureRule, _: int) -> Iterator[FutureSample | str]:
    """Window i with window i + horizon, counted among labelled windows."""
    step = rule.horizon_windows
    for index, record in enumerate(windows):
        if index < step:
            yield f"fewer than {step} windows before it"
            continue
        before = windows[index - step]
        name = f"{record.episode_id}:future:{index - step:05d}:h{step}"
        seen = before.modalities.media.context_window
        context = FramesSpan(
            before.window.start_frame if seen.start_frame is None else seen.start_frame,
            before.window.end_frame if seen.end_frame is None else seen.end_frame,
        )
        target = FramesSpan(record.window.start_frame, record.window.end_frame)
        yield _sample(name, record, context, target, context_record=before, rule="published")


def _sample(
    name: str,
    record: WindowRecord,
    context: FramesSpan,
    target: FramesSpan,
    *,
    context_record: WindowRecord | None,
    rule: Rule,
) -> FutureSample:
    folder = episode_path(record.episode_id)
    available = record.adapter_views.cosmos_world_model.available_conditioning
    streams = record.modalities.media.video_streams
    video = streams[0].path if streams else None
    sensors = record.modalities.sensor_features
    annotation = f"{folder}/{ANNOTATION}" if "sensor_features" in available else None
    said = record.supervision
    return FutureSample(
        id=name,
        episode_id=record.episode_id,
        split=record.split,
        context_window=context,
        target_window=target,
        conditioning={
            "video": video,
            "audio": video if "audio" in available else None,
            **{name: annotation and f"{annotation}#/{group}" for name, group in _GROUPS.items()},
            "language": record.modalities.language.question,
        },
        target={
            "future_video": video,
            "future_sensor_features": None if sensors.path is None else f"{sensors.path}#{sensors.index}",
            "transition": said.transition,
            "contact": said.contact,
            "action": said.action,
        },
        context_record_id=context_record.id if context_record else "",
        future_record_id=record.id,
        rule=rule,
    )
