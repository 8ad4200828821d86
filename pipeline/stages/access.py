"""Stage `access`: wait until the gated dataset can be read; what needs it then starts by itself."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from pipeline.engine.context import StageContext


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the gate is asked.

    Attributes:
        first_wait_s: wait after the first probe; it doubles after each further one.
        longest_wait_s: most it grows to.
        max_probes: give up after so many; 0 never does.
    """

    first_wait_s: Annotated[float, Meta(gt=0)] = 60.0
    longest_wait_s: Annotated[float, Meta(gt=0)] = 900.0
    max_probes: Annotated[int, Meta(ge=0)] = 0


def run(context: StageContext) -> None:
    """Probe until access is granted, then say for which account."""
    from pipeline.engine.files import publish_json
    from pipeline.hub.access import Pace, watch_access

    params, dataset = context.params, context.config.dataset
    access = watch_access(
        dataset.repo_id,
        emit=context.emit,
        cancel=context.cancelled,
        endpoint=dataset.endpoint,
        pace=Pace(first_s=params.first_wait_s, longest_s=params.longest_wait_s),
        max_probes=params.max_probes,
    )
    publish_json(context.out / "access.json", {"repo_id": dataset.repo_id, "account": access.account})
    context.check("access_granted", access.granted, access.detail, account=access.account)
