"""The seven kinds of action target the seeds name, and what each is made of. Light to import."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kind = Literal[
    "action_class",
    "next_subtask",
    "hand_trajectory",
    "contact_state",
    "object_affordance",
    "body_motion",
    "action_token",
]


class KindSpec(Struct, frozen=True):
    """What one kind means.

    Attributes:
        dims: numbers per step; 0 where the train split's labels decide.
        unit: of the numbers.
        future: whether it lies after the observation; a class of the window itself does not.
        sources: arrays of the annotation it derives from.
        rule: how, in one sentence.
        retargeted: whether motion of a person was turned into something else.
    """

    dims: int
    unit: str
    future: bool
    sources: tuple[str, ...]
    rule: str
    retargeted: bool = False


HANDS = ("hand_mocap/left_joints_3d", "hand_mocap/right_joints_3d")
BODY, CONTACTS = "full_body_mocap/keypoints", "full_body_mocap/contacts"

#: Joints of one hand; the wrist, and the tips whose distance is the grip.
HAND_JOINTS, WRIST, THUMB_TIP, INDEX_TIP = 21, 0, 4, 8
BODY_JOINTS = 52

#: Values per number of an action token, as OpenVLA has them.
TOKEN_BINS = 256

KINDS: dict[Kind, KindSpec] = {
    "action_class": KindSpec(0, "class", False, ("caption",), "majority action of the observed window"),
    "next_subtask": KindSpec(0, "class", True, ("caption",), "majority subtask of the frames that follow"),
    "hand_trajectory": KindSpec(
        2 * HAND_JOINTS * 3,
        "m",
        True,
        HANDS,
        "joints of both hands, each relative to its wrist in the last observed frame",
        True,
    ),
    "contact_state": KindSpec(1, "0 or 1", True, (CONTACTS,), "whether any body joint touches something"),
    "object_affordance": KindSpec(
        0,
        "0 or 1",
        True,
        ("caption", CONTACTS),
        "objects named in frames that follow in which something is touched",
    ),
    "body_motion": KindSpec(
        BODY_JOINTS * 3,
        "m",
        True,
        (BODY,),
        "body joints relative to joint 0 of the last observed frame",
        True,
    ),
    "action_token": KindSpec(
        4,
        "bin",
        True,
        (HANDS[1],),
        "steps of the right wrist and its grip (thumb tip to index tip), in 256 bins of the train range",
        True,
    ),
}
