"""Label options by reference: every distinct list once, named by its content.

The original repeated all options (about 50 kB, test labels included) in each row. Here a row holds
`{"$ref": "label_vocabulary.json#/action_options/1f0c..."}` and the file beside it

    {"schema": "xops.label_vocabulary/1", "action_options": {"1f0c...": ["Adjust grip", ...]}, ...}

Equal lists get equal names, so vocabularies of shards and scales merge by union.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Raw, Struct, field

from pipeline.data.index.record import VOCABULARY_FILE, Reference
from pipeline.engine.errors import DamagedFileError
from pipeline.engine.files import publish_bytes, read_json

SCHEMA = "xops.label_vocabulary/1"

Kind = Literal["action_options", "subtask_options"]
Options = Reference | tuple[str, ...]


class LabelLists(Struct, frozen=True):
    """The content of a vocabulary file."""

    action_options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    subtask_options: dict[str, tuple[str, ...]] = field(default_factory=dict)
    schema: str = SCHEMA

    def resolve(self, reference: Reference) -> tuple[str, ...] | None:
        """The list that `reference` points at; None if it is not here."""
        file, _, pointer = reference.ref.partition("#/")
        kind, _, name = pointer.partition("/")
        lists = {"action_options": self.action_options, "subtask_options": self.subtask_options}
        return lists.get(kind, {}).get(name) if file == VOCABULARY_FILE else None


def read_vocabulary(path: Path) -> LabelLists:
    """The vocabulary in `path`.

    Raises:
        NotFoundError, DamagedFileError: there is none, or it is something else.
    """
    try:
        return msgspec.convert(read_json(path), LabelLists)
    except msgspec.ValidationError as error:
        raise DamagedFileError(f"{path} is not a label vocabulary: {error}") from None


class Vocabulary:
    """Collects the option lists of rows and hands out what stands in the record instead.

    Args:
        source: the vocabulary that rows of the source refer to, if there is one.
        inline: keep the lists in the records, as the original did.
    """

    def __init__(self, source: LabelLists | None = None, *, inline: bool = False) -> None:
        self.lists = LabelLists()
        self._source = source or LabelLists()
        self._inline = inline
        self._known: dict[tuple[Kind, bytes], Options] = {}

    def take(self, kind: Kind, raw: Raw) -> Options:
        """What the record holds for a row's options; equal bytes are decoded once.

        Raises:
            msgspec.ValidationError: neither a list of strings nor a reference.
            ValueError: a reference that the source's vocabulary does not have.
        """
        data = bytes(raw)
        known = self._known.get((kind, data))
        if known is None:
            known = self._known[kind, data] = self._make(kind, data)
        return known

    def _make(self, kind: Kind, data: bytes) -> Options:
        found = msgspec.json.decode(data, type=Reference | tuple[str, ...] | None) if data else ()
        if isinstance(found, Reference):
            resolved = self._source.resolve(found)
            if resolved is None:
                raise ValueError(f"{kind}: {found.ref!r} points at nothing")
            found = resolved
        if self._inline or not found:
            return found or ()
        return self.add(kind, found)

    def all_options(self, kind: Kind) -> set[str]:
        """Every option of any row seen so far."""
        lists = [
            self.lists.resolve(options) if isinstance(options, Reference) else options
            for (known, _), options in self._known.items()
            if known == kind
        ]
        return set().union(*(options or () for options in lists))

    def add(self, kind: Kind, options: tuple[str, ...]) -> Reference:
        """Keep a list; returns the reference to it."""
        name = hashlib.sha256(msgspec.json.encode(options)).hexdigest()[:16]
        lists = self.lists.action_options if kind == "action_options" else self.lists.subtask_options
        lists[name] = options
        return Reference(f"{VOCABULARY_FILE}#/{kind}/{name}")

    def publish(self, path: Path) -> str:
        """Write the file; returns its sha256."""
        data = msgspec.json.format(msgspec.json.encode(self.lists), indent=1) + b"\n"
        publish_bytes(path, data)
        return hashlib.sha256(data).hexdigest()
