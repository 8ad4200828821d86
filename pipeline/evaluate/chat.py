"""One question as an OpenAI chat completion, and one completion as a reply. No network here.

vLLM and SGLang take `video_url` and `audio_url` parts beside the interface's own text parts, as `data:` or as
`file://` (which a server must have been told to allow).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from pipeline.engine.errors import StageFailedError
from pipeline.evaluate.answerer import Question, Reply

#: Media of a row in the order the model was trained on: key, kind of part, MIME type.
_MEDIA = (
    ("mosaic_video_path", "video_url", "video/mp4"),
    ("audio_path", "audio_url", "audio/wav"),
)

#: What a decoder raises for bytes that are not what they should be; nesting without end is a case of its own.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class UnusableReplyError(StageFailedError):
    """The server did answer, but what it said is no answer to this question."""


def chat_body(
    question: Question,
    *,
    system: str,
    user: str,
    model: str,
    max_tokens: int,
    schema: Mapping[str, Any] | None,
    inline: bool,
) -> dict[str, Any]:
    """The request of one question: greedy, and within a schema where one is given.

    Args:
        question: whose media lie below its root.
        system: text of the system turn.
        user: text after the media.
        model: as the server names it.
        max_tokens: of the answer.
        schema: of the answer; None for none.
        inline: send media as base64; else as `file://` paths.

    Raises:
        StageFailedError: a file that the row names is not there, or leaves the dataset.
    """
    media = question.row.get("media") or {}
    parts = [
        {"type": kind, kind: {"url": _url(question.root, media[key], mime, inline=inline)}}
        for key, kind, mime in _MEDIA
        if media.get(key)
    ]
    body: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": [*parts, {"type": "text", "text": user}]},
        ],
        "max_tokens": max_tokens,
        "temperature": 0.0,
        "seed": 0,
    }
    if media.get("mosaic_video_path") and media.get("mosaic_frames"):
        # Every picture of the clip, not a server's own sample of it.
        body["media_io_kwargs"] = {"video": {"num_frames": media["mosaic_frames"]}}
    if schema is not None:
        named = {"name": "answer", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return body


def read_completion(data: bytes, question: Question, seconds: float) -> Reply:
    """The reply in a completion.

    Args:
        data: body of the response.
        question: that was asked.
        seconds: from request to response.

    Raises:
        UnusableReplyError: it is no completion, has no text, or ended for another reason than its end.
    """
    try:
        found = msgspec.json.decode(data, type=_Completion)
    except NOT_JSON as error:
        raise UnusableReplyError(f"the server's reply is no completion: {error}") from None
    if not found.choices or found.choices[0].message.content is None:
        raise UnusableReplyError("the server's reply has no text")
    choice = found.choices[0]
    if choice.finish_reason not in {"stop", "length"}:
        raise UnusableReplyError(f"the answer ended by {choice.finish_reason!r}")
    return Reply(
        question.id,
        choice.message.content or "",
        found.usage.prompt_tokens,
        found.usage.completion_tokens,
        seconds,
        "length" if choice.finish_reason == "length" else "stop",
    )


_Count = Annotated[int, Meta(ge=0)]


class _Message(Struct):
    content: str | None = None


class _Choice(Struct):
    message: _Message
    finish_reason: str | None = None


class _Usage(Struct):
    prompt_tokens: _Count = 0
    completion_tokens: _Count = 0


class _Completion(Struct):
    """What of a completion matters; the rest is passed over."""

    choices: list[_Choice]
    usage: _Usage = msgspec.field(default_factory=_Usage)


def _url(root: Path, name: str, mime: str, *, inline: bool) -> str:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise StageFailedError(f"{name!r} leaves the dataset {root}", hint="export again")
    if not inline:
        if not path.is_file():
            raise StageFailedError(f"{path} does not exist", hint="export again")
        return path.as_uri()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StageFailedError(f"{path} cannot be read: {error.strerror}", hint="export again") from None
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
