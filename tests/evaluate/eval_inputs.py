"""What evaluation reads, made at once: a dataset, and in it which rows wait and which fail."""

from __future__ import annotations

import json

import msgspec
from by_rule import write_dataset

from pipeline.engine.context import StageContext


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`hold`: ids whose answers wait for the file `release`; `broken`: ids that have none."""

    hold: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()


def run(context: StageContext) -> None:
    write_dataset(context.out)
    orders = {"hold": context.params.hold, "broken": context.params.broken}
    (context.out / "orders.json").write_text(json.dumps(orders))
