"""Which kind of log a file is: decided by its vocabulary, and by its name only when that says nothing.

Every event name that belongs to one kind of writer is a vote for that family; the family with most votes
wins, so that a stray foreign row does not rename a log. Names shared by several writers (`complete`,
`setup_done`, `watch_start`) vote by the fields they carry, or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Literal

from pipeline.engine.events import Detail

Family = Literal[
    "train",
    "eval",
    "fd_train",
    "fd_eval",
    "future_window",
    "watcher",
    "package_watcher",
    "launcher",
    "pipeline",
    "relay",
    "transfer",
    "unknown",
]

#: What each family says that no other does; on a draw of votes the first here wins.
_VOCABULARY: Mapping[Family, str] = {
    "package_watcher": """
        waiting_for_validation validation_observed eval_progress_observed blocked_by_eval_watcher
        blocked_by_validation_failure waiting_for_eval_artifacts eval_artifacts_ready package_start
        package_exit audit_start audit_exit""",
    "watcher": """
        training_progress training_complete_observed adapter_shape_check_done adapter_shape_check_skipped
        validation_training_start validation_training_exit eval_smoke_start eval_smoke_exit eval_full_start
        eval_full_exit validation_eval_start validation_eval_exit stage_exit transfer_exit""",
    "fd_eval": "eval_step",
    "eval": "sample_done sample_error eval_complete",
    "fd_train": "dataset_ready adapter_saved adapter_shape_repaired",
    "train": "train_loop_start train_loop_stopped_max_steps epoch_end save_state_dict_built checkpoint_saved",
    "future_window": "adapter_built eval_done",
    "launcher": """
        launch_start launch_detached launch_failed blocked_existing_training blocked_missing_dataset
        already_running""",
    "relay": """
        batch_start batch_planned batch_validated batch_deleted batch_done download_start download_done
        remote_mkdir_start remote_mkdir_done remote_mkdir_dry_run chunk_transfer_start chunk_transfer_done
        chunk_transfer_dry_run rsync_start rsync_done rsync_dry_run""",
    "transfer": """
        file_start file_done skip_existing split_transfer_done direct_transfer_done chunk_done
        chunk_downloaded""",
    "pipeline": """
        phase preflight_start preflight_done data_count manifest_start manifest_done manifest_guard_ok
        parallel_export_start parallel_export_done shard_done episode_export_done dataset_guard_ok
        neutral_index_start neutral_index_done train_done train_skip eval_skip merge_start merge_done
        merge_skip component_export_start component_export_done component_export_skip quality_target_checked
        stage_start stage_cancel stage_cancelled stage_failed stage_done shard_start gate_verdict
        lease_taken conductor_start conductor_end""",
}

#: Event name -> the family it votes for.
VOTES: Mapping[str, Family] = {
    event: family for family, events in _VOCABULARY.items() for event in events.split()
}

_GUARD = re.compile(r"_guard_(start|detached)$|_pid_exited$|_preempt_for_|_resumed_parent_after_preempt$")
_COSMOS_PHASE = re.compile(r"^cosmos3_\w+_(start|done)$")


def vote(event: str, detail: Detail) -> Family | None:
    """The family a row speaks for, or None if its name says nothing.

    `train_step` rows are many and voted for by the reducer, which has their fields at hand.
    """
    known = VOTES.get(event)
    if known is not None:
        return known
    judge = _BY_FIELDS.get(event)
    if judge is not None:
        return judge(detail)
    if _GUARD.search(event):
        return "launcher"
    if _COSMOS_PHASE.search(event):
        return "pipeline"
    return "watcher" if "approved" in detail else None


def _of_setup_done(detail: Detail) -> Family:
    return "future_window" if "num_eval_samples" in detail else "train"


def _of_model_ready(detail: Detail) -> Family:
    return "fd_eval" if "num_eval_samples" in detail else "fd_train"


def _of_eval_start(detail: Detail) -> Family | None:
    if "process_index" in detail:
        return "fd_eval"
    return "eval" if "num_eval_samples" in detail else None


def _of_watch_start(detail: Detail) -> Family | None:
    if "output_dir" in detail or "validation_json" in detail:
        return "package_watcher"
    return "watcher" if "eval_smoke_run_id" in detail else None


#: Shared names whose fields tell the writer.
_BY_FIELDS: Mapping[str, Callable[[Detail], Family | None]] = {
    "setup_done": _of_setup_done,
    "model_ready": _of_model_ready,
    "eval_start": _of_eval_start,
    "watch_start": _of_watch_start,
}

_BY_NAME: tuple[tuple[re.Pattern[str], Family], ...] = (
    (re.compile(r"^progress[._]rank\d+\.jsonl$"), "fd_eval"),
    (re.compile(r"^package_watch"), "package_watcher"),
    (re.compile(r"^(watch|access_watch|hf_access)"), "watcher"),
    (re.compile(r"^launch"), "launcher"),
    (re.compile(r"^relay_"), "relay"),
    (re.compile(r"^chunk_transfer_"), "transfer"),
    (re.compile(r"^(pipeline_)?status\.jsonl$|^events\.jsonl$"), "pipeline"),
)

#: Our own stages whose logs belong to a family; all others are `pipeline`.
_BY_STAGE: Mapping[str, Family] = {"train": "train", "eval": "eval", "relay": "relay", "download": "transfer"}


def stage_of_path(path: PurePath) -> str | None:
    """The stage of ours that wrote a log: `<run>/stages/<stage>/...`, also in a shard; None if none did."""
    parts = path.parts
    if len(parts) >= 3 and parts[-2] == "conductor":
        return "conductor"
    for at in (-3, -5):
        if len(parts) > -at and parts[at] == "stages" and (at == -3 or parts[-3] == "shards"):
            return parts[at + 1]
    return None


def family_of_path(path: PurePath) -> Family:
    """The family a file's name and place suggest; `unknown` if they suggest none."""
    stage = stage_of_path(path)
    if stage is not None:
        return _BY_STAGE.get(stage, "pipeline") if path.name.startswith("progress") else "pipeline"
    for pattern, family in _BY_NAME:
        if pattern.search(path.name):
            return family
    return "unknown"


def family_of(votes: Mapping[str, int], path: PurePath) -> Family:
    """The family with most votes; for our own logs, and without votes, what the path says."""
    best = max(_VOCABULARY, key=lambda family: votes.get(family, 0))
    if stage_of_path(path) is not None or not votes.get(best):
        return family_of_path(path)
    return best
