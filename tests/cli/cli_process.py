"""One `xops` command in a process of its own, and what it answered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """Exit status and both streams."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """stdout as JSON: exactly one line, nothing else."""
        assert self.out.count("\n") == 1, self.out + self.err
        return json.loads(self.out)


Xops = Callable[..., Answer]
