"""What episodes show: the published groups for parity, and tags that say more."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.taxonomy import (
    ORIGINAL_GROUPS,
    CaptionText,
    caption_text,
    leading_tag,
    original_category,
    tags_of,
)

CAPTION: dict[str, Any] = {
    "config": {"segment_sec": 20, "Main Task": "Making coffee"},
    "global_summary": "A person makes coffee.",
    "segments": [
        {
            "Sub Task": 'Pour, "slowly"\nand wait',
            "Current Action": [
                {"label": "Pour coffee", "description": "Pours."},
                {"label": "Lift kettle"},
                {"label": ""},
                "not an action",
            ],
            "objects": {"frame_0001": ["kettle", "cup"], "frame_0002": ["cup"], "frame_0003": "bare"},
            "interaction": {"frame_0001": "hand on kettle"},
        },
        {"Sub Task": "", "Current Action": None, "objects": [], "interaction": "none"},
        "not a segment",
    ],
}


def test_the_text_of_a_caption() -> None:
    assert caption_text(CAPTION) == CaptionText(
        main_task="Making coffee",
        global_summary="A person makes coffee.",
        segment_count=3,
        subtasks=('Pour, "slowly"\nand wait',),
        actions=("Lift kettle", "Pour coffee"),
        objects=("cup", "kettle"),
        interaction_preview="Pours. hand on kettle",
    )


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "config",
                        "segments",
                        "Current Action",
                        "objects",
                        "interaction",
                        "label",
                        "Main Task",
                        "Sub Task",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_has_a_text(caption: Any) -> None:
    text = caption_text(caption)
    original_category(text)
    assert text.actions == tuple(sorted(set(text.actions)))


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("Making coffee in the kitchen", "food_and_drink"),
        ("washing", "dressing_and_hygiene"),  # `wash` is in two groups: the first wins
        ("brainbox", "packing_and_organizing"),  # a substring counts, as in the original
        ("nothing known", "uncategorized"),
        ("Walk, then move through the hallway", "navigation_and_locomotion"),
    ],
)
def test_the_original_groups(text: str, category: str) -> None:
    assert original_category(CaptionText(main_task=text)) == category


def test_keywords_are_counted_once_each() -> None:
    text = CaptionText(main_task="shop shop shop", actions=("pick", "place"))
    assert original_category(text) == "object_manipulation"
    assert len(ORIGINAL_GROUPS) == 8


def test_words_count_whole() -> None:
    assert tags_of("Starting at a discount counter of the marketplace") == tags_of("")
    assert leading_tag(tags_of("Counting stars")) in ("sorting_and_counting", "paper_and_card_craft")
    assert leading_tag(tags_of("Stacking canned   goods")) == "retail_stocking"


def test_tags_are_weighed_by_time() -> None:
    labels = [{"Use phone": 10, "Cut cardboard": 990}]
    assert [tag.name for tag in tags_of("Crafting", labels)] == ["paper_and_card_craft", "cutting"]
    named = tags_of("Using a smartphone", labels)
    assert {tag.name: (tag.share, tag.named) for tag in named}["device_use"] == (0.01, True)
    assert leading_tag(tags_of("", [{}, {}])) == "uncategorized"


def test_the_published_episodes_are_told_apart(published: Path) -> None:
    """The published groups put 80 of 128 episodes in one; the leading tags leave one episode without any."""
    manifest = json.loads((published / "omni" / "episode_manifest.json").read_bytes())
    original, leading = Counter[str](), Counter[str]()
    for episode in manifest["episodes"]:
        frames = episode["label_stats"]["frame_labels"]
        text = CaptionText(
            main_task=episode["main_task"], actions=tuple(frames["action"]), subtasks=tuple(frames["subtask"])
        )
        original[original_category(text)] += 1
        leading[leading_tag(tags_of(episode["main_task"], frames.values()))] += 1
    assert original["object_manipulation"] == 80
    assert leading["uncategorized"] == 1  # the episode that has no caption
    assert leading["paper_and_card_craft"] == 58
    assert leading["retail_stocking"] == 25
