"""``init``: perf tests for a SavedModel, with generated requests, and SLOs from a trial."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin.options import parse_count, parse_duration
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from pytest_tfserving.cli.written_tests import WrittenExperiment, WrittenTests
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.protocols.fitting_request import FoundRequest, InspectedModel
    from pytest_tfserving.text.json_value import JsonValue

_TRIAL_S = 10.0
# Each signature has a server of its own, and its part of the trial.
_MOST_SIGNATURES = 3
_INTERRUPTED = 130
_TRIAL = """
def test_trial(load):
    load().check()
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="the model's base folder")
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("perf_tests"),
        metavar="DIR",
        help="where the tests are written; no file is overwritten (default: %(default)s)",
    )
    parser.add_argument(
        "--signature",
        action="append",
        metavar="NAME",
        help=f"a signature to test; can be repeated (default: all, at most {_MOST_SIGNATURES})",
    )
    parser.add_argument(
        "--github", action="store_true", help="also write a workflow of GitHub Actions for pull requests"
    )
    parser.add_argument(
        "--cpus", type=parse_count, default=1, metavar="N", help="vCPUs of the served model (default: 1)"
    )
    parser.add_argument(
        "--trial",
        type=parse_duration,
        default=_TRIAL_S,
        metavar="TIME",
        help="the time of load that SLOs are proposed from (default: 10s)",
    )
    parser.epilog = "Arguments after -- go to pytest, for the trial."


def run(options: argparse.Namespace) -> int:
    """Generate requests, measure a trial, write the tests, and print what they are and what comes next."""
    from pytest_tfserving.protocols.fitting_request import inspected
    from pytest_tfserving.targets.common.model_folder import find_model

    folder = find_model(options.model)
    base_path = folder.served_path.absolute()
    if folder.note:
        print(folder.note)
    chosen = _chosen(inspected(folder.version_path), options.signature)
    tests = _unmeasured(options, base_path, folder.version_path, chosen)
    tests.refuse_to_overwrite()
    results = _trial(tests, options.trial, options.pytest)
    if results is None:
        return _INTERRUPTED
    tests = replace(tests, experiments=[_measured(each, results) for each in tests.experiments])
    tests.write()
    print("\n".join(_report(tests)))
    return 0


def _chosen(model: InspectedModel, names: Sequence[str] | None) -> list[FoundRequest]:
    """Return the requests of the named signatures, else of the first different ones that have a request.

    Raises:
        ConfigurationError: if there is no such signature, or no request.
    """
    if names:
        return [model.usable(name) for name in dict.fromkeys(names)]
    model.usable()
    usable = [each for each in model.requests if not each.problem and not each.same_as]
    for each in model.requests:
        if each.problem:
            print(f"left out: signature {each.signature_name}: {each.problem}")
    for each in usable[_MOST_SIGNATURES:]:
        print(f"left out: signature {each.signature_name}; --signature {each.signature_name} takes it")
    return usable[:_MOST_SIGNATURES]


def _unmeasured(
    options: argparse.Namespace, base_path: Path, version_path: Path, chosen: Sequence[FoundRequest]
) -> WrittenTests:
    from pytest_tfserving.cli.written_tests import WrittenExperiment, WrittenTests, payload_name
    from pytest_tfserving.experiments.model_mix import model_name
    from pytest_tfserving.targets.common.model_folder import ram_gb

    model = model_name(str(base_path))
    several = len(chosen) > 1
    experiments = [
        WrittenExperiment(
            name=f"{model}-{each.signature_name}" if several else model,
            found=each,
            payload=payload_name(each.signature_name if several else ""),
        )
        for each in chosen
    ]
    shape = f"{options.cpus}cpu-{ram_gb(version_path)}gb-1n"
    return WrittenTests(options.folder, base_path, shape, options.cpus, experiments, options.github)


def _trial(tests: WrittenTests, run_time_s: float, further: Sequence[str]) -> dict[str, Result] | None:
    """Put load on each experiment; return the results by name, None if the user interrupts it.

    Raises:
        ConfigurationError: if pytest refuses the trial.
    """
    from pytest_tfserving.cli.generated_project import GeneratedProject
    from pytest_tfserving.cli.written_tests import PROFILE
    from pytest_tfserving.experiments.load_profile import find_profile

    profile = find_profile(PROFILE)
    load = {
        "users": profile.users,
        "spawn_rate": profile.spawn_rate,
        "run_time_s": run_time_s / len(tests.experiments),
        "early_stop": False,
    }
    with tempfile.TemporaryDirectory(prefix="pytest-tfserving-init-") as name:
        for each in tests.experiments:
            (Path(name) / each.payload).write_bytes(each.found.body)
        entries: list[dict[str, JsonValue]] = [
            {
                "name": each.name,
                "shape": tests.shape,
                "inter_op": tests.inter_op,
                "model": str(tests.base_path),
                "payload": each.payload,
                "protocol": each.found.protocol,
                "slo": ["errors<1%"],
            }
            for each in tests.experiments
        ]
        project = GeneratedProject(Path(name), entries, load, _TRIAL)
        outcome = project.run("--disable-warnings", *further)
    if outcome.interrupted:
        return None
    if not outcome.entries:
        cause = one_line(outcome.failures[0]) if outcome.failures else "its reason is above"
        raise ConfigurationError(f"pytest refused the trial: {cause.rstrip('.')}.")
    return {entry.result.experiment: entry.result for entry in outcome.entries}


def _measured(experiment: WrittenExperiment, results: dict[str, Result]) -> WrittenExperiment:
    """Return an experiment with what the trial measured, and the SLOs that follow."""
    from pytest_tfserving.cli.written_tests import LONGEST_S
    from pytest_tfserving.report.formatting import figure
    from pytest_tfserving.slo.proposal import propose

    result = results.get(experiment.name)
    if result is None:
        return replace(experiment, trial="nothing was measured")
    if cause := result.aborted or result.not_judged:
        return replace(experiment, trial=f"nothing was measured: {cause}")
    if errors := "; ".join(f"{count} x {cause}" for cause, count in result.errors.items()):
        return replace(experiment, trial=f"{result.total_errors} of {result.total_requests} failed: {errors}")
    if not result.successes:
        cause = f"a longer --trial may help: {result.incomplete or 'no request ended'}"
        return replace(experiment, trial=f"nothing was measured: {cause}")
    figures = f"{figure(result.rps)} requests/s, p95 {figure(result.p95_ms)} ms, no errors"
    doubt = f"; {result.invalid}" if result.invalid else ""
    slos = propose(result, LONGEST_S)
    return replace(experiment, trial=f"{figures}{doubt}", slos=tuple(slos))


def _report(tests: WrittenTests) -> Iterator[str]:
    for each in tests.experiments:
        yield ""
        yield f"{each.name}: {each.trial}"
        for slo in each.slos:
            yield f"  {slo.text:16} {slo.origin}"
        yield f"  {tests.folder / each.payload} was made up:"
        yield from (f"    {note}" for note in each.found.notes)
    yield ""
    yield from (f"wrote {path}" for path in tests.paths)
    yield ""
    yield "next:"
    yield f"  pytest {tests.folder}"
    yield f"  pytest {tests.folder} --tfserving-html=report.html"
    if tests.github:
        yield f"  git add {tests.folder} {tests.paths[-1]}"
