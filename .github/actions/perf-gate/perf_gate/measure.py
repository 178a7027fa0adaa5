"""``measure``: runs pytest on both servers. The exit code is an output, so that reports come first."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys

from perf_gate.runner import commands_stopped, input_of, reports, words_of, write_output


def run() -> None:
    """Run the tests, and set the output ``exit-code``."""
    # The report has a summary of its own.
    environment = {name: value for name, value in os.environ.items() if name != "GITHUB_STEP_SUMMARY"}
    print(shlex.join(command := _command()), flush=True)
    with commands_stopped(), subprocess.Popen(command, env=environment) as pytest:
        # The runner interrupts this process only.
        signal.signal(signal.SIGINT, lambda *_: pytest.send_signal(signal.SIGINT))
        signal.signal(signal.SIGTERM, lambda *_: pytest.send_signal(signal.SIGTERM))
        code = pytest.wait()
    # A signal's number becomes an exit code as in a shell.
    write_output("exit-code", code if code >= 0 else 128 - code)


def _command() -> list[str]:
    folder, candidate = reports(), input_of("CANDIDATE")
    return [
        sys.executable,
        "-m",
        "pytest",
        *words_of("TESTS"),
        f"--tfserving-target={input_of('TARGET')}",
        *([candidate] if candidate else []),
        f"--tfserving-against={input_of('AGAINST')}",
        f"--tfserving-html={folder / 'report.html'}",
        f"--tfserving-json={folder / 'results.json'}",
        f"--tfserving-markdown={folder / 'report.md'}",
        f"--junit-xml={folder / 'junit.xml'}",
        # This family has the file and the line of a test.
        "--override-ini=junit_family=xunit1",
        *words_of("ARGUMENTS"),
    ]
