"""The YAML file of experiments: what it expands to, and how mistakes in it are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pytest_tfserving.errors import ConfigurationError
from pytest_tfserving.experiments import TARGET_NAMES
from pytest_tfserving.experiments.load_profile import PROFILES
from pytest_tfserving.experiments.yaml_file import find_file, find_from_top, read_file
from pytest_tfserving.system.machine import machine_class

STUDY = Path(__file__).parents[2] / "perf_tests" / "experiments.yaml"


def read(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "experiments.yaml"
    path.write_text(text, encoding="utf-8")
    return [experiment.name for experiment in read_file(path).experiments]


def error(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    return str(caught.value).replace(str(tmp_path), "")


def test_the_study_has_its_fifteen_experiments() -> None:
    study = [each for each in read_file(STUDY).experiments if each.profile.name == "study"]

    assert {each.name for each in study} == {
        *(f"2cpu-4gb-8n-interop{n}" for n in (2, 4, 8)),
        *(f"4cpu-8gb-4n-interop{n}" for n in (2, 4, 8)),
        *(f"8cpu-16gb-2n-interop{n}" for n in (2, 4, 8)),
        *(f"8cpu-64gb-2n-interop{n}" for n in (2, 4, 8)),
        *(f"8cpu-64gb-2n-interop{n}-batch" for n in (2, 4, 8)),
    }
    assert {each.options.intra_op for each in study} == {2, 4, 8}
    assert all(each.options.intra_op == each.shape.vcpus for each in study)
    profile = study[0].profile
    assert (profile.users, profile.spawn_rate, profile.think_time_s, profile.run_time_s) == (150, 1, 1, 300)


def test_the_studys_batching_file() -> None:
    batched = next(each for each in read_file(STUDY).experiments if each.name.endswith("batch"))

    assert batched.options.batching
    assert batched.options.batching.text().splitlines() == [
        "max_batch_size { value: 128 }",
        "batch_timeout_micros { value: 0 }",
        "max_enqueued_batches { value: 2 }",
        "num_batch_threads { value: 2 }",
    ]
    assert batched.options.flags("/etc/b.txt")[2:] == [
        "--enable_batching=true",
        "--batching_parameters_file=/etc/b.txt",
    ]


def test_lists_expand_and_both_spellings_are_read(tmp_path: Path) -> None:
    names = read(
        tmp_path,
        "experiments:\n- shape: [8vCPU-16GB_2, 1cpu-2gb-1n]\n  inter_op: [2, 4]\n  batching: [false, true]\n",
    )

    assert len(names) == 8
    assert names[0] == "8cpu-16gb-2n-interop2"
    assert names[-1] == "1cpu-2gb-1n-interop4-batch"


def test_the_payload_is_part_of_the_name(tmp_path: Path) -> None:
    text = "experiments:\n- {shape: 1cpu-2gb-1n, inter_op: 1, payload: jpeg}\n"

    assert read(tmp_path, text) == ["1cpu-2gb-1n-interop1-jpeg"]


def test_slos_are_by_target(tmp_path: Path) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text(
        "experiments:\n- {shape: 1cpu-2gb-1n, inter_op: 1, slo: {local: [rps>=3], url: ['p95<9ms']}}\n",
        encoding="utf-8",
    )
    (experiment,) = read_file(path).experiments

    assert experiment.slo.min_rps == 3
    assert [slo.text for slo in experiment.slo] == ["rps>=3"]


@pytest.mark.parametrize(
    ("slo", "texts"),
    [
        ("{local: {HERE: [rps>=1], '*': [rps>=2]}, '*': [rps>=3]}", ["rps>=1"]),
        ("{local: {elsewhere: [rps>=1], '*': [rps>=2]}, '*': [rps>=3]}", ["rps>=2"]),
        ("{local: {elsewhere: [rps>=1]}, '*': [rps>=3]}", ["rps>=3"]),
        ("{local: {elsewhere: [rps>=1]}}", []),
        ("{docker: {HERE: [rps>=1]}, '*': [rps>=3]}", ["rps>=3"]),
    ],
)
def test_slos_can_be_by_machine(tmp_path: Path, slo: str, texts: list[str]) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text(f"{GOOD}  slo: {slo.replace('HERE', repr(machine_class()))}\n", encoding="utf-8")

    (experiment,) = read_file(path).experiments

    assert [slo.text for slo in experiment.slo] == texts


@pytest.mark.parametrize("target", TARGET_NAMES)
def test_slos_can_be_for_any_target(tmp_path: Path, target: str) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text(f"{GOOD}  slo: {{{target}: [rps>=3]}}\n", encoding="utf-8")
    (experiment,) = read_file(path).experiments

    assert [slo.text for slo in replace(experiment, target=target).slo] == ["rps>=3"]


GOOD = "experiments:\n- shape: 1cpu-2gb-1n\n  inter_op: 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            GOOD.replace("1cpu-2gb-1n", "1core"),
            "/experiments.yaml:2: '1core' is not a shape; write it as 8vCPU-16GB_2 or 8cpu-16gb-2n.",
        ),
        (
            GOOD.replace("1cpu", "0cpu"),
            "/experiments.yaml:2: vcpus of a shape must be 1 or more, not 0.",
        ),
        (
            GOOD.replace("1n", "0n"),
            "/experiments.yaml:2: nodes of a shape must be 1 or more, not 0.",
        ),
        (
            GOOD.replace("2gb", "-2gb"),
            "/experiments.yaml:2: ram_gb of a shape must be 1 or more, not -2.",
        ),
        (
            GOOD.replace("op: 1", "op: 0"),
            "/experiments.yaml:3: inter_op must be a whole number of 1 or more, not 0.",
        ),
        (
            GOOD.replace("op: 1", "op: many"),
            "/experiments.yaml:3: inter_op must be a whole number of 1 or more, not 'many'.",
        ),
        (
            GOOD.replace("op: 1", "op: [1, 1.5]"),
            "/experiments.yaml:3: inter_op must be a whole number of 1 or more, not 1.5.",
        ),
        (
            GOOD + "  interop: 2\n",
            "/experiments.yaml:4: unknown key 'interop' in an experiment; did you mean 'inter_op'?",
        ),
        (GOOD + "experiment: []\n", "unknown key 'experiment' in the file; did you mean 'experiments'?"),
        (
            GOOD + "- shape: 1vCPU-2GB_1\n  inter_op: 1\n",
            "/experiments.yaml:4: experiment '1cpu-2gb-1n-interop1' is already defined at "
            "/experiments.yaml:2; give one of them a 'name'.",
        ),
        (GOOD + "  inter_op: 2\n", "/experiments.yaml:4: 'inter_op' stands here twice."),
        (
            GOOD + "  profile: fast\n",
            "/experiments.yaml:4: no load profile 'fast'; valid: quick, smoke, study.",
        ),
        (GOOD + "  profile: quik\n", "did you mean 'quick'?"),
        (GOOD + "  protocol: soap\n", "/experiments.yaml:4: protocol 'soap' is not one of: rest, grpc."),
        (GOOD + "  payload: xml\n", "/experiments.yaml:4: payload 'xml' is not one of: json, jpeg, raw"),
        (GOOD + "  slo: [p95<200]\n", "/experiments.yaml:4: SLO 'p95<200': a missing unit does not fit p95"),
        (
            GOOD + "  slo: {cloud: [rps>=1]}\n",
            "/experiments.yaml:4: unknown key 'cloud' in slo; valid: local, docker, kubernetes, url, *.",
        ),
        (
            GOOD + "  slo: {url: {here: [rps>=1]}}\n",
            "/experiments.yaml:4: slo of 'url' must be a list; only local and docker have SLOs by machine.",
        ),
        (GOOD + "  batching: maybe\n", "/experiments.yaml:4: batching must be true or false, not 'maybe'."),
        ("experiments: [", "/experiments.yaml:1: not YAML:"),
        ("", "/experiments.yaml is empty; it needs a list of 'experiments'."),
        ("[1]", "/experiments.yaml:1: the file must be a mapping, not [1]."),
        ("experiments: 3", "'experiments' must be a list of experiments."),
        (
            GOOD + "profiles:\n  p: {users: 0, spawn_rate: 1, run_time_s: 1}\n",
            "/experiments.yaml:5: load profile 'p' has neither; users make a closed loop, a rate makes "
            "an open one: give one of them.",
        ),
        (
            GOOD + "profiles:\n  p: {users: 1, spawn_rate: 1, run_time_s: 0}\n",
            "run_time_s of a load profile must be more than 0, not 0.",
        ),
        (
            GOOD + "profiles:\n  p: {users: 9, spawn_rate: 1, run_time_s: 5}\n",
            "load profile 'p' never reaches its 9 users: at 1 a second they take 9 s, and run_time_s is 5",
        ),
        (
            GOOD + "profiles:\n  p: {users: 9, rate: 5, run_time_s: 5}\n",
            "load profile 'p' has users 9 and rate 5; users make a closed loop, a rate makes an open one",
        ),
        (
            GOOD + "profiles:\n  p: {rate: 5, pace_s: 1, run_time_s: 5}\n",
            "load profile 'p' sets both rate and think_time_s/pace_s; an open loop has no pauses: drop one",
        ),
        (
            GOOD + "profiles:\n  p: {rate: -5, run_time_s: 5}\n",
            "/experiments.yaml:5: rate of a load profile must be 0 or more, not -5.",
        ),
        (
            GOOD + "profiles:\n  p: {rate: 0.1, run_time_s: 5}\n",
            "load profile 'p' never sends a request: 0.1 a second for 5 s; raise rate "
            "(--tfserving-rate) or run_time_s (--tfserving-run-time).",
        ),
        (
            GOOD + "profiles:\n  p: {rate: 9, arrivals: pareto, run_time_s: 5}\n",
            "/experiments.yaml:5: arrivals of a load profile is one of constant, poisson, gamma, mmpp, not "
            "'pareto'.",
        ),
        (
            GOOD + "profiles:\n  p: {shape: steps 1-8, run_time_s: 5}\n",
            "'steps 1-8' is not a shape of load; write it as 'constant', 'ramp 1:100', 'steps 1:32:x2'",
        ),
        (
            GOOD + "profiles:\n  p: {shape: 'steps 1:8:x1', run_time_s: 5}\n",
            "'steps 1:8:x1' never gets from 1 to 8; steps go up, from more than 0, as 'steps 1:32:x2'.",
        ),
        (
            GOOD + "profiles:\n  p: {shape: 'steps 1:8:x2', users: 4, run_time_s: 5}\n",
            "load profile 'p' has users 4, and the highest of its shape 'steps 1:8:x2' is 8; give users 8,",
        ),
        (GOOD + "profiles:\n  p: {users: 1}\n", "profile 'p' needs run_time_s, or a base, as base: quick."),
        (
            GOOD + "profiles:\n  p: {base: quik}\n",
            "/experiments.yaml:5: no load profile 'quik'; did you mean 'quick'? valid: quick, smoke, study.",
        ),
        (
            GOOD + "profiles:\n  a: {base: b}\n  b: {base: c}\n  c: {base: b}\n",
            "/experiments.yaml:7: profile 'c' is based on itself: b -> c -> b.",
        ),
        (GOOD + "profiles:\n  p: {base: p}\n", "/experiments.yaml:5: no load profile 'p'; valid: quick"),
        (
            GOOD + "profiles:\n  p: {base: quick, user: 8}\n",
            "/experiments.yaml:5: unknown key 'user' in profile 'p'; did you mean 'users'?",
        ),
        (
            GOOD + "batching_parameters: {max_batch: 3}\n",
            "unknown key 'max_batch' in batching_parameters; did you mean 'max_batch_size'?",
        ),
        (
            GOOD + "batching_parameters: {num_batch_threads: 0}\n",
            "/experiments.yaml:4: num_batch_threads must be 1 or more, not 0.",
        ),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in error(tmp_path, text)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        read_file(path)


def test_the_nearest_file_is_found(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "experiments.yaml").write_text(GOOD, encoding="utf-8")

    assert find_file(deep, tmp_path) == tmp_path / "experiments.yaml"


def test_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"no experiments.yaml in .* name a file with --tfserving-exp"
    ):
        find_file(tmp_path / "a", tmp_path)


def test_a_commands_file_is_that_of_the_folder_or_else_of_perf_tests(tmp_path: Path) -> None:
    (tmp_path / "perf_tests").mkdir()
    files = [tmp_path / "perf_tests" / "experiments.yaml", tmp_path / "experiments.yaml"]
    for path in files:
        path.write_text(GOOD, encoding="utf-8")

        assert find_from_top(tmp_path) == path


def test_the_other_ending_is_named_to_commands_too(tmp_path: Path) -> None:
    (tmp_path / "perf_tests").mkdir()
    (tmp_path / "perf_tests" / "experiments.yml").write_text(GOOD, encoding="utf-8")

    with pytest.raises(ConfigurationError, match=r"perf_tests/experiments.yml is not read; rename it"):
        find_from_top(tmp_path)


def test_the_other_ending_is_named(tmp_path: Path) -> None:
    (tmp_path / "experiments.yml").write_text(GOOD, encoding="utf-8")

    with pytest.raises(
        ConfigurationError, match=r"experiments.yml is not read; rename it to experiments.yaml"
    ):
        find_file(tmp_path, tmp_path)


def test_a_profile_is_based_on_another_one_wherever_that_stands(tmp_path: Path) -> None:
    path = tmp_path / "experiments.yaml"
    path.write_text(
        f"{GOOD}profiles:\n"
        "  busier: {base: busy, spawn_rate: 5}\n"
        "  busy: {base: quick, users: 8}\n"
        "  quick: {base: quick, run_time_s: 40}\n"
        "  open: {base: busy, rate: 50}\n",
        encoding="utf-8",
    )

    found = {
        name: (each.users, each.spawn_rate, each.rate, each.run_time_s)
        for name, each in read_file(path).profiles.items()
    }

    assert found == {
        "quick": (4, 4, 0, 40),
        "busy": (8, 4, 0, 40),
        "busier": (8, 5, 0, 40),
        "open": (0, 4, 50, 40),
    }


def test_an_experiment_needs_a_model_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_tfserving.system.processes.available_cores", lambda: [0, 1, 2, 3])
    path = tmp_path / "experiments.yaml"
    path.write_text("experiments:\n- {model: ./models/mine, payload: request.json}\n", encoding="utf-8")

    (found,) = read_file(path).experiments

    assert found.name == "mine"
    assert (found.shape.vcpus, found.shape.nodes, found.options.intra_op, found.options.inter_op) == (
        3,
        1,
        3,
        3,
    )
    assert 1 <= found.shape.ram_bytes < psutil.virtual_memory().total
    assert found.profile == PROFILES["quick"]


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ("{shape: 2cpu-4gb-1n}", ["2cpu-4gb-1n"]),
        ("{inter_op: [1, 2]}", ["resnet50-interop1", "resnet50-interop2"]),
        ("{model: ./models/mine/1, protocol: grpc, batching: true}", ["mine-batch-grpc"]),
        ("{model: half_plus_two, name: first}", ["first"]),
    ],
)
def test_a_name_has_what_the_entry_says(tmp_path: Path, entry: str, names: list[str]) -> None:
    assert read(tmp_path, f"experiments:\n- {entry}\n") == names
