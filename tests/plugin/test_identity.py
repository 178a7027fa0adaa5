"""Runs of load are told apart by what was served and sent, never by a name."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

import planted_results as planted
from harness import STEADY, TESTS
from pytest_tfserving.experiments.experiment import Experiment, Home, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import PROFILES
from pytest_tfserving.plugin.identity import model_digest
from pytest_tfserving.targets.docker import target as docker
from pytest_tfserving.targets.docker.engine import MODEL
from pytest_tfserving.targets.kubernetes import target as kubernetes

if TYPE_CHECKING:
    from pathlib import Path

    from harness import Project

FAST, SLOW = "5", "500"
NAME = "1cpu-1gb-1n-interop1"
EXPERIMENTS = """
defaults: {model: ./models/half, payload: request.json, profile: tiny}
profiles:
  tiny: {users: 2, spawn_rate: 20, run_time_s: 1.2, think_time_s: 0.01, request_timeout_s: 5,
    max_lag_ms: 2000, max_cpu_wait: 1}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: [%s]}
"""
GATE = "p95<50ms"
EXPERIMENT = Experiment("e", Shape(1, 1, 1), ServingOptions(1, 1), "./models/half", "json", PROFILES["quick"])
OVERRIDE = """
import pytest
from pathlib import Path

@pytest.fixture(scope="session")
def serving_model():
    return Path(__file__).parent / "models" / "half"
"""


def model(base: Path, weights: str) -> None:
    (base / "models" / "half" / "1").mkdir(parents=True, exist_ok=True)
    (base / "models" / "half" / "1" / "weights").write_text(weights)


def part(project: Project, name: str, weights: str, slo: str = GATE, tests: str = TESTS) -> Path:
    """Make a folder of a repository, with experiments, a model, a request and a test of its own."""
    folder = project.pytester.path / name
    model(folder, weights)
    (folder / "experiments.yaml").write_text(EXPERIMENTS % slo)
    (folder / "request.json").write_text('{"instances": [1.0]}')
    (folder / f"test_{name}.py").write_text(tests)
    return folder


def verdicts(results: list[dict[str, str]]) -> dict[str, str]:
    return {result["label"]: result["verdict"] for result in results}


@pytest.fixture
def runs(project: Project) -> list[tuple[str, str]]:
    """The weights and the request of each run of load."""
    return planted.instead_of_servers(project)


BOTH_ORDERS = pytest.mark.parametrize("order", [("fraud", "search"), ("search", "fraud")], ids="-".join)


@BOTH_ORDERS
def test_equal_names_in_two_folders_are_two_experiments(
    project: Project, runs: list[tuple[str, str]], order: tuple[str, str]
) -> None:
    part(project, "fraud", FAST)
    part(project, "search", SLOW)

    run, results = project.results(*order, "--tfserving-markdown=out.md", "--junit-xml=out.xml")

    run.assert_outcomes(passed=1, failed=1)
    assert sorted(weights for weights, _ in runs) == [FAST, SLOW]
    assert verdicts(results) == {f"{NAME} (fraud/)": "PASS", f"{NAME} (search/)": "FAIL"}
    assert {result["experiment"] for result in results} == {NAME}
    run.stdout.fnmatch_lines_random([f"{NAME} (fraud/) * PASS", f"{NAME} (search/) * FAIL"])
    run.stdout.fnmatch_lines(
        [f"{NAME} (search/): FAIL: {GATE}: *", f"{NAME} (fraud/) is the only * passed, at *"]
    )
    markdown = (project.pytester.path / "out.md").read_text()
    assert f"| `{NAME} (fraud/)` | ✅ PASS |" in markdown
    assert f"| `{NAME} (search/)` | ❌ FAIL |" in markdown
    cases = ET.parse(project.pytester.path / "out.xml").getroot().iter("testcase")
    found = [{each.attrib["name"]: each.attrib["value"] for each in case.iter("property")} for case in cases]
    assert {each["folder"]: each["verdict"] for each in found} == {"fraud": "PASS", "search": "FAIL"}


@pytest.mark.parametrize("workers", [(), (STEADY, "-n", "2")], ids=["one process", "two workers"])
def test_real_servers_of_equal_names_are_judged_each_by_itself(
    project: Project, workers: tuple[str, ...]
) -> None:
    part(project, "fraud", FAST, "max<60s")
    search = part(project, "search", SLOW, "max<60s")
    (search / "models" / "half" / "1" / "how.json").write_text('{"mode": "http500"}')

    run, results = project.results("fraud", "search", *workers)

    run.assert_outcomes(passed=1, failed=1)
    assert verdicts(results) == {f"{NAME} (fraud/)": "PASS", f"{NAME} (search/)": "FAIL"}


OWN_DEPLOYMENT = """
import dataclasses
import pytest

@pytest.fixture(scope="session")
def serving(serving):
    return dataclasses.replace(serving, environment={"weights": "%s"})
"""


PLACES = {
    "folders": {
        "fraud/conftest.py": OVERRIDE,
        "search/conftest.py": OVERRIDE,
        "fraud/test_fraud.py": TESTS,
        "search/test_search.py": TESTS,
    },
    "modules": {"fraud/test_fraud.py": OVERRIDE + TESTS, "search/test_search.py": OVERRIDE + TESTS},
    "classes": {
        "test_classes.py": """
import pytest
from pathlib import Path

class TestFraud:
    @pytest.fixture(scope="session")
    def serving_model(self):
        return Path("fraud/models/half")

    def test_gate(self, load):
        load().check()

class TestSearch:
    @pytest.fixture(scope="session")
    def serving_model(self):
        return Path("search/models/half")

    def test_gate(self, load):
        load().check()
"""
    },
    "a fixture that the model depends on": {
        "conftest.py": "import pytest\n@pytest.fixture(scope='session')\n"
        "def serving_model(folder):\n    return folder / 'models' / 'half'\n",
        "fraud/conftest.py": OVERRIDE.replace("serving_model", "folder").replace(' / "models" / "half"', ""),
        "search/conftest.py": OVERRIDE.replace("serving_model", "folder").replace(' / "models" / "half"', ""),
        "fraud/test_fraud.py": TESTS,
        "search/test_search.py": TESTS,
    },
    "parameters of the fixture": {
        "conftest.py": "import pytest\nfrom pathlib import Path\n"
        "@pytest.fixture(scope='session', params=['fraud', 'search'])\n"
        "def serving_model(request):\n    return Path(request.param) / 'models' / 'half'\n",
        "test_parameters.py": "def test_gate(serving_model, load):\n    load().check()\n",
    },
    "parameters of the test": {
        "conftest.py": "import pytest\nfrom pathlib import Path\n"
        "@pytest.fixture(scope='session')\n"
        "def serving_model(request):\n    return Path(request.param) / 'models' / 'half'\n",
        "test_parameters.py": "import pytest\n"
        "@pytest.mark.parametrize('serving_model', ['fraud', 'search'], indirect=True)\n"
        "def test_gate(serving_model, load):\n    load().check()\n",
    },
    "getfixturevalue": {
        "fraud/conftest.py": OVERRIDE,
        "search/conftest.py": OVERRIDE,
        "fraud/test_fraud.py": "def test_gate(experiment, request):\n"
        "    request.getfixturevalue('load')().check()\n",
        "search/test_search.py": "def test_gate(experiment, request):\n"
        "    request.getfixturevalue('load')().check()\n",
    },
    "a deployment of the user": {
        "fraud/conftest.py": OWN_DEPLOYMENT % FAST,
        "search/conftest.py": OWN_DEPLOYMENT % SLOW,
        "fraud/test_fraud.py": TESTS,
        "search/test_search.py": TESTS,
    },
    "a session's fixture of the user": {
        "conftest.py": "import pytest\n@pytest.fixture(scope='session')\n"
        "def weights(serving):\n    return serving.environment['weights']\n",
        "fraud/conftest.py": OVERRIDE,
        "search/conftest.py": OVERRIDE,
        "fraud/test_fraud.py": "def test_gate(weights, load):\n    assert weights == '5'\n"
        "    load().check()\n",
        "search/test_search.py": "def test_gate(weights, load):\n    assert weights == '500'\n"
        "    load().check()\n",
    },
}


@pytest.mark.parametrize("files", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_each_test_is_served_what_its_own_fixtures_say(
    project: Project, runs: list[tuple[str, str]], files: dict[str, str], *, backwards: bool
) -> None:
    top = project.pytester.path
    project.write(EXPERIMENTS % GATE)
    (top / "test_perf.py").unlink()
    model(top / "fraud", FAST)
    model(top / "search", SLOW)
    model(top, FAST)
    for name, text in files.items():
        (top / name).write_text(text)
    tests = [name for name in files if "test_" in name]

    run, results = project.results(*(reversed(tests) if backwards else tests))

    run.assert_outcomes(passed=1, failed=1)
    assert sorted(weights for weights, _ in runs) == [FAST, SLOW]
    assert len(verdicts(results)) == 2
    assert sorted(verdicts(results).values()) == ["FAIL", "PASS"]


@pytest.mark.parametrize("unfit", ["skip", "fail"])
def test_no_model_is_made_for_what_is_not_tried(project: Project, unfit: str) -> None:
    project.write(
        (EXPERIMENTS % GATE).replace("1cpu-1gb-1n", "8cpu-1gb-99n"), TESTS + TESTS.replace("gate", "more")
    )
    (project.pytester.path / "conftest.py").write_text(
        "import pytest\n@pytest.fixture(scope='session')\ndef serving_model():\n    raise AssertionError\n"
    )

    run, (result,) = project.results(f"--tfserving-unfit={unfit}")

    run.assert_outcomes(**{"skipped" if unfit == "skip" else "failed": 2})
    assert result["verdict"] == "NOT JUDGED"
    run.stdout.no_fnmatch_line("*AssertionError*")


def test_labels_name_the_place_of_the_fixture(project: Project, runs: list[tuple[str, str]]) -> None:
    project.write(EXPERIMENTS % GATE)
    for name in ("fraud", "search"):
        model(project.pytester.path / name, FAST)
        (project.pytester.path / name / f"test_{name}.py").write_text(OVERRIDE + TESTS)
    (project.pytester.path / "search" / "models" / "half" / "1" / "weights").write_text("6")

    _, results = project.results("fraud", "search")

    assert len(runs) == 2
    assert set(verdicts(results)) == {f"{NAME} (fraud/test_fraud.py)", f"{NAME} (search/test_search.py)"}


REQUESTS = """
import pytest
from pytest_tfserving import Payload

@pytest.fixture(scope="session")
def request_payload():
    return Payload.from_instances([%s])
"""
BY_PARAMETRIZE = """
import pytest
from pytest_tfserving import Payload

@pytest.mark.parametrize(
    "request_payload", [Payload.from_instances([1]), Payload.from_instances([2])], scope="session"
)
def test_gate(request_payload, load):
    load().check()
"""


@pytest.mark.parametrize(
    "files",
    [
        {
            "fraud/conftest.py": REQUESTS % 1,
            "search/conftest.py": REQUESTS % 2,
            "fraud/test_fraud.py": TESTS,
            "search/test_search.py": TESTS,
        },
        {"fraud/test_both.py": BY_PARAMETRIZE},
    ],
    ids=["folders", "parametrize"],
)
def test_each_test_sends_its_own_request(
    project: Project, runs: list[tuple[str, str]], files: dict[str, str]
) -> None:
    project.write(EXPERIMENTS % GATE)
    model(project.pytester.path, FAST)
    for name, text in files.items():
        (project.pytester.path / name).parent.mkdir(exist_ok=True)
        (project.pytester.path / name).write_text(text)

    run, results = project.results(*[name for name in files if "test_" in name])

    run.assert_outcomes(passed=2)
    assert [json.loads(body)["instances"] for _, body in runs] == [[1], [2]]
    assert len(verdicts(results)) == 2


def test_equal_models_at_two_paths_are_one_run_under_both_names(
    project: Project, runs: list[tuple[str, str]]
) -> None:
    part(project, "fraud", FAST)
    part(project, "search", FAST)

    run, results = project.results("fraud", "search")

    run.assert_outcomes(passed=2)
    assert len(runs) == 1
    assert verdicts(results) == {f"{NAME} (fraud/)": "PASS", f"{NAME} (search/)": "PASS"}
    assert all(
        slo["test"].startswith(result["origin"]["folder"]) for result in results for slo in result["slos"]
    )


def test_a_run_is_not_shared_by_an_slo_that_it_was_not_measured_for(
    project: Project, runs: list[tuple[str, str]]
) -> None:
    part(project, "fraud", FAST)
    part(project, "search", FAST, "p95<1ms")

    run, results = project.results("fraud", "search")

    run.assert_outcomes(passed=1, failed=1)
    assert len(runs) == 2
    assert verdicts(results) == {f"{NAME} (fraud/)": "PASS", f"{NAME} (search/)": "FAIL"}


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [
        ([GATE], [GATE], 1),
        ([GATE], [GATE, "rps>=1"], 2),
        ([GATE, "rps>=1"], [GATE], 1),
        ([GATE], ["p95<60ms"], 2),
        ([GATE], [f"{GATE} "], 1),
    ],
    ids=["equal", "more later", "more before", "another limit", "a space"],
)
def test_experiments_share_a_run_that_was_measured_for_the_slos_of_both(
    project: Project, runs: list[tuple[str, str]], first: list[str], second: list[str], count: int
) -> None:
    model(project.pytester.path, FAST)
    one, other = (EXPERIMENTS % ", ".join(map(repr, slos)) for slos in (first, second))
    project.write(
        one.replace("{shape", "{name: gate, shape")
        + other.rpartition("\n  - ")[2].replace("{shape", "  - {name: budget, shape")
    )

    project.run().assert_outcomes(passed=2)

    assert len(runs) == count


def test_tests_of_an_experiment_share_a_run_whatever_slos_their_marks_add(
    project: Project, runs: list[tuple[str, str]]
) -> None:
    model(project.pytester.path, FAST)
    tests = ""
    for index, slo in enumerate(("p95<60ms", "p90<1s", "rps>=1")):
        tests += f"@pytest.mark.slo({slo!r})\ndef test_{index}(load):\n    load().check()\n"
    project.write(EXPERIMENTS % GATE, f"import pytest\n{tests}")

    project.run().assert_outcomes(passed=3)

    assert len(runs) == 1


def test_options_that_no_name_tells_make_two_runs(project: Project, runs: list[tuple[str, str]]) -> None:
    for name, size in (("fraud", 8), ("search", 64)):
        file = part(project, name, FAST) / "experiments.yaml"
        batching = f"batching_parameters: {{max_batch_size: {size}}}\n"
        file.write_text(batching + file.read_text().replace("inter_op: 1", "inter_op: 1, batching: true"))

    project.run("fraud", "search").assert_outcomes(passed=2)

    assert len(runs) == 2


def test_load_with_equal_fields_is_one_run_whatever_it_is_called(
    project: Project, runs: list[tuple[str, str]]
) -> None:
    model(project.pytester.path, FAST)
    project.write(
        EXPERIMENTS % GATE,
        "def test_one(load):\n    load('smoke').check()\n"
        "def test_two(load):\n    load('quick', users=2, spawn_rate=2.0, run_time_s=3).check()\n",
    )

    project.run().assert_outcomes(passed=2)

    assert len(runs) == 1


CHANGES = """
from pathlib import Path

WEIGHTS = Path("models/half/1/weights")

def test_before(load):
    load().check()
    WEIGHTS.write_text("500")

def test_after(load):
    load().check()
"""
CHANGES_WITHIN = """
from pathlib import Path

def test_within(load):
    before = load().identity["model"]
    Path("models/half/1/weights").write_text("500")
    assert load().identity["model"].startswith(f"{before}, and then ")

def test_after(load):
    load().check()
"""


@pytest.mark.parametrize(
    ("tests", "served"),
    [(CHANGES, [FAST, SLOW]), (CHANGES_WITHIN, [FAST, FAST, SLOW])],
    ids=["between", "within"],
)
def test_a_model_that_has_changed_is_deployed_and_measured_again(
    project: Project, runs: list[tuple[str, str]], tests: str, served: list[str]
) -> None:
    model(project.pytester.path, FAST)
    project.write(EXPERIMENTS % GATE, tests)

    run, results = project.results()

    run.assert_outcomes(passed=1, failed=1)
    assert [weights for weights, _ in runs] == served
    assert len(verdicts(results)) == len(served)


def test_a_conftests_experiments_are_for_the_tests_below_it(
    project: Project, runs: list[tuple[str, str]]
) -> None:
    hook = (
        "from pytest_tfserving import Experiment, LoadProfile, ServingOptions, Shape\n"
        "from pytest_tfserving.slo.language import Slo, SloSet\n"
        "def pytest_tfserving_experiments(config):\n"
        "    profile = LoadProfile('p', users=1, spawn_rate=1, run_time_s=2)\n"
        "    options, slos = ServingOptions(1, {}), SloSet((Slo.parse('p95<50ms'),))\n"
        "    return [Experiment('mine', Shape(1, 1, 1), options, './models/half', './request.json',\n"
        "                       profile, slo_by_target={{'*': slos}})]\n"
    )
    model(project.pytester.path, FAST)
    (project.pytester.path / "experiments.yaml").unlink()
    for inter_op, name in enumerate(("fraud", "search"), start=1):
        (project.pytester.path / name).mkdir()
        (project.pytester.path / name / "conftest.py").write_text(hook.format(inter_op))
        (project.pytester.path / name / f"test_{name}.py").write_text(TESTS)

    run, results = project.results("fraud", "search")

    run.assert_outcomes(passed=2)
    assert len(runs) == 2
    assert set(verdicts(results)) == {"mine (fraud/)", "mine (search/)"}


def test_other_hooks_of_a_conftest_are_for_the_tests_below_it(
    project: Project, runs: list[tuple[str, str]]
) -> None:
    for name in ("fraud", "search"):
        part(project, name, FAST if name == "fraud" else SLOW)
        (project.pytester.path / name / "conftest.py").write_text(
            "def pytest_tfserving_result(result):\n"
            f"    print('HOOK of {name}:', result.origin['folder'])\n"
            "def pytest_tfserving_manifests(manifests):\n    pass\n"
        )
    (project.pytester.path / "conftest.py").write_text(
        "def pytest_runtest_setup(item):\n"
        "    print('MANIFESTS', item.nodeid, item.callspec.params['experiment'].home.manifest_hooks)\n"
    )

    run = project.run("fraud", "search", "-s")

    assert len(runs) == 2
    assert sorted(line[line.index("HOOK") :] for line in run.outlines if "HOOK" in line) == [
        "HOOK of fraud: fraud",
        "HOOK of search: search",
    ]
    assert sorted(line.split("] ")[1] for line in run.outlines if "MANIFESTS" in line) == [
        "('fraud/conftest.py',)",
        "('search/conftest.py',)",
    ]


@pytest.mark.parametrize(
    ("requests", "count"), [((1, 1), 1), ((1, 2), 2)], ids=["equal requests", "two requests"]
)
def test_an_address_is_loaded_once_for_each_request(
    project: Project, runs: list[tuple[str, str]], requests: tuple[int, int], count: int
) -> None:
    for name, number in zip(("fraud", "search"), requests, strict=True):
        folder = part(project, name, FAST)
        (folder / "request.json").write_text(f'{{"instances": [{number}]}}')
    address = "http://127.0.0.1:1/v1/models/half"

    run, results = project.results(
        "fraud", "search", "--tfserving-target=url", f"--tfserving-url={address}", server=False
    )

    run.assert_outcomes(passed=2)
    assert len(runs) == count
    assert verdicts(results).keys() == {f"{NAME} (fraud/)", f"{NAME} (search/)"}


def test_files_in_any_order_are_each_judged_by_their_own_model(
    project: Project, runs: list[tuple[str, str]]
) -> None:
    for name, weights in (("fraud", FAST), ("search", SLOW)):
        folder = part(project, name, weights)
        (folder / f"test_more_{name}.py").write_text(TESTS)
    files = [f"{name}/test_{kind}{name}.py" for kind in ("", "more_") for name in ("fraud", "search")]

    run, results = project.results(*files)

    run.assert_outcomes(passed=2, failed=2)
    assert [weights for weights, _ in runs] == [FAST, SLOW]
    assert verdicts(results) == {f"{NAME} (fraud/)": "PASS", f"{NAME} (search/)": "FAIL"}


class Engine:
    """A container engine with one image."""

    def __init__(self, labels: dict[str, str]) -> None:
        self._found = SimpleNamespace(id="sha256:1", attrs={"Config": {"Labels": labels}})

    def image(self, *_: object) -> SimpleNamespace:
        return self._found


@pytest.mark.parametrize(
    ("labels", "told"), [({}, None), ({MODEL: "half"}, "half in the image"), ({MODEL: "other"}, None)]
)
def test_a_model_in_an_image_is_told_by_the_image(
    monkeypatch: pytest.MonkeyPatch, labels: dict[str, str], told: str | None
) -> None:
    monkeypatch.setattr(docker, "connect", lambda: nullcontext(Engine(labels)))
    settings: Any = SimpleNamespace(image="image:1")

    found = docker.DockerTarget(settings).served(EXPERIMENT, print)

    assert (found["server"], found.get("model")) == ("sha256:1", told)


def test_hooks_that_change_manifests_tell_runs_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    settings: Any = SimpleNamespace(
        image="image:1", base=None, contexts=(), kubeconfig=None, allowed_contexts=(), load_in_cluster=False
    )
    monkeypatch.setattr(kubernetes, "pinned", lambda *_: SimpleNamespace(name="kind"))
    target = kubernetes.KubernetesTarget(settings)

    def served(name: str, *hooks: str) -> dict[str, Any]:
        experiment = replace(EXPERIMENT, name=name, home=Home(manifest_hooks=hooks))
        return target.served(experiment, print)

    assert served("one") == served("other")
    assert served("one") != served("one", "fraud/conftest.py")
    assert served("one", "fraud/conftest.py") != served("one", "search/conftest.py")
    assert served("one", "fraud/conftest.py") != served("other", "fraud/conftest.py")


def test_a_search_does_not_go_on_with_another_model(project: Project, runs: list[tuple[str, str]]) -> None:
    model(project.pytester.path, FAST)
    project.write(
        EXPERIMENTS % GATE,
        "def test_knee(load):\n    assert load.max_rps(most=2, state='state.json').knee == 2\n",
    )

    project.run().assert_outcomes(passed=1)
    model(project.pytester.path, SLOW)
    run = project.run()

    run.assert_outcomes(failed=1)
    run.stdout.fnmatch_lines(["*state.json is the state of another search; remove it, or give another file."])
    assert {weights for weights, _ in runs} == {FAST}


def test_merged_reports_keep_what_is_not_the_same(project: Project, runs: list[tuple[str, str]]) -> None:
    from pytest_tfserving.cli import main

    top = project.pytester.path
    files = []
    for name, weights in (("fraud", FAST), ("again", FAST), ("search", SLOW)):
        part(project, name, weights)
        project.run(name, f"--rootdir={top / name}", f"--tfserving-json={top / name}.json")
        files.append(str(top / f"{name}.json"))

    assert main(["report", *files, "--json", str(top / "merged.json")]) == 0

    results = json.loads((top / "merged.json").read_text())["results"]
    assert len(runs) == 3
    assert sorted(result["verdict"] for result in results) == ["FAIL", "PASS"]
    assert {result["label"] for result in results} == {
        f"{NAME} (model {result['identity']['model'][:8]})" for result in results
    }


def test_a_model_is_told_by_its_newest_version_alone(tmp_path: Path) -> None:
    def written(version: str, **files: str) -> str:
        for name, text in files.items():
            (tmp_path / "base" / version / "variables").mkdir(parents=True, exist_ok=True)
            (tmp_path / "base" / version / "variables" / name).write_text(text)
        return model_digest(tmp_path / "base")

    first = written("1", data="a")

    assert written("2", data="a") == first
    assert written("2", data="b") != first
    assert written("10", data="a") == first
    assert written("10", data="a", index="") != first


def test_a_model_is_told_by_what_its_links_lead_to(tmp_path: Path) -> None:
    for name, text in (("one", "a"), ("two", "b"), ("three", "a")):
        (tmp_path / f"of_{name}").mkdir()
        (tmp_path / f"of_{name}" / "data").write_text(text)
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "variables").symlink_to(tmp_path / f"of_{name}")
    (tmp_path / "three" / "1" / "self").symlink_to(tmp_path / "three")

    one, two = (model_digest(tmp_path / name) for name in ("one", "two"))

    assert one != two
    assert model_digest(tmp_path / "three")


def test_a_file_that_keeps_its_size_and_time_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "1" / "data"
    file.parent.mkdir()
    file.write_text("a")
    before, times = model_digest(tmp_path), (file.stat().st_atime_ns, file.stat().st_mtime_ns)

    file.write_text("b")
    os.utime(file, ns=times)

    assert model_digest(tmp_path) != before
