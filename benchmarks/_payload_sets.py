"""A payload set of many bodies of 1 to 100 KB, and the one body that it is compared with."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pytest_tfserving.protocols.answer import AnswerForm
from pytest_tfserving.protocols.prepared_requests import PreparedRequests, RequestWriter

if TYPE_CHECKING:
    from pathlib import Path

BODIES = 10_000
_SMALLEST, _LARGEST = 1_000, 100_000
_FORM = AnswerForm("predictions", 3)
_SEED = 1


def many_bodies(path: Path) -> PreparedRequests:
    """Write `BODIES` different bodies of 1 to 100 KB to a file."""
    chance, filling = random.Random(_SEED), b"0.25, " * _LARGEST
    with path.open("wb") as file:
        writer = RequestWriter(file)
        for number in range(BODIES):
            head = b'{"instances": [%d.5, ' % number
            size = chance.randrange(_SMALLEST, _LARGEST)
            writer.add(head + filling[: size - len(head) - 5] + b"1.0]}", _FORM)
        writer.close()
    return PreparedRequests.read(path)


def one_body(bodies: PreparedRequests) -> PreparedRequests:
    """Return the body whose size is nearest to the mean of all."""
    mean = sum(map(len, bodies)) / len(bodies)
    return PreparedRequests.of(bytes(min(bodies, key=lambda body: abs(len(body) - mean))), _FORM)
