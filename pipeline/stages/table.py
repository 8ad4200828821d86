"""The table of stages and recipes: the one place to add either.

Stages are named by module, as text; nothing here imports them, so that listing runs stays cheap.
"""

from __future__ import annotations

from pipeline.engine.registry import Recipe, Registry, StageSpec

_STAGES = (
    StageSpec(
        name="access",
        summary="wait until the gated dataset can be read",
        module="pipeline.stages.access",
        gate="access is granted",
        stall_s=1200.0,
    ),
    StageSpec(
        name="select",
        summary="choose episodes, pinned to a commit and hashed",
        module="pipeline.stages.select",
        gate="target reached, sessions unique, no rrd, every file hashed",
        primary=("selection.json",),
    ),
    StageSpec(
        name="preflight",
        summary="look at the Hub, the relay and the training host",
        module="pipeline.stages.preflight",
        needs=("select",),
        gate="no row fails",
        primary=("preflight.json",),
    ),
    StageSpec(
        name="download",
        summary="fetch the selection from the Hub straight to a data root here",
        module="pipeline.stages.download",
        needs=("access", "select"),
        resume="chunk",
        gate="G1-G3: every size and hash equal, no rrd, sessions unique",
        waivable=False,
        grace_s=30.0,
        stall_s=120.0,
        primary=("staged.json",),
    ),
    StageSpec(
        name="relay",
        summary="move the selection from the Hub over this machine to the training host, proved there",
        module="pipeline.stages.relay",
        needs=("access", "select", "preflight"),
        resume="chunk",
        gate="G1-G3: every size and hash equal there, no rrd, sessions unique",
        waivable=False,
        grace_s=30.0,
        stall_s=120.0,
        primary=("staged.json",),
    ),
    StageSpec(
        name="transfer",
        summary="send a directory of this machine to a host, proved there",
        module="pipeline.stages.transfer",
        resume="chunk",
        gate="the destination holds exactly the source",
        grace_s=30.0,
        stall_s=120.0,
        primary=("staged.json",),
    ),
    StageSpec(
        name="discover",
        summary="look into every staged episode: whole, degraded, damaged or absent",
        module="pipeline.stages.discover",
        needs=("select", "download", "relay"),
        resume="episode",
        gate="every selected episode is usable or taken out with a reason",
        grace_s=10.0,
        primary=("source_discovery.json", "qa.json"),
    ),
    StageSpec(
        name="manifest",
        summary="list every usable episode with its split, sizes, modalities and labels",
        module="pipeline.stages.manifest",
        needs=("select", "discover"),
        resume="episode",
        gate="no session in two splits; selected = used + skipped, each with a reason",
        waivable=False,
        grace_s=10.0,
        primary=("episode_manifest.json",),
    ),
    StageSpec(
        name="audit",
        summary="measure how alike the splits are, propose swaps, have a person look",
        module="pipeline.stages.audit",
        needs=("select", "manifest"),
        resume="episode",
        gate="balance within limits; a person has read the report",
        grace_s=10.0,
        primary=("content_balance.html",),
    ),
    StageSpec(
        name="export",
        summary="cut windows: clip, sound, sensor features and answers, as rows of a dataset",
        module="pipeline.stages.export",
        needs=("manifest", "audit"),
        resume="episode",
        gate="rows conserved, media hashed, label options from train, frames as declared",
        grace_s=10.0,
        primary=("dataset.jsonl",),
    ),
    StageSpec(
        name="index",
        summary="make exported windows a neutral index that every backbone can read",
        module="pipeline.stages.index",
        needs=("audit", "export"),
        gate="schema valid, rows conserved, label options from train, media present",
        grace_s=10.0,
        primary=("window_index.jsonl",),
    ),
    StageSpec(
        name="future_windows",
        summary="contexts and the windows that follow them, for world-model branches",
        module="pipeline.stages.future_windows",
        needs=("manifest", "index"),
        gate="targets strictly after contexts, horizon honoured, records conserved, no episode in two splits",
        primary=("future_windows.jsonl",),
    ),
    StageSpec(
        name="train",
        summary="teach the thinker the windows of the train split",
        module="pipeline.stages.train",
        needs=("audit", "export", "index"),
        resume="checkpoint",
        gate="steps reached, loss finite, held-out rows untouched",
        grace_s=180.0,
        stall_s=900.0,
        primary=("training_metadata.json",),
    ),
)

_RECIPES = (
    Recipe(
        name="relay",
        summary="access, selection, preflight, and the relay to the training host",
        stages=("access", "select", "preflight", "relay"),
    ),
    Recipe(
        name="transfer",
        summary="a directory of this machine to a host (--set transfer.source=DIR)",
        stages=("transfer",),
    ),
    Recipe(
        name="stage_here",
        summary="access, selection and a verified download to this host, without a relay",
        stages=("access", "select", "download"),
    ),
    Recipe(
        name="prepare_data",
        summary="stage_here, then discovery, manifest and the content audit",
        stages=("access", "select", "download", "discover", "manifest", "audit"),
    ),
    Recipe(
        name="make_dataset",
        summary="prepare_data, then the export of windows and their neutral index",
        stages=("access", "select", "download", "discover", "manifest", "audit", "export", "index"),
    ),
    Recipe(
        name="index_dataset",
        summary="the neutral window index of an existing dataset.jsonl (--set index.dataset=FILE)",
        stages=("index",),
    ),
    Recipe(
        name="demo",
        summary="sixteen generated episodes from an embedded Hub through every stage there is",
        stages=(
            "access",
            "select",
            "preflight",
            "relay",
            "discover",
            "manifest",
            "audit",
            "export",
            "index",
            "future_windows",
        ),
        params={
            "access": {"first_wait_s": 1.0, "longest_wait_s": 2.0},
            "select": {
                "target_episodes": 16,
                "min_annotation_gib": 0.0,
                "drop_bottom_annotation_percentile": 0.0,
                "drop_bottom_training_percentile": 0.0,
            },
            "relay": {
                "batch_max_episodes": 4,
                "low_water_gib": 0.0,
                "high_water_gib": 0.0,
                "chunk_size_mib": 0.25,
                "chunk_threshold_mib": 0.25,
            },
            "future_windows": {"context_frames": 40, "horizon_frames": 40},
            # Sixteen episodes of two tasks each cannot be balanced as 128 can.
            "audit": {"max_share": 1.0, "max_divergence": 1.0, "max_unknown_share": 1.0},
        },
    ),
)

REGISTRY = Registry(
    stages={stage.name: stage for stage in _STAGES},
    recipes={recipe.name: recipe for recipe in _RECIPES},
)
