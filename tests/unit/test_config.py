"""Configuration: layers, origins, and what an operator is told about a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.engine.config import find_workspace, load_config
from pipeline.engine.errors import ConfigError, NotFoundError
from pipeline.engine.paths import WorkspacePaths


def workspace(root: Path, text: str) -> WorkspacePaths:
    (root / "xops.toml").write_text(text, "utf-8")
    return WorkspacePaths(root)


def test_later_layers_win_and_every_value_names_its_origin(tmp_path: Path) -> None:
    user = tmp_path / "xdg" / "xops"
    user.mkdir(parents=True)
    (user / "config.toml").write_text('[ui]\ntheme = "light"\nframe_hz = 2\n')
    paths = workspace(tmp_path, '[ui]\ntheme = "mono"\n[hosts.relay]\naddress = "a@b:2222"\nrole = "relay"\n')
    environ = {
        "XDG_CONFIG_HOME": str(tmp_path / "xdg"),
        "XOPS_UI__FRAME_HZ": "5",
        "XOPS_WORKSPACE": "ignored",
    }
    loaded = load_config(paths, environ)
    assert loaded.values.ui.theme == "mono"
    assert loaded.values.ui.frame_hz == 5.0
    assert loaded.values.hosts["relay"].address == "a@b:2222"
    assert loaded.origins["ui.theme"] == str(paths.config)
    assert loaded.origins["ui.frame_hz"] == "$XOPS_UI__FRAME_HZ"
    assert "dataset.repo_id" not in loaded.origins


def test_all_unknown_keys_are_named_with_the_nearest_known_one(tmp_path: Path) -> None:
    paths = workspace(tmp_path, '[ui]\nthem = "x"\n[hosts.relay]\nadress = "h"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(paths, {})
    assert "ui.them (did you mean ui.theme?)" in str(caught.value)
    assert "hosts.relay.adress (did you mean hosts.relay.address?)" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[ui]\nframe_hz = "fast"\n', "ui.frame_hz"),
        ("[ui]\nframe_hz = 0\n", "ui.frame_hz"),
        ('[hosts.a]\nrole = "boss"\n', "hosts"),
        ("[ui\n", "not valid TOML"),
        ("ui = 3\n", "ui"),
    ],
)
def test_wrong_values_name_key_and_file(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load_config(workspace(tmp_path, text), {})


def test_a_file_that_is_not_text_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "xops.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(WorkspacePaths(tmp_path), {})


def test_a_workspace_is_found_from_below(tmp_path: Path) -> None:
    workspace(tmp_path, "")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_workspace(below).root == tmp_path
    with pytest.raises(NotFoundError) as caught:
        find_workspace(tmp_path.parent)
    assert "xops init" in caught.value.hint
