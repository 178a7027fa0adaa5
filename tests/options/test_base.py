"""``--tfserving-base``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness import Project
    from idle_cluster import IdleCluster


KUBERNETES = ("--tfserving-target=kubernetes", "--tfserving-ready-timeout=0.1")
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: tfserving}
spec:
  selector: {matchLabels: {app: mine}}
  template:
    metadata: {labels: {app: mine}}
    spec: {containers: [{name: serving, image: "mine:1"}]}
"""


def test_it_is_deployed_instead_of_ours(project: Project, cluster: IdleCluster) -> None:
    (project.pytester.path / "base").mkdir()
    (project.pytester.path / "base" / "kustomization.yaml").write_text("resources: [deployment.yaml]\n")
    (project.pytester.path / "base" / "deployment.yaml").write_text(DEPLOYMENT)

    project.run(*KUBERNETES, "--tfserving-base=base", server=False).assert_outcomes(failed=1)

    namespace, *others = cluster.applied
    assert others == [f"/apis/apps/v1/{namespace.removeprefix('/api/v1/')}/deployments/tfserving"]


def test_a_folder_that_is_not_there_is_named(project: Project, cluster: IdleCluster) -> None:
    run = project.run(*KUBERNETES, "--tfserving-base=nowhere", server=False)

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*nowhere*"])
    run.stdout.no_fnmatch_line("*Traceback*")
    assert not cluster.applied
