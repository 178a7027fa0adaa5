"""What others send to this plugin, damaged: answers of servers, results and experiments on disk.

- 6 000 damaged answers, over REST and gRPC, to one user: each request has to be recorded once, as right only
  where its answer is.
- 100 runs of pytest against servers that misbehave, of every kind in `tests/servers/odd_server.py`, or whose
  answers are damaged: none may pass, and no request go unrecorded.
- 2 000 damaged results for `pytest-tfserving report`, 500 damaged files of experiments: each is read, or
  refused in one sentence, within a second or so.

All come from ``--seed``.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import resource
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import _common as common
from _mutations import (
    is_one_sentence,
    is_right_body,
    is_right_message,
    mutated_answer,
    mutated_body,
    mutated_json,
    mutated_message,
    mutated_yaml,
)

from pytest_tfserving.cli import main as command
from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments.yaml_file import read_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from servers.odd_server import GrpcPeer, OddServer, RestPeer

TESTS = common.HERE.parent / "tests"
_PARTS = ("answers", "runs", "results", "experiments")
_COUNTS = {"answers": 6_000, "runs": 100, "results": 2_000, "experiments": 500}
_QUICK_COUNTS = {"answers": 600, "runs": 6, "results": 100, "experiments": 100}
_SHOWN = 10
_FIRST_REQUESTS = 3
# A run that fails does not wait for what its users have under way.
_USERS = 3
_EXPERIMENTS = """
profiles:
  tiny: {users: 3, spawn_rate: 3, run_time_s: 6, think_time_s: 0.01, request_timeout_s: 0.5,
    max_lag_ms: 2000, max_cpu_wait: 1}
defaults: {model: ./models/half, payload: request.json, profile: tiny, protocol: PROTOCOL}
experiments:
  - {shape: 1cpu-1gb-1n, inter_op: 1, slo: ["rps>=1"]}
"""


@dataclass
class Outcome:
    """What became of one part: how many were tried, how many of each end, and what should not have been."""

    tried: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    longest_s: float = 0.0

    def add(self, end: str, began_s: float, fault: str = "") -> None:
        """Count one that began at a time of the performance counter."""
        self.tried += 1
        self.ends[end] = self.ends.get(end, 0) + 1
        self.longest_s = max(self.longest_s, time.perf_counter() - began_s)
        if fault:
            self.faults.append(fault)


# --- answers ---


def try_answers(seed: int, count: int) -> Outcome:
    """Send requests whose answers are damaged."""
    outcome = Outcome()
    _answers(outcome, "rest", seed, 2 * count // 3)
    _answers(outcome, "grpc", seed, count - 2 * count // 3)
    return outcome


def _answers(outcome: Outcome, protocol: str, seed: int, count: int) -> None:
    from servers.odd_server import OddServer
    from servers.recorded_user import RecordedUser

    chance, rights = random.Random(f"{protocol}{seed}"), []
    give = {"rest": _damaged_rest, "grpc": _damaged_grpc}[protocol]

    def misbehave(peer: RestPeer | GrpcPeer) -> None:
        right, content = give(chance)
        rights.append(right)
        if right is not None:
            peer.answer(content)
            return
        peer.send(content)
        peer.close()

    with OddServer(protocol, misbehave, after=0) as server:
        user = RecordedUser(server, timeout_s=1.0)
        for number in range(count):
            began_s, before = time.perf_counter(), len(rights)
            try:
                cause = user.send()
            except Exception as error:  # noqa: BLE001 - what is looked for
                outcome.add("an exception", began_s, f"{protocol} {seed}/{number}: {error!r}")
                continue
            right = rights[-1] if len(rights) > before else False
            known = right is not None
            is_fault = known and right != (not cause)
            fault = f"{protocol} {seed}/{number}: {cause or 'right'}" if is_fault else ""
            outcome.add(f"{protocol}: {'wrong' if cause else 'right'}", began_s, fault)
        user.close()


def _damaged_rest(chance: random.Random) -> tuple[bool | None, bytes]:
    """Return whether a damaged body is right, and the body; or None and an answer damaged anywhere."""
    if chance.randrange(2):
        body = mutated_body(chance, common.ANSWER)
        return is_right_body(body), body
    return None, mutated_answer(chance, common.ANSWER)


def _damaged_grpc(chance: random.Random) -> tuple[bool | None, bytes]:
    content = mutated_message(chance)
    return is_right_message(content), content


# --- runs ---


def try_runs(seed: int, count: int) -> Outcome:
    """Run pytest against servers that misbehave."""
    from servers.odd_server import KINDS, OddServer

    outcome = Outcome()
    kinds = [(protocol, kind) for protocol in KINDS for kind in KINDS[protocol]]
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        protocol, kind = kinds[number % len(kinds)] if chance.randrange(3) else ("rest", "damaged")
        misbehave = _wrong(chance) if kind == "damaged" else KINDS[protocol][kind]
        after, every = chance.randint(5, 40), chance.randint(2, 4)
        began_s = time.perf_counter()
        with common.scratch() as folder, OddServer(protocol, misbehave, after=after, every=every) as server:
            verdict, recorded, said = _run(folder, server)
            fault = _fault_of_run(verdict, server.predicted - recorded - _FIRST_REQUESTS - _USERS, said)
        outcome.add(verdict, began_s, f"{seed}/{number} {protocol} {kind}: {fault}" if fault else "")
    return outcome


def _wrong(chance: random.Random) -> Callable[[Any], None]:
    """Return what answers with a damaged body that is not right by accident."""

    def give(peer: RestPeer) -> None:
        while is_right_body(body := mutated_body(chance, common.ANSWER)):
            pass
        peer.answer(body)

    return give


def _run(folder: Path, server: OddServer) -> tuple[str, int, str]:
    """Return one run of pytest: the verdict, how many requests were recorded, what was said."""
    (folder / "experiments.yaml").write_text(_EXPERIMENTS.replace("PROTOCOL", server.protocol))
    (folder / "request.json").write_bytes(common.REQUEST)
    (folder / "test_perf.py").write_text("def test_gate(load):\n    load().check()\n")
    options = ["--tfserving-target=url", f"--tfserving-url={server.url}", "--tfserving-json=out.json"]
    command_line = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:locust", *options]
    done = subprocess.run(command_line, cwd=folder, check=False, capture_output=True, text=True)
    said = done.stdout + done.stderr
    if not (folder / "out.json").exists():
        return "nothing", 0, said
    (result,) = json.loads((folder / "out.json").read_text(encoding="utf-8"))["results"]
    verdict = "PASS" if done.returncode == 0 else result["verdict"]
    return verdict, result["total_requests"], said


def _fault_of_run(verdict: str, unrecorded: int, said: str) -> str:
    if verdict != "FAIL":
        return f"{verdict}\n{said}"
    if unrecorded > 0:
        return f"{unrecorded} requests are not recorded"
    return f"a traceback\n{said}" if "Traceback" in said else ""


# --- files ---


def try_results(seed: int, count: int) -> Outcome:
    """Have reports made of damaged results."""
    import planted_results as planted

    outcome, document = Outcome(), planted.every_part()
    with common.scratch() as folder:
        path = folder / "results.json"
        reports = [f"--{name}={folder / name}" for name in ("html", "markdown", "json")]
        for number in range(count):
            path.write_bytes(mutated_json(random.Random(f"{seed}/{number}"), document))
            said, out = io.StringIO(), io.StringIO()
            began_s = time.perf_counter()
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(out):
                end = _ended(lambda: command(["report", str(path), *reports]) or "")
            _add(outcome, f"{seed}/{number}", end or said.getvalue().rstrip("\n"), began_s)
    return outcome


def try_experiments(seed: int, count: int) -> Outcome:
    """Read damaged files of experiments."""
    outcome, text = Outcome(), (TESTS / "support" / "all_keys.yaml").read_text(encoding="utf-8")
    with common.scratch() as folder:
        path = folder / "experiments.yaml"
        for number in range(count):
            path.write_bytes(mutated_yaml(random.Random(f"{seed}/{number}"), text))
            began_s = time.perf_counter()
            _add(outcome, f"{seed}/{number}", _ended(lambda: read_file(path) and ""), began_s)
    return outcome


def _ended(action: Callable[[], Any]) -> str:
    """Return what is said of a file, empty when it is read: a sentence, or the name of an exception."""
    try:
        action()
    except ConfigurationError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - what is looked for
        return f"Traceback of {error!r}"
    return ""


def _add(outcome: Outcome, name: str, said: str, began_s: float) -> None:
    fault = f"{name}: {said[:1_000]}" if said and not is_one_sentence(said) else ""
    outcome.add("a traceback" if fault else "refused" if said else "read", began_s, fault)


# --- all ---

_TRIED: dict[str, Callable[[int, int], Outcome]] = {
    "answers": try_answers,
    "runs": try_runs,
    "results": try_results,
    "experiments": try_experiments,
}
# Files are read and reported in this process: its memory may grow by so much, each may take so long.
_MOST_MB = 400.0
_LONGEST_S = 5.0


def main() -> None:
    args = common.arguments(
        __doc__, choices={"only": (_PARTS, "which parts")}, seed=(1, "where the damage comes from")
    )
    sys.path += [str(TESTS), str(TESTS / "support")]
    counts = _QUICK_COUNTS if args.quick else _COUNTS
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {name: _TRIED[name](args.seed, counts[name]) for name in args.only}
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    rows = [
        [name, f"{each.tried:,}", ", ".join(f"{count:,} {end}" for end, count in sorted(each.ends.items()))]
        for name, each in found.items()
    ]
    common.table(["damaged", "number", "ends"], rows)
    for name, each in found.items():
        for fault in each.faults[:_SHOWN]:
            print(f"fault: {name} {fault}")
    targets = [
        common.Target(f"{name} that end as they must not", len(each.faults), 0)
        for name, each in found.items()
    ]
    files = [found[name].longest_s for name in ("results", "experiments") if name in found]
    if files:
        targets.append(common.Target("seconds for one file at most", max(files), _LONGEST_S))
        targets.append(common.Target("MB of memory that reading them took", grown_mb, _MOST_MB))
    figures = {
        "seed": args.seed,
        "grown_mb": grown_mb,
        **{name: {"ends": each.ends, "faults": each.faults[:_SHOWN]} for name, each in found.items()},
    }
    common.finish(args, figures, targets)


if __name__ == "__main__":
    main()
