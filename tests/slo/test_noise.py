"""What is said of the noise that kept an SLO open."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from pytest_tfserving.slo.language import Undecided
from pytest_tfserving.slo.noise import Noise, NoiseKind

MORE = "about 40 s more (--tfserving-run-time) would likely decide it"
SLOS_PAGE = Path(__file__).parents[2] / "docs" / "slos.md"


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        (
            Noise(NoiseKind.MACHINE, 0.21, 4.2, resolution=0.3),
            "since the machine's speed wandered by 21 % (SD) over 4 s, so this run can tell 30 %: "
            "a machine without other work would help most; ",
        ),
        (
            Noise(NoiseKind.SERVER, 0.12, 0.2, resolution=0.05),
            "since the server's speed wandered by 12 % (SD) over 1 s, so this run can tell 5 %: ",
        ),
        (
            Noise(NoiseKind.SPEED, 0.12, 8.0, resolution=0.05),
            "since the speed of the machine or the server wandered by 12 % (SD) over 8 s, "
            "so this run can tell 5 %: ",
        ),
        (
            Noise(NoiseKind.SPEED, 0.0, 8.0, resolution=0.05),
            "since this run can tell 5 % at best: ",
        ),
        (
            Noise(NoiseKind.QUEUE, in_flight=7.6),
            "since 8 requests in flight share their fate, and count as one: "
            "fewer users (--tfserving-users) would help most; ",
        ),
        (
            Noise(NoiseKind.COUNT),
            "since there were too few requests: ",
        ),
    ],
)
def test_it_says_which_noise_how_much_and_what_would_help(noise: Noise, said: str) -> None:
    assert str(Undecided(0.01, 40.0, noise=noise)) == f"undecided (alpha 0.01), {said}{MORE}"


def test_without_known_noise_it_says_how_much_longer_it_takes() -> None:
    assert (
        str(Undecided(0.05, 0.2))
        == "undecided (alpha 0.05): about 1 s more (--tfserving-run-time) would likely decide it"
    )
    assert str(Undecided(0.05, math.inf)).endswith(
        ": there was too little steady load to tell how much more would decide it"
    )
    assert str(Undecided(0.05, math.inf, noise=Noise(NoiseKind.COUNT))).endswith(
        ": it would likely take more than an hour to decide it"
    )
    assert str(Undecided(0.05, 40.0, "rps kept rising")) == "no steady state: rps kept rising"


def test_the_text_that_the_docs_show_is_what_is_said() -> None:
    noise = Noise(NoiseKind.MACHINE, 0.21, 8.0, resolution=0.5)
    said = str(Undecided(0.01, 240.0, noise=noise, length_s=30.0, noise_memory_s=10.0))

    assert f"```text\n{said}\n```" in SLOS_PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("length_s", "memory_s", "said"),
    [
        (
            30.0,
            10.0,
            "a window of 30 s is short for a noise memory of 10 s: close limits take 100 s at least",
        ),
        (9.7, 2.5, "a window of 10 s is short for a noise memory of 2.5 s: close limits take 25 s at least"),
        (100.0, 10.0, ""),
        (30.0, float("nan"), ""),
        (float("nan"), 10.0, ""),
    ],
)
def test_a_run_that_is_short_for_its_noise_memory_says_so(
    length_s: float, memory_s: float, said: str
) -> None:
    of_level, of_count = (
        str(Undecided(0.01, 40.0, noise=Noise(kind), length_s=length_s, noise_memory_s=memory_s))
        for kind in (NoiseKind.SERVER, NoiseKind.COUNT)
    )

    assert of_level.endswith(f"decide it; {said}" if said else "decide it")
    assert of_count.endswith("decide it")
