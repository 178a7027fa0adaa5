"""Settings of a session: the values of the options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_tfserving.experiments.client_settings import ClientSettings
    from pytest_tfserving.report.cost import Pricing
    from pytest_tfserving.slo.change_limit import ChangeLimit
    from pytest_tfserving.statistics.noise_memory import NoiseMemory


@dataclass(frozen=True, slots=True)
class LoadOverrides:
    """The load that one source sets.

    Attributes:
        profile: the name of a load profile; None if the source sets none.
        fields: fields of `LoadProfile` by their names; empty if the source sets none.
    """

    profile: str | None = None
    fields: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Against:
    """The baseline server that experiments are compared with.

    Attributes:
        kind: ``image``, ``server``, ``model``, ``url`` or ``experiment``: what differs from the candidate.
        value: the baseline server's own value.
    """

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.value}"

    def applied(self, settings: Settings) -> Settings:
        """Return the settings of the baseline server."""
        match self.kind:
            case "image":
                return replace(settings, image=self.value)
            case "server":
                return replace(settings, server=self.value)
            case "url":
                return replace(settings, url=self.value)
            case _:
                return settings


@dataclass(frozen=True, slots=True)
class Settings:
    """The options' values: from the command line, else the ini file, else the defaults.

    Attributes:
        target: the place where experiments run: ``local``, ``docker``, ``kubernetes`` or ``url``.
        server: the program that target ``local`` starts; empty for the embedded server.
        url: the address of the model that target ``url`` loads; empty for other targets.
        client: the headers and the files for TLS of the options for target ``url``.
        image: the image that targets ``docker`` and ``kubernetes`` start.
        against: the baseline server that experiments are compared with; None without one.
        keep: which deployments stay after their tests: ``never``, ``on-failure`` or ``always``.
        kubeconfig: the kubeconfig file; None for KUBECONFIG, else the one in the home folder.
        contexts: the contexts of the kubeconfig to deploy to; empty for the current context.
        allowed_contexts: patterns of contexts that may be deployed to besides local clusters; empty for none.
        namespace: the namespace to deploy into; empty for a new one for each deployment.
        access: the way of load to replicas on Kubernetes: the name of a way, or an address.
        base: the folder of a Kustomize base; None for the base of this package.
        experiments: the experiments file; None for the one beside the tests or above them.
        ready_timeout_s: the longest wait in seconds until every replica's model is AVAILABLE.
        unfit: what happens to an experiment that the target cannot run: ``smoke``, ``skip`` or ``fail``.
        inconclusive: what happens on an undecided SLO: ``warn`` or ``fail``.
        unjudged: what happens on a run of load that no test judges: ``warn`` or ``fail``.
        nothing_judged: what happens if no experiment is judged: ``pass`` or ``fail``.
        alpha: the largest probability of a wrong PASS, and of a wrong FAIL, above 0 and below 0.5.
        noise_memory: the assumed noise memory; None for the calibrated one, else the default.
        load_processes: the number of load processes; 0 for a number that fits the load.
        locustfile: the user's Locust file; None for the built-in users.
        load_in_cluster: whether Pods in the cluster send the load, instead of this machine.
        load_image: the image of Pods that send load; empty for ``image``.
        json: the file for results as JSON; None to write none.
        html: the file for the report as HTML; None to write none.
        markdown: the file for the report as Markdown; None to write none.
        save: the name under which the session is kept; empty to keep nothing.
        compare: the stored run to compare with: the path of a file, or a name; empty without one.
        compare_fail: the largest changes since the stored run that are allowed.
        compare_force: whether runs of another machine, image or load are compared, too.
        update_slos: the margin of the limits that are written into experiments files; None to write none.
        prices: the file with a price list; None for the prices of the reference study.
        hours: the hours a month that a deployment runs; None for those of the reference study.
        ui: how progress is shown: ``live``, ``simple`` or ``none``; empty for the one that fits the terminal.
        cli_load: the load that the command line sets.
        ini_load: the load that the ini file sets.
    """

    target: str
    server: str
    url: str
    client: ClientSettings
    image: str
    against: Against | None
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

        is_asked = self.prices is not None or self.hours is not None
        return Pricing(read_prices(self.prices) if self.prices else E2, self.hours or STUDY_HOURS, is_asked)

    @property
    def report_files(self) -> list[Path]:
        """The files to which a run writes its results."""
        return [path for path in (self.json, self.html, self.markdown) if path]
