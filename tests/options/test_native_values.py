"""Values of the ini file: native ones of TOML, which pytest 9 reads, and texts as everywhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import planted_results as planted
from harness import FEW_PLUGINS
from pytest_tfserving.plugin.options import OPTIONS, Option
from pytest_tfserving.plugin.settings_reader import _TARGETS_OF, read_settings
from pytest_tfserving.text.option_names import ALLOWED_INI

if TYPE_CHECKING:
    from harness import Project
    from pytest_tfserving.settings import Settings

native = pytest.mark.skipif(pytest.version_tuple < (9,), reason="pytest reads TOML natively from 9 on")

# By option: a native value, and the text that means the same.
FIT = {
    "target": ('"docker"', "docker"),
    "server": ('"./server"', "./server"),
    "url": ('"http://host/v1/models/m"', "http://host/v1/models/m"),
    "header": ('["X-Tenant: a", "X-Text: b c"]', "X-Tenant: a\n  X-Text: b c"),
    "ca-file": ('"ca.pem"', "ca.pem"),
    "client-certificate": ('"client.pem"', "client.pem"),
    "client-key": ('"client.key"', "client.key"),
    "image": ('"mine:1"', "mine:1"),
    "against": ('["server:./before"]', "server:./before"),
    "keep": ('"always"', "always"),
    "kubeconfig": ('"config"', "config"),
    "context": ('["kind-a", "kind-b"]', "kind-a kind-b"),
    "namespace": ('"perf"', "perf"),
    "access": ('"pod"', "pod"),
    "base": ('"base"', "base"),
    "experiments": ('"more.yaml"', "more.yaml"),
    "profile": ('"quick"', "quick"),
    "users": ("2", "2"),
    "rate": ("2.5", "2.5"),
    "spawn-rate": ("1", "1"),
    "run-time": ("90", "90s"),
    "locustfile": ('"users.py"', "users.py"),
    "load-processes": ("2", "2"),
    "load-in-cluster": ("true", "yes"),
    "load-image": ('"mine:1"', "mine:1"),
    "early-stop": ("false", "no"),
    "max-cpu-wait": ("0.2", "20%"),
    "max-lag-ms": ("50", "50"),
    "alpha": ("0.05", "0.05"),
    "noise-memory": ("20", "20s"),
    "ready-timeout": ("60.5", "60.5s"),
    "unfit": ('"skip"', "skip"),
    "inconclusive": ('"fail"', "fail"),
    "unjudged": ('"fail"', "fail"),
    "nothing-judged": ('"fail"', "fail"),
    "json": ('"out.json"', "out.json"),
    "html": ('"out.html"', "out.html"),
    "markdown": ('"out.md"', "out.md"),
    "save": ('"main"', "main"),
    "compare": ('"main"', "main"),
    "compare-fail": ('["p95:5%", "rps:3%"]', "p95:5% rps:3%"),
    "compare-force": ("true", "yes"),
    "update-slos": ('"10%"', "10%"),
    "prices": ('"prices.yaml"', "prices.yaml"),
    "hours": ("730", "730"),
    "ui": ('"none"', "none"),
}
# Options that need another one.
_URL = "--tfserving-url=http://host/v1/models/m"
NEEDED = {
    **dict.fromkeys(("compare-fail", "compare-force"), ("--tfserving-compare=main",)),
    **dict.fromkeys(("header", "ca-file", "client-certificate"), (_URL,)),
    "client-key": (_URL, "--tfserving-client-certificate=client.pem"),
}
# What fits no option: a date, a table, and whatever is empty.
UNFIT = ("2026-01-01", "{a = 1}", "{}", "[]", '""', '"  "', '[""]')


def settings(project: Project, file: str, content: str, option: Option) -> Settings:
    """Read the settings as pytest would with such a file, on a target that the option goes with."""
    path = project.pytester.path / file
    path.write_text(content, encoding="utf-8")
    target = _TARGETS_OF.get(option.name, ("local",))[0]
    chosen = [] if option.name == "target" else [f"--tfserving-target={target}"]
    chosen += NEEDED.get(option.name, ())
    try:
        return read_settings(project.pytester.parseconfig(*FEW_PLUGINS, *chosen))
    finally:
        path.unlink()


@native
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_native_value_means_what_its_text_means(project: Project, option: Option) -> None:
    for name in ("users.py", "ca.pem", "client.pem", "client.key"):
        (project.pytester.path / name).write_text("")
    (project.pytester.path / "prices.yaml").write_text(
        "{vcpu_hour_usd: 1, gb_hour_usd: 0, source: ours, date: 2026-01-01}"
    )
    value, text = FIT[option.name]

    found = settings(project, "pyproject.toml", f"[tool.pytest]\n{option.dest} = {value}\n", option)

    ini = f"[pytest]\n{option.dest} = {text}\n"
    assert found == settings(project, "pytest.ini", ini, option)
    if option.name != "url":  # which target url is never without
        assert found != settings(project, "pytest.ini", "[pytest]\n", option)


@native
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_native_value_that_does_not_fit_is_one_sentence(project: Project, option: Option) -> None:
    fit = FIT[option.name][0]
    more = ["true"] if fit.startswith('"') else ["true"] if fit[0].isdigit() else ['"maybe?"']
    several = ["[1, 2]"] if not option.repeatable else ['["a", 5]']
    unfit = [*UNFIT, *several, *(more if not option.repeatable else [])]

    for value in unfit:
        with pytest.raises(pytest.UsageError) as caught:
            settings(project, "pytest.toml", f"[pytest]\n{option.dest} = {value}\n", option)
        said = str(caught.value)
        assert said.startswith(f"{option.dest} in {project.pytester.path / 'pytest.toml'}: "), value
        assert said.endswith("."), value
        assert "\n" not in said, value


@native
@pytest.mark.parametrize(
    ("file", "table"),
    [("pyproject.toml", "tool.pytest"), ("pytest.toml", "pytest"), (".pytest.toml", "pytest")],
)
def test_a_run_takes_them(project: Project, file: str, table: str) -> None:
    planted.instead_of_load(project)
    (project.pytester.path / file).write_text(
        f'[{table}]\ntfserving_users = 2\ntfserving_early_stop = false\ntfserving_json = "out.json"\n'
    )

    run, (result,) = project.results("-o", "tfserving_spawn_rate=3")

    run.assert_outcomes(passed=1)
    wanted = {"users": 2, "early_stop": False, "spawn_rate": 3}
    assert {name: result["profile"][name] for name in wanted} == wanted


@native
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tfserving_users = true", "tfserving_users in *: 'true' is not a whole number of 1 or more."),
        ("tfserving_users = 2.0", "tfserving_users in *: '2.0' is not a whole number of 1 or more."),
        ("tfserving_early_stop = 1", "tfserving_early_stop in *: '1' is not one of: yes, no."),
        ("tfserving_html = true", "tfserving_html in *: true is not a text in quotes."),
        ("tfserving_alpha = nan", "tfserving_alpha in *: 'nan' is not a probability above 0 and below 0.5."),
        ("tfserving_run_time = inf", "tfserving_run_time in *: 'inf' is not a duration; *"),
        (f"tfserving_users = 1{'0' * 400}", "tfserving_users in *: '10*' is more than a billion."),
        ("tfserving_rate = 1e300", "tfserving_rate in *: '1e+300' is more than a billion."),
        ("tfserving_rate = inf", "tfserving_rate in *: 'inf' is not a number above 0."),
        (f'tfserving_run_time = "{"9" * 400}h"', "tfserving_run_time in *: '99*' is more than a billion."),
        ("tfserving_users = []", "tfserving_users in *: [[][]] is not one value."),
        ("tfserving_json = []", "tfserving_json in *: [[][]] is not a text in quotes."),
        (
            'tfserving_json = ""',
            "tfserving_json in *: '' is empty; write a value, or leave the option out.",
        ),
        (
            "tfserving_context = []",
            "tfserving_context in *: [[][]] is empty; write a value, or leave the option out.",
        ),
        ('tfserving_users = ["2"]', "tfserving_users in *: [[]'2'[]] is not one value."),
        ('tfserving_server = "a\\u0000"', "tfserving_server in *: 'a?x00' has a control character in it."),
        (f'tfserving_users = "{"9" * 5000}"', "tfserving_users in *: '999*' is not a whole number of *"),
        ("tfserving_allowed_contexts = 5", f"{ALLOWED_INI} in *: 5 is not a list of texts in quotes."),
        (
            "tfserving_allowed_contexts = [5]",
            f"{ALLOWED_INI} in *: [[]5[]] is not a list of texts in quotes.",
        ),
    ],
)
def test_a_run_refuses_what_does_not_fit(project: Project, line: str, said: str) -> None:
    (project.pytester.path / "pyproject.toml").write_text(f"[tool.pytest]\n{line}\n")

    run = project.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: {said}"])
    run.stdout.no_fnmatch_line("*INTERNALERROR*")


@native
def test_workers_take_them(project: Project) -> None:
    (project.pytester.path / "pyproject.toml").write_text(
        "[tool.pytest]\ntfserving_users = 1\ntfserving_early_stop = false\ntfserving_run_time = 1\n"
    )
    planted.in_every_process(project.pytester, project.monkeypatch)

    run, (result,) = project.results("-n", "1")

    assert "errors" not in run.parseoutcomes()
    assert (result["users"], result["profile"]["early_stop"]) == (1, False)


@native
@pytest.mark.parametrize("value", ['"a*\\nb*"', '["a*", "b*"]', '["a*", " b* "]'])
def test_allowed_contexts_are_a_list_or_lines(project: Project, value: str) -> None:
    found = settings(project, "pyproject.toml", f"[tool.pytest]\n{ALLOWED_INI} = {value}\n", OPTIONS[0])

    assert found.allowed_contexts == ("a*", "b*")


@pytest.mark.parametrize("value", ["false", '"no"', '"False"'])
def test_the_older_table_takes_its_texts_as_before(project: Project, value: str) -> None:
    planted.instead_of_load(project)
    (project.pytester.path / "pyproject.toml").write_text(
        f"[tool.pytest.ini_options]\ntfserving_users = 2\ntfserving_early_stop = {value}\n"
    )

    _, (result,) = project.results()

    assert (result["users"], result["profile"]["early_stop"]) == (2, False)


def test_an_override_is_named_as_such(project: Project) -> None:
    project.pytester.makeini("[pytest]\ntfserving_users = 2\n")

    run = project.run("-o", "tfserving_users=lots")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: tfserving_users in -o: 'lots' is not a whole number of 1 or more."])


@pytest.mark.parametrize("table", ["pytest", "tool:pytest"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("users", "'' is not a whole number of 1 or more."),
        ("early_stop", "'' is not one of: yes, no."),
        ("html", "'' is empty; write a value, or leave the option out."),
        ("context", "[] is empty; write a value, or leave the option out."),
    ],
)
def test_a_line_without_a_value_is_refused(project: Project, name: str, said: str, table: str) -> None:
    file = project.pytester.path / ("pytest.ini" if table == "pytest" else "setup.cfg")
    file.write_text(f"[{table}]\ntfserving_{name} =\n")

    run = project.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: tfserving_{name} in {file}: {said}" in run.errlines


def test_an_override_without_a_value_takes_back_what_the_file_says(project: Project) -> None:
    planted.instead_of_load(project)
    project.pytester.makeini("[pytest]\ntfserving_users = 7\ntfserving_html = out.html\n")

    _, (result,) = project.results("-o", "tfserving_users=", "-o", "tfserving_html=")

    assert result["users"] == 2
    assert not (project.pytester.path / "out.html").exists()


@pytest.mark.parametrize("option", ["--tfserving-html=", "--tfserving-html= ", "--tfserving-experiments="])
def test_an_empty_value_on_the_command_line_is_refused(project: Project, option: str) -> None:
    run = project.run(option)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"*{option.partition('=')[0]}: '*' is empty; write a value, or leave *"])


def test_every_option_is_tried() -> None:
    names: Any = [option.name for option in OPTIONS]

    assert json.dumps(list(FIT)) == json.dumps(names)
