"""``check``: one run of load on a SavedModel or an address, judged by SLOs, without any file."""

from __future__ import annotations

import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_tfserving.cli.client_arguments import add_client_arguments, client_options, client_settings
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.plugin.options import parse_count, parse_duration, parse_rate
from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from pytest_tfserving.cli.generated_project import Outcome
    from pytest_tfserving.report.store import Entry
    from pytest_tfserving.slo.language import Slo
    from pytest_tfserving.text.json_value import JsonValue

_TEST = """
def test_slos(load):
    load().check()
"""
_USERS, _RUN_TIME_S = 4, 30.0
_MISTAKE, _INTERRUPTED = 2, 130
_REPORTS = ("html", "json", "markdown")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "target",
        metavar="TARGET",
        help="a SavedModel's folder, which is served on this machine, or the address of a model that is "
        "served: http://host:8501/v1/models/NAME, or grpc://host:8500/NAME",
    )
    parser.add_argument(
        "--slo", action="append", metavar="SLO", required=True, help='as "p95<200ms"; can be repeated'
    )
    parser.add_argument(
        "--body",
        metavar="TEXT|@FILE",
        help="the request's JSON, or @ and a file with it (default: a request generated from the signature)",
    )
    add_client_arguments(parser)
    parser.add_argument(
        "--signature", metavar="NAME", default="", help="the signature of a generated request"
    )
    level = parser.add_mutually_exclusive_group()
    level.add_argument(
        "--users", type=parse_count, metavar="N", help=f"users of a closed loop (default: {_USERS})"
    )
    level.add_argument("--rate", type=parse_rate, metavar="RATE", help="requests a second of an open loop")
    parser.add_argument(
        "--run-time",
        type=parse_duration,
        default=_RUN_TIME_S,
        metavar="TIME",
        help="the longest time of the load, which ends as soon as every SLO is decided (default: 30s)",
    )
    parser.add_argument(
        "--request-limits",
        default="",
        metavar="TIME",
        help="the longest latency of a good request, which an SLO on goodput counts, as 200ms",
    )
    parser.add_argument(
        "--cpus", type=parse_count, default=1, metavar="N", help="vCPUs of the served model (default: 1)"
    )
    parser.add_argument("--junit-xml", type=Path, metavar="FILE", help="write the verdicts as JUnit XML")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the report as one HTML page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the verdicts as Markdown")
    parser.epilog = (
        "Exit codes: 0 PASS, 1 FAIL, 2 a mistake, 3 INVALID, 4 INCONCLUSIVE, 5 NOT JUDGED. "
        "Arguments after -- go to pytest, as -- --tfserving-alpha=0.001."
    )


def run(options: argparse.Namespace) -> int:
    """Put load on the target, print every SLO with its verdict, and return the exit code of the verdict."""
    with (
        tempfile.TemporaryDirectory(prefix="pytest-tfserving-check-") as name,
        _load_process(options, Path(name)),
    ):
        from pytest_tfserving.cli.generated_project import GeneratedProject
        from pytest_tfserving.experiments.load_profile import LoadProfile
        from pytest_tfserving.slo.language import parse_slos

        _refuse_kinds(parse_slos(options.slo))
        profile = _profile(options)
        LoadProfile("check", **profile)
        folder = Path(name)
        subject = _address(options) if "://" in options.target else _model(options)
        (folder / "request.json").write_bytes(subject.body)
        experiment = {**subject.experiment, "payload": "request.json", "slo": options.slo}
        project = GeneratedProject(folder, [experiment], profile, _TEST)
        outcome = project.run(*subject.options, *_options(options), *options.pytest)
    if answer := _answer(outcome):
        print("\n".join(["", *answer]))
    return _code(outcome)


def _load_process(options: argparse.Namespace, folder: Path) -> AbstractContextManager[None]:
    """Start a load process for an address at once: until load begins, its start takes longest.

    Raises:
        ConfigurationError: for headers and files that do not fit.
    """
    from pytest_tfserving.load.generator.local_host import started_ahead
    from pytest_tfserving.text.secrets import hide

    if "://" not in options.target:
        return nullcontext()
    hide(client_settings(options).variables)
    return started_ahead(folder)


def _refuse_kinds(slos: Sequence[Slo]) -> None:
    """Raise a ConfigurationError for an SLO on a kind of requests, because one request is sent."""
    for slo in slos:
        if slo.kind:
            raise ConfigurationError(
                f"SLO {slo.text!r}: check sends one request again and again, which is of no kind; leave "
                f"{{{slo.kind}}} out."
            )


@dataclass(frozen=True)
class _Subject:
    """The object of a check: an experiment without its load, its request, and options of pytest."""

    experiment: Mapping[str, JsonValue]
    body: bytes
    options: Sequence[str] = ()


def _address(options: argparse.Namespace) -> _Subject:
    """Return the model at an address.

    Raises:
        ConfigurationError: if the address or the request is not valid.
    """
    from pytest_tfserving.protocols import SERVING_PROTOCOLS
    from pytest_tfserving.targets.url import parse_url

    address, path, model = parse_url(options.target)
    endpoint = replace(address, client=client_settings(options))
    experiment: dict[str, JsonValue] = {"name": model, "protocol": SERVING_PROTOCOLS[endpoint.protocol].name}
    urls = ("--tfserving-target=url", f"--tfserving-url={options.target}", *client_options(options))
    if options.body is not None:
        return _Subject(experiment, _body(options.body), urls)
    from pytest_tfserving.protocols.served_request import served_request

    found = served_request(endpoint, path, options.signature)
    _tell(found.body, found.signature_name, found.notes)
    return _Subject(experiment, found.body, urls)


def _model(options: argparse.Namespace) -> _Subject:
    """Return a SavedModel to serve, with a generated request if none is given.

    Raises:
        ConfigurationError: if there is no SavedModel, or no request for it.
    """
    from pytest_tfserving.experiments.model_mix import model_name
    from pytest_tfserving.protocols.fitting_request import inspected
    from pytest_tfserving.targets.common.model_folder import find_model, ram_gb

    if given := client_options(options):
        raise ConfigurationError(
            f"{given[0].partition('=')[0].replace('tfserving-', '')} goes with an address."
        )
    folder = find_model(Path(options.target))
    if folder.note:
        print(folder.note)
    base_path = folder.served_path.absolute()
    experiment = {
        **_machine(options.cpus, ram_gb(folder.version_path)),
        "name": model_name(str(base_path)),
        "model": str(base_path),
    }
    if options.body is not None:
        return _Subject(experiment, _body(options.body))
    found = inspected(folder.version_path).usable(options.signature)
    _tell(found.body, found.signature_name, found.notes)
    return _Subject({**experiment, "protocol": found.protocol}, found.body)


def _tell(body: bytes, signature_name: str, notes: Sequence[str]) -> None:
    """Print the origin of a generated request."""
    print(f"a generated request of {len(body)} bytes for signature {one_line(signature_name)}:")
    for note in notes:
        print(f"  {note}")


def _machine(cpus: int, ram: int) -> dict[str, JsonValue]:
    return {"shape": f"{cpus}cpu-{ram}gb-1n", "inter_op": cpus}


def _body(text: str) -> bytes:
    """Return the body of a request: ``text``, or the content of the file behind an ``@``.

    Raises:
        ConfigurationError: if the file cannot be read, or the body is not a request.
    """
    from pytest_tfserving.protocols.payload import Payload

    try:
        body = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        Payload.from_body(body)
    except OSError as error:
        raise ConfigurationError(f"--body: cannot read {text[1:]}: {error.strerror}.") from None
    except ConfigurationError as error:
        raise ConfigurationError(f"--body: {error}") from None
    return body


def _profile(options: argparse.Namespace) -> dict[str, Any]:
    load = {"run_time_s": options.run_time, "request_limits": options.request_limits}
    if options.rate:
        return {"rate": options.rate, **load}
    users = options.users or _USERS
    return {"users": users, "spawn_rate": users, **load}


def _options(options: argparse.Namespace) -> list[str]:
    """Return options of pytest for the reports, and for an exit code that agrees with them."""
    files = {f"tfserving-{name}": getattr(options, name) for name in _REPORTS}
    files["junit-xml"] = options.junit_xml
    reports = [f"--{name}={path}" for name, path in files.items() if path]
    return [*reports, "--tfserving-inconclusive=fail", "--tfserving-nothing-judged=fail"]


def _answer(outcome: Outcome) -> list[str]:
    """Return the text of each failed test, or the verdict on each result with every SLO."""
    return outcome.failures or [_verdict(entry) for entry in outcome.entries]


def _verdict(entry: Entry) -> str:
    from pytest_tfserving.plugin.outcomes import explain

    result = entry.result
    if result.not_judged:
        return f"{result.experiment} on {result.target}: {entry.verdict_and_cause}"
    return explain(result, [judgement for _, judgement in entry.judgements])


def _code(outcome: Outcome) -> int:
    from pytest_tfserving.slo.language import Verdict

    codes = {
        Verdict.PASS: 0,
        Verdict.FAIL: 1,
        Verdict.INVALID: 3,
        Verdict.INCONCLUSIVE: 4,
        Verdict.NOT_JUDGED: 5,
    }
    if outcome.interrupted:
        return _INTERRUPTED
    if not outcome.entries:
        return _MISTAKE
    return codes[Verdict.worst(each.verdict for each in outcome.entries)]
