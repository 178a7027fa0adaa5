"""What options are tried on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from idle_cluster import IdleCluster
from kubeconfigs import config

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness import Project


@pytest.fixture
def cluster(project: Project) -> Iterator[IdleCluster]:
    """A cluster that the project's kubeconfig leads to, where nothing ever starts."""
    path = project.pytester.path / "kubeconfig"
    project.monkeypatch.setenv("KUBECONFIG", str(path))
    with IdleCluster() as made:
        path.write_text(yaml.safe_dump(config(server=made.address)))
        yield made
