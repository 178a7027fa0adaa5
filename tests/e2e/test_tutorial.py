"""The page on clusters on a real one: from an empty folder and a fresh venv to a verdict, with nothing left.

Another process keeps a core busy half the time. Times are printed, and are properties in the JUnit file.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from needs import IMAGE
from newcomer import Newcomer, half_busy_core
from tutorials import DOCS, steps

if TYPE_CHECKING:
    from collections.abc import Callable

    from kubectl import Kubectl

pytestmark = pytest.mark.needs("docker", "kubernetes")

SHOWN = "registry.example/half_plus_two:1"
BAKED = "pytest-tfserving-e2e:tutorial"
VERDICT_S = 180
# Of the user whose context is tested on, and who is at home elsewhere than the newcomer.
KUBECONFIG = os.environ.get("KUBECONFIG", str(Path("~/.kube/config").expanduser()))


def test_a_newcomer_gets_a_verdict_on_the_first_run(
    tmp_path: Path, wheel: Path, cluster: Kubectl, add_property: Callable[[str, object], None]
) -> None:
    began_s = time.monotonic()
    newcomer = Newcomer.with_extras(tmp_path, wheel, "embedded", "docker", "kubernetes")
    add_property("install_s", round(time.monotonic() - began_s, 1))
    newcomer.variables = {"KUBECONFIG": KUBECONFIG, "PYTEST_ADDOPTS": "--tfserving-json=out.json"}
    (newcomer.folder / "pytest.ini").write_text(
        f"[pytest]\ntfserving_context = {cluster.context}\ntfserving_allowed_contexts = {cluster.context}\n"
    )

    def adapted(text: str) -> str:
        """What is baked stays here: the nodes have an image with this model."""
        made = BAKED if text.startswith("pytest-tfserving bake") else cluster.image
        return text.replace("tensorflow/serving:2.19.1", IMAGE).replace(SHOWN, made)

    with half_busy_core():
        ran = newcomer.follow(steps(DOCS / "tutorial" / "cluster.md"), adapted)

    (judged,) = [each for each in ran if each.verdict]
    add_property("verdict_s", round(judged.after_s, 1))
    assert judged.verdict == "PASS"
    assert [each.code for each in ran] == [0] * len(ran)
    (result,) = json.loads((newcomer.folder / "out.json").read_text(encoding="utf-8"))["results"]
    assert (result["verdict"], result["target"]) == ("PASS", "kubernetes")
    assert judged.after_s < VERDICT_S
    assert cluster.left() == []
