"""Stage `package`: a public package, built aside, audited, and swapped in only as a whole.

Publishes the tree of formats section 2.8 with `package_audit.json`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from pipeline.engine.context import StageContext


class Params(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is packaged.

    Attributes:
        backbone: contract that decides what is owed.
        data_roots: further folders that become `<data>`.
    """

    backbone: str = "qwen3_omni_lora"
    data_roots: Annotated[tuple[str, ...], Meta(max_length=100)] = ()


def run(context: StageContext) -> None:
    """Build, audit, and put the verdict to the gate."""
    from pipeline.backbones.contract import read_catalogue
    from pipeline.engine.files import publish_json, read_json
    from pipeline.engine.runs import load_request
    from pipeline.package.audit import AUDIT_FILE, as_record, audit_package
    from pipeline.package.build import Sources, build_package, redactor_for

    contract = read_catalogue().contract(context.params.backbone)
    sources = Sources(**{name: context.upstream(name) for name in Sources.__struct_fields__})
    meta = read_json(sources.train / "training_metadata.json")
    base = Path(meta["base_model"]["path"])
    extra = {str(base.parent): "<model-cache>"} if base.is_absolute() else {}
    extra |= dict.fromkeys(context.params.data_roots, "<data>")
    packed = build_package(
        context.out,
        sources,
        contract,
        kind=load_request(context.run).kind,
        redactor=redactor_for(context.workspace.root, context.config, extra),
    )
    context.check_cancelled()
    audit = audit_package(context.out)
    publish_json(
        context.out / AUDIT_FILE, as_record(audit) | {"redactions": {p.path: p.redactions for p in packed}}
    )
    context.emit(
        "packaged",
        files=len(audit.files),
        bytes=sum(file.bytes for file in audit.files),
        redactions=sum(one.redactions for one in packed),
        issues=list(audit.issues[:20]),
    )
    context.check(
        "fit_to_leave",
        not audit.issues,
        f"{len(audit.files)} files, {len(audit.issues)} issues {'; '.join(audit.issues[:3])}".strip(),
        issues=list(audit.issues[:50]),
    )
