"""The last words of a container, from logs that come and go while it restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from pytest_tfserving.errors import DeploymentError
from pytest_tfserving.targets.kubernetes.diagnostics import with_last_words
from pytest_tfserving.targets.kubernetes.readiness import Doomed

if TYPE_CHECKING:
    from pytest_tfserving.targets.kubernetes.cluster import Cluster

GONE = (
    'failed to try resolving symlinks in path "/var/log/pods/a_b_c/serving/1.log": no such file or directory'
)


class Logs:
    """The logs of a container before and after its restart, as an API server has them; None for an error."""

    def __init__(self, before: str | None, after: str | None) -> None:
        self._texts = {"true": before, "false": after}

    def text(self, _: str, **query: str) -> str:
        """Return the log that the query is about."""
        found = self._texts[query["previous"]]
        if found is None:
            raise DeploymentError("previous terminated container not found")
        return found


@pytest.mark.parametrize("previous", [True, False])
@pytest.mark.parametrize(
    ("before", "after", "end"),
    [
        ("a\nthe reason\n", GONE, ": the reason"),
        (GONE, "a\nthe reason\n", ": the reason"),
        (None, "the reason", ": the reason"),
        ("the reason", "", ": the reason"),
        (GONE, None, ""),
        ("unable to retrieve container logs for containerd://1", "", ""),
    ],
)
def test_the_log_that_is_there_has_the_reason(
    before: str | None, after: str | None, end: str, *, previous: bool
) -> None:
    doomed = Doomed("it crashed", "a-pod", "serving", previous)

    assert with_last_words(cast("Cluster", Logs(before, after)), "one", doomed) == f"it crashed{end}"
