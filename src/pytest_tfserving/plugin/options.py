"""The plugin's options in one table, and the settings that are read with it."""

from __future__ import annotations

import argparse
import itertools
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments import TARGET_NAMES
from pytest_tfserving.settings import ALLOWED_INI, DEFAULT_IMAGE, PREFIX, Against, LoadOverrides, Settings
from pytest_tfserving.statistics.noise_memory import NoiseMemory
from pytest_tfserving.text.addresses import NOT_TAKEN, RIGHT_WAY, may_have_secrets, without_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.slo.change_limit import ChangeLimit

Number = TypeVar("Number", int, float)
# The targets that an option has a meaning for; all others have one everywhere.
_TARGETS_OF = {
    "server": ("local",),
    "url": ("url",),
    "image": ("docker", "kubernetes"),
    "keep": ("docker", "kubernetes"),
    "update-slos": ("local", "docker", "kubernetes"),
    "kubeconfig": ("kubernetes",),
    "context": ("kubernetes",),
    "namespace": ("kubernetes",),
    "access": ("kubernetes",),
    "base": ("kubernetes",),
    "load-in-cluster": ("kubernetes",),
    "load-image": ("kubernetes",),
}
# The kinds of baseline servers, each with the targets that can run one.
_AGAINST = {
    "server": ("local",),
    "image": ("docker", "kubernetes"),
    "model": ("local", "docker"),
    "url": ("url",),
    "experiment": ("local", "docker", "kubernetes"),
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)?")
_PER_CENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_HOURS_OF_A_MONTH = 744
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3600}
# Of users, requests and seconds alike.
_MOST = 10**9
_NOT_EMPTY = "write a value, or leave the option out"
_YES_NO = {"yes": True, "true": True, "no": False, "false": False}
# The digest at the end of an image's name, behind the only @ of the name.
_DIGEST = re.compile(r"@[A-Za-z0-9+._-]+:[0-9a-fA-F]{32,}$")


def parse_duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``1.5m`` or ``1h``; other texts raise an ArgumentTypeError."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write it as 90, 90s, 1.5m or 1h.")
    return _not_too_much(seconds, text)


def parse_count(text: str) -> int:
    """Return a whole number of 1 or more; other texts raise an ArgumentTypeError."""
    try:
        count = int(text) if text.strip().isdecimal() else 0
    except ValueError:  # more digits than Python reads
        count = 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more.")
    return _not_too_much(count, text)


def parse_rate(text: str) -> float:
    """Return a number above 0; other texts raise an ArgumentTypeError."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0.")
    return _not_too_much(rate, text)


def _not_too_much(value: Number, text: str) -> Number:
    if value > _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is more than a billion.")
    return value


def parse_processes(text: str) -> int:
    """Return a number of processes, 0 for ``auto``; other texts raise an ArgumentTypeError."""
    if text.strip() == "auto":
        return 0
    try:
        return parse_count(text)
    except argparse.ArgumentTypeError:
        problem = f"{text!r} is neither 'auto' nor a whole number of 1 or more."
        raise argparse.ArgumentTypeError(problem) from None


def parse_alpha(text: str) -> float:
    """Return a probability above 0 and below 0.5; other texts raise an ArgumentTypeError."""
    try:
        alpha = float(text)
    except ValueError:
        alpha = 0.0
    if not 0 < alpha < 0.5:  # noqa: PLR2004 - an error more often than not
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability above 0 and below 0.5.")
    return alpha


def parse_yes_no(text: str) -> bool:
    """Return True for ``yes`` and ``true``, False for ``no`` and ``false``, or raise an ArgumentTypeError."""
    if text.lower() not in _YES_NO:
        raise argparse.ArgumentTypeError(f"{text!r} is not one of: yes, no.")
    return _YES_NO[text.lower()]


def parse_hours(text: str) -> float:
    """Return hours of a month, above 0 and at most 744; other texts raise an ArgumentTypeError."""
    hours = parse_rate(text)
    if hours > _HOURS_OF_A_MONTH:
        raise argparse.ArgumentTypeError(f"{text!r} is more than a month's {_HOURS_OF_A_MONTH} hours.")
    return hours


def parse_access(text: str) -> str:
    """Return the access to replicas, a name or an address; other texts raise an ArgumentTypeError."""
    from pytest_tfserving.targets.kubernetes.access import EXAMPLE, WAYS, is_way

    if not is_way(parse_text(text)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is none of {', '.join(WAYS)}, nor an address as {EXAMPLE}."
        )
    return text


def parse_against(text: str) -> Against:
    """Return a baseline server, as ``server:PROGRAM``; other texts raise an ArgumentTypeError."""
    kind, _, value = parse_text(text).partition(":")
    if kind not in _AGAINST or not value.strip():
        example = ", ".join(f"{each}:..." for each in _AGAINST)
        raise argparse.ArgumentTypeError(f"{text!r} names no baseline server; write it as one of {example}.")
    return Against(kind, parse_image(value) if kind == "image" else value)


def parse_text(text: str) -> str:
    """Return ``text``; an empty text, control characters and secrets raise an ArgumentTypeError."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is empty; {_NOT_EMPTY}.")
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r} has a control character in it.")
    if "://" in text and may_have_secrets(text):
        raise argparse.ArgumentTypeError(f"the address {NOT_TAKEN}; write it without them, and {RIGHT_WAY}.")
    return text


def parse_image(text: str) -> str:
    """Return the name of an image; credentials in the name raise an ArgumentTypeError."""
    if "@" in _DIGEST.sub("", text):
        raise argparse.ArgumentTypeError(
            f"the image's name {NOT_TAKEN}; log in to the registry by docker login, or an imagePullSecret."
        )
    return parse_text(text)


def parse_run_name(text: str) -> str:
    """Return a name for a stored run; other texts raise an ArgumentTypeError."""
    from pytest_tfserving.report.stored_runs import check_name

    try:
        return check_name(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_change_limit(text: str) -> ChangeLimit:
    """Return the largest change of a metric that is allowed; other texts raise an ArgumentTypeError."""
    from pytest_tfserving.slo.change_limit import ChangeLimit

    try:
        return ChangeLimit.parse(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_margin(text: str) -> float:
    """Return the fraction of a margin as ``20%``; other texts raise an ArgumentTypeError."""
    match = _PER_CENT.fullmatch(text.strip())
    if not match:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a margin; write it as --tfserving-update-slos=20%, or leave it out at the end."
        )
    return _not_too_much(float(match[1]) / 100, text)


def parse_choice(*valid: str) -> Callable[[str], str]:
    """Return a parser that accepts one of ``valid``."""

    def parse(text: str) -> str:
        if text not in valid:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of: {', '.join(valid)}.")
        return text

    return parse


@dataclass(frozen=True, slots=True)
class Option:
    """An option: ``--tfserving-NAME`` on the command line, ``tfserving_NAME`` in an ini file.

    Attributes:
        name: the option's name without prefix, with hyphens.
        metavar: the value in the help; empty for a flag.
        help: the help text without the default.
        parse: converts a text to the value, or raises an ArgumentTypeError.
        default: the value of an option that is not given; None if `Settings` sets it.
        shown_default: the default in the help; empty to show ``default``.
        repeatable: whether the option can be given several times, with a list as value.
        is_flag: whether the option has no value on the command line.
        const: the value of an option that is given without one; None if it needs one.
    """

    name: str
    metavar: str
    help: str
    parse: Callable[[str], object] = parse_text
    default: object = None
    shown_default: str = ""
    repeatable: bool = False
    is_flag: bool = False
    const: Any = None

    @property
    def dest(self) -> str:
        """The name of the option's value, and of the option in an ini file."""
        return f"{PREFIX}_{self.name.replace('-', '_')}"

    @property
    def flag(self) -> str:
        """The option's spelling on the command line."""
        return f"--{PREFIX}-{self.name}"

    @property
    def declaration(self) -> dict[str, Any]:
        """The option's arguments for argparse."""
        text = self.full_help.replace("%", "%%")
        if self.is_flag:
            return {"action": "store_const", "const": True, "help": text}
        action = "append" if self.repeatable else "store"
        optional = {} if self.const is None else {"nargs": "?", "const": self.const}
        return {"action": action, "metavar": self.metavar, "type": self.of_text, "help": text, **optional}

    @property
    def full_help(self) -> str:
        """The help text with the default at its end."""
        return f"{self.help} Default: {self.shown_default or self.default}"

    def of_text(self, text: str) -> object:
        """Return the option's value for a text.

        Raises:
            argparse.ArgumentTypeError: for one that does not fit.
        """
        try:
            return self.parse(text)
        except argparse.ArgumentTypeError as error:
            raise argparse.ArgumentTypeError(without_secrets(str(error))) from None

    def of_ini(self, value: object) -> object:
        """Return the option's value for a value of an ini file, which is a text or a native value of TOML.

        Raises:
            argparse.ArgumentTypeError: for one that does not fit.
        """
        if not self.repeatable:
            return self.of_text(self._text(value))
        values = value if isinstance(value, list) else [value]
        if not values:
            raise argparse.ArgumentTypeError(f"{value} is empty; {_NOT_EMPTY}.")
        parts = (self._text(each).split() or [""] for each in values)
        return [self.of_text(part) for part in itertools.chain.from_iterable(parts)]

    def _text(self, value: object) -> str:
        """Return a native value as text, as on the command line.

        Raises:
            argparse.ArgumentTypeError: for a list or a table, and for a number where only a text fits.
        """
        only_text = self.parse in (parse_text, parse_image, parse_run_name)
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float) and not only_text:
            return _as_toml(value)
        wanted = "a text in quotes" if only_text else "one value"
        raise argparse.ArgumentTypeError(f"{without_secrets(_as_toml(value))} is not {wanted}.")


OPTIONS = (
    Option(
        "target",
        f"{{{','.join(TARGET_NAMES)}}}",
        "Where experiments run: `local` starts processes on this machine and `docker` containers, "
        "`kubernetes` deploys to a cluster, `url` judges an endpoint that exists.",
        parse_choice(*TARGET_NAMES),
        "local",
    ),
    Option(
        "server",
        "PROGRAM",
        "The server that target `local` starts; it takes tensorflow_model_server's flags.",
        shown_default="the embedded server",
    ),
    Option(
        "url",
        "URL",
        "The model that target `url` loads: http://host:8501/v1/models/NAME, or grpc://host:8500/NAME.",
        shown_default="none",
    ),
    Option(
        "image",
        "IMAGE",
        "The image that targets `docker` and `kubernetes` start; a drop-in for tensorflow/serving.",
        parse_image,
        shown_default=DEFAULT_IMAGE,
    ),
    Option(
        "against",
        "KIND:VALUE",
        "A baseline server that every experiment is compared with, in turn on the same cores: "
        "`server:PROGRAM` (target `local`), `image:IMAGE` (`docker`, `kubernetes`), `model:DIR` (`local`, "
        "`docker`), `url:URL` (`url`), or `experiment:NAME` (all but `url`).",
        parse_against,
        shown_default="none",
        repeatable=True,
    ),
    Option(
        "keep",
        "{never,on-failure,always}",
        "Which deployments of targets `docker` and `kubernetes` stay when their tests are over: none, those "
        "of a failed test, or all; pytest then shows how to inspect and delete them.",
        parse_choice("never", "on-failure", "always"),
        "never",
    ),
    Option(
        "kubeconfig",
        "FILE",
        "The kubeconfig of target `kubernetes`.",
        shown_default="KUBECONFIG, else ~/.kube/config",
    ),
    Option(
        "context",
        "NAME",
        "The context of the kubeconfig that target `kubernetes` deploys to. Given several times, workers of "
        "pytest-xdist take one each.",
        shown_default="the current context",
        repeatable=True,
    ),
    Option(
        "namespace",
        "NAME",
        "The namespace that target `kubernetes` deploys into; it must exist, and stays.",
        shown_default="one of its own for each deployment, deleted with it",
    ),
    Option(
        "access",
        "{auto,nodeport,loadbalancer,pod,URL}",
        "How load reaches the replicas of target `kubernetes`: by ports of the nodes, a load balancer of the "
        "provider's, Pods' own addresses, or an address that leads to all of them.",
        parse_access,
        "auto",
        shown_default="auto, ports of the nodes if they answer, else a load balancer",
    ),
    Option(
        "base",
        "DIR",
        "A Kustomize base of your own for target `kubernetes`, with a Deployment `tfserving` whose container "
        "is called `serving`.",
        shown_default="the base of this package",
    ),
    Option(
        "experiments",
        "FILE",
        "The YAML file of experiments.",
        shown_default="experiments.yaml beside the tests, or in a folder above them",
    ),
    Option(
        "profile",
        "NAME",
        "The load profile: `study`, `quick`, `smoke` or one of the experiments file.",
        shown_default="the experiment's own",
    ),
    Option(
        "users",
        "N",
        "Users that send, wait, think and send again.",
        parse_count,
        shown_default="the profile's own",
    ),
    Option(
        "rate",
        "RATE",
        "Requests a second that start whether or not others have been answered: an open loop, without users.",
        parse_rate,
        shown_default="the profile's own",
    ),
    Option("spawn-rate", "RATE", "Users started a second.", parse_rate, shown_default="the profile's own"),
    Option(
        "run-time",
        "TIME",
        "How long load runs, its ramp included: 90, 90s, 5m or 1h.",
        parse_duration,
        shown_default="the profile's own",
    ),
    Option(
        "locustfile",
        "FILE",
        "A Locust file whose users, and shape if it has one, replace the built-in ones.",
        shown_default="none",
    ),
    Option(
        "load-processes",
        "{N,auto}",
        "Number of load processes, each on a core of its own if there are enough; `auto` takes one for "
        "every 100 users, or 2000 requests a second, as far as there are free cores.",
        parse_processes,
        0,
        "auto",
    ),
    Option(
        "load-in-cluster",
        "",
        "Send load from Pods in the cluster of target `kubernetes` instead of from this machine.",
        parse_yes_no,
        default=False,
        shown_default="no",
        is_flag=True,
    ),
    Option(
        "load-image",
        "IMAGE",
        "The image of Pods that send load; it must contain this version of pytest-tfserving.",
        parse_image,
        shown_default="that of --tfserving-image",
    ),
    Option(
        "early-stop",
        "{yes,no}",
        "Whether load ends as soon as every SLO is decided, or always takes its whole run time.",
        parse_yes_no,
        shown_default="the profile's own",
    ),
    Option(
        "alpha",
        "ALPHA",
        "Largest probability of a wrong PASS, and of a wrong FAIL: above 0, below 0.5.",
        parse_alpha,
        0.01,
        "0.01",
    ),
    Option(
        "noise-memory",
        "TIME",
        "Longest time for which the machine's speed at a moment affects its later speed; verdicts rest on "
        "this assumption.",
        parse_duration,
        shown_default="as `pytest-tfserving calibrate` has measured, else 10s",
    ),
    Option(
        "ready-timeout",
        "TIME",
        "How long to wait for every replica's model to be AVAILABLE.",
        parse_duration,
        120.0,
        "120s",
    ),
    Option(
        "unfit",
        "{smoke,skip,fail}",
        "What to do with an experiment whose vCPUs or RAM the target cannot provide: run it for a few "
        "seconds without judging it, skip it, or fail.",
        parse_choice("smoke", "skip", "fail"),
        "smoke",
    ),
    Option(
        "inconclusive",
        "{warn,fail}",
        "What to do with an SLO that the data cannot decide: judge by the estimate with a warning, or fail; "
        "and with a figure that a test reads although it rests on too little: warn, or fail.",
        parse_choice("warn", "fail"),
        "warn",
    ),
    Option(
        "unjudged",
        "{warn,fail}",
        "What to do with a run of load that no test judges, by check() or by reading a figure of its result: "
        "warn, or fail the session.",
        parse_choice("warn", "fail"),
        "warn",
    ),
    Option(
        "nothing-judged",
        "{pass,fail}",
        "What to do with a session in which every experiment is NOT JUDGED, and no test fails: let it pass, "
        "or fail it.",
        parse_choice("pass", "fail"),
        shown_default="fail where the environment variable CI is set, else pass",
    ),
    Option("json", "FILE", "Write every result with its environment to FILE.", shown_default="none"),
    Option(
        "html",
        "FILE",
        "Write the report as one HTML page to FILE: recommendation, charts, tables, data.",
        shown_default="none",
    ),
    Option(
        "markdown",
        "FILE",
        "Write verdicts and recommendation as Markdown to FILE; in a GitHub Actions job they go into its "
        "summary without being asked for.",
        shown_default="none",
    ),
    Option(
        "save",
        "NAME",
        "Keep the figures of this session under a name in the folder .tfserving of the rootdir.",
        parse_run_name,
        shown_default="none",
    ),
    Option(
        "compare",
        "{NAME,FILE,last}",
        "Compare this session with a stored run: the latest one of a name, the latest of all, or a file of "
        "--tfserving-save or --tfserving-json.",
        shown_default="none",
    ),
    Option(
        "compare-fail",
        "METRIC:CHANGE",
        "With --tfserving-compare, fail the session if a metric is proved to be worse by more than a change, "
        "as p95:5%; can be given several times.",
        parse_change_limit,
        shown_default="none",
        repeatable=True,
    ),
    Option(
        "compare-force",
        "",
        "Compare although the stored run is of another machine, image, model, load or payload; every report "
        "then says so.",
        parse_yes_no,
        default=False,
        shown_default="no",
        is_flag=True,
    ),
    Option(
        "update-slos",
        "MARGIN",
        "Write what was measured as limits into the experiments file, 20% away from the measured intervals, "
        "or another MARGIN; the diff is shown at the end.",
        parse_margin,
        shown_default="nothing is written",
        const=0.2,
    ),
    Option(
        "prices",
        "FILE",
        "A YAML file with your price list, for what configurations cost.",
        shown_default="Google Cloud's E2 prices of the reference study",
    ),
    Option(
        "hours",
        "HOURS",
        "Hours a month that a deployment runs, for what it costs.",
        parse_hours,
        shown_default="24, the reference study's",
    ),
    Option(
        "ui",
        "{live,simple,none}",
        "Progress while experiments run: one line that changes, a line now and then, or nothing.",
        parse_choice("live", "simple", "none"),
        shown_default="live on a terminal, else simple",
    ),
)
_LOAD_FIELDS = {
    "users": "users",
    "rate": "rate",
    "spawn-rate": "spawn_rate",
    "run-time": "run_time_s",
    "early-stop": "early_stop",
}


def add_options(parser: pytest.Parser) -> None:
    """Declare every option, for the command line and for ini files."""
    group = parser.getgroup(PREFIX, "TensorFlow Serving performance (pytest-tfserving)")
    for option in OPTIONS:
        group.addoption(option.flag, dest=option.dest, default=None, **option.declaration)
        kind: Literal["linelist", "string"] = "linelist" if option.repeatable else "string"
        parser.addini(option.dest, f"Default value for {option.flag}", type=kind, default=None)
    parser.addini(
        ALLOWED_INI,
        "Contexts that target kubernetes may deploy to besides local clusters', one a line, * for anything",
        type="linelist",
        default=[],
    )


def read_settings(config: pytest.Config) -> Settings:
    """Read the settings of a pytest configuration.

    Raises:
        pytest.UsageError: for an ini value that does not fit, and for options that contradict each other.
    """
    cli = {option.name: config.getoption(option.dest) for option in OPTIONS}
    ini = {option.name: _ini_value(config, option) for option in OPTIONS}
    values = _strongest(cli, ini)
    _check_conflicts(values["target"], cli, ini)
    _check_compared(values)
    files = _Files(config, cli, values)
    path, read, written = files.path, files.read, files.written
    settings = Settings(
        target=values["target"],
        server=values["server"] or "",
        url=values["url"] or "",
        image=values["image"] or DEFAULT_IMAGE,
        against=_against(values),
        keep=values["keep"],
        kubeconfig=path("kubeconfig"),
        contexts=tuple(values["context"] or ()),
        allowed_contexts=_allowed_contexts(config),
        namespace=values["namespace"] or "",
        access=values["access"],
        base=path("base"),
        experiments=path("experiments"),
        ready_timeout_s=values["ready-timeout"],
        unfit=values["unfit"],
        inconclusive=values["inconclusive"],
        unjudged=values["unjudged"],
        nothing_judged=values["nothing-judged"] or ("fail" if _is_ci() else "pass"),
        alpha=values["alpha"],
        noise_memory=_noise_memory(cli, ini),
        load_processes=values["load-processes"],
        locustfile=read("locustfile"),
        load_in_cluster=values["load-in-cluster"],
        load_image=values["load-image"] or "",
        json=written("json"),
        html=written("html"),
        markdown=written("markdown"),
        prices=path("prices"),
        hours=values["hours"],
        ui=values["ui"] or "",
        cli_load=_overrides(cli),
        ini_load=_overrides(ini),
        **_history(values, files),
    )
    _check_prices(settings)
    return settings


def resolve_profile(
    default: LoadProfile,
    own_profiles: Mapping[str, LoadProfile],
    sources: tuple[LoadOverrides, ...],
) -> LoadProfile:
    """Return the profile after all ``sources`` are applied, of which the first is the strongest.

    Raises:
        ConfigurationError: for an unknown profile, an unknown field or a value that does not fit.
    """
    from pytest_tfserving.experiments.load_profile import find_profile

    profile = default
    fields: dict[str, object] = {}
    for source in reversed(sources):
        if source.profile is not None:
            profile, fields = find_profile(source.profile, dict(own_profiles)), {}
        fields = _beaten(fields, source.fields) | dict(source.fields)
    return profile.with_overrides(fields)


@dataclass(frozen=True)
class _Files:
    """Files that options name, relative to where pytest was called, those of the ini file to the rootdir."""

    config: pytest.Config
    cli: Mapping[str, object]
    values: Mapping[str, Any]

    def path(self, name: str) -> Path | None:
        """Return the path that option ``name`` has, None without one."""
        base = self.config.invocation_params.dir if self.cli[name] else self.config.rootpath
        return base / self.values[name] if self.values[name] else None

    def read(self, name: str) -> Path | None:
        """Return the path of a file that is read.

        Raises:
            pytest.UsageError: when there is no such file.
        """
        if (found := self.path(name)) and not found.is_file():
            raise pytest.UsageError(f"--{PREFIX}-{name}: there is no file {found}.")
        return found

    def run(self, name: str) -> str | Path:
        """Return the stored run of option ``name``: the path of a file, or a name; empty without one."""
        from pytest_tfserving.report.stored_runs import is_path

        text = self.values[name] or ""
        return self.path(name) or "" if is_path(text) else text

    def written(self, name: str) -> Path | None:
        """Return the path of a file that is written at the end.

        Raises:
            pytest.UsageError: when the file cannot be written.
        """
        _check_writable(f"--{PREFIX}-{name}", target := self.path(name))
        return target


def _history(values: Mapping[str, Any], files: _Files) -> dict[str, Any]:
    """Return the settings about stored runs."""
    return {
        "save": values["save"] or "",
        "compare": files.run("compare"),
        "compare_fail": tuple(values["compare-fail"] or ()),
        "compare_force": values["compare-force"],
        "update_slos": values["update-slos"],
    }


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false", "no")


def _beaten(weaker: Mapping[str, object], stronger: Mapping[str, object]) -> dict[str, object]:
    """Return the remaining ``weaker`` fields: users give way to a rate, and a rate to users."""
    gives_way = {"users": {"rate"}, "rate": {"users", "think_time_s", "pace_s"}}
    gone = {name for given in stronger for name in gives_way.get(given, ())}
    return {name: value for name, value in weaker.items() if name not in gone}


def _strongest(cli: Mapping[str, object], ini: Mapping[str, object]) -> dict[str, Any]:
    """Return each option's value: the command line's, else the ini file's, else the default."""
    return {
        option.name: next(
            (value for value in (cli[option.name], ini[option.name]) if value is not None), option.default
        )
        for option in OPTIONS
    }


def _ini_value(config: pytest.Config, option: Option) -> object:
    value = _raw_ini(config, option.dest)
    is_taken_back = value in ("", []) and _is_overridden(config, option.dest)
    if value is None or is_taken_back:
        return None
    try:
        return option.of_ini(value)
    except argparse.ArgumentTypeError as error:
        raise _ini_error(config, option.dest, str(error)) from None


def _allowed_contexts(config: pytest.Config) -> tuple[str, ...]:
    value = _raw_ini(config, ALLOWED_INI)
    listed = value.splitlines() if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise _ini_error(
            config, ALLOWED_INI, f"{without_secrets(_as_toml(value))} is not a list of texts in quotes."
        )
    return tuple(stripped for each in listed if (stripped := each.strip()))


def _raw_ini(config: pytest.Config, name: str) -> object:
    """Return a value of the ini file: a text, a list of texts, or since pytest 9 any value of TOML."""
    try:
        return config.getini(name)
    except (TypeError, pytest.UsageError):
        # A native value of TOML, of another type than the one declared.
        import tomllib

        assert config.inipath
        document = tomllib.loads(config.inipath.read_text(encoding="utf-8"))
        tables = document.get("tool", {}).get("pytest", {}), document.get("pytest", {})
        return next(table[name] for table in tables if name in table)


def _ini_error(config: pytest.Config, name: str, text: str) -> pytest.UsageError:
    place = "-o" if _is_overridden(config, name) else config.inipath
    return pytest.UsageError(f"{name} in {place}: {text}")


def _is_overridden(config: pytest.Config, name: str) -> bool:
    return any(each.partition("=")[0] == name for each in config.getoption("override_ini") or ())


def _as_toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _overrides(values: Mapping[str, Any]) -> LoadOverrides:
    fields = {part: values[name] for name, part in _LOAD_FIELDS.items() if values[name] is not None}
    return LoadOverrides(values["profile"], fields)


def _noise_memory(cli: Mapping[str, Any], ini: Mapping[str, Any]) -> NoiseMemory | None:
    """Return the noise memory that an option sets, with the option's place; None without one."""
    name = "noise-memory"
    for given, place in ((cli, f"--{PREFIX}-{name}"), (ini, f"{PREFIX}_noise_memory in the ini file")):
        if given[name] is not None:
            return NoiseMemory(given[name], f"from {place}", place)
    return None


def _against(values: Mapping[str, Any]) -> Against | None:
    """Return the baseline server; None without one.

    Raises:
        pytest.UsageError: for several ones, and for one that does not fit the target.
    """
    flag, given, target = f"--{PREFIX}-against", values["against"] or [], values["target"]
    if not given:
        return None
    if len(given) > 1:
        both = " and ".join(map(str, given))
        raise pytest.UsageError(f"{flag}: there is one baseline server at most, not {both}.")
    against: Against = given[0]
    if target not in _AGAINST[against.kind]:
        valid = ", ".join(f"{kind}:..." for kind, targets in _AGAINST.items() if target in targets)
        raise pytest.UsageError(f"{flag}: {against} does not go with target {target!r}; valid: {valid}.")
    if against.kind == "url":
        _check_url(against.value, flag)
    if against.kind == "model" and not Path(against.value).is_dir():
        raise pytest.UsageError(f"{flag}: there is no folder {against.value}.")
    return against


def _check_prices(settings: Settings) -> None:
    """Check before the run that the price list can be read.

    Raises:
        pytest.UsageError: when it cannot be read.
    """
    if settings.prices is None:
        return
    try:
        settings.pricing()
    except ConfigurationError as error:
        raise pytest.UsageError(f"--tfserving-prices: {error}") from None


def _check_writable(flag: str, path: Path | None) -> None:
    """Check before the run that a file can be written.

    Raises:
        pytest.UsageError: when it cannot be written.
    """
    if path is None:
        return
    folder = next(parent for parent in path.parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        problem = "is a folder" if path.is_dir() else f"cannot be written: {folder} is not a writable folder"
        raise pytest.UsageError(f"{flag}: {path} {problem}.")


def _check_conflicts(target: str, cli: Mapping[str, Any], ini: Mapping[str, Any]) -> None:
    """Refuse an option that ``target`` does not use.

    An option in the ini file is ignored while the command line chooses another target.

    Raises:
        pytest.UsageError: for such an option, for an address that does not fit, and for users and a rate.
    """
    for name, targets in _TARGETS_OF.items():
        given = cli[name] if cli[name] is not None or cli["target"] else ini[name]
        # A flag that is off does not count as given.
        if given not in (None, False) and target not in targets:
            valid = " or ".join(f"--{PREFIX}-target={each}" for each in targets)
            raise pytest.UsageError(f"--{PREFIX}-{name} goes with {valid}, not with target {target!r}.")
    if target == "url":
        _check_url(cli["url"] or ini["url"])
    for given, spelt in ((cli, "--tfserving-{}"), (ini, "tfserving_{} in the ini file")):
        _check_loop(given, spelt)


def _check_compared(values: Mapping[str, object]) -> None:
    for name in ("compare-fail", "compare-force"):
        if values[name] and not values["compare"]:
            raise pytest.UsageError(f"--{PREFIX}-{name} needs --{PREFIX}-compare, the run to compare with.")


def _check_loop(given: Mapping[str, object], spelt: str) -> None:
    if given["rate"] is not None and given["users"] is not None:
        rate, users = spelt.format("rate"), spelt.format("users")
        raise pytest.UsageError(f"{rate} makes an open loop, {users} makes a closed one; drop one of them.")


def _check_url(url: str | None, flag: str = f"--{PREFIX}-url") -> None:
    from pytest_tfserving.protocols import REST
    from pytest_tfserving.targets.url import parse_url

    if not url:
        raise pytest.UsageError(f"--tfserving-target=url needs --tfserving-url {REST.url_example}.")
    try:
        parse_url(url)
    except ConfigurationError as error:
        raise pytest.UsageError(f"{flag}: {error}") from None
