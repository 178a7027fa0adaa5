"""The plugin's options in one table, and the parsers of their values."""

from __future__ import annotations

import argparse
import itertools
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments import DEFAULT_IMAGE, TARGET_NAMES
from pytest_tfserving.plugin.option_groups import group_of
from pytest_tfserving.text.option_names import ALLOWED_INI, PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from pytest_tfserving.settings import Against
    from pytest_tfserving.slo.change_limit import ChangeLimit

Number = TypeVar("Number", int, float)
# The kinds of baseline servers, each with the targets that can run one.
AGAINST = {
    "server": ("local",),
    "image": ("docker", "kubernetes"),
    "model": ("local", "docker"),
    "url": ("url",),
    "experiment": ("local", "docker", "kubernetes"),
}
# Texts, and compiled on first use: every pytest run of the environment imports this module.
_DURATION = r"(\d+(?:\.\d+)?)\s*(s|m|h)?"
_PER_CENT = r"(\d+(?:\.\d+)?)\s*%"
_HOURS_OF_A_MONTH = 744
_SECONDS = {None: 1, "s": 1, "m": 60, "h": 3600}
# Of users, requests and seconds alike.
_MOST = 10**9
_NOT_EMPTY = "write a value, or leave the option out"
_YES_NO = {"yes": True, "true": True, "no": False, "false": False}
# The digest at the end of an image's name, behind the only @ of the name.
_DIGEST = r"@[A-Za-z0-9+._-]+:[0-9a-fA-F]{32,}$"


def parse_duration(text: str) -> float:
    """Return the seconds of ``90``, ``90s``, ``1.5m`` or ``1h``; other texts raise an ArgumentTypeError."""
    match = re.fullmatch(_DURATION, text.strip())
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
    from pytest_tfserving.settings import Against

    kind, _, value = parse_text(text).partition(":")
    if kind not in AGAINST or not value.strip():
        example = ", ".join(f"{each}:..." for each in AGAINST)
        raise argparse.ArgumentTypeError(f"{text!r} names no baseline server; write it as one of {example}.")
    return Against(kind, parse_image(value) if kind == "image" else value)


def parse_text(text: str) -> str:
    """Return ``text``; an empty text, control characters and secrets raise an ArgumentTypeError."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is empty; {_NOT_EMPTY}.")
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r} has a control character in it.")
    from pytest_tfserving.text.addresses import NOT_TAKEN, RIGHT_WAY, may_have_secrets

    if "://" in text and may_have_secrets(text):
        raise argparse.ArgumentTypeError(f"the address {NOT_TAKEN}; write it without them, and {RIGHT_WAY}.")
    return text


def parse_client_header(text: str) -> tuple[str, str]:
    """Return a header's name and value; other texts raise an ArgumentTypeError, which shows no value."""
    from pytest_tfserving.experiments.client_settings import parse_header

    try:
        return parse_header(text)
    except ConfigurationError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parse_image(text: str) -> str:
    """Return the name of an image; credentials in the name raise an ArgumentTypeError."""
    from pytest_tfserving.text.addresses import NOT_TAKEN

    if "@" in re.sub(_DIGEST, "", text):
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
    match = re.fullmatch(_PER_CENT, text.strip())
    if not match:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a margin; write it as --tfserving-update-slos=20%, or leave it out at the end."
        )
    return _not_too_much(float(match[1]) / 100, text)


def parse_share(text: str) -> float:
    """Return the fraction of a share as ``20%`` or ``0.2``; other texts raise an ArgumentTypeError."""
    match = re.fullmatch(_PER_CENT, text.strip())
    try:
        share = float(match[1]) / 100 if match else float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0 and up to 1; write it as 20%.")
    return share


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
        has_spaces: whether a value can have spaces, so that each line of an ini file is one value.
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
    has_spaces: bool = False

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
        from pytest_tfserving.text.addresses import without_secrets

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
        texts = map(self._text, values)
        parts = ([each] for each in texts) if self.has_spaces else (each.split() or [""] for each in texts)
        return [self.of_text(part) for part in itertools.chain.from_iterable(parts)]

    def _text(self, value: object) -> str:
        """Return a native value as text, as on the command line.

        Raises:
            argparse.ArgumentTypeError: for a list or a table, and for a number where only a text fits.
        """
        from pytest_tfserving.text.addresses import without_secrets

        only_text = self.parse in (parse_text, parse_image, parse_run_name)
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float) and not only_text:
            return as_toml(value)
        wanted = "a text in quotes" if only_text else "one value"
        raise argparse.ArgumentTypeError(f"{without_secrets(as_toml(value))} is not {wanted}.")


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
        "header",
        "NAME:VALUE",
        "A header of every request of target `url`, as 'Authorization: Bearer ${TOKEN}', where ${TOKEN} is "
        "the value of an environment variable; can be given several times.",
        parse_client_header,
        shown_default="those of the experiment",
        repeatable=True,
        has_spaces=True,
    ),
    Option(
        "ca-file",
        "FILE",
        "The certificates that target `url` trusts, in PEM format.",
        shown_default="those of the experiment, else the system's",
    ),
    Option(
        "client-certificate",
        "FILE",
        "The client certificate of target `url`, in PEM format, perhaps with its key.",
        shown_default="that of the experiment",
    ),
    Option(
        "client-key",
        "FILE",
        "The key of --tfserving-client-certificate, in PEM format.",
        shown_default="that in the certificate's file",
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
        "max-cpu-wait",
        "SHARE",
        "Share of the time for which the load generator may wait for a core or stand still before verdicts "
        "have to allow for it, as 20%.",
        parse_share,
        shown_default="the profile's own, 2% unless it says otherwise",
    ),
    Option(
        "max-lag-ms",
        "MS",
        "Milliseconds by which the load generator may be late (p95) before verdicts have to allow for it.",
        parse_rate,
        shown_default="the profile's own, 10 unless it says otherwise",
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


def add_options(parser: pytest.Parser) -> None:
    """Declare every option, for the command line and for ini files."""
    for option in OPTIONS:
        group = parser.getgroup(f"TensorFlow Serving performance: {group_of(option.name)}")
        group.addoption(option.flag, dest=option.dest, default=None, **option.declaration)
        kind: Literal["linelist", "string"] = "linelist" if option.repeatable else "string"
        parser.addini(option.dest, f"Default value for {option.flag}", type=kind, default=None)
    parser.addini(
        ALLOWED_INI,
        "Contexts that target kubernetes may deploy to besides local clusters', one a line, * for anything",
        type="linelist",
        default=[],
    )


def as_toml(value: object) -> str:
    """Return a value as a TOML file has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
