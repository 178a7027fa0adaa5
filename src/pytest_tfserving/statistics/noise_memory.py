"""The noise memory: the longest time for which the machine's speed at a moment affects its later speed.

Verdicts are about the server under the noise of its run, if the machine forgets its speed within this time.
"""

from __future__ import annotations

from dataclasses import dataclass

from pytest_tfserving.errors import ConfigurationError

DEFAULT_S = 10.0
# A shorter run, in noise memories, has too few independent moments to decide a close limit.
_MEMORIES_OF_A_RUN = 10


def too_short(length_s: float, noise_memory_s: float) -> str:
    """Return a sentence if a window is short for its noise memory; empty if not, or if one is unknown."""
    enough_s = _MEMORIES_OF_A_RUN * noise_memory_s
    if not length_s < enough_s:
        return ""
    return (
        f"a window of {length_s:.0f} s is short for a noise memory of {noise_memory_s:.3g} s: "
        f"close limits take {enough_s:.0f} s at least"
    )


@dataclass(frozen=True, slots=True)
class NoiseMemory:
    """A noise memory in ``seconds``, and its source: an option, a calibration, or the default.

    ``place`` is the option that set the noise memory; empty if no option did.
    """

    seconds: float = DEFAULT_S
    source: str = "the default"
    place: str = ""

    def __str__(self) -> str:
        return f"noise memory {self.seconds:.3g} s ({self.source})"

    def check(self, profile: str, run_time_s: float) -> None:
        """Refuse a noise memory that an option set and that is longer than the run of ``profile``.

        Raises:
            ConfigurationError: for such a noise memory, since a run cannot show longer noise than itself.
        """
        if self.place and self.seconds > run_time_s:
            raise ConfigurationError(
                f"{self.place} is {self.seconds:g} s, longer than the {run_time_s:g} s that load "
                f"profile {profile!r} runs; set at most {run_time_s:g} s, or a longer --tfserving-run-time."
            )
