"""Tokens of text that mean something to this branch."""

from __future__ import annotations

#: The placeholder of sensor features in a prompt; it takes a spare row of the vocabulary: nothing is resized.
SENSOR_TOKEN = "<|sensor_pad|>"  # noqa: S105 - a token of text
