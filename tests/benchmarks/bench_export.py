"""What exporting an episode costs beside only decoding it, in time, in reading and in memory.

    python tests/benchmarks/bench_export.py [--full]

One generated episode of 800 frames, with `--full` one of 5,998 with depth as in real ones (2 GB; generating
it takes minutes). Aims: export <= 1.3 x decoding its six streams once at the same thread count; annotation
bytes read without depth <= 5 % of the file; <= 1.5 GB per worker; two workers >= 1.8 x one.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import av

from pipeline.data.export.episode import export_episode
from pipeline.data.export.run import export_all
from pipeline.data.export.settings import ExportTask, Settings
from pipeline.data.layout import ANNOTATION, VIDEOS
from pipeline.data.synth.episode import EpisodeSpec, write_episode


def decode(folder: Path) -> float:
    """Seconds that PyAV needs for all frames of the six streams, on one thread."""
    began = time.perf_counter()
    for name in VIDEOS:
        with av.open(str(folder / name)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            container.streams.video[0].codec_context.thread_type = "NONE"
            for _ in container.decode(video=0):
                pass
    return time.perf_counter() - began


def task(folder: Path, name: str, settings: Settings) -> ExportTask:
    """Export of the episode under another id."""
    scratch = folder.parent
    return ExportTask(
        episode_id=name,
        episode_path=f"{name}/ep1",
        source_episode_id="ep1",
        split="train",
        folder=str(folder),
        target=str(scratch / "out" / name),
        progress=str(scratch / f"{name}.json"),
        settings=settings,
    )


def export(job: ExportTask) -> tuple[float, int, int]:
    """Seconds, bytes read, and peak memory in bytes of one export in a fresh process."""
    began, read = time.perf_counter(), characters_read()
    record = export_episode(job)
    assert record.rows, record.skipped
    return (
        time.perf_counter() - began,
        characters_read() - read,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


def characters_read() -> int:
    """Bytes this process has asked the kernel for."""
    (line,) = [text for text in Path("/proc/self/io").read_text().splitlines() if text.startswith("rchar")]
    return int(line.split()[1])


def alone(job: ExportTask) -> tuple[float, int, int]:
    """`export` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(export, job).result()


def pooled(folder: Path, workers: int, settings: Settings) -> float:
    """Seconds for four episodes."""
    jobs = [task(folder, f"w{workers}_{number}", settings) for number in range(4)]
    began = time.perf_counter()
    export_all(jobs, emit=lambda event, **fields: None, workers=workers)
    return time.perf_counter() - began


def main(full: bool) -> None:
    """Generate, measure, print ratios."""
    spec = (
        EpisodeSpec(frames=5998, size=512, depth=256) if full else EpisodeSpec(frames=800, size=512, depth=64)
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "ep1"
        write_episode(folder, spec)
        annotation = (folder / ANNOTATION).stat().st_size
        with_depth, without = Settings(), Settings(depth_features=False)
        decoding = min(decode(folder) for _ in range(2))
        seconds, _, memory = alone(task(folder, "depth", with_depth))
        plain_seconds, _, _ = alone(task(folder, "plain", without))
        _, read, _ = alone(task(folder, "bytes", Settings(depth_features=False, render_media=False)))
        videos = sum((folder / name).stat().st_size for name in VIDEOS)
        print(f"decoding six streams           {decoding:8.2f} s")
        print(f"export / decoding              {seconds / decoding:8.2f} x   (aim 1.3)")
        print(f"export without depth / decoding{plain_seconds / decoding:8.2f} x")
        print(
            f"read without depth, media {read / annotation * 100:8.2f} % of {annotation / 1e6:.0f} MB"
            f" (aim 5; includes hashing and probing of {videos / 1e6:.0f} MB video)"
        )
        print(f"memory of a worker             {memory / 1e9:8.2f} GB  (aim 1.5)")
        if not full:
            one, two = (pooled(folder, workers, without) for workers in (1, 2))
            print(f"two workers against one        {one / two:8.2f} x   (aim 1.8)")


if __name__ == "__main__":
    main("--full" in sys.argv)
