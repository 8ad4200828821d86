"""The training loop: steps, validations, checkpoints, and what is told of them.

One `Trainer` per process. Given the same settings, rows and number of processes it takes the same steps,
however often it is stopped and resumed.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.nn.utils import clip_grad_norm_

from pipeline.engine.errors import CancelledByOperatorError, StageFailedError
from pipeline.engine.log import Emit
from pipeline.qwen.adapter import base_of, save_adapter, save_bridge
from pipeline.qwen.checkpoint import (
    Progress,
    Validation,
    load_state,
    newest_checkpoint,
    random_state,
    restore_random,
    save_checkpoint,
)
from pipeline.qwen.collate import Batch, Collator
from pipeline.qwen.group import Group, gathered, restore_training, settle, share, trained, training_state
from pipeline.qwen.objective import answer_loss
from pipeline.qwen.order import epoch_batches, steps_of
from pipeline.qwen.reload import check_reload
from pipeline.qwen.rows import TrainingRow
from pipeline.qwen.samples import Samples
from pipeline.qwen.schedule import rate_at
from pipeline.qwen.settings import TrainSettings

#: Where the best weights so far lie in the work folder.
BEST = "best"

Generate = Callable[[Any, Sequence[TrainingRow]], dict[str, Any]]


class Trainer:
    """Trains one model on one dataset.

    Args:
        model: with its adapter, on this process's device, not yet shared.
        settings: how.
        group: the processes.
        collator, samples: how rows become batches.
        train, val: the rows, the same in every process.
        work: folder for checkpoints; survives attempts.
        digest: of everything that decides the steps; a checkpoint of another digest is not resumed.
        emit: tells; does nothing in processes other than the first.
        stop: whether the operator asked to stop.
        generate: evaluates answers on val rows; None for never.
    """

    def __init__(
        self,
        model: Any,
        settings: TrainSettings,
        *,
        group: Group,
        collator: Collator,
        samples: Samples,
        train: Sequence[TrainingRow],
        val: Sequence[TrainingRow],
        work: Path,
        digest: str,
        emit: Emit,
        stop: Callable[[], bool],
        generate: Generate | None = None,
    ) -> None:
        self.settings, self.group = settings, group
        self.inner = model
        self.model = share(model, settings, group)
        self.progress = Progress(settings=digest)
        self.total = settings.steps(len(train))
        self._collate, self._samples = collator, samples
        self._train, self._val = train, val
        self._work, self._emit, self._stop = work, emit, stop
        self._generate = generate
        self._dtype = getattr(torch, settings.precision)
        self._optimizer = torch.optim.AdamW(
            trained(self.model).values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self._worse = 0
        self._ended = False

    @property
    def checkpoints(self) -> Path:
        """Where resumable checkpoints lie."""
        return self._work / "checkpoints"

    def run(self) -> Progress:
        """Train to the end; the best weights are then in the work folder's `best`.

        Raises:
            CancelledByOperatorError: asked to stop; a checkpoint of the last step was written.
            StageFailedError: the loss is not finite, or the saved adapter does not reload.
        """
        self._resume()
        self.model.train()
        for epoch in range(self.progress.epoch, self.settings.epochs):
            self._epoch(epoch)
            if self._over():
                break
        if self.progress.best is None:
            self._keep_best()
        return self.progress

    def _over(self) -> bool:
        return self._ended or self.progress.step >= self.total

    def _epoch(self, epoch: int) -> None:
        steps = self._steps_of(epoch)
        for index in range(self.progress.step_in_epoch, len(steps)):
            self._prepare(steps, index)
            self._step(epoch, steps[index])
            self.progress.step_in_epoch = index + 1
            self._between(last=index + 1 == len(steps))
            if self._over():
                break
        self._end_epoch(epoch)

    def _steps_of(self, epoch: int) -> list[Sequence[list[int]]]:
        batches = epoch_batches(
            len(self._train),
            batch_size=self.settings.batch_size,
            seed=self.settings.seed,
            epoch=epoch,
            rank=self.group.rank,
            processes=self.group.processes,
        )
        return steps_of(batches, self.settings.accumulate)

    def _prepare(self, steps: Sequence[Sequence[list[int]]], index: int) -> None:
        """Have the next step's media read while this one computes."""
        for step in steps[index : index + 2]:
            self._samples.expect([self._train[row].content for batch in step for row in batch])

    def _step(self, epoch: int, numbers: Sequence[list[int]]) -> None:
        began = time.perf_counter()
        batches = [self._batch([self._train[n] for n in batch]) for batch in numbers]
        tokens = sum(sum(batch.answer_tokens) for batch in batches)
        rows = sum(len(batch.ids) for batch in batches)
        all_tokens, all_rows = self.group.total(tokens, rows)
        rate = rate_at(
            self.progress.step,
            self.total,
            rate=self.settings.learning_rate,
            warmup_share=self.settings.warmup_share,
        )
        for parameters in self._optimizer.param_groups:
            parameters["lr"] = rate
        loss = 0.0
        for batch in batches:
            summed = answer_loss(self.model, batch)
            # Replication and sharding average gradients over processes; the step's mean is over tokens.
            (summed * (self.group.processes / all_tokens)).backward()  # type: ignore[no-untyped-call]
            loss += float(summed.detach())
        all_loss, bad = self.group.total(loss, float(not math.isfinite(loss)))
        if bad:
            self._not_finite(batches, loss)
        norm = self._update()
        self.progress.step += 1
        self.progress.rows += int(all_rows)
        self.progress.epoch_loss += all_loss
        self.progress.epoch_tokens += int(all_tokens)
        seconds = time.perf_counter() - began
        self._tell_step(epoch, batches, loss=loss / tokens, rate=rate, norm=norm, seconds=seconds)

    def _update(self) -> float:
        norm = clip_grad_norm_(list(trained(self.model).values()), self.settings.clip_norm)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)

    def _not_finite(self, batches: Sequence[Batch], loss: float) -> None:
        ids = [name for found in self.group.gather([i for b in batches for i in b.ids]) for name in found]
        step = self.progress.step + 1
        self._emit("loss_not_finite", global_step=step, rank0_batch_loss=loss, sample_ids=ids)
        last = newest_checkpoint(self.checkpoints, self.progress.settings)
        kept = f"the checkpoint of step {last[1].step} is good" if last else "there is no checkpoint yet"
        raise StageFailedError(
            f"the loss of step {step} is not finite ({loss}); samples {', '.join(ids[:4])}; {kept}",
            hint="a lower rate in a run made from this one: xops run new --from RUN "
            "--set train.learning_rate=...",
        )

    def _tell_step(
        self,
        epoch: int,
        batches: Sequence[Batch],
        *,
        loss: float,
        rate: float,
        norm: float,
        seconds: float,
    ) -> None:
        rows = sum(len(batch.ids) for batch in batches)
        prompt, answer = (
            sum(map(sum, (b.prompt_tokens for b in batches))),
            sum(map(sum, (b.answer_tokens for b in batches))),
        )
        self._emit(
            "train_step",
            epoch=epoch,
            global_step=self.progress.step,
            rank0_batch_loss=round(loss, 6),
            rank0_seen=(self.progress.step_in_epoch + 1) * rows,
            lr=rate,
            grad_norm=round(norm, 6),
            supervised_tokens=answer,
            prompt_tokens=prompt,
            media_tokens=sum(map(sum, (b.media_tokens for b in batches))),
            frames=sum(map(sum, (b.frames for b in batches))),
            rows=rows,
            seconds=round(seconds, 4),
            rows_per_s=round(rows * self.group.processes / seconds, 4),
            tokens_per_s=round((prompt + answer) * self.group.processes / seconds, 2),
            done=self.progress.step,
            total=self.total,
            unit="steps",
        )

    def _batch(self, rows: Sequence[TrainingRow]) -> Batch:
        samples = [self._samples.make(row.content, answered=True) for row in rows]
        return self._collate(samples).to(self.group.device, self._dtype)

    def _between(self, *, last: bool) -> None:
        """What is due after a step."""
        step, settings = self.progress.step, self.settings
        if step == 1 and settings.check_reload:
            self._check_reload()
        due = last or step >= self.total
        if due if settings.val_every == 0 else step % settings.val_every == 0:
            self._validate()
        if self._generate and settings.generate_every and step % settings.generate_every == 0:
            self._generated()
        stop = self.group.any(self._stop())
        if stop or step % settings.checkpoint_every == 0:
            self._checkpoint()
        if stop:
            raise CancelledByOperatorError(f"stopped after step {step}, which is saved")

    def _check_reload(self) -> None:
        self._phase("save")
        state = self._whole_state()
        difference = check_reload(
            self.inner, self.settings, self._work / "reload", state, group=self.group, rows=self._probe()
        )
        self._emit("reload_checked", global_step=self.progress.step, max_difference=difference)
        self.model.train()
        self._phase("train")

    def _probe(self) -> Batch:
        return self._batch([(self._val or self._train)[0]])

    def _validate(self) -> None:
        if not self._val:
            return
        self._phase("val")
        loss = self._val_loss()
        found = Validation(self.progress.step, loss)
        self.progress.validations.append(found)
        better = self.progress.best is None or loss < self.progress.best.loss
        if better:
            self.progress.best = found
            self._keep_best()
        self._worse = 0 if better else self._worse + 1
        self._ended = 0 < self.settings.stop_after_worse <= self._worse
        self._emit("val_end", global_step=found.step, val_loss=loss, best=better, worse_in_a_row=self._worse)
        self._phase("train")

    def _val_loss(self) -> float:
        self.model.eval()
        loss, tokens = 0.0, 0
        with torch.no_grad():
            for batch, counts in self._val_batches():
                summed = float(answer_loss(self.model, batch))
                if counts:
                    loss, tokens = loss + summed, tokens + sum(batch.answer_tokens)
        self.model.train()
        all_loss, all_tokens = self.group.total(loss, tokens)
        return all_loss / all_tokens

    def _val_batches(self) -> Iterator[tuple[Batch, bool]]:
        """This process's val batches; every process gets equally many, the surplus ones do not count."""
        own = self._val[self.group.rank :: self.group.processes]
        size = self.settings.batch_size
        most = -(-len(self._val) // self.group.processes)
        for at in range(0, most, size):
            rows = own[at : at + size]
            yield self._batch(rows or self._val[:1]), bool(rows)

    def _generated(self) -> None:
        self._phase("generate")
        self.model.eval()
        found = self._generate(self.inner, self._val) if self._generate else {}
        self.model.train()
        self._emit("generated_eval", global_step=self.progress.step, **found)
        self._phase("train")

    def _whole_state(self) -> dict[str, torch.Tensor]:
        settle(self.model)
        return {name: gathered(parameter) for name, parameter in trained(self.model).items()}

    def _keep_best(self) -> None:
        """Write the trained weights to `best`, by rename."""
        state = self._whole_state()
        if self.group.first:
            final, partial = self._work / BEST, self._work / f"{BEST}.tmp"
            shutil.rmtree(partial, ignore_errors=True)
            save_trained(self.inner, self.settings, partial, state)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        self.group.wait()

    def _checkpoint(self) -> None:
        self._phase("save")
        state = training_state(self.model, self._optimizer, self.group.gather(random_state()))
        if self.group.first:
            path = save_checkpoint(
                self.checkpoints, self.progress, state, keep=self.settings.keep_checkpoints
            )
            size = sum(file.stat().st_size for file in path.iterdir())
            self._emit("checkpoint_saved", global_step=self.progress.step, path=str(path), bytes=size)
        self.group.wait()
        self._phase("train")

    def _resume(self) -> None:
        found = newest_checkpoint(self.checkpoints, self.progress.settings)
        if found is None:
            return
        path, self.progress = found
        state = load_state(path)
        restore_training(self.model, self._optimizer, state)
        restore_random(state["random"][self.group.rank])
        self._worse = _worse_in_a_row(self.progress)
        self._emit("resumed", global_step=self.progress.step, path=str(path))

    def _end_epoch(self, epoch: int) -> None:
        progress = self.progress
        if not progress.epoch_tokens:
            return
        validations = [v.loss for v in progress.validations if v.step == progress.step]
        record = {
            "epoch": epoch,
            "train_loss": progress.epoch_loss / progress.epoch_tokens,
            "val_loss": validations[-1] if validations else None,
            "global_step": progress.step,
        }
        progress.history.append(record)
        progress.epoch, progress.step_in_epoch = epoch + 1, 0
        progress.epoch_loss, progress.epoch_tokens = 0.0, 0
        self._emit("epoch_end", **record)

    def _phase(self, name: str) -> None:
        self._emit("phase", phase=name)


def save_trained(
    model: Any, settings: TrainSettings, folder: Path, state: dict[str, torch.Tensor] | None = None
) -> None:
    """Write what was trained: an adapter, or in full tuning the whole model, with the bridge beside it."""
    if settings.tuning == "lora":
        save_adapter(model, folder, state)
        return
    base = base_of(model)
    whole = {name: gathered(value) for name, value in base.state_dict().items()} | dict(state or {})
    text = {name: value for name, value in whole.items() if "sensor_bridge." not in name}
    base.save_pretrained(folder, state_dict=text)
    save_bridge(base, folder, state)


def settings_digest(settings: TrainSettings, facts: dict[str, Any]) -> str:
    """Names everything that decides the steps; where samples are kept or how often they are told does not."""
    free = {"cache_gib", "checkpoint_every", "keep_checkpoints", "threads", "check_reload", "generate_every"}
    kept = {key: value for key, value in msgspec.to_builtins(settings).items() if key not in free}
    return hashlib.sha256(msgspec.json.encode([kept, facts], order="sorted")).hexdigest()


def _worse_in_a_row(progress: Progress) -> int:
    best = progress.best
    return sum(1 for v in progress.validations if best is not None and v.step > best.step)
