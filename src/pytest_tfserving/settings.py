"""Settings of a session: the values of the options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_tfserving.report.cost import Pricing
    from pytest_tfserving.slo.change_limit import ChangeLimit
    from pytest_tfserving.statistics.noise_memory import NoiseMemory

PREFIX = "tfserving"
ALLOWED_INI = f"{PREFIX}_allowed_contexts"
DEFAULT_IMAGE = "tensorflow/serving:2.19.1"


@dataclass(frozen=True, slots=True)
class LoadOverrides:
    """The load that one source sets: the name of a profile (None if not set), and fields of a profile."""

    profile: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """The options' values: from the command line, else the ini file, else the defaults.

    A field has the name of its option. A path or a noise memory is None, and a text is empty, if the option
    is not given and has no default. ``compare`` is a path, or the name of a stored run. ``update_slos`` is
    the margin of limits, None if none are written. ``cli_load`` and
    ``ini_load`` are the load that the options of both places set.
    """

    target: str
    server: str
    url: str
    image: str
    keep: str
    kubeconfig: Path | None
    contexts: tuple[str, ...]
    allowed_contexts: tuple[str, ...]
    namespace: str
    access: str
    base: Path | None
    experiments: Path | None
    ready_timeout_s: float
    unfit: str
    inconclusive: str
    unjudged: str
    nothing_judged: str
    alpha: float
    noise_memory: NoiseMemory | None
    load_processes: int
    locustfile: Path | None
    load_in_cluster: bool
    load_image: str
    json: Path | None
    html: Path | None
    markdown: Path | None
    save: str
    compare: str | Path
    compare_fail: tuple[ChangeLimit, ...]
    compare_force: bool
    update_slos: float | None
    prices: Path | None
    hours: float | None
    ui: str
    cli_load: LoadOverrides
    ini_load: LoadOverrides

    def pricing(self) -> Pricing:
        """Return the price list, and the hours of a month.

        Raises:
            ConfigurationError: when the list cannot be read.
        """
        from pytest_tfserving.report.cost import E2, STUDY_HOURS, Pricing, read_prices

        return Pricing(read_prices(self.prices) if self.prices else E2, self.hours or STUDY_HOURS)

    @property
    def report_files(self) -> list[Path]:
        """The files to which a run writes its results."""
        return [path for path in (self.json, self.html, self.markdown) if path]
