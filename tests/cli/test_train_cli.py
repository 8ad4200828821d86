"""`xops train plan`: memory of a published size from its configuration alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from console.cli.train import plan
from pipeline.engine.errors import NotFoundError, UsageError

TEXT = {
    "hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4,
    "head_dim": 128, "num_experts": 128, "moe_intermediate_size": 768, "vocab_size": 152064,
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"thinker_config": {"text_config": TEXT}}))
    return tmp_path


def test_sharding_over_eight_divides_the_weights(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan(model, rows=2848, options=["processes=8", "epochs=2"], json=True)
    shared = json.loads(capsys.readouterr().out)
    plan(model, rows=0, options=["processes=8", "parallel=ddp"], json=True)
    whole = json.loads(capsys.readouterr().out)
    assert whole["weights"] // 8 == shared["weights"]
    assert shared["steps"] == 2 * 2848 // 8
    assert whole["steps"] is None
    plan(model, rows=0, options=None, json=False)
    told = capsys.readouterr().out
    assert "GiB" in told
    assert "rule of thumb" in told


def test_nonsense_is_refused_with_the_way_out(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such training"):
        plan(model, rows=0, options=["lora_rank=3"], json=False)
    with pytest.raises(NotFoundError, match="holds no model"):
        plan(tmp_path / "nowhere", rows=0, options=None, json=False)
