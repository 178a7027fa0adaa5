"""``pytest-tfserving render``: experiments as manifests and as overlays."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernetes_schemas import problems, versions
from pytest_tfserving.cli import main
from pytest_tfserving.targets.kubernetes.kustomize import kubectl

ROOT = Path(__file__).parents[2]
OVERLAYS = ROOT / "k8s" / "overlays"
FILES = "src/pytest_tfserving/k8s"
NAMES = sorted(path.name for path in OVERLAYS.iterdir())
EXPERIMENTS = """
experiments:
  - {shape: 1cpu-2gb-1n, inter_op: [1, 2], model: half_plus_two}
  - {shape: 2cpu-4gb-3n, inter_op: 2, batching: true}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "experiments.yaml").write_text(EXPERIMENTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def built(folder: Path) -> list[dict[str, Any]]:
    done = subprocess.run([kubectl(), "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def deployment(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [each for each in manifests if each["kind"] == "Deployment"]
    spec: dict[str, Any] = found["spec"]
    return spec


def test_an_experiment_without_a_shape_is_refused(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "experiments.yaml").write_text("experiments: [{model: half_plus_two}]")

    assert main(["render", "half_plus_two"]) == 2

    assert capsys.readouterr().err == (
        "pytest-tfserving: experiment 'half_plus_two' has no shape, which a cluster needs; "
        "give it one, as shape: 2cpu-4gb-1n.\n"
    )


def test_the_studys_15_experiments_have_overlays() -> None:
    assert len([name for name in NAMES if not name.startswith(("1cpu", "2cpu-4gb-1n"))]) == 15


def test_the_overlays_are_up_to_date(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)

    assert main(["render", "--all", "--files", FILES, "--check"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_an_overlay_is_valid_for_every_current_kubernetes(name: str) -> None:
    manifests = built(OVERLAYS / name)

    assert sorted(each["kind"] for each in manifests if each["kind"] != "ConfigMap") == [
        "Deployment",
        "Service",
    ]
    assert problems(manifests) == []


def test_what_is_not_valid_would_be_found_for_each_version() -> None:
    (manifest,) = [each for each in built(OVERLAYS / NAMES[0]) if each["kind"] == "Deployment"]
    manifest["spec"]["replicaz"] = 1

    found = problems([manifest])

    assert len(found) == len(versions()) > 1
    assert all("'replicaz' was unexpected" in each for each in found)


def test_an_experiment_is_shown_as_manifests(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "2cpu-4gb-3n-interop2-batch"]) == 0

    spec = deployment(list(yaml.safe_load_all(capsys.readouterr().out)))
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["replicas"] == 3
    assert container["image"] == "tensorflow/serving:2.19.1"
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "4096Mi"}
    assert {"--tensorflow_intra_op_parallelism=2", "--enable_batching=true"} <= set(container["args"])
    assert list(here.iterdir()) == [here / "experiments.yaml"]


@pytest.mark.usefixtures("here")
def test_a_pattern_stands_for_several(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "1cpu-*", "--image", "mine:1"]) == 0

    shown = list(yaml.safe_load_all(capsys.readouterr().out))
    images = [
        each["spec"]["template"]["spec"]["containers"][0]["image"]
        for each in shown
        if each["kind"] == "Deployment"
    ]
    assert images == ["mine:1", "mine:1"]


def test_what_is_written_needs_nothing_else(here: Path) -> None:
    assert main(["render", "--all"]) == 0

    folder = here / "moved"
    (here / "k8s").rename(folder)
    for name in ("1cpu-2gb-1n-interop1", "1cpu-2gb-1n-interop2", "2cpu-4gb-3n-interop2-batch"):
        assert deployment(built(folder / "overlays" / name))


def test_the_batching_file_is_the_experiments(here: Path) -> None:
    (here / "experiments.yaml").write_text(f"batching_parameters: {{max_batch_size: 7}}{EXPERIMENTS}")

    main(["render", "2cpu-*", "-o", "made"])

    maps = [
        each for each in built(here / "made" / "overlays" / "2cpu-4gb-3n-interop2-batch") if "data" in each
    ]
    files = {name: text for each in maps for name, text in each["data"].items()}
    assert files["batching_config.txt"].startswith("max_batch_size { value: 7 }\n")


def test_a_base_built_upon_ours_keeps_its_flags_and_asks_for_the_experiments_model(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = here / "base"
    shutil.copytree(ROOT / FILES / "base", here / "ours")
    base.mkdir()
    flags = ["--enable_model_warmup=false", "--tensorflow_inter_op_parallelism=7"]
    path = "/spec/template/spec/containers/0/args/-"
    patch = json.dumps([{"op": "add", "path": path, "value": flag} for flag in flags])
    target = {"kind": "Deployment", "name": "tfserving"}
    kustomization = {"resources": ["../ours"], "patches": [{"target": target, "patch": patch}]}
    (base / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))

    assert main(["render", "1cpu-2gb-1n-interop2", "--base", "base"]) == 0

    (container,) = deployment(list(yaml.safe_load_all(capsys.readouterr().out)))["template"]["spec"][
        "containers"
    ]
    flags = container["args"]
    assert "--monitoring_config_file=/etc/tfs-monitoring/monitoring_config.txt" in flags
    assert "--enable_model_warmup=false" in flags
    assert [flag for flag in flags if "inter_op" in flag] == ["--tensorflow_inter_op_parallelism=2"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] == "/v1/models/half_plus_two"
    assert container["livenessProbe"]["tcpSocket"] == {"port": "rest"}


def test_a_base_of_ones_own_keeps_its_image(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = here / "base"
    base.mkdir()
    (base / "kustomization.yaml").write_text("resources: [deployment.yaml]\n")
    (base / "deployment.yaml").write_text(
        """
apiVersion: apps/v1
kind: Deployment
metadata: {name: tfserving}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: tfserving}}
  template:
    metadata: {labels: {app.kubernetes.io/name: tfserving}}
    spec: {containers: [{name: serving, image: "mine:2"}]}
"""
    )

    assert main(["render", "1cpu-2gb-1n-interop1", "--base", "base"]) == 0
    shown = deployment(list(yaml.safe_load_all(capsys.readouterr().out)))
    assert main(["render", "--all", "--base", "base", "-o", "made"]) == 0
    written = deployment(built(here / "made" / "overlays" / "1cpu-2gb-1n-interop1"))

    assert shown == written
    assert written["template"]["spec"]["containers"][0]["image"] == "mine:2"
    assert not (here / "made" / "base").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "inter_op: 3",
            "1cpu-2gb-1n-interop1/kustomization.yaml no longer belongs to any experiment; delete it",
        ),
        ("inter_op: [1, 2], intra_op: 2", "1cpu-2gb-1n-interop1/kustomization.yaml is outdated"),
    ],
)
def test_a_check_names_what_is_not_up_to_date(
    here: Path, capsys: pytest.CaptureFixture[str], change: str, said: str
) -> None:
    main(["render", "--all"])
    assert main(["render", "--all", "--check"]) == 0
    (here / "experiments.yaml").write_text(EXPERIMENTS.replace("inter_op: [1, 2]", change))

    assert main(["render", "--all", "--check"]) == 1

    assert f"pytest-tfserving: k8s/overlays/{said}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["3cpu"], "no experiment '3cpu'; valid: 1cpu-2gb-1n-interop1, "),
        (["1cpu-2gb-1n-interop3"], "no experiment '1cpu-2gb-1n-interop3'; did you mean '1cpu-2gb-1n-interop"),
        (["1cpu-*", "--base", "nowhere"], "there is no folder nowhere"),
        (["--all", "--files", "."], "--files: there is no folder base."),
        (["--all", "--experiments", "none.yaml"], "the experiments file none.yaml cannot be read: No such"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_mistake_is_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["render", *arguments]) == 2

    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_without_kubectl_it_says_where_to_get_it(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(here))
    monkeypatch.setattr(sys, "executable", str(here / "python"))

    assert main(["render", "1cpu-*"]) == 2

    assert (
        "needs kubectl, which is not on PATH: pip install 'pytest-tfserving[kubernetes]'"
        in capsys.readouterr().err
    )
