"""Stage `checkpoint_gate`: the trained weights are whole, fit their base, and answer after a reload.

Publishes `adapter_shape_check.json`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from pipeline.engine.context import StageContext

FILE = "adapter_shape_check.json"


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the weights are tried.

    Attributes:
        reload: load base and adapter and answer one val row; `no` looks at the files alone.
    """

    reload: Literal["yes", "no"] = "yes"


def gpus(params: Params) -> int:
    """Devices this stage leases."""
    return 1 if params.reload == "yes" else 0


def run(context: StageContext) -> None:
    """Look at the files, load them, and ask the gate's questions."""
    from pathlib import Path

    from pipeline.engine.files import publish_json, read_json
    from pipeline.qwen.adapter import adapter_hash
    from pipeline.qwen.gate import bridge_finite, shape_check
    from pipeline.qwen.model import base_facts

    train = context.upstream("train")
    record = read_json(train / "training_metadata.json")
    folder = train / ("adapter" if record["tuning_mode"] == "lora" else "model")
    if record["tuning_mode"] == "lora":
        found = shape_check(folder)
        publish_json(context.out / FILE, found | {"adapter_sha256": adapter_hash(folder)})
        context.check(
            "tensors_whole",
            found["status"] == "pass",
            f"{found['num_tensors']} tensors, {found['num_bad_tensors']} empty, not 2-D or not finite",
            **{key: found[key] for key in ("num_tensors", "num_bad_tensors", "shape_counts")},
        )
        context.check(
            "weights_moved",
            found["num_moved_tensors"] > 0,
            f"{found['num_moved_tensors']} of {found['num_tensors'] // 2} B matrices are not zero any more",
            moved=found["num_moved_tensors"],
        )
    context.check("bridge_finite", bridge_finite(folder), "the sensor bridge holds only numbers")
    digest = adapter_hash(folder)
    context.check(
        "same_weights",
        digest == record["adapter_sha256"],
        f"sha256 {digest[:12]}, training recorded {record['adapter_sha256'][:12]}",
        adapter_sha256=digest,
    )
    base = base_facts(Path(record["base_model"]["path"]))
    context.check(
        "same_base",
        base["config_sha256"] == record["base_model"]["config_sha256"],
        f"configuration of {base['path']} is what it was trained on",
        **base,
    )
    if context.params.reload == "yes":
        _reload(context)


def _reload(context: StageContext) -> None:
    """Answer one val row with freshly loaded weights, and compare its loss with the validation's."""
    from pipeline.qwen.probe import probe_loss

    found = probe_loss(context.upstream("train"), context.upstream("export"))
    context.emit("reload_checked", **found)
    context.check(
        "reloads",
        abs(found["val_loss"] - found["recorded"]) <= found["tolerance"],
        f"loss on the val rows after a reload {found['val_loss']:.4f}, in training {found['recorded']:.4f}",
        **found,
    )
