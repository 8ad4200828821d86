"""`xops data`: look into episodes, make generated ones, index and validate, take episodes out, propose swaps.

What reads video or arrays is imported by name when its verb runs, so that the command line itself never
loads those libraries; where they are missing, the verb says how to install them.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from console.cli.common import DryRun, Json, RunId, find_run, workspace_here
from console.output import emit_json, emit_table, emit_text

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
index = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The neutral window index.")
app.add_typer(index, name="index")

EpisodeDir = Annotated[Path, typer.Argument(help="Directory of one episode: .../<session>/ep<N>.")]
Resolver = Annotated[str, typer.Option(help="How captions refer to frames: default, exporter or audit.")]
WindowFrames = Annotated[int, typer.Option(help="Frames of a window.")]
Stride = Annotated[int, typer.Option(help="Frames from one window to the next.")]


@app.command()
def inspect(
    episode: EpisodeDir,
    resolver: Resolver = "default",
    window_frames: WindowFrames = 20,
    stride: Stride = 20,
    json: Json = False,
) -> None:
    """Show what the reader sees of an episode: frames, streams, modalities, durations, labels."""
    found = _load("pipeline.data.inspection").inspect_episode(
        _episode(episode), resolver=resolver, window_frames=window_frames, stride=stride
    )
    if json:
        emit_json(found)
        return
    emit_text(
        f"{found.path}: {_or_dash(found.frames)} frames, {_or_dash(found.seconds)} s, "
        f"{_or_dash(found.fps)} frames/s"
    )
    emit_table(
        ["stream", "is", "why"],
        [(name, status.status, status.reason) for name, status in found.streams.items()],
        empty="no streams",
    )
    emit_table(["modality", "there"], found.modalities.items(), empty="no modalities")
    emit_text(
        f"{found.windows} of {found.positions} windows have an action; "
        f"{found.unresolved} references mean no frame"
    )


@app.command()
def windows(
    episode: EpisodeDir,
    window_frames: WindowFrames = 20,
    stride: Stride = 20,
    resolver: Resolver = "default",
    json: Json = False,
) -> None:
    """Show the labelled windows of an episode, with the share of each label."""
    found = _load("pipeline.data.inspection").episode_windows(
        _episode(episode), window_frames=window_frames, stride=stride, resolver=resolver
    )
    if json:
        emit_json(found)
        return
    rows = [
        (w.start, w.end, w.action, w.subtask, w.contact, w.transition, w.next_action) for w in found.windows
    ]
    emit_table(
        ["start", "end", "action", "subtask", "contact", "transition", "next action"],
        rows,
        empty=found.reason or "no labelled window",
    )


@app.command()
def synth(
    root: Annotated[Path, typer.Argument(help="Directory to write sessions into.")],
    sessions: Annotated[int, typer.Option(help="Sessions.")] = 8,
    episodes: Annotated[int, typer.Option(help="Episodes in all; 0 for one per session.")] = 0,
    min_frames: Annotated[int, typer.Option(help="Fewest frames of an episode.")] = 200,
    max_frames: Annotated[int, typer.Option(help="Most frames of an episode.")] = 400,
    size: Annotated[int, typer.Option(help="Pixels of a picture's side.")] = 64,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    fault: Annotated[
        list[str] | None, typer.Option(help="FAULT or FAULT=COUNT; may be repeated. Names: --fault help.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; 0 takes one per core.")] = 0,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Generate episodes in the exact format, whose pixels, sound and motion carry their labels."""
    world = _load("pipeline.data.synth.world")
    if fault == ["help"]:
        names = list(_load("pipeline.data.synth.faults").FAULTS)
        emit_json(names) if json else emit_text("\n".join(names))
        return
    spec = _checked(
        world.WorldSpec,
        {
            "sessions": sessions,
            "episodes": episodes,
            "min_frames": min_frames,
            "max_frames": max_frames,
            "size": size,
            "seed": seed,
            "faults": dict(map(_counted, fault or ())),
        },
    )
    if dry_run:
        rows = [(one.path, one.spec.frames, None, one.spec.faults) for one in world.plan_world(spec)]
    else:
        written = world.write_world(root, spec, workers=workers, emit=_told)
        rows = [(one.path, one.frames, one.bytes, one.faults) for one in written]
    if json:
        keys = ("episode", "frames", "bytes", "faults")
        made = [dict(zip(keys, row, strict=True)) for row in rows]
        emit_json({"root": root, "dry_run": dry_run, "episodes": made})
        return
    emit_table(
        ["episode", "frames", "bytes", "faults"],
        [(*row[:3], ", ".join(row[3])) for row in rows],
        empty="nothing to make",
    )


@app.command()
def qa(episode: EpisodeDir, json: Json = False) -> None:
    """Look into every file of an episode: durations, clocks, calibration, sound, damage."""
    folder = _episode(episode)
    module, limits = _load("pipeline.data.qa.episode"), _load("pipeline.data.qa.record").Limits()
    found = module.check_episode(module.QaTask("/".join(folder.parts[-2:]), str(folder), limits))
    failed = any(finding.severity == "fail" for finding in found.findings)
    if json:
        emit_json(found)
    else:
        emit_text(f"{found.episode}: {'damaged' if failed else 'usable'}, frames: {_or_dash(found.frames)}")
        emit_table(
            ["is", "check", "file", "found"],
            [(f.severity, f.check, f.file, f.detail) for f in found.findings],
            empty="nothing to remark",
        )
    raise typer.Exit(1 if failed else 0)


@app.command()
def quarantine(
    episode: Annotated[str, typer.Argument(help="<session>/ep<N>.")],
    why: Annotated[str, typer.Option("--why", help="The reason; it stays in the journal of episodes.")],
    release: Annotated[bool, typer.Option("--release", help="Let the episode back in.")] = False,
    file: Annotated[Path | None, typer.Option(help="Journal; by default the workspace's.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Take an episode out of what later stages use, or let it back in; on the record, with a reason."""
    from pipeline.engine.journal import operator

    module = _load("pipeline.data.qa.quarantine")
    path = file or workspace_here().root / "quarantine.jsonl"
    act = "in" if release else "out"
    if not dry_run:
        module.record_act(path, episode, act, reason=why, who=operator())
    if json:
        emit_json({"dry_run": dry_run, "episode": episode, "act": act, "path": path})
    else:
        done = "is used again" if release else "is taken out"
        emit_text(f"{'dry run: ' if dry_run else ''}{episode} {done}: {why}")


@app.command()
def swap(
    run: RunId,
    why: Annotated[str, typer.Option("--why", help="The reason; it stays in the selection.")] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File for the new version; without it they are shown."),
    ] = None,
    only: Annotated[list[int] | None, typer.Option(help="Number of a swap, from 1; may be repeated.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Show the swaps an audit proposes, or apply them to a new version of the selection."""
    from pipeline.engine.errors import UsageError

    audit = _load("pipeline.stages.audit")
    found = find_run(run)
    swaps = audit.read_swaps(_published(found, "audit") / "balance.json")
    wrong = [number for number in only or () if not 1 <= number <= len(swaps)]
    if wrong:
        raise UsageError(f"there is no swap {wrong[0]}; the audit proposes {len(swaps)}")
    chosen = [swaps[number - 1] for number in only] if only else list(swaps)
    if output is not None and not dry_run:
        if not why.strip() or not chosen:
            raise UsageError("a swap needs a reason, and something to swap", hint="--why TEXT")
        audit.swap_selection(_published(found, "select") / "selection.json", chosen, output, reason=why)
    if json:
        emit_json({"swaps": chosen, "written": None if dry_run else output})
        return
    rows = [(number, str(one), one.before, one.after) for number, one in enumerate(chosen, 1)]
    emit_table(["#", "swap", "before", "after"], rows, empty="the audit proposes no swap")
    if output is not None and not dry_run:
        emit_text(f"wrote {output}; use it: xops run new RECIPE --set select.selection={output}")


@index.command()
def build(
    dataset: Annotated[Path, typer.Argument(help="dataset.jsonl of an export, ours or the original's.")],
    out: Annotated[Path, typer.Option("--output", "-o", help="Directory for the index.")],
    dataset_manifest: Annotated[Path | None, typer.Option(help="dataset_manifest.json beside it.")] = None,
    data_root: Annotated[str, typer.Option(help="Root of the episodes in the rows' paths.")] = "",
    dataset_root: Annotated[str, typer.Option(help="Root of the renderings in the rows' paths.")] = "",
    json: Json = False,
) -> None:
    """Convert an exported dataset into window_index.jsonl with its manifest and vocabulary."""
    out.mkdir(parents=True, exist_ok=True)
    made = _load("pipeline.data.index.build").build_index(
        dataset,
        out,
        dataset_manifest=dataset_manifest,
        data_root=data_root,
        dataset_root=dataset_root,
        emit=_told,
    )
    if json:
        emit_json(
            {"rows": made.num_rows, "records": made.num_records, "skipped": made.num_skipped, "out": out}
        )
    else:
        emit_text(f"{made.num_rows} rows = {made.num_records} records + {made.num_skipped} skipped -> {out}")


@index.command()
def validate(
    path: Annotated[Path, typer.Argument(help="window_index.jsonl.")],
    source: Annotated[Path | None, typer.Option(help="dataset.jsonl it was made from, to compare.")] = None,
    json: Json = False,
) -> None:
    """Check an index: schema, frames, paths, options, views; exit 1 if anything is wrong."""
    issues = _load("pipeline.data.index.validate").validate_index(path, source=source)
    if json:
        emit_json({"status": "fail" if issues else "pass", "issues": issues})
    else:
        rows = [(issue.line, issue.field, issue.problem) for issue in issues]
        emit_table(["line", "field", "issue"], rows, empty=f"{path}: no issues")
    raise typer.Exit(1 if issues else 0)


def _load(name: str) -> Any:
    """A module that may need the data libraries.

    Raises:
        UsageError: they are not installed.
    """
    from pipeline.engine.errors import UsageError

    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"the library {error.name} is missing", hint="pip install 'xops[data]'") from None


def _checked(kind: Any, values: dict[str, Any]) -> Any:
    """A Struct from typed values; what is out of range is named."""
    import msgspec

    from pipeline.engine.errors import UsageError

    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise UsageError(str(error), hint="see the ranges: xops data synth --help, --fault help") from None


def _counted(text: str) -> tuple[str, int]:
    """`FAULT` or `FAULT=COUNT`."""
    from pipeline.engine.errors import UsageError

    name, _, count = text.partition("=")
    if count and not count.isdecimal():
        raise UsageError(f"--fault {text}: a whole number is wanted after =")
    return name, int(count or 1)


def _episode(path: Path) -> Path:
    from pipeline.engine.errors import NotFoundError

    if not path.is_dir():
        raise NotFoundError(f"{path} is no directory", hint="name .../<session>/ep<N>")
    return path.absolute()


def _published(run: Any, stage: str) -> Path:
    """The outputs a stage of a run has published, its own or taken over."""
    from pipeline.engine.errors import NotReadyError
    from pipeline.engine.registry import load_registry
    from pipeline.engine.status import read_run

    status = read_run(run, load_registry()).stage(stage)
    if not status.outputs:
        raise NotReadyError(f"{stage} of {run.run_id} is {status.state}", hint=f"xops run start {run.run_id}")
    return Path(status.out[0])


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _told(event: str, **fields: Any) -> None:
    """Progress, on stderr."""
    done, total = fields.get("done"), fields.get("total")
    if done is not None and total is not None and done == total:
        sys.stderr.write(f"{event}: {done} of {total} {fields.get('unit', '')}\n")
