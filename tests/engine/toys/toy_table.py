"""A table of toy stages: a <- b <- c, a gated one, a split one and its merge."""

from pipeline.engine.registry import Recipe, Registry, StageSpec


def _spec(name: str, *needs: str, **more: object) -> StageSpec:
    return StageSpec(name=name, summary=f"toy {name}", module="toy", needs=needs, **{"grace_s": 20.0, **more})


_STAGES = (
    _spec("a"),
    _spec("b", "a", resume="sample"),
    _spec("c", "b"),
    _spec("quick", grace_s=0.2),
    _spec("gated", "a", gate="is it good"),
    _spec("strict", "a", gate="is it safe", waivable=False),
    _spec("after", "gated"),
    _spec("split", "a", shards=True, resume="shard"),
    _spec("merge", "split"),
    _spec("sturdy", "a", shards=True, resume="sample", retries=2),
    _spec("joined", "sturdy"),
)

REGISTRY = Registry(
    stages={spec.name: spec for spec in _STAGES},
    recipes={
        "chain": Recipe(name="chain", summary="a, b, c", stages=("a", "b", "c")),
        "gates": Recipe(name="gates", summary="a gate", stages=("a", "gated", "strict", "after")),
        "shards": Recipe(name="shards", summary="a split stage", stages=("a", "split", "merge")),
        "sturdy": Recipe(
            name="sturdy", summary="a split stage that is retried", stages=("a", "sturdy", "joined")
        ),
        "quick": Recipe(name="quick", summary="one stage", stages=("quick",)),
    },
)
