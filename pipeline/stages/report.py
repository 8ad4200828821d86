"""Stage `report`: `RUN_REPORT.md` with the original's lines, and `report.html`, one file with plots."""

from __future__ import annotations

from msgspec import Struct

from pipeline.engine.context import StageContext


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing to choose."""


def run(context: StageContext) -> None:
    """Gather and write."""
    from pipeline.engine.files import publish_bytes
    from pipeline.engine.runs import load_request
    from pipeline.reporting.facts import gather
    from pipeline.reporting.markdown import run_report
    from pipeline.reporting.page import page

    facts = gather(
        context.run.run_id,
        load_request(context.run).kind,
        dataset=context.upstream("export"),
        train=context.upstream("train"),
        merge=context.upstream("merge"),
        validate=context.upstream("validate"),
    )
    publish_bytes(context.out / "RUN_REPORT.md", run_report(facts).encode("utf-8", "replace"))
    publish_bytes(context.out / "report.html", page(facts).encode("utf-8", "replace"))
    context.emit("reported", metrics={row.name: row.value for row in facts.rows})
