"""The start check of images that are compiled for one micro-architecture."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cpuinfo import CASCADELAKE, HASWELL, cpuinfo

FOLDER = Path(__file__).parents[2] / "images"
BUILD = FOLDER / "build-cpu-optimized"
V2 = "fpu sse sse2 ssse3 cx16 sse4_1 sse4_2 popcnt lahf_lm"


def check(microarchitecture: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"CPUINFO": str(path)} if path else {})}
    return subprocess.run(
        [FOLDER / "require_cpu", microarchitecture],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


@pytest.mark.parametrize(
    ("flags", "microarchitectures"),
    [
        (V2, ["x86-64-v2"]),
        (HASWELL, ["x86-64-v2", "x86-64-v3", "haswell"]),
        (CASCADELAKE, ["x86-64-v2", "x86-64-v3", "x86-64-v4", "haswell", "skylake-avx512", "cascadelake"]),
    ],
)
def test_a_cpu_runs_what_it_has_the_instructions_for(
    tmp_path: Path, flags: str, microarchitectures: list[str]
) -> None:
    path = cpuinfo(tmp_path, flags)
    known = subprocess.check_output([FOLDER / "require_cpu", "--list"], text=True).split()

    assert [each for each in known if check(each, path).returncode == 0] == microarchitectures


def test_what_a_cpu_lacks_is_said_in_one_line(tmp_path: Path) -> None:
    refused = check("cascadelake", cpuinfo(tmp_path, HASWELL))

    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "this server was compiled for cascadelake; this machine's CPU (Some CPU @ 2.30GHz) lacks: avx512f "
        "avx512bw avx512cd avx512dq avx512vl adx rdseed avx512_vnni; it "
        "runs what is compiled for: x86-64-v3\n"
    )


def test_another_kind_of_cpu_is_said(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor\t: 0\nFeatures\t: fp asimd aes\n", encoding="utf-8")

    refused = check("x86-64-v3", path)

    assert refused.returncode == 1
    assert refused.stderr == (
        "this server was compiled for x86-64-v3, and this machine's CPU is not an x86-64\n"
    )


def test_a_name_that_is_not_known_is_refused_with_those_that_are() -> None:
    refused = check("pentium")

    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "require_cpu: 'pentium' is no micro-architecture known here; valid: x86-64-v2 x86-64-v3 "
    )


@pytest.mark.needs("x86-64")
def test_this_machines_cpu_is_an_x86_64() -> None:
    assert check("x86-64-v2").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Compiles TensorFlow Serving for one micro-architecture*"),
        (["pentium", "tag"], "'pentium' is no micro-architecture known here; valid: x86-64-v2 *"),
        (["haswell", "tag", "nowhere"], "nowhere holds no model; a SavedModel lies in a numbered folder *"),
    ],
)
def test_a_build_that_cannot_be_is_refused_before_it_starts(arguments: list[str], message: str) -> None:
    refused = subprocess.run([BUILD, *arguments], capture_output=True, text=True, check=False)

    assert refused.returncode == 2
    pytest.LineMatcher(refused.stderr.splitlines()).fnmatch_lines([message])
