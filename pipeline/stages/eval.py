"""Stages `eval_smoke` and `eval`: held-out rows are answered, each once, by whichever shard lives.

Publishes `predictions.jsonl` (this shard's rows) and `shard.json`. Rows lie in the work folder's
`predictions.partial.jsonl` as they come; a resumed shard goes on from there, and rows of a dead one are taken
over by the others.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta, Struct

from pipeline.engine.context import StageContext

if TYPE_CHECKING:
    from pipeline.evaluate.answerer import Answerer
    from pipeline.evaluate.rows import EvalRows
    from pipeline.evaluate.runner import Places

#: Backends by name: `module:function(params, train_out, dataset, rows, emit) -> Answerer`.
BACKENDS = {
    "transformers": "pipeline.qwen.answerer:open_answerer",
    "openai": "pipeline.evaluate.openai_backend:open_answerer",
}

LEASES_FILE = "rows.lease"
SHARD_FILE = "shard.json"


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How rows are answered.

    Attributes:
        backend: `transformers` in this process, `openai` for any server of that interface, or a
            `module:function` that opens another one.
        split: whose rows.
        limit: most rows, spread over the split; 0 for all.
        batch_size: questions at once.
        attempts: how often a question is asked before it is recorded as failed.
        labels: `train` holds labels to those of the train split, `free` only to the answer's form,
            `unconstrained` to nothing, as the original did.
        max_tokens: of an answer; 0 for what the form can need at most.
        max_pixels, max_prompt_tokens: see the train stage; 0 takes what training had.
        precision: of the weights; empty takes what training had.
        server, server_model: address (`http://host:port/v1`) and model name for `openai`; without a name
            the only model that is served.
        server_media: `inline` sends media as base64, `files` as paths that the server must be able to read
            (vLLM: `--allowed-local-media-path`).
        token_variable: environment variable with the server's token; the token itself is never stored.
        concurrency: open requests to the server; a batch is asked at once, so `batch_size` bounds it too.
        timeout_s: of one request.
        max_error_share: share of rows that may stay unanswered before the gate closes.
        threads: of torch; 0 leaves its default.
    """

    backend: str = "transformers"
    split: Literal["test", "val"] = "test"
    limit: Annotated[int, Meta(ge=0)] = 0
    batch_size: Annotated[int, Meta(ge=1, le=1024)] = 8
    attempts: Annotated[int, Meta(ge=1, le=10)] = 2
    labels: Literal["train", "free", "unconstrained"] = "train"
    max_tokens: Annotated[int, Meta(ge=0)] = 0
    max_pixels: Annotated[int, Meta(ge=0)] = 0
    max_prompt_tokens: Annotated[int, Meta(ge=0)] = 0
    precision: Literal["", "float32", "bfloat16"] = ""
    server: str = ""
    server_model: str = ""
    server_media: Literal["inline", "files"] = "inline"
    token_variable: str = "XOPS_SERVER_TOKEN"  # noqa: S105 - the name of a variable
    concurrency: Annotated[int, Meta(ge=1, le=1024)] = 8
    timeout_s: Annotated[float, Meta(gt=0)] = 120.0
    max_error_share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    threads: Annotated[int, Meta(ge=0)] = 0


def gpus(params: Params) -> int:
    """Devices this stage leases."""
    return 1 if params.backend == "transformers" else 0


def run(context: StageContext) -> None:
    """Answer this shard's rows and whatever nobody else can, then publish them."""
    from pipeline.evaluate.answerer import identity_hash
    from pipeline.evaluate.predictions import Scribe
    from pipeline.evaluate.rows import read_eval_rows
    from pipeline.evaluate.runner import Shard
    from pipeline.metrics.answers import Options
    from pipeline.metrics.options import read_dataset_facts

    params: Params = context.params
    dataset = context.upstream("export")
    rows = read_eval_rows(dataset / "dataset.jsonl", params.split, limit=params.limit)
    options = Options(read_dataset_facts(dataset / "dataset_manifest.json").options)
    shard = context.shard or (0, 1)
    context.emit("phase", phase="model_load")
    answerer = _open(context, dataset, rows)
    context.emit("phase", phase="eval")
    try:
        identity = identity_hash(answerer.identity, rows.sha256)
        runner = Shard(
            rows,
            answerer,
            Scribe(rows, options, identity=identity, shard=shard[0]),
            _places(context),
            shard=shard,
            identity=identity,
            root=dataset,
            batch_size=params.batch_size,
            attempts=params.attempts,
            emit=context.emit,
            check_cancelled=context.check_cancelled,
        )
        found = runner.run()
    finally:
        answerer.close()
    _publish(context, found, dict(answerer.identity), identity, rows)


def _open(context: StageContext, dataset: Path, rows: EvalRows) -> Answerer:
    from pipeline.engine.errors import UsageError

    params: Params = context.params
    module, _, function = BACKENDS.get(params.backend, params.backend).partition(":")
    try:
        opener = getattr(importlib.import_module(module), function)
    except (ValueError, AttributeError, ModuleNotFoundError) as error:
        raise UsageError(
            f"no backend {params.backend!r}: {error}", hint=f"one of: {', '.join(BACKENDS)}"
        ) from None
    answerer: Answerer = opener(params, context.upstream("train"), dataset, rows, context.emit)
    return answerer


def _places(context: StageContext) -> Places:
    from pipeline.engine.paths import StagePaths
    from pipeline.evaluate.predictions import PARTIAL_FILE
    from pipeline.evaluate.runner import Places

    if context.shard is None:
        return Places(context.work, (context.work / PARTIAL_FILE,), context.work / LEASES_FILE)
    whole = StagePaths(context.paths.root.parent.parent)
    parts = [whole.shard(index).work / PARTIAL_FILE for index in range(context.shard[1])]
    return Places(context.work, tuple(parts), whole.shards / LEASES_FILE)


def _publish(
    context: StageContext,
    found: list[dict[str, object]],
    parts: dict[str, str],
    identity: str,
    rows: EvalRows,
) -> None:
    import msgspec

    from pipeline.engine.files import publish_bytes, publish_json
    from pipeline.evaluate.predictions import FINAL_FILE

    params: Params = context.params
    lines = b"".join(msgspec.json.encode(row) + b"\n" for row in found)
    publish_bytes(context.out / FINAL_FILE, lines)
    errors = [row for row in found if row["finish"] == "error"]
    publish_json(
        context.out / SHARD_FILE,
        {
            "shard": context.shard[0] if context.shard else 0,
            "shards": context.shard[1] if context.shard else 1,
            "split": rows.split,
            "limit": params.limit,
            "asked": len(rows.rows),
            "identity": identity,
            "identity_parts": parts | {"dataset": rows.sha256},
            "rows": len(found),
            "errors": len(errors),
            "truncated": sum(bool(row["truncated"]) for row in found),
            "labels": params.labels,
        },
    )
    # A shard that came back to take what little was left is not judged by that little alone.
    part = max(len(found), -(-len(rows.rows) // (context.shard[1] if context.shard else 1)))
    context.check(
        "rows_answered",
        len(errors) <= params.max_error_share * part,
        f"{len(errors)} of {len(found)} rows have no answer; {params.max_error_share:.1%} of {part} may",
        errors=len(errors),
        rows=len(found),
        first=[row["id"] for row in errors[:5]],
    )
