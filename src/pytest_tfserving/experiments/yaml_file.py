"""Reader of the YAML file of experiments; the error for a mistake has its line."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pytest_tfserving.errors import ConfigurationError, nearest, shown
from pytest_tfserving.experiments import TARGET_NAMES
from pytest_tfserving.experiments.client_settings import ClientSettings, headers_of
from pytest_tfserving.experiments.experiment import (
    PAYLOADS,
    PROTOCOLS,
    BatchingParameters,
    Experiment,
    LoadPods,
    NodeRequirements,
    ServingOptions,
    Shape,
    experiment_name,
    name_of_model,
    shape_of_machine,
)
from pytest_tfserving.experiments.load_profile import DEFAULT_PROFILE, LoadProfile, find_profile
from pytest_tfserving.experiments.model_keys import MODELS, models_of, with_defaults
from pytest_tfserving.experiments.payload_keys import payload_of
from pytest_tfserving.experiments.payload_paths import is_payload_path
from pytest_tfserving.slo.language import SloSet, parse_slos
from pytest_tfserving.text.addresses import without_secrets
from pytest_tfserving.text.foreign_text import LONGEST_REASON, one_line, printable
from pytest_tfserving.text.text_file import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    import yaml

    from pytest_tfserving.experiments.model_mix import MixedModel
    from pytest_tfserving.experiments.payload_choice import FilePayload, GeneratedPayload
    from pytest_tfserving.slo.language import Slo

# A value of YAML without parts, and a value with its parts.
Scalar: TypeAlias = "str | int | float | bool | bytes | date | None"
Plain: TypeAlias = "dict[str, Plain] | list[Plain] | Scalar"
Parsed = TypeVar("Parsed")

FILE_NAME = "experiments.yaml"
_OTHER_NAME = "experiments.yml"
# A few hundred experiments need a tenth of this size; a file of this size takes a few seconds to read.
_MOST_BYTES = 1 << 18
# An alias counts as the values that it stands for.
_MOST_VALUES = 100_000
_DEEPEST = 32
_MOST_EXPERIMENTS = 10_000
_LONGEST_NAME = 200
# The largest value of a flag of TF Serving.
_MOST = 2**31 - 1
_MOST_BITS = 64
# Endings that turn a machine's name into a shape's: `8vCPU-16GB_1` and `8cpu-16gb-1n`; by lower case or not.
_ONE_NODE = {True: "-1n", False: "_1"}
_NODE_KEYS = ["selector", "tolerations"]
_TLS_KEYS = ["ca_file", "certificate", "key"]
_POD_SIZES = ("cpu", "memory")
# The targets whose servers run on this machine, and the key for all other targets or machines.
BY_MACHINE = ("local", "docker")
_OTHERS = "*"
# The key of a profile that names the profile from which other fields come.
_BASE = "base"
_PROFILE_FIELDS = [part.name for part in fields(LoadProfile) if part.name != "name"]
_TOP_KEYS = ["defaults", "experiments", "profiles", "batching_parameters", "nodes", "load_pods"]
_EXPERIMENT_KEYS = [
    "shape",
    "intra_op",
    "inter_op",
    "batching",
    "model",
    MODELS,
    "payload",
    "protocol",
    "profile",
    "slo",
    "headers",
    "tls",
    "name",
]


@dataclass(frozen=True, slots=True)
class ExperimentsFile:
    """The content of an experiments file; ``entries`` has the number of each experiment's entry, by name."""

    path: Path
    experiments: tuple[Experiment, ...]
    profiles: Mapping[str, LoadProfile]
    entries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the file with its place, file and line."""

    raw: dict[str, Value] | list[Value] | Scalar
    place: str

    def error(self, text: str) -> ConfigurationError:
        """Return an error at this place."""
        return ConfigurationError(one_line(f"{self.place}: {without_secrets(text)}", LONGEST_REASON))

    def mapping(self, what: str, valid: list[str] | None = None) -> dict[str, Value]:
        """Return this value as a mapping with ``valid`` keys.

        Raises:
            ConfigurationError: for any other value, and for an unknown key.
        """
        if not isinstance(self.raw, dict):
            raise self.error(f"{what} must be a mapping, not {self.plain()!r}.")
        for name, value in self.raw.items():
            if valid is not None and name not in valid:
                raise value.error(f"unknown key {name!r} in {what}; {nearest(name, valid)}.")
        return self.raw

    def items(self) -> list[Value]:
        """Return the elements of a list, or this value alone."""
        return self.raw if isinstance(self.raw, list) else [self]

    def integer(self, what: str, least: int = 1) -> int:
        """Return this value as a whole number from ``least`` to TF Serving's largest one.

        Raises:
            ConfigurationError: for any other value.
        """
        if not isinstance(self.raw, int) or isinstance(self.raw, bool) or self.raw < least:
            raise self.error(f"{what} must be a whole number of {least} or more, not {self.plain()!r}.")
        if self.raw > _MOST:
            raise self.error(f"{what} must be at most {_MOST}, not {self.raw}.")
        return self.raw

    def boolean(self, what: str) -> bool:
        """Return this value as true or false.

        Raises:
            ConfigurationError: for any other value.
        """
        if not isinstance(self.raw, bool):
            raise self.error(f"{what} must be true or false, not {self.plain()!r}.")
        return self.raw

    def text(self, what: str, valid: tuple[str, ...] = ()) -> str:
        """Return this value as a text, one of ``valid`` if there are any.

        Raises:
            ConfigurationError: for any other value, and for characters that cannot be shown.
        """
        if not isinstance(self.raw, str):
            raise self.error(f"{what} must be a text, not {self.plain()!r}.")
        if printable(self.raw) != self.raw:
            raise self.error(f"{what} {self.raw!r} has characters that cannot be shown.")
        if valid and self.raw not in valid:
            raise self.error(f"{what} {self.raw!r} is not one of: {', '.join(valid)}.")
        return self.raw

    def place_of(self, what: str) -> str:
        """Return this value as a name or a path on this machine.

        Raises:
            ConfigurationError: for any other value, such as an address.
        """
        text = self.text(what)
        if "://" in text:
            raise self.error(f"{what} is a name or a path on this machine, not an address.")
        return text

    def parsed(self, parse: Callable[[Plain], Parsed]) -> Parsed:
        """Return ``parse`` of the plain value.

        Raises:
            ConfigurationError: the error of ``parse``, with this place.
        """
        try:
            return parse(self.plain())
        except ConfigurationError as error:
            raise self.error(str(error)) from None

    def plain(self) -> Plain:
        """Return the value without places."""
        if isinstance(self.raw, dict):
            return {name: value.plain() for name, value in self.raw.items()}
        if isinstance(self.raw, list):
            return [value.plain() for value in self.raw]
        return self.raw


def find_file(start: Path, top: Path) -> Path:
    """Return the nearest ``experiments.yaml`` in ``start`` or a folder above it, up to ``top``.

    Raises:
        ConfigurationError: when there is no such file.
    """
    for folder in (start, *start.parents):
        if (folder / FILE_NAME).is_file():
            return folder / FILE_NAME
        if (folder / _OTHER_NAME).is_file():
            raise ConfigurationError(f"{folder / _OTHER_NAME} is not read; rename it to {FILE_NAME}.")
        if folder == top:
            break
    raise ConfigurationError(
        f"no {FILE_NAME} in {start} or above it; write one, or name a file with --tfserving-experiments."
    )


def find_from_top(top: Path) -> Path:
    """Return the ``experiments.yaml`` in a project's ``top`` folder, or else in ``perf_tests`` below it.

    Raises:
        ConfigurationError: when there is no such file.
    """
    below = top / "perf_tests"
    return find_file(below if below.is_dir() and not (top / FILE_NAME).is_file() else top, top)


def read_file(path: Path) -> ExperimentsFile:
    """Read and expand a file of experiments.

    Raises:
        ConfigurationError: with file and line, for any mistake in the file.
    """
    return experiments_of(path, file_text(path))


def file_text(path: Path) -> str:
    """Return the text of a file of experiments.

    Raises:
        ConfigurationError: when the file cannot be read.
    """
    return text_of(path, "experiments file", _MOST_BYTES)


def experiments_of(path: Path, text: str) -> ExperimentsFile:
    """Expand the text of a file of experiments.

    Raises:
        ConfigurationError: with file and line, for any mistake in the text.
    """
    top = _read(path, text).mapping("the file", _TOP_KEYS)
    profiles = _profiles(top, path)
    batching = _batching(top.get("batching_parameters"))
    nodes = _nodes(top.get("nodes"))
    load_pods = _load_pods(top.get("load_pods"))
    defaults = top["defaults"].mapping("defaults", _EXPERIMENT_KEYS) if "defaults" in top else {}
    if "experiments" not in top or not isinstance(top["experiments"].raw, list):
        raise ConfigurationError(f"{path}: 'experiments' must be a list of experiments.")
    found: dict[str, Value] = {}
    experiments: list[Experiment] = []
    entries: dict[str, int] = {}
    for number, entry in enumerate(top["experiments"].items()):
        keys = with_defaults(defaults, entry.mapping("an experiment", _EXPERIMENT_KEYS))
        for made in _expand(entry, keys, profiles, batching, path):
            experiment = replace(made, nodes=nodes.get(made.shape.machine, made.nodes), load_pods=load_pods)
            if experiment.name in found:
                raise entry.error(
                    f"experiment {experiment.name!r} is already defined at {found[experiment.name].place}; "
                    "give one of them a 'name'."
                )
            found[experiment.name] = entry
            experiments.append(experiment)
            entries[experiment.name] = number
            if len(experiments) > _MOST_EXPERIMENTS:
                raise entry.error(f"the file has more than {_MOST_EXPERIMENTS} experiments.")
    return ExperimentsFile(path, tuple(experiments), profiles, entries)


def _expand(
    entry: Value,
    keys: dict[str, Value],
    profiles: Mapping[str, LoadProfile],
    batching: BatchingParameters,
    path: Path,
) -> Iterator[Experiment]:
    """Yield an experiment for every combination of the entry's shapes, inter-op and batching values.

    Raises:
        ConfigurationError: for a value that does not fit, and too many combinations.
    """
    shapes, batched, inter_ops = (_alternatives(keys.get(key)) for key in ("shape", "batching", "inter_op"))
    count = math.prod(map(len, (shapes, batched, inter_ops)))
    if not 0 < count <= _MOST_EXPERIMENTS:
        raise entry.error(f"its lists make {count} experiments; from 1 to {_MOST_EXPERIMENTS} are allowed.")
    if "name" in keys and count > 1:
        raise keys["name"].error(f"one 'name' cannot name {count} experiments.")
    for shape_value, is_batched, inter_op in itertools.product(shapes, batched, inter_ops):
        shape = shape_value.parsed(lambda text: Shape.parse(str(text))) if shape_value else shape_of_machine()
        options = ServingOptions(
            keys["intra_op"].integer("intra_op") if "intra_op" in keys else shape.vcpus,
            inter_op.integer("inter_op") if inter_op else shape.vcpus,
            batching if is_batched and is_batched.boolean("batching") else None,
        )
        profile = _profile(keys.get("profile"), profiles)
        models = _models(keys.get(MODELS), path)
        model = "" if models else _model(keys.get("model"), path)
        payload = "" if models else _payload(keys.get("payload"), path, profile)
        protocol = keys["protocol"].text("protocol", PROTOCOLS) if "protocol" in keys else PROTOCOLS[0]
        subject = shape.name if shape_value else _models_in_name(model, models)
        name = experiment_name(subject, options, payload, protocol, shows_inter_op=bool(inter_op))
        yield Experiment(
            name=_name(keys["name"]) if "name" in keys else name,
            shape=shape,
            options=options,
            model=model,
            payload=payload,
            profile=profile,
            protocol=protocol,
            slo_by_target=_slos(keys.get("slo")),
            client=_client(keys.get("headers"), keys.get("tls"), path),
            has_shape=shape_value is not None,
            models=models,
        )


def _alternatives(value: Value | None) -> Sequence[Value | None]:
    """Return the values that an entry combines with others; a missing one stands for its default."""
    return value.items() if value else [None]


def _name(value: Value) -> str:
    text = value.text("name")
    if not 0 < len(text) <= _LONGEST_NAME:
        raise value.error(f"a name has from 1 to {_LONGEST_NAME} characters, not {len(text)}.")
    return text


def _model(value: Value | None, path: Path) -> str:
    """Return the name of a model of this package, or the path of a folder, relative to the file."""
    name = value.place_of("model") if value else "resnet50"
    return str(path.parent / name) if "/" in name else name


def _models(value: Value | None, path: Path) -> tuple[MixedModel, ...]:
    """Return the models that a server has together; none without a list of them."""
    if value is None:
        return ()
    return models_of(value, lambda each: _model(each, path), lambda each: _payload(each, path))


def _models_in_name(model: str, models: Sequence[MixedModel]) -> str:
    """Return the beginning of the name of an experiment without a shape."""
    return "-".join(each.name for each in models) or name_of_model(model)


def _payload(
    value: Value | None, path: Path, profile: LoadProfile | None = None
) -> str | FilePayload | GeneratedPayload:
    """Return a payload; without one, the profile's trace with bodies is the payload."""
    if value is None:
        trace = profile.replay if profile else None
        return trace.path if trace and trace.has_bodies else PAYLOADS[0]
    if isinstance(value.raw, dict):
        return payload_of(value, path.parent)
    text = value.place_of("payload")
    if is_payload_path(text):
        return str(path.parent / text)
    return value.text("payload", PAYLOADS)


def _client(headers: Value | None, tls: Value | None, path: Path) -> ClientSettings:
    """Return the headers and the files for TLS, whose paths are relative to the experiments file."""
    files = {name: each.place_of(name) for name, each in tls.mapping("tls", _TLS_KEYS).items()} if tls else {}
    if tls and "key" in files and "certificate" not in files:
        raise tls.error("the key of tls needs a certificate.")
    pairs = tuple(_header(name, each) for name, each in _headers(headers).items())
    if headers:
        headers.parsed(lambda _: headers_of(pairs))
    return ClientSettings(
        pairs, **{name: str((path.parent / file).absolute()) for name, file in files.items()}
    )


def _headers(value: Value | None) -> dict[str, Value]:
    if value is None:
        return {}
    if not isinstance(value.raw, dict):  # what stands here may be a secret
        raise value.error("headers must be a mapping of names to values.")
    return value.raw


def _header(name: str, value: Value) -> tuple[str, str]:
    """Return a header whose value is a text, or the environment variable in ``{env: NAME}``."""
    plain = value.plain()
    if isinstance(plain, dict) and list(plain) == ["env"]:
        plain = f"${{{plain['env']}}}"
    if not isinstance(plain, str):
        raise value.error(f"the value of header {shown(name)} must be a text in quotes, or {{env: NAME}}.")
    value.parsed(lambda _: headers_of([(name, plain)]))
    return name, plain


def _profile(value: Value | None, profiles: Mapping[str, LoadProfile]) -> LoadProfile:
    if value is None:
        return find_profile(DEFAULT_PROFILE)
    name = value.text("profile")
    return value.parsed(lambda _: find_profile(name, dict(profiles)))


def _slos(value: Value | None) -> dict[str, SloSet]:
    """Return SLOs by target; those of a plain list are for every target."""
    if value is None:
        return {}
    if isinstance(value.raw, dict):
        targets = value.mapping("slo", [*TARGET_NAMES, _OTHERS])
        found = {target: _of_machine(target, texts) for target, texts in targets.items()}
        return {target: SloSet(slos) for target, slos in found.items() if slos is not None}
    return {_OTHERS: SloSet(_slo_list(value))}


def _of_machine(target: str, value: Value) -> tuple[Slo, ...] | None:
    """Return the SLOs for a target on this machine; None if a mapping by machine has none for it."""
    if not isinstance(value.raw, dict):
        return _slo_list(value)
    if target not in BY_MACHINE:
        valid = " and ".join(BY_MACHINE)
        raise value.error(f"slo of {target!r} must be a list; only {valid} have SLOs by machine.")
    from pytest_tfserving.system.machine import machine_class

    found = {name: _slo_list(texts) for name, texts in value.mapping(f"slo of {target!r}").items()}
    return found.get(machine_class(), found.get(_OTHERS))


def _slo_list(value: Value) -> tuple[Slo, ...]:
    return tuple(
        itertools.chain.from_iterable(each.parsed(lambda text: parse_slos([text])) for each in value.items())
    )


def _profiles(top: dict[str, Value], path: Path) -> dict[str, LoadProfile]:
    values = top["profiles"].mapping("profiles") if "profiles" in top else {}
    profiles: dict[str, LoadProfile] = {}
    for name in values:
        _make_profile(name, values, profiles, path)
    return profiles


def _make_profile(
    name: str,
    values: Mapping[str, Value],
    made: dict[str, LoadProfile],
    path: Path,
    above: tuple[str, ...] = (),
) -> None:
    """Add a profile of the file to those ``made``, and before it the profiles that it is based on.

    A profile that replaces a built-in one can be based on the built-in one.

    Raises:
        ConfigurationError: for a missing field, a field or base that does not fit, and a base that is based
            on this profile.
    """
    if name in made:
        return
    value = values[name]
    parts = value.mapping(f"profile {name!r}", [_BASE, *_PROFILE_FIELDS, "log_format"])
    base = parts[_BASE].text(_BASE) if _BASE in parts else ""
    if base in above:
        circle = " -> ".join((*above[above.index(base) :], name, base))
        raise parts[_BASE].error(f"profile {name!r} is based on itself: {circle}.")
    if base in values and base != name:
        _make_profile(base, values, made, path, (*above, name))
    if not (base or "run_time_s" in parts or "replay" in parts):
        raise value.error(f"profile {name!r} needs run_time_s, or a base, as base: quick.")
    own = Value({key: each for key, each in parts.items() if key != _BASE}, value.place)
    if base:
        known = parts[_BASE].parsed(lambda _: find_profile(base, made))
        made[name] = own.parsed(partial(_based_profile, name, path, known))
    else:
        made[name] = own.parsed(partial(_named_profile, name, path))


def _named_profile(name: str, path: Path, parts: object) -> LoadProfile:
    from pytest_tfserving.experiments.profile_files import with_files_read

    assert isinstance(parts, dict)
    known: dict[str, Any] = with_files_read(parts, path.parent)
    return LoadProfile(name, **known)


def _based_profile(name: str, path: Path, base: LoadProfile, parts: object) -> LoadProfile:
    from pytest_tfserving.experiments.profile_files import with_files_read

    assert isinstance(parts, dict)
    known: dict[str, Any] = with_files_read(parts, path.parent)
    return replace(base.with_overrides(known), name=name)


def _nodes(value: Value | None) -> dict[str, NodeRequirements]:
    """Return the requirements on nodes by the machine's name."""
    if value is None:
        return {}
    found = {}
    for name, each in value.mapping("nodes").items():
        shape = each.parsed(partial(_machine, name))
        parts = each.mapping(f"nodes {name!r}", _NODE_KEYS)
        found[shape.machine] = _requirements(parts)
    return found


def _requirements(parts: dict[str, Value]) -> NodeRequirements:
    selector = parts["selector"].mapping("selector") if "selector" in parts else {}
    tolerations = parts["tolerations"].items() if "tolerations" in parts else []
    return NodeRequirements(
        {label: text.text(f"label {label!r}") for label, text in selector.items()},
        tuple(_toleration(item) for item in tolerations),
    )


def _load_pods(value: Value | None) -> LoadPods:
    """Return the nodes and the size of load Pods."""
    if value is None:
        return LoadPods()
    parts = value.mapping("load_pods", [*_NODE_KEYS, *_POD_SIZES])
    sizes = {name: parts[name].parsed(partial(_size, name)) for name in _POD_SIZES if name in parts}
    return LoadPods(_requirements(parts), **sizes)


def _size(name: str, raw: object) -> str:
    from pytest_tfserving.experiments.quantity import quantity

    if isinstance(raw, bool) or not 0 < quantity(raw) < math.inf:
        raise ConfigurationError(
            f"{raw!r} is not a valid {name} for a Pod; write a Kubernetes quantity: 2, 500m, 1Gi"
        )
    return str(raw)


def _machine(name: str, _: object) -> Shape:
    return Shape.parse(f"{name}{_ONE_NODE[name.islower()]}")


def _toleration(value: Value) -> dict[str, str]:
    keys = value.mapping("a toleration", ["key", "operator", "value", "effect"])
    return {name: each.text(name) for name, each in keys.items()}


def _batching(value: Value | None) -> BatchingParameters:
    if value is None:
        return BatchingParameters()
    names = [part.name for part in fields(BatchingParameters)]
    parts = {
        name: part.integer(name, least=0)
        for name, part in value.mapping("batching_parameters", names).items()
    }
    return value.parsed(lambda _: BatchingParameters(**parts))


def _read(path: Path, text: str) -> Value:
    """Return the content of a file's text with the line of every value.

    Raises:
        ConfigurationError: when the text is empty or is not YAML.
    """
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigurationError(f"{place}: not YAML: {one_line(str(error.problem))}.") from None
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {one_line(str(error))}.") from None
    except RecursionError:
        raise ConfigurationError(f"{path}: values are nested more than {_DEEPEST} deep.") from None
    except (ValueError, OverflowError) as error:  # an escape for a character that does not exist
        raise ConfigurationError(f"{path} is not YAML: {one_line(str(error))}.") from None
    if node is None:
        raise ConfigurationError(f"{path} is empty; it needs a list of 'experiments'.")
    return _Values(path).of(node)


class _Values:
    """The conversion of one file's nodes to values, with a limit: aliases can make few nodes many values."""

    def __init__(self, path: Path) -> None:
        from yaml.constructor import SafeConstructor

        self._path = path
        self._left = _MOST_VALUES
        self._construct = SafeConstructor().construct_object

    def of(self, node: yaml.Node, depth: int = 0) -> Value:
        """Return the value of a node.

        Raises:
            ConfigurationError: for too many values, values nested too deeply, and invalid ones.
        """
        import yaml

        place = self._place(node)
        self._left -= 1
        if self._left < 0:
            raise ConfigurationError(
                f"{place}: more than {_MOST_VALUES} values, with what aliases stand for."
            )
        if depth > _DEEPEST:
            raise ConfigurationError(f"{place}: values are nested more than {_DEEPEST} deep.")
        if isinstance(node, yaml.SequenceNode):
            return Value([self.of(each, depth + 1) for each in node.value], place)
        if isinstance(node, yaml.MappingNode):
            return Value(self._mapping(node, depth + 1), place)
        return Value(self._scalar(node, place), place)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Value]:
        mapping: dict[str, Value] = {}
        for key, value in node.value:
            name, place = key.value, self._place(key)
            if not isinstance(name, str) or printable(name) != name:
                raise ConfigurationError(f"{place}: a key is a text on one line.")
            if name in mapping:
                raise ConfigurationError(f"{place}: {shown(name)} stands here twice.")
            mapping[name] = self.of(value, depth)
        return mapping

    def _scalar(self, node: yaml.Node, place: str) -> Scalar:
        try:
            value: Scalar = self._construct(node)
        except Exception:  # noqa: BLE001 - PyYAML raises any error for a tag that does not fit its text
            raise ConfigurationError(f"{place}: {shown(node.value)} is not a value of {node.tag}.") from None
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            raise ConfigurationError(f"{place}: a number of {value.bit_length()} bits is too large.")
        return value

    def _place(self, node: yaml.Node) -> str:
        return f"{self._path}:{node.start_mark.line + 1}"
