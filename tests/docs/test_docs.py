"""Everything README and docs show is tried: examples, commands, options, SLOs, tables, links, names."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import yaml

import planted_results as planted
import pytest_tfserving
from harness import EXPERIMENTS
from pytest_tfserving import cli, plugin
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments import TARGET_NAMES
from pytest_tfserving.experiments.experiment import Experiment, ServingOptions, Shape
from pytest_tfserving.experiments.load_profile import PROFILES, LoadProfile
from pytest_tfserving.experiments.yaml_file import _EXPERIMENT_KEYS, _TOP_KEYS, read_file
from pytest_tfserving.measurement.measure import nothing_measured
from pytest_tfserving.model_server.flags import FLAGS, Handling, parse_flags
from pytest_tfserving.plugin import hookspecs
from pytest_tfserving.plugin.options import OPTIONS
from pytest_tfserving.plugin.settings_reader import read_settings
from pytest_tfserving.report.cost import Pricing, read_prices
from pytest_tfserving.report.report_data import document_of
from pytest_tfserving.report.store import Entry
from pytest_tfserving.slo.language import Slo, Verdict
from pytest_tfserving.slo.metrics import METRICS
from pytest_tfserving.statistics.percentiles import KEPT_PERCENTILES
from pytest_tfserving.text.option_names import ALLOWED_INI

if TYPE_CHECKING:
    from harness import Project

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"^`([^`]*)`$")
_ROW = re.compile(r"^\|(.+)\|$", re.MULTILINE)
_MISTAKES_OF_CODE = [
    f"*{mistake}*"
    for mistake in (
        "NameError",
        "AttributeError",
        "TypeError",
        "ImportError",
        "INTERNALERROR",
        "never reaches",
    )
]
# Nobody waits for figures here.
_SHORT = ["--tfserving-profile=tiny", "--tfserving-run-time=1.5", "--tfserving-spawn-rate=8"]


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Every fenced block in one of ``languages``."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])
        for page, text in texts.items()
        for match in _FENCE.finditer(text)
        if match[1] in languages
    ]


def shown_tests() -> list[Block]:
    return [block for block in blocks("python") if "def test_" in block.text]


def shown_conftests() -> list[Block]:
    return [block for block in blocks("python") if "def test_" not in block.text]


def commands(program: str) -> list[tuple[str, list[str]]]:
    """Every command line of ``program``: where it stands, and its arguments."""
    found = []
    for block in blocks("console", "sh", "bash", "shell"):
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            for command in re.split(r"&& | \| ", line.removeprefix("$ ")):
                words = shlex.split(command, comments=True)
                if words[:1] == [program]:
                    found.append((f"{block.page.name}:{number}", words[1:]))
    return found


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def table(page: str, *head: str, section: str = "") -> list[list[str]]:
    """The rows of the tables of ``page``, or of its ``section``, whose head begins so; without backticks."""
    rows: list[list[str]] = []
    inside, heading = False, ""
    for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines():
        heading = line.lstrip("# ") if line.startswith("#") else heading
        cells = [cell.strip() for cell in line.strip("|").split("|")] if _ROW.fullmatch(line) else []
        if cells[: len(head)] == list(head) and section in ("", heading):
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(cells[0]) <= {"-"}:
            rows.append([_CODE.sub(r"\1", cell) for cell in cells])
    assert rows, f"{page} has no table with the head {head}"
    return rows


def keys(section: str) -> set[str]:
    """The keys that a section of the page on results describes."""
    cells = [row[0] for row in table("results.md", "key", "value", section=section)]
    return {key for cell in cells for key in re.findall(r"\w+", cell)}


def models_of(text: str, folder: Path) -> None:
    """Make the model folders that an example names."""
    for model in re.findall(r"\./(models/\w+)", text):
        (folder / model / "1").mkdir(parents=True, exist_ok=True)


def files_of(text: str, folder: Path) -> None:
    """Write the traces and the rates that an example names."""
    line = '10.0.0.7 - - [29/Nov/2026:02:00:00 +0100] "POST / HTTP/1.1" 200 31 "-" "curl"'
    contents = {"traffic.jsonl": '{"time": 0}\n', "access.log": f"{line}\n", "rates.csv": "1\n2\n"}
    for name, content in contents.items():
        if name in text:
            (folder / name).write_text(content, encoding="utf-8")


# Python


def _patches_python(block: Block) -> bool:
    """Whether it changes the whole process: Locust replaces much of the standard library."""
    return "locust" in block.text or "METRICS[" in block.text


@pytest.mark.parametrize("block", shown_tests(), ids=str)
def test_a_test_shown_runs(project: Project, block: Block) -> None:
    """Where no server is asked, its load is planted."""
    if "serving" not in block.text:
        planted.instead_of_load(project)
    project.write(tests=block.text)

    run, results = project.results(*_SHORT, apart=_patches_python(block))

    assert run.ret in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    for mistake in _MISTAKES_OF_CODE:
        run.stdout.no_fnmatch_line(mistake)
    assert sum(run.parseoutcomes().get(each, 0) for each in ("passed", "failed", "skipped")) > 0
    assert "errors" not in run.parseoutcomes()
    assert bool(results) == ("load" in block.text)
    assert all(result["metrics"]["requests"] for result in results)


@pytest.mark.parametrize("block", shown_conftests(), ids=str)
def test_a_conftest_shown_is_collected_with(project: Project, block: Block) -> None:
    (project.pytester.path / "conftest.py").write_text(block.text, encoding="utf-8")

    run = project.run("--collect-only", "-q", apart=_patches_python(block))

    assert run.ret == pytest.ExitCode.OK
    run.stdout.fnmatch_lines(["test_perf.py::test_gate[[]1cpu-1gb-1n-interop1[]]"])


def test_the_fixtures_shown_are_used(project: Project) -> None:
    (block,) = [block for block in shown_conftests() if "request_payload" in block.text]
    (project.pytester.path / "conftest.py").write_text(block.text, encoding="utf-8")
    project.write(EXPERIMENTS.replace("./models/half", "resnet50").replace("request.json", "json"))

    project.run().assert_outcomes(passed=1)


def test_the_experiments_shown_as_code_are_collected(project: Project) -> None:
    (block,) = [block for block in shown_conftests() if "pytest_tfserving_experiments" in block.text]
    (project.pytester.path / "conftest.py").write_text(block.text, encoding="utf-8")

    run = project.run("--collect-only", "-q", "-k", "intraop")

    run.stdout.fnmatch_lines(["*test_gate[[]1cpu-2gb-1n-intraop1[]]", "*test_gate[[]1cpu-2gb-1n-intraop2[]]"])


# YAML and ini


def yaml_of(key: str) -> list[Block]:
    """The YAML files shown that have ``key``."""
    return [block for block in blocks("yaml") if re.search(rf"^{key}:", block.text, re.MULTILINE)]


def steps_of(block: Block) -> list[dict[str, Any]]:
    """The steps of GitHub's that a block shows, alone or in a workflow."""
    content = yaml.safe_load(block.text)
    if isinstance(content, dict):
        return [step for job in content.get("jobs", {}).values() for step in job["steps"]]
    return list(content)


def shown_gates() -> list[dict[str, Any]]:
    steps = [step for block in blocks("yaml") for step in steps_of(block)]
    return [step for step in steps if "perf-gate" in step["uses"]]


def test_every_yaml_file_shown_is_known() -> None:
    workflows = [block for block in blocks("yaml") if steps_of(block)]

    assert len(yaml_of("experiments")) + len(yaml_of("vcpu_hour_usd")) + len(workflows) == len(blocks("yaml"))
    assert shown_gates()


def test_the_inputs_and_outputs_of_the_action_are_described() -> None:
    path = ROOT / ".github" / "actions" / "perf-gate" / "action.yml"
    action = yaml.safe_load(path.read_text(encoding="utf-8"))

    rows = {row[0]: row[-1] for row in table("github.md", "input", "meaning")}
    assert list(rows) == list(action["inputs"])
    written = {name: about.get("default", "") for name, about in action["inputs"].items()}
    in_words = {"install", "github-token"}
    assert {name: text for name, text in rows.items() if name not in in_words} == {
        name: value for name, value in written.items() if name not in in_words
    }
    assert [row[0] for row in table("github.md", "output", "value")] == list(action["outputs"])
    for gate in shown_gates():
        assert gate["with"].keys() <= action["inputs"].keys()


@pytest.mark.parametrize("block", yaml_of("vcpu_hour_usd"), ids=str)
def test_prices_shown_are_read(tmp_path: Path, block: Block) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(block.text, encoding="utf-8")

    assert read_prices(path).source


@pytest.mark.parametrize("block", yaml_of("experiments"), ids=str)
def test_experiments_shown_are_read(tmp_path: Path, block: Block) -> None:
    files_of(block.text, tmp_path)
    path = tmp_path / "experiments.yaml"
    path.write_text(block.text, encoding="utf-8")

    experiments = read_file(path).experiments

    promised = re.search(r"These are (\d+) experiments", block.page.read_text(encoding="utf-8"))
    if promised and block is next(each for each in yaml_of("experiments") if each.page == block.page):
        assert int(promised[1]) == len(experiments)
    assert experiments


@pytest.mark.parametrize("block", yaml_of("experiments"), ids=str)
def test_experiments_shown_are_collected(project: Project, block: Block) -> None:
    models_of(block.text, project.pytester.path)
    files_of(block.text, project.pytester.path)
    project.write(block.text)

    assert project.run("--collect-only", "-q").ret == pytest.ExitCode.OK


@pytest.mark.parametrize("block", blocks("ini"), ids=str)
def test_an_ini_file_shown_is_accepted(project: Project, block: Block) -> None:
    folder = project.pytester.path
    (folder / "pytest.ini").write_text(block.text, encoding="utf-8")
    (folder / "perf_tests").mkdir()
    (folder / "perf_tests" / "experiments.yaml").write_bytes((folder / "experiments.yaml").read_bytes())

    has_target = "tfserving_target" in block.text
    run = project.run("--collect-only", "-q", "--strict-config", server=not has_target)

    assert run.ret == pytest.ExitCode.OK


@pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest reads TOML natively from 9 on")
@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_a_toml_file_shown_is_accepted(project: Project, block: Block) -> None:
    (project.pytester.path / "pyproject.toml").write_text(block.text, encoding="utf-8")

    assert project.run("--collect-only", "-q", "--strict-config").ret == pytest.ExitCode.OK


def test_the_keys_of_the_file_are_described() -> None:
    assert sorted(_TOP_KEYS) == sorted(row[0] for row in table("experiments.md", "key", "what it holds"))
    assert sorted(_EXPERIMENT_KEYS) == sorted(row[0] for row in table("experiments.md", "key", "value"))


def test_the_profiles_are_described() -> None:
    names = [part.name for part in fields(LoadProfile) if part.name != "name"]
    assert names == [row[0] for row in table("experiments.md", "field", "meaning")]
    assert [
        [profile.name, str(profile.users), f"{profile.spawn_rate:g}", f"{profile.think_time_s:g} s", run_time]
        for profile in PROFILES.values()
        if (run_time := f"{profile.run_time_s:g} s")
    ] == table("experiments.md", "profile", "users")


@pytest.mark.parametrize(("line", "said"), [row[:2] for row in table("experiments.md", "in the file")])
def test_a_mistake_described_is_named_so(tmp_path: Path, line: str, said: str) -> None:
    key = line.partition(":")[0]
    keys = {"shape": "shape: 1cpu-2gb-1n", "inter_op": "inter_op: 1", key: line}
    path = tmp_path / "experiments.yaml"
    path.write_text(f"experiments:\n- {{{', '.join(keys.values())}}}\n", encoding="utf-8")

    with pytest.raises(ConfigurationError) as caught:
        read_file(path)

    assert str(caught.value).startswith(f"{path}:2: {said.removesuffix('.')}")


# Commands and options


@pytest.mark.parametrize(("place", "arguments"), commands("pytest"))
def test_a_pytest_command_shown_parses(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, place: str, arguments: list[str]
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    config = pytester.parseconfig("-p", "no:locust", *arguments)

    assert read_settings(config), place


@pytest.mark.parametrize(("place", "arguments"), commands("pytest-tfserving"))
def test_a_command_of_the_plugin_shown_parses(place: str, arguments: list[str]) -> None:
    if arguments[0] == "serve":
        assert not parse_flags(arguments[1:]).unknown, place
    else:
        assert cli._parser().parse_args(arguments), place


def test_commands_are_found() -> None:
    assert len(commands("pytest")) > 5
    assert commands("pytest-tfserving")


def test_the_options_are_described() -> None:
    rows = {row[0]: row[1:] for row in table("options.md", "option", "ini")}

    assert [option.flag for option in OPTIONS] == list(rows)
    assert [row[0] for row in table("options.md", "ini", "value")] == [ALLOWED_INI]
    for option in OPTIONS:
        ini, value, _, default = rows[option.flag]
        assert ini == option.dest
        assert value == option.metavar
        assert default == (option.shown_default or option.default)


def test_the_flags_of_the_embedded_server_are_described() -> None:
    flags = [flag for flag in FLAGS if flag.kind is Handling.USED and flag.name not in ("version", "help")]
    *rows, (last, *_) = table("model-server.md", "flag", "default")

    assert last == "`--version`, `--help`"
    assert [(f"--{flag.name}", flag.help) for flag in flags] == [(name, text) for name, _, text in rows]
    for flag, (_, default, _) in zip(flags, rows, strict=True):
        shown = str(flag.default).lower() if isinstance(flag.default, bool) else str(flag.default)
        assert default in (shown, "4 a CPU", "the CPUs")


def test_the_targets_are_described() -> None:
    assert list(TARGET_NAMES) == [row[0] for row in table("targets.md", "target", "deployment")]
    assert list(TARGET_NAMES) == [
        row[0].removesuffix(" (default)").strip("`") for row in table("../README.md", "`--tfserving-target`")
    ]


def test_the_commands_are_described() -> None:
    commands_row = dict(table("design.md", "kind", "names"))["commands"]

    assert set(cli._COMMANDS) == set(re.findall(r"`(?:pytest-tfserving )?([a-z-]+)`", commands_row))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    flags = {flag.rstrip("-") for flag in re.findall(r"--tfserving-[a-z-]*", text)} - {"--tfserving"}
    inis = set(re.findall(r"\btfserving_[a-z_]+", text))

    assert flags <= {option.flag for option in OPTIONS}
    assert inis <= {option.dest for option in OPTIONS} | {ALLOWED_INI}


# SLOs and verdicts


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_slos_shown_parse(page: Path) -> None:
    for text in re.findall(r'`"([^"`]*[<>][^"`]*)"`', prose(page)):
        assert Slo.parse(text)


@pytest.mark.parametrize(("text", "said"), [row[:2] for row in table("slos.md", "written", "what is said")])
def test_an_slo_that_does_not_parse_is_named_so(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        Slo.parse(text)


def test_the_language_is_described() -> None:
    for metrics, operators, units in table("slos.md", "metric", "operators"):
        for metric in re.findall(r"[a-z][\w.]*", metrics.replace("any other percentile", "")):
            for operator in re.findall(r"[<>]=?", operators):
                for unit in re.findall(r"us|ms|%|/s|x|\bs\b|none", units):
                    assert Slo.parse(f"{metric}{operator}1{unit.replace('none', '')}")


def test_every_metric_is_described() -> None:
    described = {
        name: (re.findall(r"[<>]=?", operators), re.findall(r"us|ms|%|/s|x|\bs\b|none", units))
        for names, operators, units in table("slos.md", "metric", "operators")
        for name in re.findall(r"[a-z][\w.]*", names.replace("any other percentile", ""))
    }

    assert METRICS.keys() - described.keys() <= {f"p{each:g}" for each in KEPT_PERCENTILES}
    for metric in (METRICS[name] for name in described):
        operators = [">", ">="] if metric.higher_is_better else ["<", "<="]
        assert described[metric.name] == (operators, [text or "none" for text in metric.units])


def test_every_verdict_is_described() -> None:
    assert {str(each) for each in Verdict} == {row[0] for row in table("slos.md", "verdict", "when")}


# Results


def test_the_keys_of_the_json_are_described() -> None:
    profile = PROFILES["smoke"]
    experiment = Experiment("e", Shape(1, 1, 1), ServingOptions(1, 1), "resnet50", "json", profile)
    result = nothing_measured(experiment, profile)
    judgements = [("test", judgement) for judgement in result.judge([Slo.parse("rps>=1")])]

    written = document_of([Entry("key", result, judgements)], interrupted=False, pricing=Pricing())

    assert set(written) == keys("JSON")
    assert set(written["results"][0]) == keys("A result")
    assert set(written["results"][0]["slos"][0]) == keys("An SLO")
    (described,) = [row[1] for row in table("results.md", "key", "value") if row[0] == "metrics"]
    assert set(written["results"][0]["metrics"]) == set(re.findall(r"`(\w+)`", described))


# Names and links


def test_the_public_names_are_described() -> None:
    rows = dict(table("design.md", "kind", "names"))

    def named(kind: str) -> set[str]:
        return set(re.findall(r"\w+", rows[kind]))

    assert set(pytest_tfserving._EXPORTS) == named("importable from `pytest_tfserving`")
    assert set(plugin.__all__) <= named("fixtures")
    assert {name for name in vars(hookspecs) if name.startswith("pytest_")} == named("hooks")


def test_the_source_tree_is_described() -> None:
    (tree,) = [block.text for block in blocks("text") if "src/pytest_tfserving/" in block.text]
    package = Path(pytest_tfserving.__file__).parent
    here = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in package.iterdir()
        if (path.is_dir() and path.name != "__pycache__") or path.suffix == ".py"
    }

    assert here == set(re.findall(r"^  (\S+)", tree, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_lines_of_prose_are_short(page: Path) -> None:
    long = [line for line in prose(page).splitlines() if len(line) > 120 and not line.startswith("|")]

    assert not long


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not anchor or anchor in anchors(path), link


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index() -> None:
    listed = set(_LINK.findall(prose(ROOT / "docs" / "index.md")))

    docs = ROOT / "docs"
    assert {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - {"index.md"} <= listed
