"""The dataset's gate: whether this account may read it now, and waiting until it may.

The token is huggingface_hub's (`HF_TOKEN` or its store) and is read again at every probe, so one that is
added or replaced while a watch runs is noticed. It is never part of a message, an event or a file.
"""

from __future__ import annotations

import random
import time
from enum import StrEnum
from threading import Event
from typing import TYPE_CHECKING

from msgspec import Struct

from pipeline.engine.errors import (
    CancelledByOperatorError,
    UnreachableError,
    UsageError,
    WaitTimedOutError,
    XopsError,
)
from pipeline.engine.log import Emit
from pipeline.hub.errors import hub_errors

if TYPE_CHECKING:
    from huggingface_hub import HfApi

#: How often the token store is looked at between two probes, in seconds.
TOKEN_LOOK_S = 5.0


class AccessState(StrEnum):
    """What the gate says."""

    NO_TOKEN = "no_token"  # noqa: S105 - a state, not a secret
    WRONG_TOKEN = "wrong_token"  # noqa: S105
    PENDING = "pending"
    NO_REPOSITORY = "no_repository"
    NETWORK = "network"
    GRANTED = "granted"


class Access(Struct, frozen=True, kw_only=True):
    """The answer to one probe.

    Attributes:
        state: what the gate says.
        detail: one sentence.
        fix: what to do; empty when granted.
        account: name of the account, where the Hub tells it.
    """

    state: AccessState
    detail: str
    fix: str = ""
    account: str = ""

    @property
    def granted(self) -> bool:
        """Whether files can be read now."""
        return self.state is AccessState.GRANTED


class Pace(Struct, frozen=True):
    """How often a closed gate is asked.

    Attributes:
        first_s: wait after the first probe; doubled after each further one.
        longest_s: most it grows to.
        jitter: share by which each wait is varied, so that hosts do not ask in step.
    """

    first_s: float = 60.0
    longest_s: float = 900.0
    jitter: float = 0.1

    def wait(self, probes: int) -> float:
        """Seconds until the next probe after so many."""
        wait = min(self.longest_s, self.first_s * 2.0 ** min(probes - 1, 30))
        return wait * random.uniform(1 - self.jitter, 1 + self.jitter)


def probe_access(repo_id: str, *, endpoint: str = "") -> Access:
    """Ask the Hub once whether files of `repo_id` can be read with the token there is now."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    api = HfApi(endpoint=endpoint or None)
    token = get_token()
    try:
        with hub_errors(f"access to {repo_id}"):
            api.auth_check(repo_id, repo_type="dataset", token=token or False)
    except XopsError as error:
        cause = error.__cause__
        if isinstance(cause, GatedRepoError) and token:
            return _pending(repo_id, api.endpoint, _account(api, token))
        status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else 0
        if isinstance(cause, GatedRepoError) or (status == 401 and not token):
            return _no_token()
        if status in (401, 403):
            return _wrong_token(status)
        if isinstance(error, UnreachableError):
            return _network(str(error))
        return _no_repository(str(error))
    return Access(
        state=AccessState.GRANTED,
        detail=f"{repo_id} can be read" + ("" if token else " without a token"),
        account=_account(api, token) if token else "",
    )


def watch_access(
    repo_id: str,
    *,
    emit: Emit,
    cancel: Event,
    endpoint: str = "",
    pace: Pace | None = None,
    max_probes: int = 0,
    token_look_s: float = TOKEN_LOOK_S,
) -> Access:
    """Probe until access is granted, and return that answer.

    Each probe is an event `access_probe` with state, detail, fix, account, number and seconds to the next;
    the last one is followed by `access_granted`. A token that changes ends the wait at once.

    Args:
        repo_id: the dataset.
        emit: where events go.
        cancel: set from another thread or a signal handler to stop.
        endpoint: Hub address; empty is huggingface_hub's own.
        pace: how often to ask.
        max_probes: give up after so many; 0 never does.
        token_look_s: how often to look for a changed token.

    Raises:
        CancelledByOperatorError: `cancel` was set.
        WaitTimedOutError: `max_probes` probes and still closed.
    """
    pace = pace or Pace()
    began = time.monotonic()
    probes = 0
    while True:
        if cancel.is_set():
            raise CancelledByOperatorError("stopped watching the gate, as asked", hint="xops relay access")
        access = probe_access(repo_id, endpoint=endpoint)
        probes += 1
        wait = 0.0 if access.granted else pace.wait(probes)
        emit(
            "access_probe",
            state=str(access.state),
            detail=access.detail,
            fix=access.fix,
            account=access.account,
            attempt=probes,
            next_s=round(wait, 1),
        )
        if access.granted:
            emit("access_granted", attempt=probes, seconds=round(time.monotonic() - began, 1))
            return access
        if max_probes and probes >= max_probes:
            raise WaitTimedOutError(f"after {probes} probes: {access.detail}", hint=access.fix)
        _rest(wait, cancel, token_look_s)


def _rest(seconds: float, cancel: Event, look_s: float) -> None:
    """Wait, but not longer than until `cancel` is set or the token is another one."""
    from huggingface_hub import get_token

    if seconds <= 0 or look_s <= 0:
        raise UsageError(f"waits must be positive, not {seconds} s and {look_s} s")
    token = get_token()
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if cancel.wait(min(left, look_s)) or get_token() != token:
            return


def _account(api: HfApi, token: str) -> str:
    """The account's name; empty where the Hub does not tell (it limits this question strictly)."""
    try:
        with hub_errors("account"):
            return str(api.whoami(token=token).get("name", ""))
    except XopsError:
        return ""


def _pending(repo_id: str, endpoint: str, account: str) -> Access:
    return Access(
        state=AccessState.PENDING,
        detail=f"access to {repo_id} is not granted to {account or 'this account'} (yet)",
        fix=f"request access at {endpoint}/datasets/{repo_id}; it goes on by itself when granted",
        account=account,
    )


def _no_token() -> Access:
    return Access(
        state=AccessState.NO_TOKEN, detail="there is no Hub token", fix="hf auth login, or set HF_TOKEN"
    )


def _wrong_token(status: int) -> Access:
    return Access(
        state=AccessState.WRONG_TOKEN,
        detail=f"the Hub does not accept the token (HTTP {status})",
        fix="hf auth login with a token that may read gated repositories",
    )


def _network(detail: str) -> Access:
    return Access(
        state=AccessState.NETWORK, detail=detail, fix="check the connection, the proxy and the endpoint"
    )


def _no_repository(detail: str) -> Access:
    return Access(state=AccessState.NO_REPOSITORY, detail=detail, fix="check dataset.repo_id in xops.toml")
