"""What an episode shows, told from its caption text.

Two taxonomies. `original_category` is the published audit's rule, kept for parity: one of eight groups, by
how many of its keywords occur anywhere in the text, so that "can" is found in "scan". `tags_of` is ours:
several tags per episode, whole words only, each with the share of the labelled time that carries it, so
that a single mention in ten minutes decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

#: Keywords of the published audit's groups, in its order; ties go to the first. `_` stands for a space.
ORIGINAL_GROUPS: Mapping[str, str] = {
    "food_and_drink": "cook coffee drink food kitchen meal pour cup bottle",
    "dressing_and_hygiene": "sock shoe dress wear bathroom toilet wash brush",
    "packing_and_organizing": "pack organize bin box storage arrange sort",
    "shopping_and_retail": "retail shop shelf aisle product store",
    "cleaning_and_housework": "clean wipe sweep wash laundry trash",
    "navigation_and_locomotion": "walk move_through navigate stair hallway corridor",
    "tool_or_device_use": "tool device phone computer laptop button switch",
    "object_manipulation": "pick place grasp hold open close move lift",
}

UNCATEGORIZED = "uncategorized"
UNPARSED = "unparsed"

#: Words of each tag; `*` stands for any ending.
TAG_WORDS: Mapping[str, str] = {
    "cooking_and_food": "cook* kitchen* food* meal* stove fry* bake* baking boil* stir* pour* coffee tea "
    "drink* eat* chop* vegetable* fruit* dish* kettle* recipe* knead*",
    "cleaning": "clean* wipe* wiping sweep* mop mopping vacuum* wash* rins* dust* laundry trash scrub*",
    "dressing_and_hygiene": "sock* shoe* dress* clothes clothing wear* bathroom toilet* tooth* hair* shav*",
    "retail_stocking": "stock* restock* shelf shelves shelving retail* supermarket* grocer* store stores "
    "merchandise aisle* inventory canned_goods",
    "shopping": "shop shopping shopper* checkout basket* cart purchas* buy buying",
    "sorting_and_counting": "sort* count counts counting counted pile* arrang* categori* group*",
    "organizing_and_packing": "organi* pack* tidy* box* bin bins contain*",
    "paper_and_card_craft": "paper* cardboard* origami quill* craft* fold* lantern* newspaper* star stars",
    "cutting": "cut cuts cutting scissors trim* slice* slicing knife",
    "measuring_and_drawing": "measur* mark marks marking marked marker* ruler* draw draws drawing drawn "
    "grid* label* write writing pencil* pen pens",
    "assembly": "assembl* puzzle* build* attach* screw* component* model*",
    "device_use": "phone* smartphone* computer* laptop* tablet* screen* vr charg* electronic*",
    "games_and_play": "mahjong game* play playing chess dice",
    "textile_work": "fabric* sew* thread* needle* ribbon* knit* textile*",
    "locomotion": "walk* approach* navigat* stair* hallway* corridor* climb*",
}

#: Share of the labelled frames from which a tag holds even if the main task does not name it.
MIN_SHARE = 0.15

#: How much being named in the main task weighs against a share when the leading tag is chosen.
NAMED_WEIGHT = 0.5


def _pattern(words: str) -> re.Pattern[str]:
    stems = (re.escape(word).replace(r"\*", r"\w*").replace("_", r"\s+") for word in words.split())
    return re.compile(rf"\b(?:{'|'.join(stems)})\b", re.IGNORECASE)


_TAGS = {name: _pattern(words) for name, words in TAG_WORDS.items()}
_GROUPS = {
    name: [word.replace("_", " ") for word in words.split()] for name, words in ORIGINAL_GROUPS.items()
}


class CaptionText(Struct, frozen=True, kw_only=True):
    """The text of one caption, as the published audit gathers it.

    Attributes:
        subtasks, actions, objects: distinct values, sorted.
        interaction_preview: the first 500 characters of all descriptions and interactions.
    """

    main_task: str = ""
    global_summary: str = ""
    segment_count: int = 0
    subtasks: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    interaction_preview: str = ""


def caption_text(caption: Any) -> CaptionText:
    """The text of a parsed caption; parts of another shape than formats section 1.5 count as absent."""
    caption = _mapping(caption)
    segments = _mappings(caption.get("segments"))
    actions, objects, spoken = [], [], []
    for segment in segments:
        own = _mappings(segment.get("Current Action"))
        actions += [action.get("label") for action in own]
        for names in _mapping(segment.get("objects")).values():
            objects += _items(names)
        spoken += [str(action["description"]) for action in own if action.get("description")]
        spoken += [str(sentence) for sentence in _mapping(segment.get("interaction")).values()]
    return CaptionText(
        main_task=str(_mapping(caption.get("config")).get("Main Task") or ""),
        global_summary=str(caption.get("global_summary") or ""),
        segment_count=len(_items(caption.get("segments"))),
        subtasks=_distinct(segment.get("Sub Task") for segment in segments),
        actions=_distinct(actions),
        objects=_distinct(objects),
        interaction_preview=" ".join(spoken)[:500],
    )


def original_category(text: CaptionText) -> str:
    """The one of the eight groups that the published audit would choose, or `uncategorized`."""
    joined = " ".join(
        (
            text.main_task,
            text.global_summary,
            *text.subtasks,
            *text.actions,
            *text.objects,
            text.interaction_preview,
        )
    ).lower()
    scores = {name: sum(word in joined for word in words) for name, words in _GROUPS.items()}
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] else UNCATEGORIZED


class Tag(Struct, frozen=True):
    """One thing an episode shows.

    Attributes:
        name: key of `TAG_WORDS`.
        share: of the labelled frames, those whose action or subtask names it, 0 to 1.
        named: whether the main task names it.
    """

    name: str
    share: float
    named: bool

    @property
    def weight(self) -> float:
        """How much the tag leads: its share, and half an episode for being the main task."""
        return self.share + NAMED_WEIGHT * self.named


def tags_of(main_task: str, labels: Iterable[Mapping[str, int]] = ()) -> tuple[Tag, ...]:
    """The tags of an episode, leading one first.

    Args:
        main_task: the caption's main task.
        labels: frames per label, one mapping per kind of label (action, subtask); the kind with the larger
            share counts.
    """
    kinds = [kind for kind in labels if kind]
    found = []
    for name, pattern in _TAGS.items():
        share = max((_share(pattern, kind) for kind in kinds), default=0.0)
        tag = Tag(name, round(share, 4), bool(pattern.search(main_task)))
        if tag.named or share >= MIN_SHARE:
            found.append(tag)
    return tuple(sorted(found, key=lambda tag: -tag.weight))


def leading_tag(tags: tuple[Tag, ...]) -> str:
    """The name of the leading tag, or `uncategorized`."""
    return tags[0].name if tags else UNCATEGORIZED


def _share(pattern: re.Pattern[str], frames: Mapping[str, int]) -> float:
    total = sum(frames.values())
    return sum(count for label, count in frames.items() if pattern.search(label)) / total if total else 0.0


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _mappings(value: Any) -> list[dict[Any, Any]]:
    return [item for item in _items(value) if isinstance(item, dict)]


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _distinct(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(sorted({str(value) for value in values if value}))
