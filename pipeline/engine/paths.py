"""The only place that knows file names inside a workspace.

    <workspace>/
      xops.toml                         hosts, roots, dataset, defaults
      runs/<run_id>/
        run.toml                        the frozen request, mode 0444
        resolved.json                   versions, revisions, seeds, host at creation
        journal.jsonl                   one line per operator command
        stages/<stage>/
          claim.lock                    held while any process of the attempt lives
          inputs.json                   fingerprint of inputs, parameters and code of the last attempt
          events.jsonl                  engine events; single writer: the supervisor
          progress.jsonl                domain events; single writer: the stage (rank 0)
          progress.rank<r>.jsonl        further ranks
          attempts/0001/{process,env,exit}.json, stdout.log
          shards/00/...                 the same files, for one shard
          work/                         what a resumed attempt continues from
          out.0001.tmp/ -> out/         artefacts, renamed once
          outputs.json                  paths, sizes, sha256: written last, its presence is completion
          gate.json                     checks, verdict, evidence, waiver
          taken_from.json               the run whose outputs this stage uses instead of its own
          supervisor.log                what supervisors had to say that they could not record elsewhere
        conductor/                      the same files, for the process that starts stage after stage

Names come from outside (arguments, listings, directories), so `checked_name` refuses whatever could
leave its root or confuse a terminal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.engine.errors import UsageError

CONFIG_FILE = "xops.toml"
RUNS_DIR = "runs"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def checked_name(name: str, *, what: str = "name") -> str:
    """Return `name` if it is one safe path component, else raise UsageError.

    Letters, digits, `.`, `_`, `-`; at most 128; not starting with a dot or a dash.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{what} {name!r} is not usable: letters, digits, '.', '_' and '-' only, starting with a "
            "letter or digit, 128 at most",
        )
    return name


@dataclass(frozen=True, slots=True)
class AttemptPaths:
    """Files of one attempt: `attempts/0001/`."""

    root: Path

    @property
    def process(self) -> Path:
        """Hand-off record: pid, start ticks, boot id, host, argv."""
        return self.root / "process.json"

    @property
    def exit(self) -> Path:
        """How the attempt ended; absent after a lost supervisor."""
        return self.root / "exit.json"

    @property
    def env(self) -> Path:
        """Allow-listed environment of the attempt."""
        return self.root / "env.json"

    @property
    def stdout(self) -> Path:
        """What the stage printed (both streams)."""
        return self.root / "stdout.log"

    @property
    def reserve(self) -> Path:
        """Room kept for exit.json, so that a full disk cannot keep the end of an attempt secret."""
        return self.root / ".exit.reserve"

    @property
    def superseded(self) -> Path:
        """What this attempt had made, after somebody invalidated it."""
        return self.root / "superseded"

    @property
    def number(self) -> int:
        """The attempt's number, from 1."""
        return int(self.root.name)


@dataclass(frozen=True, slots=True)
class StagePaths:
    """Files of one stage of one run, or of one shard of it."""

    root: Path

    @property
    def claim(self) -> Path:
        """The flock file; see `pipeline.engine.claim`."""
        return self.root / "claim.lock"

    @property
    def inputs(self) -> Path:
        """Fingerprint of what the last attempt started from."""
        return self.root / "inputs.json"

    @property
    def events(self) -> Path:
        """Engine events, written by the supervisor alone."""
        return self.root / "events.jsonl"

    @property
    def progress(self) -> Path:
        """Domain events, written by the stage alone."""
        return self.root / "progress.jsonl"

    @property
    def outputs(self) -> Path:
        """Manifest of the published artefacts; its presence means the stage is complete."""
        return self.root / "outputs.json"

    @property
    def gate(self) -> Path:
        """Checks and verdict."""
        return self.root / "gate.json"

    @property
    def taken_from(self) -> Path:
        """Names the run whose outputs this stage uses instead of its own."""
        return self.root / "taken_from.json"

    @property
    def supervisor_log(self) -> Path:
        """What supervisors printed: empty unless something went wrong before an attempt existed."""
        return self.root / "supervisor.log"

    @property
    def out(self) -> Path:
        """Published artefacts."""
        return self.root / "out"

    @property
    def work(self) -> Path:
        """State kept between attempts, for resuming."""
        return self.root / "work"

    @property
    def attempts(self) -> Path:
        """Directory of the attempts."""
        return self.root / "attempts"

    @property
    def shards(self) -> Path:
        """Directory of the shards."""
        return self.root / "shards"

    def rank_progress(self, rank: int) -> Path:
        """Domain events of a further rank of a distributed stage."""
        return self.progress if rank == 0 else self.root / f"progress.rank{rank}.jsonl"

    def attempt(self, number: int) -> AttemptPaths:
        """Files of attempt `number` (from 1)."""
        return AttemptPaths(self.attempts / f"{number:04d}")

    def out_tmp(self, number: int) -> Path:
        """Where attempt `number` builds its artefacts before the rename to `out`."""
        return self.root / f"out.{number:04d}.tmp"

    def shard(self, index: int) -> StagePaths:
        """The same layout for shard `index` (from 0)."""
        return StagePaths(self.shards / f"{index:02d}")

    def list_attempts(self) -> list[AttemptPaths]:
        """Attempts on disk, oldest first; other directory entries are ignored."""
        if not self.attempts.is_dir():
            return []
        return [AttemptPaths(p) for p in sorted(self.attempts.iterdir()) if p.name.isdecimal() and p.is_dir()]

    def list_shards(self) -> list[StagePaths]:
        """Shards on disk in index order; other directory entries are ignored."""
        if not self.shards.is_dir():
            return []
        return [StagePaths(p) for p in sorted(self.shards.iterdir()) if p.name.isdecimal() and p.is_dir()]


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Files of one run."""

    root: Path

    @property
    def run_id(self) -> str:
        """The run's id is its directory's name."""
        return self.root.name

    @property
    def request(self) -> Path:
        """The frozen request."""
        return self.root / "run.toml"

    @property
    def resolved(self) -> Path:
        """What was resolved at creation."""
        return self.root / "resolved.json"

    @property
    def journal(self) -> Path:
        """Operator commands."""
        return self.root / "journal.jsonl"

    @property
    def stages(self) -> Path:
        """Directory of the stages."""
        return self.root / "stages"

    @property
    def conductor(self) -> StagePaths:
        """Files of the process that starts stage after stage; laid out like a stage."""
        return StagePaths(self.root / "conductor")

    def stage(self, name: str) -> StagePaths:
        """Files of stage `name`."""
        return StagePaths(self.stages / checked_name(name, what="stage"))


@dataclass(frozen=True, slots=True)
class StageAddress:
    """Where a stage directory belongs.

    Attributes:
        run: its run.
        stage: its name; `conductor` for the run's conductor.
        shard: index of the shard; None for a whole stage.
    """

    run: RunPaths
    stage: str
    shard: int | None = None

    @classmethod
    def of(cls, root: Path) -> StageAddress:
        """The address of a directory that `StagePaths.root` named.

        Raises:
            UsageError: it is not a stage directory of a run.
        """
        match root.absolute().parts:
            case [*run, "stages", stage, "shards", shard] if shard.isdecimal():
                return cls(RunPaths(Path(*run)), stage, int(shard))
            case [*run, "stages", stage]:
                return cls(RunPaths(Path(*run)), stage)
            case [*run, "conductor"]:
                return cls(RunPaths(Path(*run)), "conductor")
            case _:
                raise UsageError(f"{root} is not the directory of a stage")

    @property
    def paths(self) -> StagePaths:
        """The directory itself."""
        if self.stage == "conductor":
            return self.run.conductor
        whole = self.run.stage(self.stage)
        return whole if self.shard is None else whole.shard(self.shard)

    def __str__(self) -> str:
        part = "" if self.shard is None else f" shard {self.shard}"
        return f"{self.stage}{part} of run {self.run.run_id}"


@dataclass(frozen=True, slots=True)
class WorkspacePaths:
    """Files of one workspace."""

    root: Path

    @property
    def config(self) -> Path:
        """`xops.toml`."""
        return self.root / CONFIG_FILE

    @property
    def runs(self) -> Path:
        """Directory of the runs."""
        return self.root / RUNS_DIR

    def run(self, run_id: str) -> RunPaths:
        """Files of run `run_id` (checked, not required to exist)."""
        return RunPaths(self.runs / checked_name(run_id, what="run id"))

    def list_runs(self) -> list[RunPaths]:
        """Runs on disk, oldest first by name; directories without a request are ignored."""
        if not self.runs.is_dir():
            return []
        return [RunPaths(p) for p in sorted(self.runs.iterdir()) if (p / "run.toml").is_file()]
