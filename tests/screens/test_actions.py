"""The table of actions: complete, without doubles, every act with its command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer

from console.cli import app as command_tree
from pipeline.engine.text import cell_width
from screens.actions import ACTIONS, Action, Target, command_line, footer
from screens.app import Console
from screens.help import help_lines

ACTS = [action for action in ACTIONS if action.acts]


def test_no_key_and_no_name_twice() -> None:
    keys = [key for action in ACTIONS for key in action.keys.split(",")]
    assert len(set(keys)) == len(keys)
    assert len({action.name for action in ACTIONS}) == len(ACTIONS)


@pytest.mark.parametrize("action", [a for a in ACTIONS if a.twin], ids=lambda a: a.name)
def test_every_twin_is_a_real_command_with_real_options(action: Action) -> None:
    assert action.twin is not None
    command: Any = typer.main.get_command(command_tree)
    words = list(action.twin(Target())[1:])
    while hasattr(command, "get_command"):
        command = command.get_command(None, words.pop(0))
        assert command is not None, command_line(action.twin(Target()))
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


def test_every_act_has_a_twin() -> None:
    assert [action.name for action in ACTS if action.twin is None] == []


def test_every_look_has_a_method() -> None:
    looks = [action.name.replace("-", "_") for action in ACTIONS if not action.acts]
    assert [name for name in looks if not hasattr(Console, f"do_{name}")] == []


def test_help_lists_every_action() -> None:
    told = "\n".join("".join(text for text, _ in line) for line in help_lines(Target(), read_only=True))
    assert all(action.summary in told for action in ACTIONS)


@pytest.mark.parametrize(
    "screen",
    ["overview", "runs", "log", "relay", "transfer", "train", "eval", "gates", "compare", "publish", "data"],
)
def test_the_footer_fits_80_columns_and_says_that_runs_go_on(screen: str) -> None:
    line = "  ".join(f"{key} {label}" for key, label in footer(screen))
    assert cell_width(line) <= 80
    assert "runs go on" in line


def test_the_guide_names_the_key_of_every_act() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "operators-guide.md").read_text("utf-8")
    assert [action.name for action in ACTS if f"| `{action.key}` |" not in guide] == []


def test_a_read_only_footer_offers_no_act() -> None:
    labels = {label for _, label in footer("overview", read_only=True)}
    assert labels.isdisjoint({action.label for action in ACTS})


def test_no_act_lies_on_a_key_that_fingers_hit_by_accident() -> None:
    keys = {key for action in ACTS for key in action.keys.split(",")}
    assert keys.isdisjoint({"ctrl+d", "ctrl+k", "backspace", "delete", "enter", "escape", "space"})
