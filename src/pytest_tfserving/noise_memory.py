"""The noise memory: for how long, at most, the machine's speed of a moment goes on to matter.

Verdicts speak of the server under the noise seen in its run, given that the machine's speed forgets within
this time.
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_tfserving.errors import ConfigurationError

DEFAULT_S = 10.0
# Before a run is so many times as long, too few of its moments are independent to tell a close limit.
_MEMORIES_OF_A_RUN = 10


def too_short(length_s: float, noise_memory_s: float) -> str:
    """Return that a window is short for its noise memory, empty where it is not, or not known to be."""
    enough_s = _MEMORIES_OF_A_RUN * noise_memory_s
    if not length_s < enough_s:
        return ""
    return (
        f"a window of {length_s:.0f} s is short for a noise memory of {noise_memory_s:.3g} s: "
        f"close limits take {enough_s:.0f} s at least"
    )


@dataclass(frozen=True, slots=True)
class NoiseMemory:
    """A noise memory in ``seconds``, and where it is from: an option, a calibration, the default.

    ``place`` is the option that set it, empty when nobody did.
    """

    seconds: float = DEFAULT_S
    source: str = "the default"
    place: str = ""

    def __str__(self) -> str:
        return f"noise memory {self.seconds:.3g} s ({self.source})"

    def check(self, profile: str, run_time_s: float) -> None:
        """Refuse a memory that somebody set and that is longer than the run of the load profile of that name.

        Raises:
            ConfigurationError: no run can show what its noise does over a longer time.
        """
        if self.place and self.seconds > run_time_s:
            raise ConfigurationError(
                f"{self.place} is {self.seconds:g} s, longer than the {run_time_s:g} s that load "
                f"profile {profile!r} runs; set at most {run_time_s:g} s, or a longer run time."
            )
