"""One generated episode on disk: `write_episode`."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from pipeline.data.layout import ANNOTATION, VIEWER_FILE
from pipeline.data.synth.faults import DAMAGES, Fault
from pipeline.data.synth.hdf5 import write_annotation
from pipeline.data.synth.media import AUDIO_RATE, encode_sound, sound_of, write_videos
from pipeline.data.synth.motion import make_motion
from pipeline.data.synth.scene import Scene
from pipeline.data.synth.script import Script, write_script
from pipeline.data.synth.texts import CaptionWriter, Form
from pipeline.data.synth.vocabulary import DEFAULT, Vocabulary, hostile

#: Frames of an episode with the fault `short`: one second, as the smallest real ones have.
SHORT_FRAMES = 20

#: File beside the annotation that the fault `caption_path` puts the caption in.
CAPTION_FILE = "caption.json"


class EpisodeSpec(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What to generate; the same specification gives the same bytes.

    Attributes:
        frames: at 20 per second; real episodes have up to 5,998.
        size: width and height of the pictures, pixels; even.
        depth: side of the depth images; 256 is the real one and makes 328 kB per frame.
        task: number of the task in the vocabulary, counted round.
        captions: form of the frame references.
        seed: everything random follows from it.
        faults: what is to be wrong.
        viewer_file: also write a viewer file, which no training may read.
    """

    frames: Annotated[int, Meta(ge=1, le=20_000)] = 200
    size: Annotated[int, Meta(ge=32, le=2048, multiple_of=2)] = 64
    depth: Annotated[int, Meta(ge=1, le=256)] = 16
    task: Annotated[int, Meta(ge=0)] = 0
    captions: Form = "mixed"
    seed: int = 7
    faults: tuple[Fault, ...] = ()
    viewer_file: bool = False


def write_episode(folder: Path, spec: EpisodeSpec, vocabulary: Vocabulary = DEFAULT) -> Script:
    """Write the seven files of an episode into `folder` (made if need be); returns what really happens in it.

    Raises:
        UsageError: the vocabulary cannot be used.
    """
    vocabulary = hostile(vocabulary.checked()) if "hostile_labels" in spec.faults else vocabulary.checked()
    pick = random.Random(spec.seed)
    noise = np.random.default_rng(spec.seed)
    frames = SHORT_FRAMES if "short" in spec.faults else spec.frames
    script = write_script(frames, vocabulary.tasks[spec.task % len(vocabulary.tasks)], pick)
    motion = make_motion(script, vocabulary, noise)
    folder.mkdir(parents=True, exist_ok=True)
    suffix = pick.choice(("", ".jpg"))
    caption = _caption(folder, spec, CaptionWriter(script, motion.clock, spec.captions, pick, suffix))
    write_annotation(folder / ANNOTATION, script, motion, caption, noise, depth=spec.depth, suffix=suffix)
    extra = int("extra_frame" in spec.faults)
    write_videos(
        folder,
        Scene(script, vocabulary, spec.size, spec.seed),
        _sound(spec, script, vocabulary),
        extra_frames=extra,
    )
    if spec.viewer_file:
        (folder / VIEWER_FILE).write_bytes(noise.bytes(4096))
    for fault in spec.faults:
        if fault in DAMAGES:
            DAMAGES[fault](folder)
    return script


def _caption(folder: Path, spec: EpisodeSpec, writer: CaptionWriter) -> str | None:
    """Content of the caption dataset; None for none."""
    if "no_caption" in spec.faults:
        return None
    if "empty_caption" in spec.faults:
        return ""
    caption = writer.caption()
    if "no_labels" in spec.faults:
        caption["segments"] = []
    text = json.dumps(caption)
    if "caption_path" not in spec.faults:
        return text
    (folder / CAPTION_FILE).write_text(text, "utf-8")
    return CAPTION_FILE


def _sound(spec: EpisodeSpec, script: Script, vocabulary: Vocabulary) -> bytes | None:
    if "no_audio" in spec.faults:
        return None
    if "silent_audio" in spec.faults:
        return encode_sound(np.zeros(round(script.frames / 20 * AUDIO_RATE), np.float32))
    return encode_sound(sound_of(script, vocabulary, spec.seed))
