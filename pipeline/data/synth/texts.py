"""Captions of a script, with frame references in every form that real captions use."""

from __future__ import annotations

import random
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from pipeline.data.layout import FPS
from pipeline.data.synth.script import SAMPLE_FRAMES, SEGMENT_FRAMES, Run, Script

#: timestamp: integer device time; timestamp_text: the same as text; image_name: with a suffix;
#: frame_name_keys: image names under `start_frame_name`; sequential: `frame_0000021`; index, index_text:
#: small numbers. The last three count from 1. `mixed` takes another form for every reference.
Form = Literal[
    "timestamp",
    "timestamp_text",
    "image_name",
    "frame_name_keys",
    "sequential",
    "index",
    "index_text",
    "mixed",
]

FORMS: tuple[Form, ...] = tuple(form for form in get_args(Form) if form != "mixed")


class CaptionWriter:
    """Writes the caption of one script.

    Args:
        script: what happens.
        clock: device time per frame, ns.
        form: of the frame references.
        pick: decides on forms and details.
        suffix: of image names.
    """

    def __init__(
        self, script: Script, clock: NDArray[np.int64], form: Form, pick: random.Random, suffix: str = ".jpg"
    ) -> None:
        self.script = script
        self.clock = clock
        self.form = form
        self.pick = pick
        self.suffix = suffix

    def caption(self) -> dict[str, Any]:
        """The whole caption; propagated over the frames it gives back the script."""
        return {
            "config": {
                "segment_sec": SEGMENT_FRAMES / FPS,
                "sample_fps": FPS / SAMPLE_FRAMES,
                "total_tokens": 2000 + self.script.frames,
                "Main Task": self.script.task.label,
            },
            "segments": [self._segment(number, runs) for number, runs in enumerate(self.script.segments())],
            "global_summary": f"The video shows: {self.script.task.label}.",
        }

    def _segment(self, number: int, runs: list[Run]) -> dict[str, Any]:
        sampled = [frame for run in runs for frame in _sampled(run)]
        objects, interaction = {}, {}
        for run in runs:
            for frame in _sampled(run):
                key = str(self._reference(frame))
                objects[key] = list(run.action.objects)
                interaction[key] = run.interaction
        return {
            "segment_id": number,
            "start_frame": self._reference(runs[0].start),
            "end_frame": self._reference(runs[-1].end, last=True),
            "Sub Task": runs[0].subtask.label,
            "Current Action": [self._action(run) for run in runs],
            "sampled_frames": {
                f"Image {place}": int(self.clock[frame]) for place, frame in enumerate(sampled, 1)
            },
            "objects": objects,
            "interaction": interaction,
            "api_call_start": "2026-03-12T19:33:43.280472",
            "api_call_end": "2026-03-12T19:33:44.979810",
            "tokens_in": 1842,
            "tokens_out": 205,
        }

    def _action(self, run: Run) -> dict[str, Any]:
        form = self._form()
        named = form == "frame_name_keys"
        return {
            "label": run.action.label,
            "description": f"The person does this: {run.action.label}.",
            "start_frame_name" if named else "start_frame": self._reference(run.start, form=form),
            "end_frame_name" if named else "end_frame": self._reference(run.end, form=form, last=True),
        }

    def _form(self) -> Form:
        return self.pick.choice(FORMS) if self.form == "mixed" else self.form

    def _reference(self, frame: int, *, form: Form | None = None, last: bool = False) -> int | str:
        """A reference to `frame`; the last one of all may be one past the end, as in real captions."""
        form = form or self._form()
        beyond = int(last and frame == self.script.frames - 1)
        match form:
            case "timestamp":
                return int(self.clock[frame])
            case "timestamp_text":
                return str(self.clock[frame])
            case "image_name" | "frame_name_keys":
                return f"{self.clock[frame]}{self.suffix}"
            case "sequential":
                return f"frame_{frame + 1 + beyond:07d}"
            case "index_text":
                return str(frame + 1)
            case _:
                return frame + 1


def _sampled(run: Run) -> range:
    """Frames of which the captioner saw a picture."""
    return range(run.start, run.end + 1, SAMPLE_FRAMES)
