"""What a training run is told. Light to import: the stage's parameters and the plan use it too."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

#: Projections of the text model's attention. A list, not a pattern: peft widens a pattern to the audio tower.
LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj")

Tuning = Literal["lora", "full"]
Parallel = Literal["auto", "none", "ddp", "fsdp"]

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]


class TrainSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a thinker is trained.

    Attributes:
        model_dir: folder of the base checkpoint; nothing is downloaded.
        model_id: what reports call it.
        tuning: `lora`, or `full` for all text parameters of a small model.
        lora_r, lora_alpha, lora_dropout: of the adapter.
        lora_experts: adapt the experts as well; folds every expert's weights in each step, so it is slow.
        sensors: read sensor features through the bridge.
        sensor_tokens: tokens per sensor stream.
        min_pixels, max_pixels: per picture of a clip; 0 leaves the processor's own.
        max_prompt_tokens: longest prompt, media included.
        max_train_rows, max_val_rows: rows that are used; 0 for all.
        epochs, max_steps: whichever ends first; `max_steps` 0 for no limit.
        batch_size: rows of one process in one pass.
        accumulate: passes per optimizer step.
        learning_rate, warmup_share, weight_decay, clip_norm: of AdamW with a cosine to a tenth of the rate.
        precision: of the frozen weights and the activations; trained weights are always float32.
        gradient_checkpointing: compute activations again instead of keeping them.
        processes: of this host, one per GPU; 1 runs in the stage's own process.
        parallel: how several processes share the model; `auto` is `none` for one and `fsdp` for several.
        val_every: optimizer steps between validations; 0 for each end of an epoch.
        generate_every: optimizer steps between small generated evaluations on val rows; 0 for none.
        generate_rows: val rows of each.
        stop_after_worse: end after so many validations in a row without a new best; 0 for never.
        checkpoint_every: optimizer steps between resumable checkpoints.
        keep_checkpoints: newest ones that stay.
        check_reload: save the adapter after the first step, load it again and compare.
        cache_gib: memory for decoded samples.
        seed: of the bridge, the adapter, the order of rows and dropout.
        threads: of torch in each process; 0 leaves its default.
    """

    model_dir: str = ""
    model_id: str = "Qwen/Qwen3-Omni-30B-A3B-Instruct"
    tuning: Tuning = "lora"
    lora_r: Positive = 16
    lora_alpha: Positive = 32
    lora_dropout: Share = 0.05
    lora_experts: bool = False
    sensors: bool = True
    sensor_tokens: Annotated[int, Meta(ge=1, le=64)] = 1
    min_pixels: Count = 0
    max_pixels: Count = 0
    max_prompt_tokens: Positive = 8192
    max_train_rows: Count = 0
    max_val_rows: Count = 512
    epochs: Positive = 2
    max_steps: Count = 0
    batch_size: Positive = 1
    accumulate: Positive = 1
    learning_rate: Annotated[float, Meta(gt=0)] = 1e-4
    warmup_share: Share = 0.03
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    clip_norm: Annotated[float, Meta(gt=0)] = 1.0
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    gradient_checkpointing: bool = True
    processes: Annotated[int, Meta(ge=1, le=1024)] = 1
    parallel: Parallel = "auto"
    val_every: Count = 0
    generate_every: Count = 0
    generate_rows: Positive = 16
    stop_after_worse: Count = 0
    checkpoint_every: Positive = 200
    keep_checkpoints: Positive = 2
    check_reload: bool = True
    cache_gib: Annotated[float, Meta(ge=0)] = 2.0
    seed: int = 7
    threads: Count = 0

    @property
    def sharing(self) -> Literal["none", "ddp", "fsdp"]:
        """How the processes share the model."""
        if self.parallel == "auto":
            return "fsdp" if self.processes > 1 else "none"
        return self.parallel

    def steps(self, train_rows: int) -> int:
        """Optimizer steps in all."""
        per_epoch = -(-train_rows // (self.batch_size * self.accumulate * self.processes))
        planned = per_epoch * self.epochs
        return min(planned, self.max_steps) if self.max_steps else planned
