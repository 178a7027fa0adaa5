"""Protocols: how a model is asked, and what a right answer is; a module for each protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.protocols.grpc import Grpc
from pytest_tfserving.protocols.rest import Rest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_tfserving.protocols.serving_protocol import ServingProtocol

REST = Rest()
# All protocols by name. The names are `PROTOCOLS` of experiments, too.
SERVING_PROTOCOLS: Mapping[str, ServingProtocol] = {each.name: each for each in (REST, Grpc())}
