"""Payload sets: the requests that load sends, of one or several kinds, in any number."""

from __future__ import annotations

import hashlib
import itertools
import mmap
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError, shown
from pytest_tfserving.protocols.payload import Payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# The most bodies that first requests are sent with, and that the in-process model answers.
_MOST_SAMPLED = 64
# Each kind has figures of its own in memory and a row in reports.
_MOST_KINDS = 100
_LONGEST_KIND = 80


@dataclass(frozen=True, slots=True)
class SetEntry:
    """A request of a payload set.

    Attributes:
        payload: the request.
        kind: the name of the request's kind; by default that of its model, or of its signature.
        weight: how often the request is sent, relative to the others.
        place: the place of the request in the user's files, as ``requests.jsonl:3``; empty without one.
        model: the name of the model that is called; empty for the only one.
    """

    payload: Payload
    kind: str = ""
    weight: float = 1.0
    place: str = ""
    model: str = ""

    @property
    def about(self) -> str:
        """The model and the place of the request, as the beginning of a sentence; empty without them."""
        return ": ".join(filter(None, (self.model, self.place)))


@dataclass(frozen=True, slots=True)
class _Row:
    """An entry without its body, which begins at ``start`` and ends at ``end`` of the set's bodies."""

    start: int
    end: int
    signature_name: str
    key: str
    rows: int | None
    kind: str
    weight: float
    place: str
    model: str


class PayloadSet:
    """Requests of which load sends one at a time, chosen by their weights.

    The bodies are outside of Python's memory, in a temporary file without a name.

    Args:
        entries: the requests.
        name: the name of the set in messages.

    Attributes:
        digest: a digest of all requests, their kinds and their weights.

    Raises:
        ConfigurationError: if there are no requests, too many kinds, or weights that are not above 0.
    """

    def __init__(self, entries: Iterable[SetEntry], name: str = "the payload set") -> None:
        self._rows: list[_Row] = []
        digest = hashlib.sha256()
        with tempfile.TemporaryFile() as file:
            for entry in entries:
                _check(entry, name)
                body, payload, start = entry.payload.body, entry.payload, file.tell()
                file.write(body)
                read = (payload.signature_name, payload.key, payload.rows)
                kind = entry.kind or entry.model or payload.signature_name
                self._rows.append(
                    _Row(start, start + len(body), *read, kind, float(entry.weight), entry.place, entry.model)
                )
                digest.update(f"{entry.model}{read} {kind} {entry.weight} {len(body)} ".encode() + body)
            if not self._rows:
                raise ConfigurationError(f"{name} is empty: it needs a request or more.")
            if (count := len(set(self.kinds))) > _MOST_KINDS:
                raise ConfigurationError(f"{name} has {count} kinds; valid: at most {_MOST_KINDS}.")
            file.flush()
            self._bodies = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.tell() else b""
        self.digest = digest.hexdigest()

    @classmethod
    def of(cls, requests: PayloadSet | Payload) -> PayloadSet:
        """Return a set of one request; a set stays as it is.

        Raises:
            ConfigurationError: if ``requests`` is neither.
        """
        if isinstance(requests, PayloadSet):
            return requests
        if not isinstance(requests, Payload):
            raise ConfigurationError(
                f"the fixture request_payload gives {shown(requests)}; valid: a Payload or a PayloadSet."
            )
        return cls([SetEntry(requests)])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> SetEntry:
        row = self._rows[index]
        body = bytes(self._bodies[row.start : row.end])
        payload = Payload(body, row.signature_name, row.key, row.rows)
        return SetEntry(payload, row.kind, row.weight, row.place, row.model)

    def __iter__(self) -> Iterator[SetEntry]:
        return map(self.__getitem__, range(len(self)))

    @property
    def kinds(self) -> list[str]:
        """Name of the kind of each request."""
        return [row.kind for row in self._rows]

    @property
    def sample(self) -> dict[int, float]:
        """Weights of some requests that stand for all, by their index.

        The sample has the same number of requests of each kind, spread over the set. The first one of each
        kind comes first, and the first of the set before all. The weight of each is its share of the weight
        of its kind.
        """
        by_kind: dict[str, list[int]] = {}
        for index, row in enumerate(self._rows):
            by_kind.setdefault(row.kind, []).append(index)
        each = max(_MOST_SAMPLED // len(by_kind), 1)
        chosen = [_spread(indices, each) for indices in list(by_kind.values())[:_MOST_SAMPLED]]
        total = dict.fromkeys(by_kind, 0.0)
        for row in self._rows:
            total[row.kind] += row.weight
        share = {index: total[self._rows[index].kind] / len(part) for part in chosen for index in part}
        by_turns = itertools.chain.from_iterable(itertools.zip_longest(*chosen))
        return {index: share[index] for index in by_turns if index is not None}

    @property
    def sampled_kinds(self) -> int:
        """Number of kinds in the sample, and of the sample's requests that are the first of their kind."""
        return min(len(set(self.kinds)), _MOST_SAMPLED)


def with_kind_weights(requests: PayloadSet, weights: Mapping[str, float]) -> PayloadSet:
    """Return the same requests with other weights of kinds.

    Args:
        requests: the set.
        weights: the weight of all requests of a kind together, by its name; a kind that is not named has 1.
    """
    total: dict[str, float] = {}
    for entry in requests:
        total[entry.kind] = total.get(entry.kind, 0.0) + entry.weight
    return PayloadSet(
        replace(entry, weight=entry.weight / total[entry.kind] * weights.get(entry.kind, 1.0))
        for entry in requests
    )


def _spread(indices: list[int], most: int) -> list[int]:
    """Return at most ``most`` of some indices, evenly spread, the first one among them."""
    count = min(most, len(indices))
    return [indices[number * len(indices) // count] for number in range(count)]


def _check(entry: SetEntry, name: str) -> None:
    """Raise a ConfigurationError for a kind that is not a name, and for a weight that is not above 0."""
    if not entry.kind.isprintable() or len(entry.kind) > _LONGEST_KIND or {*"{}"} & {*entry.kind}:
        raise ConfigurationError(
            f"{entry.place or name}: the kind of a request has at most {_LONGEST_KIND} characters, "
            f"on one line and without braces, unlike {shown(entry.kind)}."
        )
    if not 0 < entry.weight < float("inf"):
        raise ConfigurationError(
            f"{entry.place or name}: the weight of a request must be above 0, not {entry.weight:g}."
        )
