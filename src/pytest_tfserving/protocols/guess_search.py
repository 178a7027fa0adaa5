"""The search for a request that a model takes: guesses are tried, and errors lead to others."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.model_server.status import ServingError
from pytest_tfserving.protocols.generated_request import Guess, error_text, other_guesses

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_tfserving.model_server.servable import TensorSpec

Found = TypeVar("Found")
_MOST_ATTEMPTS = 300
_LONGEST_SEARCH_S = 20.0


def found_by_trial(specs: Mapping[str, TensorSpec], attempt: Callable[[Guess], Found]) -> Found:
    """Return the value of the first attempt that succeeds.

    Args:
        specs: the inputs of a signature.
        attempt: calls the model with the request of a guess; raises a ServingError with the model's error.

    Raises:
        ConfigurationError: if no attempt succeeds.
    """
    waiting, seen, first = deque([Guess()]), set[tuple[object, ...]](), ""
    end_s = time.monotonic() + _LONGEST_SEARCH_S
    while waiting and len(seen) < _MOST_ATTEMPTS and time.monotonic() < end_s:
        guess = waiting.popleft()
        if guess.assumptions in seen:
            continue
        if not seen:
            waiting.extend(other_guesses(specs))
        seen.add(guess.assumptions)
        try:
            return attempt(guess)
        except ConfigurationError as error:
            first = first or str(error)
        except ServingError as error:
            first = first or error.message
            waiting.extendleft(reversed(list(guess.after(error.message, specs))))
    failed = "the generated request" if len(seen) == 1 else f"each of {len(seen)} generated requests"
    raise ConfigurationError(f"{failed} failed, the first error is: {error_text(first)}")
