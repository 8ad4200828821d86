"""The backend `openai`: questions answered by a server of that interface, many at once.

A server sees clip, sound and text. The sensor bridge is this project's own and no server has it; the identity
of the answers says so.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.engine.errors import NoPermissionError, UnreachableError, UsageError
from pipeline.engine.files import read_json
from pipeline.engine.log import Emit
from pipeline.evaluate.answerer import Question, Reply
from pipeline.evaluate.chat import UnusableReplyError, chat_body, read_completion
from pipeline.evaluate.rows import EvalRows
from pipeline.evaluate.schema import UNCONSTRAINED_TOKENS, Vocabulary, answer_schema, longest_answer
from pipeline.evaluate.server import Card, Server, UnansweredError

#: Where the wording of prompts is decided; a name, because evaluation knows no model.
PROMPT_MODULE = "pipeline.qwen.prompt"

#: Questions in a row without an answer after which the server, and not a question, is what fails.
GIVE_UP = 8


class ServedAnswerer:
    """Asks a server.

    Args:
        server: which one.
        body: the request of a question.
        identity: see `Answerer`.
        concurrency: most open requests.
        runner: of the event loop the server is used from; closed with this.
    """

    def __init__(
        self,
        server: Server,
        body: Callable[[Question], dict[str, Any]],
        *,
        identity: Mapping[str, str],
        concurrency: int,
        runner: asyncio.Runner,
    ) -> None:
        self.identity = identity
        self._server, self._body, self._runner = server, body, runner
        self._slots = asyncio.Semaphore(concurrency)
        self._unanswered = 0

    def answer(self, questions: Sequence[Question]) -> list[Reply | Exception]:
        """All questions at once, as far as `concurrency` allows.

        Raises:
            UnreachableError: `GIVE_UP` questions in a row got no answer.
            NoPermissionError: the server wants another token.
        """
        return self._runner.run(self._all(questions))

    def close(self) -> None:
        """Close connections and loop."""
        self._runner.run(self._server.close())
        self._runner.close()

    async def _all(self, questions: Sequence[Question]) -> list[Reply | Exception]:
        found = await asyncio.gather(*map(self._one, questions), return_exceptions=True)
        answers: list[Reply | Exception] = []
        for one in found:
            if not isinstance(one, Reply | Exception) or isinstance(one, NoPermissionError):
                raise one
            answers.append(one)
        if self._unanswered >= GIVE_UP:
            reason = next((str(one) for one in answers if isinstance(one, UnansweredError)), "")
            raise UnreachableError(
                f"{self._unanswered} questions in a row got no answer; the last: {reason}",
                hint=f"curl {self._server.address}/models, then resume the run",
            )
        return answers

    async def _one(self, question: Question) -> Reply:
        async with self._slots:
            body = self._body(question)
            began = time.perf_counter()
            try:
                data = await self._server.complete(body)
            except UnansweredError:
                self._unanswered += 1
                raise
            self._unanswered = 0
        return read_completion(data, question, time.perf_counter() - began)


def open_answerer(params: Any, train: Path, _dataset: Path, rows: EvalRows, emit: Emit) -> ServedAnswerer:
    """Find the model on the server and make ready to ask it.

    Args:
        params: of the eval stage.
        train: the published folder of the train stage whose adapter should be served.
        _dataset: every question names it itself.
        rows: what will be asked.
        emit: tells of the server.

    Raises:
        UnreachableError: the server is not there.
        NoPermissionError: it wants another token.
        UsageError: it does not serve that model, or its address is none.
    """
    prompt = importlib.import_module(PROMPT_MODULE)
    token = os.environ.get(params.token_variable, "")
    server = Server(params.server, token=token, connections=params.concurrency, timeout_s=params.timeout_s)
    emit("model_load_start", server=server.address)
    runner = asyncio.Runner()
    try:
        card = runner.run(_find(server, params.server_model))
    except BaseException:
        runner.run(server.close())
        runner.close()
        raise
    identity = _identity(params, card, train, rows, prompt.prompt_hash())
    emit("model_load_done", server=server.address, model=card.id, adapter=identity["adapter"])
    schema, longest = _form(params, rows)

    def body(question: Question) -> dict[str, Any]:
        system, user = prompt.prompt_text(question.row)
        return chat_body(
            question,
            system=system,
            user=user,
            model=card.id,
            max_tokens=longest,
            schema=schema,
            inline=params.server_media == "inline",
        )

    return ServedAnswerer(server, body, identity=identity, concurrency=params.concurrency, runner=runner)


async def _find(server: Server, name: str) -> Card:
    """The model called `name`, or the only one there is; a server without a list is believed."""
    try:
        cards = await server.models()
    except UnusableReplyError:
        if not name:
            raise
        return Card(name)
    found = [card for card in cards if card.id == name or not name]
    if len(found) != 1:
        served = ", ".join(card.id for card in cards) or "nothing"
        raise UsageError(
            f"{server.address} has no model {name!r}" if name else f"{server.address} has several models",
            hint=f"--set eval.server_model=NAME; it serves {served}",
        )
    return found[0]


def _form(params: Any, rows: EvalRows) -> tuple[dict[str, Any] | None, int]:
    """Schema of an answer and most tokens of it."""
    if params.labels == "unconstrained":
        return None, params.max_tokens or UNCONSTRAINED_TOKENS
    vocabulary = rows.vocabulary if params.labels == "train" else Vocabulary()
    return answer_schema(vocabulary), params.max_tokens or longest_answer(vocabulary)


def _identity(params: Any, card: Card, train: Path, rows: EvalRows, wording: str) -> dict[str, str]:
    """Without the server's address: the same model behind another port gives the same answers."""
    _, longest = _form(params, rows)
    return {
        "adapter": _adapter(card, train),
        "base": card.parent or "as served",
        "model": card.id,
        "prompt": wording,
        "decoding": f"server, greedy {params.labels} {longest} tokens",
        "sensors": "not shown",
    }


def _adapter(card: Card, train: Path) -> str:
    """The trained adapter's hash if the server says that it serves just that folder; else what it claims."""
    for name in ("adapter", "model"):
        trained = (train / name).resolve()
        if card.root and trained.is_dir() and Path(card.root).resolve() == trained:
            return str(read_json(train / "training_metadata.json")["adapter_sha256"])
    claimed = hashlib.sha256(f"{card.id}\0{card.root or ''}".encode()).hexdigest()[:16]
    return f"unproved {claimed}"
