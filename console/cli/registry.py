"""`xops registry`: contracts of model branches; look at them, check them, begin a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from console.cli.common import DryRun, Json
from console.output import emit_json, emit_table, emit_text

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[Path | None, typer.Option("--dir", help="Folder of contracts (default: those of xops).")]
Files = Annotated[
    Path | None,
    typer.Option("--files", help="Project whose files the entrypoints name; looked for if given."),
]


@app.command("ls")
def list_(folder: Folder = None, json: Json = False) -> None:
    """List the contracts of a folder."""
    from pipeline.backbones.contract import OWN, read_catalogue

    found = read_catalogue(folder or OWN)
    if json:
        emit_json({"contracts": list(found.contracts.values()), "issues": [_issue(i) for i in found.issues]})
        return
    emit_table(
        ["id", "status", "family", "contract", "gate"],
        [
            (c.id, c.status, c.model_family, c.dataset_contract, c.artifact_contract.checkpoint_gate)
            for c in found.contracts.values()
        ],
        empty="no valid contract: xops registry validate",
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Id of a contract.")], folder: Folder = None, json: Json = False
) -> None:
    """Show one contract: what it is fed, must produce, must prove and may publish."""
    from pipeline.backbones.contract import OWN, read_catalogue
    from pipeline.backbones.gates import CHECKPOINT_GATES
    from pipeline.backbones.metrics import METRICS

    contract = read_catalogue(folder or OWN).contract(name)
    if json:
        emit_json(contract)
        return
    artefacts = contract.artifact_contract
    emit_text(f"{contract.display_name} ({contract.id}): {contract.status}. {contract.decision}".strip())
    emit_text(f"gate: {artefacts.checkpoint_gate}: {CHECKPOINT_GATES[artefacts.checkpoint_gate]}")
    emit_text(f"training files: {', '.join(artefacts.required_training_files)}")
    emit_text(f"evaluation files: {', '.join(artefacts.required_eval_files)}")
    emit_text(f"never published: {', '.join(artefacts.public_package_forbidden)}")
    emit_table(["step", "done by"], contract.entrypoints.items(), empty="no steps")
    emit_table(["metric", "is"], [(m, METRICS[m]) for m in contract.primary_metrics], empty="no metrics")
    for requirement in contract.extension_requirements:
        emit_text(f"still needed: {requirement}")


@app.command()
def validate(folder: Folder = None, files: Files = None, json: Json = False) -> None:
    """Check every contract; exit 1 with the path of each issue if there is any."""
    from pipeline.backbones.contract import OWN, read_catalogue

    found = read_catalogue(folder or OWN, workspace=files)
    status = "fail" if found.issues else "pass"
    if json:
        emit_json(
            {"status": status, "valid": list(found.contracts), "issues": [_issue(i) for i in found.issues]}
        )
    else:
        rows = [(issue.file, issue.path, issue.message) for issue in found.issues]
        emit_table(["file", "path", "issue"], rows, empty=f"{len(found.contracts)} contracts, no issues")
    raise typer.Exit(1 if found.issues else 0)


@app.command()
def scaffold(
    id_: Annotated[str, typer.Option("--id", help="Id of the new contract.")],
    display_name: Annotated[str, typer.Option(help="What people call it.")],
    model_family: Annotated[str, typer.Option(help="Its model family.")],
    dataset_contract: Annotated[str, typer.Option(help="Name of the data it trains on.")],
    training_objective: Annotated[str, typer.Option(help="What it is trained for.")],
    checkpoint_gate: Annotated[str, typer.Option(help="The check its checkpoints must pass.")],
    template_backbone: Annotated[str, typer.Option(help="Contract to begin from.")] = "policy_vla_branch",
    local_model_env: Annotated[str | None, typer.Option(help="Variable that names its model folder.")] = None,
    status: Annotated[str, typer.Option(help="planned_adapter or reference_only.")] = "planned_adapter",
    folder: Folder = None,
    output_dir: Annotated[Path | None, typer.Option(help="Where to write it (default: here).")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Begin a new contract from an existing one."""
    from pipeline.backbones.contract import OWN, read_catalogue
    from pipeline.backbones.scaffold import NewContract, write
    from pipeline.backbones.scaffold import scaffold as make

    catalogue = read_catalogue(folder or OWN)
    catalogue.contract(template_backbone)
    new = NewContract(
        id=id_,
        display_name=display_name,
        model_family=model_family,
        dataset_contract=dataset_contract,
        training_objective=training_objective,
        checkpoint_gate=checkpoint_gate,
        status=status,
        local_model_env=local_model_env,
    )
    made = make(catalogue.files[template_backbone], new, output_dir or Path.cwd())
    if not dry_run:
        write(made, overwrite=overwrite)
    if json:
        emit_json({"path": made.path, "written": not dry_run, "contract": made.contract})
        return
    emit_text("\n".join(made.diff))
    emit_text(f"{'would write' if dry_run else 'wrote'} {made.path}")


@app.command()
def matrix(folder: Folder = None, json: Json = False) -> None:
    """Show all families in order of priority: what was decided, what is missing."""
    from pipeline.backbones.contract import OWN, read_catalogue

    found = sorted(read_catalogue(folder or OWN).contracts.values(), key=lambda c: (c.priority or 99, c.id))
    if json:
        emit_json(
            [
                {
                    "id": c.id,
                    "priority": c.priority,
                    "status": c.status,
                    "decision": c.decision,
                    "missing_entrypoints": c.missing_entrypoints,
                    "extension_requirements": c.extension_requirements,
                }
                for c in found
            ]
        )
        return
    emit_table(
        ["priority", "id", "status", "decision", "missing steps"],
        [(c.priority or None, c.id, c.status, c.decision, ", ".join(c.missing_entrypoints)) for c in found],
        empty="no valid contract: xops registry validate",
    )


def _issue(issue: tuple[str, str, str]) -> dict[str, str]:
    file, path, message = issue
    return {"file": file, "path": path, "message": message}
