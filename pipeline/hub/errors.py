"""What went wrong at the Hub, in an operator's words: huggingface_hub's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.engine.errors import NoPermissionError, NotFoundError, UnreachableError, XopsError


@contextmanager
def hub_errors(doing: str) -> Iterator[None]:
    """Translate errors of huggingface_hub raised while `doing` something.

    Raises:
        NoPermissionError: gated, no token, or a token the Hub does not accept.
        NotFoundError: no such repository, revision or file.
        UnreachableError: no connection, or the Hub answers with an error of its own.
    """
    from huggingface_hub.errors import HfHubHTTPError

    # The HTTP library's base error. huggingface_hub changes that library between major versions, but its
    # own error always derives from it first.
    transport: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        yield
    except HfHubHTTPError as error:
        raise explained(error, doing) from error
    except (transport, OSError) as error:
        raise UnreachableError(f"{doing}: the Hub cannot be reached ({_first_line(error)})") from error


def explained(error: Exception, doing: str) -> XopsError:
    """The operator's version of an HTTP error that huggingface_hub raised."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    if isinstance(error, GatedRepoError):
        return NoPermissionError(f"{doing}: access is not granted (HTTP {status})", hint="xops relay access")
    if status in (401, 403):
        return NoPermissionError(f"{doing}: the Hub refused the token (HTTP {status})", hint="hf auth login")
    for kind, what in (
        (RepositoryNotFoundError, "no such repository, or it is hidden from this account"),
        (RevisionNotFoundError, "no such revision"),
        (EntryNotFoundError, "no such file at this revision"),
    ):
        if isinstance(error, kind):
            return NotFoundError(f"{doing}: {what}")
    return UnreachableError(f"{doing}: the Hub answered HTTP {status}", hint="try again later")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
