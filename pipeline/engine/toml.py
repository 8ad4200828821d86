"""Writing TOML: the one direction the standard library lacks.

Covers what configuration and requests hold: tables, strings, numbers, booleans, dates, arrays, and None by
leaving the key out. `dump` reads its own text back and refuses values that would not survive.
"""

from __future__ import annotations

import datetime
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.engine.errors import ConfigError

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dump(table: Mapping[str, Any]) -> str:
    """TOML text of `table`.

    Raises:
        ConfigError: a value has no TOML form; the message names it.
    """
    text = "\n".join(_table(table, ())).strip("\n") + "\n"
    if tomllib.loads(text) != _without_none(table):
        raise ConfigError("a value does not survive being written as TOML")
    return text


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    tables = {k: v for k, v in table.items() if isinstance(v, Mapping)}
    scalars = {k: v for k, v in table.items() if k not in tables and v is not None}
    if path and (scalars or not tables):
        yield f"\n[{'.'.join(map(_key, path))}]"
    for key, value in scalars.items():
        yield f"{_key(key)} = {_value(value, (*path, key))}"
    for key, value in tables.items():
        yield from _table(value, (*path, key))


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _value(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, datetime.datetime, datetime.date, datetime.time)):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_value(item, path) for item in value)}]"
    if isinstance(value, Mapping):
        pairs = (f"{_key(k)} = {_value(v, (*path, k))}" for k, v in value.items() if v is not None)
        return f"{{ {', '.join(pairs)} }}"
    raise ConfigError(f"{'.'.join(path)}: {type(value).__name__} has no TOML form")


def _string(text: str) -> str:
    # JSON's escapes are TOML's, but TOML wants DEL escaped and knows no surrogates.
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ConfigError(f"{text!r} is not valid Unicode") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(item) for item in value]
    return value
