"""Owns the border between Ray's errors and ours. Every call into an actor goes through unwrap()."""

from __future__ import annotations

from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    GetTimeoutError,
    ObjectLostError,
    RayError,
    RayTaskError,
)

from core.errors import MalamuteError, Unavailable, UnknownOutcome


def unwrap(ref: Any, timeout_s: float | None, what: str) -> Any:
    """The result of an actor call, or our own error in the place of Ray's.

    A call that was on its way when its actor or the connection died is UnknownOutcome: it may have been executed.
    `what` names the call in messages, such as "append to shard 1".
    """
    try:
        return ray.get(ref, timeout=timeout_s)
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, MalamuteError):
            raise cause from None
        raise UnknownOutcome(f"{what} failed inside the actor: {cause!r}") from error
    except GetTimeoutError as error:
        raise UnknownOutcome(f"{what} was not answered within {timeout_s} s: retry") from error
    except (ActorUnavailableError, ObjectLostError) as error:
        raise UnknownOutcome(f"{what}: the actor went away before it answered; it restarts by itself: retry") from error
    except ActorUnschedulableError as error:
        raise Unavailable(f"{what}: no node has the resources for the actor: {error}") from error
    except ActorDiedError as error:
        raise UnknownOutcome(f"{what}: the actor is gone for good: {_first_line(error)}; connect again") from error
    except (RayError, ConnectionError) as error:
        raise UnknownOutcome(f"{what}: {type(error).__name__}: {_first_line(error)}: retry") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
