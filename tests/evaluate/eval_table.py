"""The real stages `eval` and `merge` behind stages that only put their inputs there."""

from pipeline.engine.registry import Recipe, Registry, StageSpec


def _spec(name: str, *needs: str, **more: object) -> StageSpec:
    module = f"pipeline.stages.{name}" if name in {"eval", "merge"} else "eval_inputs"
    return StageSpec(name=name, summary=name, module=module, needs=needs, **{"grace_s": 20.0, **more})


_STAGES = (
    _spec("export"),
    _spec("train"),
    _spec("eval", "export", "train", gate="answered", shards=True, resume="sample", retries=2),
    _spec("merge", "export", "eval", gate="whole", waivable=False),
)

REGISTRY = Registry(
    stages={spec.name: spec for spec in _STAGES},
    recipes={
        "evaluation": Recipe(
            name="evaluation",
            summary="two shards and their merge",
            stages=tuple(spec.name for spec in _STAGES),
            params={"eval": {"backend": "by_rule:open_answerer"}},
        )
    },
)
