"""QA of many episodes in several processes; episodes that were already looked at are not looked at again."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from pipeline.data.pool import run_pool
from pipeline.data.qa.episode import QaTask, check_episode, file_identity
from pipeline.data.qa.record import EpisodeQa, Finding
from pipeline.data.splits import episode_id
from pipeline.engine.files import publish_bytes
from pipeline.engine.gates import Check
from pipeline.engine.log import Emit


def run_qa(
    tasks: Sequence[QaTask],
    cache: Path,
    *,
    emit: Emit,
    workers: int = 0,
    check_cancelled: Callable[[], None] = lambda: None,
) -> list[EpisodeQa]:
    """The results in the order of `tasks`.

    Args:
        tasks: one per episode.
        cache: directory of one JSON record per episode; a record counts while the files and limits are the
            ones it was made with.
        emit: told `qa_episode` (episode, verdict, findings; done, total, unit) for each.
        workers: processes; 0 takes one per core.
        check_cancelled: called now and then; whatever it raises ends the work, and finished episodes stay
            in the cache.
    """
    done: dict[str, EpisodeQa] = {}

    def finish(result: EpisodeQa, *, cached: bool) -> None:
        done[result.episode] = result
        emit(
            "qa_episode",
            done=len(done),
            total=len(tasks),
            unit="episodes",
            episode=result.episode,
            verdict=result.verdict,
            findings=len(result.findings),
            reason=result.reason,
            cached=cached,
        )

    todo = []
    for task in tasks:
        known = _read(_place(cache, task), task)
        if known is None:
            todo.append(task)
        else:
            finish(known, cached=True)
    for outcome in run_pool(check_episode, todo, workers=workers, check_cancelled=check_cancelled):
        result = outcome.result or _crashed(outcome.item, outcome.error)
        publish_bytes(_place(cache, outcome.item), msgspec.json.encode(result))
        finish(result, cached=False)
    return [done[task.episode] for task in tasks]


def _place(cache: Path, task: QaTask) -> Path:
    limits = hashlib.sha256(msgspec.json.encode(task.limits)).hexdigest()[:8]
    return cache / f"{episode_id(task.episode)}.{limits}.json"


def _read(path: Path, task: QaTask) -> EpisodeQa | None:
    try:
        found = msgspec.json.decode(path.read_bytes(), type=EpisodeQa)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None  # not there, or of an earlier version: look again
    return found if found.identity == file_identity(Path(task.folder)) else None


def _crashed(task: QaTask, error: str) -> EpisodeQa:
    return EpisodeQa(
        episode=task.episode,
        identity=file_identity(Path(task.folder)),
        frames=None,
        findings=(Finding("fail", "readable", "", f"looking at it ended badly: {error}"),),
        lost=(),
        facts={},
    )


def qa_summary(results: Iterable[EpisodeQa]) -> dict[str, Any]:
    """Counts by verdict and by check, for events, reports and screens."""
    results = list(results)
    checks = Counter(
        (finding.severity, finding.check) for result in results for finding in _per_check(result)
    )
    return {
        "episodes": len(results),
        "verdicts": dict(Counter(result.verdict for result in results)),
        "findings": {f"{severity}:{check}": count for (severity, check), count in sorted(checks.items())},
        "lost_streams": dict(Counter(name for result in results for name in result.lost)),
    }


def _per_check(result: EpisodeQa) -> list[Finding]:
    """One finding per check and severity: an episode counts once."""
    return list({(finding.severity, finding.check): finding for finding in result.findings}.values())


def qa_checks(results: Sequence[EpisodeQa]) -> list[Check]:
    """The gate's view of QA: nothing failed; what was warned of is counted, and does not fail the gate."""
    failed = {result.episode: result.reason for result in results if result.verdict == "failed"}
    summary = qa_summary(results)
    return [
        Check(
            name="qa_passed",
            ok=not failed,
            detail=f"{len(failed)} of {len(results)} episodes failed QA, "
            f"{summary['verdicts'].get('warned', 0)} have warnings",
            evidence={"failed": failed, **summary},
        )
    ]
