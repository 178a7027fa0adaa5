"""How tests are parametrised and chosen, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness import Project

MANY = """
experiments:
- {shape: [8vCPU-16GB_2, 1cpu-2gb-1n], inter_op: [2, 4], batching: [false, true]}
"""


def collected(project: Project, *arguments: str, apart: bool = False) -> list[str]:
    run = project.run("--collect-only", "-q", *arguments, apart=apart)
    return [line.split("::")[1] for line in run.outlines if "::" in line]


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("8cpu and interop4", ["8cpu-16gb-2n-interop4", "8cpu-16gb-2n-interop4-batch"]),
        ("batch and 1cpu", ["1cpu-2gb-1n-interop2-batch", "1cpu-2gb-1n-interop4-batch"]),
        ("1cpu-2gb-1n-interop2 and not batch", ["1cpu-2gb-1n-interop2"]),
    ],
)
def test_k_selects_by_name(project: Project, expression: str, names: list[str]) -> None:
    project.write(MANY)

    assert collected(project, "-k", expression) == [f"test_gate[{name}]" for name in names]


def test_the_mark_experiments_selects(project: Project) -> None:
    test = 'import pytest\n@pytest.mark.experiments("1cpu-*4", "*8cpu*interop2")\ndef test_gate(load): ...\n'
    project.write(MANY, test)

    assert collected(project) == ["test_gate[8cpu-16gb-2n-interop2]", "test_gate[1cpu-2gb-1n-interop4]"]


def test_a_hook_adds_experiments(project: Project) -> None:
    (project.pytester.path / "conftest.py").write_text(
        "import dataclasses\n"
        "from pytest_tfserving import Experiment, LoadProfile, ServingOptions, Shape\n"
        "def pytest_tfserving_experiments(config):\n"
        "    return [Experiment('mine', Shape(1, 1, 1), ServingOptions(1, 1), 'resnet50', 'json',\n"
        "                       LoadProfile('p', users=1, spawn_rate=1, run_time_s=2))]\n",
        encoding="utf-8",
    )

    assert collected(project) == ["test_gate[1cpu-1gb-1n-interop1]", "test_gate[mine]"]


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        (
            'slo("p95<5")',
            "test_perf.py::test_gate: mark slo: SLO 'p95<5': a missing unit does not fit p95*",
        ),
        ("slo()", "*mark slo: it needs SLOs, as slo(*"),
        ('slo("rps>=1", stict=False)', "*mark slo: unknown argument 'stict'; did you mean 'strict'*"),
        ('slo("rps>=1", strict=3)', "*mark slo: strict is True or False, not 3."),
        ("load_profile(user=3)", "*mark load_profile: unknown argument 'user'; did you mean 'users'*"),
        ("load_profile(3)", "*mark load_profile: it takes one profile's name, not 3."),
        ("experiments()", "*mark experiments: it needs patterns of names*"),
        ('experiments("*", x=1)', "*mark experiments: unknown argument 'x'; it takes none."),
    ],
)
def test_a_mistaken_mark_is_named(project: Project, mark: str, message: str) -> None:
    project.write(tests=f"import pytest\n@pytest.mark.{mark}\ndef test_gate(load): ...\n")

    run = project.run()

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: {message}"])


def test_no_experiments_file(project: Project) -> None:
    (project.pytester.path / "experiments.yaml").unlink()

    run = project.run()

    assert run.ret == pytest.ExitCode.INTERRUPTED
    run.stdout.fnmatch_lines(["no experiments.yaml in * or above it; write one, or name a file with *"])
    run.stdout.no_fnmatch_line("*Traceback*")


def test_a_mistaken_file_is_named_by_line(project: Project) -> None:
    project.write("experiments:\n- {shape: big, inter_op: 1}\n")

    run = project.run()

    run.stdout.fnmatch_lines(["*experiments.yaml:2: 'big' is not a shape; write it as *"])


def test_the_marks_are_documented(project: Project) -> None:
    project.run("--markers").stdout.fnmatch_lines(
        ["@pytest.mark.slo(*", "@pytest.mark.load_profile(*", "@pytest.mark.experiments(*"], consecutive=False
    )


def test_a_run_without_perf_tests_loads_nothing_heavy(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        HEAVY = {"locust", "gevent", "tensorflow", "kubernetes", "docker", "yaml", "requests", "numpy"}

        def test_nothing():
            import pytest_tfserving
            assert not HEAVY & set(sys.modules)
        """
    )

    run = pytester.runpytest_subprocess("-p", "no:locust", "-p", "no:hypothesispytest")

    run.assert_outcomes(passed=1)
    run.stdout.no_fnmatch_line("*tfserving:*")


def test_collecting_perf_tests_loads_neither_locust_nor_tensorflow(project: Project) -> None:
    (project.pytester.path / "conftest.py").write_text(
        "import sys\n"
        "def pytest_collection_finish():\n"
        "    assert not {'locust', 'gevent', 'tensorflow'} & set(sys.modules)\n",
        encoding="utf-8",
    )

    assert collected(project, apart=True) == ["test_gate[1cpu-1gb-1n-interop1]"]


# By name: the marks of a test, and what is said of them.
MATCHES_NOTHING = {
    "a typo": (
        '@pytest.mark.experiments("8cpus-*")',
        "'8cpus-*' matches no experiment; *valid: 8cpu-*",
    ),
    "one pattern of two": (
        '@pytest.mark.experiments("1cpu-*", "8cpus-*")',
        "'8cpus-*' matches no experiment; *valid: 8cpu-*",
    ),
    "another case": ('@pytest.mark.experiments("8CPU-*")', "'8CPU-*' matches no experiment; *"),
    "a whole name": (
        '@pytest.mark.experiments("8cpu-16gb-2n-interop3")',
        "'8cpu-16gb-2n-interop3' matches no experiment; did you mean '8cpu-16gb-2n-interop*'* valid: *",
    ),
    "marks that exclude each other": (
        '@pytest.mark.experiments("1cpu-*")\n@pytest.mark.experiments("8cpu-*")',
        "no experiment matches '8cpu-*' and '1cpu-*'; valid: *",
    ),
    "a pattern that is none": ("@pytest.mark.experiments(8)", "it needs patterns of names, as *"),
}


@pytest.mark.parametrize("name", MATCHES_NOTHING)
@pytest.mark.parametrize(
    "selection", [(), ("-k", "8cpu"), ("-k", "test_other"), ("--collect-only", "-q")], ids=str
)
def test_a_pattern_that_matches_nothing_is_named_whatever_is_selected(
    project: Project, name: str, selection: tuple[str, ...]
) -> None:
    marks, said = MATCHES_NOTHING[name]
    other = "def test_other(load): ...\n"
    project.write(MANY, f"import pytest\n{marks}\ndef test_gate(load): ...\n{other}")

    run = project.run(*selection)

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines([f"ERROR: test_perf.py::test_gate: mark experiments: {said}"])
    run.stdout.no_fnmatch_line("*Traceback*")


def test_a_pattern_for_another_file_of_experiments_is_named(project: Project) -> None:
    (project.pytester.path / "other.yaml").write_text(MANY, encoding="utf-8")
    project.write(tests='import pytest\n@pytest.mark.experiments("*interop1")\ndef test_gate(load): ...\n')

    assert project.run("--collect-only", "-q").ret == pytest.ExitCode.OK
    run = project.run("--tfserving-experiments=other.yaml")

    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["ERROR: *: mark experiments: '[*]interop1' matches no experiment; *"])


def test_every_pattern_that_matches_nothing_is_named_at_once(project: Project) -> None:
    project.write(
        MANY,
        'import pytest\n@pytest.mark.experiments("a")\ndef test_a(load): ...\n'
        '@pytest.mark.experiments("b")\ndef test_b(load): ...\n',
    )

    run = project.run()

    run.stderr.fnmatch_lines(["ERROR: *test_a: *'a' matches no *", "ERROR: *test_b: *'b' matches no *"])


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ('experiments("8cpus-*")', "*mark experiments: '8cpus-[*]' matches no experiment; *"),
        ('slo("p95<5")', "*mark slo: SLO 'p95<5': a missing unit does not fit p95*"),
    ],
)
def test_workers_name_a_mistaken_mark(project: Project, mark: str, said: str) -> None:
    project.write(MANY, f"import pytest\n@pytest.mark.{mark}\ndef test_gate(load): ...\n")

    run = project.run("-n", "1")

    assert run.ret not in (pytest.ExitCode.OK, pytest.ExitCode.INTERNAL_ERROR)
    run.stdout.fnmatch_lines([said])
    run.stdout.no_fnmatch_line("*INTERNALERROR*")


def test_a_file_without_experiments_is_named(project: Project) -> None:
    project.write("experiments: []\n")

    run = project.run()

    assert run.ret == pytest.ExitCode.INTERRUPTED
    run.stdout.fnmatch_lines(["*experiments.yaml: its list of experiments is empty."])
