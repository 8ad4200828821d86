"""What generated episodes can show: tasks of subtasks of actions, each with the objects it needs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from msgspec import Struct

from pipeline.engine.errors import UsageError


class ActionSpec(Struct, frozen=True):
    """One action.

    Attributes:
        label: unique in its vocabulary.
        objects: what is seen while it happens.
        contact: whether the hand touches something in it.
    """

    label: str
    objects: tuple[str, ...]
    contact: bool


class SubtaskSpec(Struct, frozen=True):
    """Actions that usually follow each other."""

    label: str
    actions: tuple[ActionSpec, ...]


class TaskSpec(Struct, frozen=True):
    """What one episode is about."""

    label: str
    subtasks: tuple[SubtaskSpec, ...]

    @property
    def steps(self) -> list[tuple[SubtaskSpec, ActionSpec]]:
        """The usual order of its actions."""
        return [(subtask, action) for subtask in self.subtasks for action in subtask.actions]


class Vocabulary(Struct, frozen=True, dict=True):
    """All tasks; a label's position is its number, which decides what it looks and sounds like.

    Raises:
        UsageError: by `checked`: no task, a task without action, or a label that two actions share.
    """

    tasks: tuple[TaskSpec, ...]

    @cached_property
    def actions(self) -> dict[str, int]:
        """Number of each action."""
        return _numbered(action.label for task in self.tasks for _, action in task.steps)

    @cached_property
    def subtasks(self) -> dict[str, int]:
        """Number of each subtask."""
        return _numbered(subtask.label for task in self.tasks for subtask in task.subtasks)

    @cached_property
    def objects(self) -> dict[str, int]:
        """Number of each object."""
        return _numbered(name for task in self.tasks for _, action in task.steps for name in action.objects)

    def checked(self) -> Vocabulary:
        """Itself, if it can be used; UsageError otherwise."""
        labels = [action.label for task in self.tasks for _, action in task.steps]
        if not self.tasks or not all(task.steps for task in self.tasks):
            raise UsageError("a vocabulary needs at least one task, and each task an action")
        if len(set(labels)) != len(labels):
            raise UsageError("an action label occurs twice in the vocabulary")
        return self


def _numbered(labels: Iterable[str]) -> dict[str, int]:
    return {label: number for number, label in enumerate(dict.fromkeys(labels))}


def _task(label: str, *subtasks: tuple[str, tuple[ActionSpec, ...]]) -> TaskSpec:
    return TaskSpec(label, tuple(SubtaskSpec(name, actions) for name, actions in subtasks))


def _touch(label: str, *objects: str) -> ActionSpec:
    return ActionSpec(label, objects, contact=True)


def _free(label: str, *objects: str) -> ActionSpec:
    return ActionSpec(label, objects, contact=False)


#: Eighteen actions in nine subtasks of three tasks.
DEFAULT = Vocabulary(
    (
        _task(
            "Making pour-over coffee",
            ("Boil water", (_touch("Fill kettle", "kettle", "tap"), _free("Wait for kettle", "kettle"))),
            (
                "Prepare the dripper",
                (
                    _touch("Fold paper filter", "paper filter", "dripper"),
                    _touch("Scoop coffee grounds", "coffee scoop", "dripper"),
                ),
            ),
            (
                "Brew",
                (
                    _touch("Pour water", "kettle", "dripper", "carafe"),
                    _free("Watch the bloom", "dripper", "carafe"),
                ),
            ),
        ),
        _task(
            "Tidying a workshop bench",
            (
                "Sort screws",
                (_free("Look through drawer", "drawer"), _touch("Pick up screw", "screw", "drawer")),
            ),
            (
                "Hang up tools",
                (_touch("Lift hammer", "hammer", "tool wall"), _free("Reach for hook", "tool wall")),
            ),
            (
                "Clean the surface",
                (_touch("Wipe bench", "cloth", "bench"), _touch("Sweep shavings", "brush", "bench", "bin")),
            ),
        ),
        _task(
            "Packing a parcel",
            (
                "Build the box",
                (_touch("Unfold carton", "carton"), _touch("Tape the bottom", "carton", "tape")),
            ),
            (
                "Fill the box",
                (_touch("Place book in box", "book", "carton"), _free("Check the list", "list", "pen")),
            ),
            (
                "Close and label",
                (_touch("Close the flaps", "carton"), _touch("Stick label", "label", "carton")),
            ),
        ),
    )
)


def hostile(vocabulary: Vocabulary) -> Vocabulary:
    """The same vocabulary with labels that break careless CSV, JSON lines and terminals."""

    def spoilt(label: str) -> str:
        return f'{label}, "quickly"; it\'s\nthen \u2192 stop'

    return Vocabulary(
        tuple(
            TaskSpec(
                spoilt(task.label),
                tuple(
                    SubtaskSpec(
                        spoilt(subtask.label),
                        tuple(
                            ActionSpec(
                                spoilt(action.label), tuple(map(spoilt, action.objects)), action.contact
                            )
                            for action in subtask.actions
                        ),
                    )
                    for subtask in task.subtasks
                ),
            )
            for task in vocabulary.tasks
        )
    )
