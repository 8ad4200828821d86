"""The processes that train one model together, and how they share it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from pipeline.qwen.settings import TrainSettings

#: What FSDP shards one by one: the layers of the text model and of both towers.
_LAYERS = frozenset(
    {
        "Qwen3OmniMoeThinkerTextDecoderLayer",
        "Qwen3OmniMoeVisionBlock",
        "Qwen3OmniMoeAudioEncoderLayer",
    }
)


@dataclass(frozen=True, slots=True)
class Group:
    """This process among those that train together.

    Attributes:
        rank, processes: which of how many.
        device: what it computes on.
    """

    rank: int
    processes: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def total(self, *values: float) -> list[float]:
        """Sums over all processes."""
        if self.processes == 1:
            return list(values)
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        return [float(value) for value in sums]

    def any(self, flag: bool) -> bool:
        """Whether it is true of any process."""
        return self.total(float(flag))[0] > 0

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, by rank."""
        if self.processes == 1:
            return [value]
        found: list[Any] = [None] * self.processes
        distributed.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.processes > 1:
            distributed.barrier()

    def leave(self) -> None:
        """Let the group end."""
        if self.processes > 1:
            distributed.destroy_process_group()


def join_group(processes: int) -> Group:
    """This process's place, as torchrun's environment gives it; alone where one process trains."""
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    device = torch.device(f"cuda:{local}" if cuda else "cpu")
    if cuda:
        torch.cuda.set_device(device)
    if processes > 1:
        distributed.init_process_group("nccl" if cuda else "gloo")
    return Group(rank, processes, device)


def share(model: Any, settings: TrainSettings, group: Group) -> Any:
    """`model` as the group trains it: itself, replicated, or sharded."""
    if settings.sharing == "ddp":
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(model)
    if settings.sharing == "fsdp":
        _shard(model, group)
    return model


def _shard(model: Any, group: Group) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(group.device.type, (group.processes,))
    for module in list(model.modules()):
        if type(module).__name__ in _LAYERS:
            _shard_by_dtype(module, mesh, fully_shard)
    _shard_by_dtype(model, mesh, fully_shard)


def _shard_by_dtype(module: Any, mesh: Any, fully_shard: Any) -> None:
    """Shard one module; its tensors share a type, so float32 parts beside bfloat16 ones are sharded first."""
    main = next(module.parameters()).dtype
    for part in list(module.modules()):
        own = [p for p in part.parameters(recurse=False) if not _is_sharded(p)]
        if part is not module and own and all(p.dtype != main for p in own):
            fully_shard(part, mesh=mesh)
    fully_shard(module, mesh=mesh)


def _is_sharded(parameter: torch.Tensor) -> bool:
    return hasattr(parameter, "full_tensor")


def trained(model: Any) -> dict[str, torch.nn.Parameter]:
    """The parameters that learn, by name, without what replication puts before the names."""
    inner = model.module if hasattr(model, "module") and type(model).__name__.endswith("Parallel") else model
    return {name: p for name, p in inner.named_parameters() if p.requires_grad}


def settle(model: Any) -> None:
    """Bring a sharded model to rest, in every process.

    After a forward pass its outermost shard stays whole for the next one; reading its state in one process
    alone would put only that one to rest, and the next pass would wait for data nobody sends.
    """
    if hasattr(model, "reshard"):
        model.reshard()


def gathered(value: torch.Tensor) -> torch.Tensor:
    """A whole copy on the CPU; where the tensor is spread, every process must ask."""
    whole = value.full_tensor() if hasattr(value, "full_tensor") else value
    return whole.detach().to("cpu", copy=True)


def place(target: torch.Tensor, value: torch.Tensor) -> None:
    """Copy a whole tensor into one that may be spread."""
    if hasattr(target, "full_tensor"):
        from torch.distributed.tensor import DTensor, distribute_tensor

        spread: DTensor = target  # type: ignore[assignment]
        value = distribute_tensor(value.to(spread.device), spread.device_mesh, spread.placements)
    with torch.no_grad():
        target.copy_(value)


def training_state(
    model: Any, optimizer: torch.optim.Optimizer, random: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Everything a checkpoint holds, gathered; every process must call it."""
    settle(model)
    parameters = trained(model)
    moments = {
        name: {key: gathered(value) for key, value in optimizer.state.get(parameter, {}).items()}
        for name, parameter in parameters.items()
    }
    return {
        "model": {name: gathered(parameter) for name, parameter in parameters.items()},
        "optimizer": moments,
        "random": list(random),
    }


def restore_training(model: Any, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take over weights and moments of a checkpoint."""
    for name, parameter in trained(model).items():
        place(parameter, state["model"][name])
        moments = state["optimizer"].get(name, {})
        if moments:
            optimizer.state[parameter] = {key: _moment(parameter, value) for key, value in moments.items()}


def _moment(parameter: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    if value.dim() == 0:
        return value.clone()
    moment = torch.zeros_like(parameter)
    place(moment, value)
    return moment
