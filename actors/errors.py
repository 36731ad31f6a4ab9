"""Owns the border between Ray's errors and ours. A call goes to an actor by send() and comes back by unwrap()."""

from __future__ import annotations

import time
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    GetTimeoutError,
    ObjectLostError,
    PendingCallsLimitExceeded,
    RayError,
    RayTaskError,
)

from core.errors import InternalError, MalamuteError, Overloaded, Unavailable, UnknownOutcome
from core.limits import ACTOR_CALLS_PENDING_MAX, ACTOR_CALLS_RETRY_S


def send(handle: Any, method: str, *arguments: Any) -> Any:
    """Begin a call of an actor's method; returns what unwrap() takes.

    Raises Overloaded when ACTOR_CALLS_PENDING_MAX calls of this process to the actor have no answer yet: then nothing
    is sent.
    """
    try:
        return getattr(handle, method).remote(*arguments)
    except PendingCallsLimitExceeded as error:
        raise Overloaded(
            f"{method}: {ACTOR_CALLS_PENDING_MAX} calls of this process to the actor are not answered yet: "
            f"come back in {ACTOR_CALLS_RETRY_S} s",
            retry_after=ACTOR_CALLS_RETRY_S,
        ) from error


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
        raise InternalError(f"{what} failed inside the actor: {cause!r}") from error
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


def ask_again(handle: Any, method: str, *arguments: Any, timeout_s: float, what: str) -> Any:
    """The result of a call that may be executed any number of times: repeated while the actor is away, in its time.

    Raises what the last attempt raised.
    """
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            return unwrap(send(handle, method, *arguments), max(0.0, deadline_s - time.monotonic()), what)
        except UnknownOutcome as error:
            away = isinstance(error.__cause__, (ActorUnavailableError, ObjectLostError))
            if not away or time.monotonic() + ACTOR_CALLS_RETRY_S > deadline_s:
                raise
        time.sleep(ACTOR_CALLS_RETRY_S)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
