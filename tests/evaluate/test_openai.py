"""Questions answered by a server: what it is sent, and what becomes of servers that fail, stall or lie."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from by_rule import answer, shard_of, write_dataset
from hypothesis import given
from hypothesis import strategies as st
from served import Served, completion, serving

from pipeline.engine.context import loose_context
from pipeline.engine.errors import (
    ConfigError,
    NoPermissionError,
    StageFailedError,
    UnreachableError,
    UsageError,
)
from pipeline.evaluate import openai_backend, server
from pipeline.evaluate.answerer import Question, Reply
from pipeline.evaluate.chat import UnusableReplyError, chat_body, read_completion
from pipeline.evaluate.openai_backend import ServedAnswerer, open_answerer
from pipeline.evaluate.rows import read_eval_rows
from pipeline.evaluate.server import UnansweredError
from pipeline.stages.eval import Params, run

Told = list[tuple[str, dict[str, Any]]]
Open = Callable[..., ServedAnswerer]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_PAUSE_S", 0.001)


@pytest.fixture
def served() -> Iterator[Served]:
    with serving() as found:
        yield found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "data")


@pytest.fixture
def opened(served: Served, root: Path) -> Iterator[Open]:
    """Opens the backend for the served model, and closes it."""
    found: list[ServedAnswerer] = []

    def make(train: Path = Path("train"), **changes: Any) -> ServedAnswerer:
        params = Params(backend="openai", **{"server": served.address, **changes})
        rows = read_eval_rows(root / "dataset.jsonl")
        found.append(open_answerer(params, train, root, rows, lambda event, **fields: None))
        return found[-1]

    yield make
    for one in found:
        one.close()


def questions(root: Path, count: int = 1) -> list[Question]:
    rows = read_eval_rows(root / "dataset.jsonl").rows
    return [Question(row["id"], row, root) for row in rows[:count]]


def right(body: dict[str, Any], number: int) -> tuple[int, Any]:
    return 200, completion(json.dumps(answer(0)))


def test_a_question_is_sent_as_the_model_was_trained_on_it(served: Served, root: Path, opened: Open) -> None:
    from pipeline.qwen.prompt import prompt_text

    served.answer = right
    (question,) = questions(root)
    (reply,) = opened().answer([question])
    assert isinstance(reply, Reply)
    assert json.loads(reply.text) == answer(0)
    assert (reply.prompt_tokens, reply.completion_tokens, reply.finish) == (40, 7, "stop")
    (body,) = served.chats
    system, user = body["messages"]
    asked = prompt_text(question.row)
    assert system == {"role": "system", "content": asked.system}
    assert user["content"] == [{"type": "text", "text": asked.user}]
    assert body["model"] == "thinker"
    assert body["temperature"] == 0.0
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["action"]["enum"] == ["cut", "pour", "unknown", "wipe"]


@pytest.mark.parametrize("how", ["inline", "files"])
def test_media_travel_inline_or_as_paths(root: Path, how: str) -> None:
    for name in ("clip.mp4", "sound.wav"):
        (root / name).write_bytes(name.encode())
    media = {"mosaic_video_path": "clip.mp4", "audio_path": "sound.wav", "mosaic_frames": 16}
    body = body_of(root, media, inline=how == "inline")
    video, sound, text = body["messages"][1]["content"]
    expected = {
        "inline": f"data:video/mp4;base64,{base64.b64encode(b'clip.mp4').decode()}",
        "files": (root / "clip.mp4").resolve().as_uri(),
    }
    assert video == {"type": "video_url", "video_url": {"url": expected[how]}}
    assert sound["type"] == "audio_url"
    assert text["type"] == "text"
    assert body["media_io_kwargs"] == {"video": {"num_frames": 16}}


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("name", ["gone.mp4", "../outside.mp4", "/etc/hostname"])
def test_media_that_vanished_or_lie_elsewhere_are_that_rows_error(
    root: Path, name: str, inline: bool
) -> None:
    (root.parent / "outside.mp4").write_bytes(b"secret")
    with pytest.raises(StageFailedError):
        body_of(root, {"mosaic_video_path": name}, inline=inline)


def body_of(root: Path, media: dict[str, Any], *, inline: bool) -> dict[str, Any]:
    question = Question("x", {"id": "x", "media": media}, root)
    return chat_body(question, system="s", user="u", model="m", max_tokens=9, schema=None, inline=inline)


@pytest.mark.parametrize(("labels", "least"), [("train", 300), ("free", 5000), ("unconstrained", 512)])
def test_labels_decide_what_the_server_is_held_to(
    served: Served, root: Path, opened: Open, labels: str, least: int
) -> None:
    opened(labels=labels).answer(questions(root))
    (body,) = served.chats
    assert ("response_format" in body) is (labels != "unconstrained")
    assert body["max_tokens"] >= least


def test_a_batch_is_asked_at_once_and_answered_in_order(served: Served, root: Path, opened: Open) -> None:
    served.seconds = 0.05
    served.answer = lambda body, number: (200, completion(body["messages"][1]["content"][0]["text"]))
    asked = questions(root, 12)
    replies = opened(concurrency=5).answer(asked)
    assert [reply.id for reply in replies if isinstance(reply, Reply)] == [one.id for one in asked]
    assert 2 <= served.most_open <= 5


def test_a_busy_or_failing_server_is_asked_again(served: Served, root: Path, opened: Open) -> None:
    served.headers = {"Retry-After": "0"}
    statuses = [429, 500, 503]
    served.answer = lambda body, number: (
        (statuses[number], {"error": {"message": "later"}}) if number < 3 else right(body, number)
    )
    (reply,) = opened().answer(questions(root))
    assert isinstance(reply, Reply)
    assert len(served.chats) == 4


def test_a_server_that_goes_on_failing_is_the_questions_reason(
    served: Served, root: Path, opened: Open
) -> None:
    served.answer = lambda body, number: (500, b"<html>Internal Server Error</html>")
    (reply,) = opened().answer(questions(root))
    assert isinstance(reply, UnansweredError)
    assert "500: <html>Internal Server Error" in str(reply)
    assert len(served.chats) == server.TRIES


def test_when_nothing_is_answered_any_more_the_server_is_to_blame(
    served: Served, root: Path, opened: Open
) -> None:
    served.answer = lambda body, number: (500, b"")
    with pytest.raises(UnreachableError, match="8 questions in a row got no answer"):
        opened().answer(questions(root, openai_backend.GIVE_UP))


def test_an_attempt_whose_server_dies_fails_and_goes_on_when_it_is_back(
    served: Served, root: Path, tmp_path: Path, opened: Open
) -> None:
    dead = {"after": 8}

    def dying(body: dict[str, Any], number: int) -> tuple[int, Any]:
        return right(body, number) if number < dead["after"] else (502, b"")

    served.answer = dying
    with pytest.raises(UnreachableError):
        shard_of(root, tmp_path / "w", 0, 1, opened(), Quiet()).run()
    served.answer = right
    before = len(served.chats)
    rows = shard_of(root, tmp_path / "w", 0, 1, opened(), Quiet()).run()
    assert len(rows) == 24
    assert not any(row["finish"] == "error" for row in rows)
    assert len(served.chats) - before == 16, "the eight rows that were answered are not asked again"


def test_the_stage_asks_the_server_and_publishes_its_rows(
    served: Served, root: Path, tmp_path: Path, opened: Open
) -> None:
    served.answer = right
    params = Params(backend="openai", server=served.address, limit=8, labels="free")
    context = loose_context(tmp_path / "w", params, upstreams={"export": root, "train": tmp_path})
    run(context)
    rows = [json.loads(line) for line in (context.out / "predictions.jsonl").open()]
    assert len(rows) == len(served.chats) == 8
    assert all(row["prompt_tokens"] == 40 and row["finish"] == "stop" for row in rows)
    shard = json.loads((context.out / "shard.json").read_text())
    assert shard["identity"] == rows[0]["identity"]
    assert shard["identity_parts"]["sensors"] == "not shown"
    assert [check.ok for check in context.checks] == [True]


@pytest.mark.parametrize("backend", ["vllm", "pipeline.nowhere:open", "json:nothing"])
def test_a_backend_that_does_not_exist_is_said(root: Path, tmp_path: Path, backend: str) -> None:
    upstreams = {"export": root, "train": tmp_path}
    context = loose_context(tmp_path / "w", Params(backend=backend), upstreams=upstreams)
    with pytest.raises(UsageError, match="no backend"):
        run(context)


class Quiet:
    def __call__(self, event: str, **fields: Any) -> None:
        pass


def test_a_slow_server_costs_its_time_and_no_more(served: Served, root: Path, opened: Open) -> None:
    served.seconds = 30.0
    (reply,) = opened(timeout_s=0.2).answer(questions(root))
    assert isinstance(reply, UnansweredError)
    assert "no answer within 0.2 s" in str(reply)
    assert len(served.chats) == 1


NONSENSE = [
    b"",
    b"hello",
    b"[]",
    b'{"choices": []}',
    b'{"choices": [{"message": {}}]}',
    b'{"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]}',
    b'{"choices": [{"message": {"content": "{}"}, "finish_reason": "abort"}]}',
    b'{"choices": [{"message": {"content": "{}"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": -1}}',
    b'{"choices": [{"message": {"content": "\xff"}, "finish_reason": "stop"}]}',
    b'{"a":' * 5000,
]


@pytest.mark.parametrize("data", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_no_answer(served: Served, root: Path, tmp_path: Path, opened: Open, data: bytes) -> None:
    served.answer = lambda body, number: (200, data) if number < 2 else right(body, number)
    rows = shard_of(root, tmp_path / "w", 0, 1, opened(), Quiet(), batch_size=1).run()
    bad = [row for row in rows if row["finish"] == "error"]
    assert [row["id"] for row in bad] == ["test:3"]
    assert bad[0]["error"]["type"] == "UnusableReplyError"
    assert bad[0]["correct"] == 0


@given(
    data=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["choices", "message", "content", "finish_reason", "usage"]), inner
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode())
)
def test_any_response_is_a_reply_or_is_named(data: bytes) -> None:
    question = Question("x", {}, Path())
    try:
        reply = read_completion(data, question, 0.0)
    except UnusableReplyError:
        return
    assert isinstance(reply.text, str)


def test_an_endless_response_is_cut_off(
    served: Served, root: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LARGEST", 1 << 20)
    served.answer = lambda body, number: (200, b" " * (3 << 20))
    (reply,) = opened().answer(questions(root))
    assert isinstance(reply, UnusableReplyError)
    assert "more than 1 MiB" in str(reply)


def test_an_answer_that_never_ends_is_counted_as_cut_off(
    served: Served, root: Path, tmp_path: Path, opened: Open
) -> None:
    served.answer = lambda body, number: (200, completion('{"action": "' + "cut " * 5000, "length"))
    rows = shard_of(root, tmp_path / "w", 0, 1, opened(), Quiet()).run()
    assert all(row["truncated"] and row["pred_json"] == {} for row in rows)


def test_a_request_the_server_refuses_is_that_questions_error(
    served: Served, root: Path, opened: Open
) -> None:
    refusal = {"error": {"message": "maximum context length is 4096 tokens", "code": 400}}
    served.answer = lambda body, number: (400, refusal)
    (reply,) = opened().answer(questions(root))
    assert isinstance(reply, UnusableReplyError)
    assert "400: maximum context length is 4096 tokens" in str(reply)
    assert len(served.chats) == 1, "the same request would be refused again"


def test_a_redirection_is_not_followed_with_the_token(served: Served, root: Path, opened: Open) -> None:
    with serving() as elsewhere:
        served.headers = {"Location": f"{elsewhere.address}/chat/completions"}
        served.answer = lambda body, number: (307, b"")
        (reply,) = opened(server_model="thinker").answer(questions(root))
        assert isinstance(reply, UnusableReplyError)
        assert elsewhere.requests == []


def test_the_token_goes_to_the_server_and_nowhere_else(
    served: Served, root: Path, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "sesame-7")
    answerer = opened(token_variable="MY_TOKEN")
    served.answer = lambda body, number: (401, {"error": {"message": "sesame-7 is not valid"}})
    with pytest.raises(NoPermissionError) as error:
        answerer.answer(questions(root))
    assert "*** is not valid" in str(error.value)
    assert {headers["Authorization"] for _, headers, _ in served.requests} == {"Bearer sesame-7"}
    assert "sesame-7" not in json.dumps(dict(answerer.identity))


@pytest.mark.parametrize(
    "address",
    ["", "host:8000", "ftp://host/v1", "http://", "http://me:secret@host/v1", "http://host/v1?key=x"],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(opened: Open, address: str) -> None:
    with pytest.raises(ConfigError):
        opened(server=address)


def test_a_server_that_is_not_there_is_said_at_once(opened: Open) -> None:
    with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
        opened(server="http://127.0.0.1:9/v1")


def test_the_model_is_looked_for_before_anything_is_asked(served: Served, opened: Open) -> None:
    with pytest.raises(UsageError, match="no model 'other'") as error:
        opened(server_model="other")
    assert "it serves thinker" in error.value.hint
    served.cards = [{"id": "a"}, {"id": "b"}]
    with pytest.raises(UsageError, match="several models"):
        opened()
    assert opened(server_model="b").identity["model"] == "b"


def test_a_server_without_a_list_is_believed_only_about_a_named_model(served: Served, opened: Open) -> None:
    served.cards = None
    assert opened(server_model="thinker").identity["model"] == "thinker"
    with pytest.raises(UnusableReplyError):
        opened()


def test_which_adapter_answers_is_proved_or_said_to_be_unproved(
    served: Served, tmp_path: Path, opened: Open
) -> None:
    train = tmp_path / "train"
    (train / "adapter").mkdir(parents=True)
    (train / "training_metadata.json").write_text('{"adapter_sha256": "abc"}')
    assert opened(train).identity["adapter"].startswith("unproved ")
    served.cards = [{"id": "thinker", "root": str(train / "adapter"), "parent": "Qwen"}]
    found = opened(train).identity
    assert (found["adapter"], found["base"], found["sensors"]) == ("abc", "Qwen", "not shown")


def test_the_same_model_on_another_port_is_the_same_identity(root: Path) -> None:
    found = []
    for _ in range(2):
        with serving() as one:
            params = Params(backend="openai", server=one.address)
            rows = read_eval_rows(root / "dataset.jsonl")
            with closing(open_answerer(params, Path("t"), root, rows, Quiet())) as answerer:
                found.append(dict(answerer.identity))
    assert found[0] == found[1]
