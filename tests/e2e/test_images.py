"""The images of images on a real engine."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from cpuinfo import CASCADELAKE, HASWELL, cpuinfo
from harness import until
from needs import IMAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker
    from docker.models.containers import Container

pytestmark = pytest.mark.needs("docker")

FOLDER = Path(__file__).parents[2] / "images"
HEALTH = ("python3", "/usr/lib/pytest-tfserving/healthcheck.py")
COMPILED = "pytest-tfserving-e2e-compiled:1"


@pytest.fixture
def containers(engine: docker.DockerClient) -> Iterator[list[Container]]:
    """Containers that are removed after the test."""
    assert engine
    made: list[Container] = []
    yield made
    for container in made:
        container.remove(force=True)


def address(container: Container, port: int = 8501) -> str:
    container.reload()
    (binding,) = container.attrs["NetworkSettings"]["Ports"][f"{port}/tcp"]
    return f"http://127.0.0.1:{binding['HostPort']}"


def run_inside(container: Container, *command: str) -> tuple[int, str]:
    done = container.exec_run(list(command))
    assert isinstance(done.output, bytes)
    return int(done.exit_code or 0), done.output.decode()


def serves(container: Container, model: str) -> bool:
    try:
        answer = requests.get(f"{address(container)}/v1/models/{model}", timeout=5)
    except requests.RequestException:
        return False
    return '"AVAILABLE"' in answer.text


def test_it_is_a_drop_in_for_tensorflow_serving(
    engine: docker.DockerClient, containers: list[Container], half_plus_two: Path
) -> None:
    half_plus_two.chmod(0o755)
    container = engine.containers.run(
        IMAGE,
        ["--tensorflow_intra_op_parallelism=1", "--rest_api_timeout_in_ms=9000"],
        detach=True,
        environment={"MODEL_NAME": "half"},
        volumes={str(half_plus_two): {"bind": "/models/half", "mode": "ro"}},
        ports={"8501/tcp": ("127.0.0.1", 0), "8500/tcp": ("127.0.0.1", 0)},
        user="54321:54321",
        read_only=True,
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        healthcheck={
            "interval": 10**9,
            "test": ["CMD", "python3", "/usr/lib/pytest-tfserving/healthcheck.py"],
        },
    )
    containers.append(container)
    until(lambda: serves(container, "half"), "the model")

    answer = requests.post(
        f"{address(container)}/v1/models/half:predict", json={"instances": [[1.0]]}, timeout=20
    )

    assert answer.json() == {"predictions": [[2.5]]}
    _, command = run_inside(container, "cat", "/proc/1/cmdline")
    assert "--model_base_path=/models/half" in command
    assert command.rstrip("\0").endswith("--rest_api_timeout_in_ms=9000")
    until(lambda: _health(container) == "healthy", "the health check")
    container.stop(timeout=20)
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0


def _health(container: Container) -> str:
    container.reload()
    return str(container.attrs["State"]["Health"]["Status"])


def test_a_model_that_does_not_load_is_not_healthy(
    engine: docker.DockerClient, containers: list[Container]
) -> None:
    container = engine.containers.run(IMAGE, detach=True)
    containers.append(container)

    code, said = run_inside(container, *HEALTH)

    assert code == 1
    assert len(said.splitlines()) == 1


def test_it_has_the_load_generator(engine: docker.DockerClient) -> None:
    program = (
        "import subprocess, sys; from pytest_tfserving.load.generator.local_host import WORKER; "
        "child = subprocess.run([sys.executable, '-P', WORKER], input=b'', capture_output=True); "
        "print(child.stdout.decode())"
    )

    said = engine.containers.run(
        IMAGE, ["-c", program], entrypoint="python3", read_only=True, remove=True, stderr=True
    )

    assert b'"event": "ready"' in said


@pytest.fixture(scope="session")
def compiled(engine: docker.DockerClient) -> Iterator[str]:
    """The image of cpu-optimized.Dockerfile, with the embedded server in place of the one it compiles."""
    text = (FOLDER / "cpu-optimized.Dockerfile").read_text(encoding="utf-8")
    head, _, rest = text.partition("FROM tensorflow/serving:")
    stage = rest[rest.index("FROM ${RUNTIME}") :]
    with io.BytesIO() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            content = f"{head}FROM {IMAGE} AS server\n{stage}".encode()
            entry = tarfile.TarInfo("Dockerfile")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
            for name in ("require_cpu", "tf_serving_entrypoint.sh", "cpu_optimized_entrypoint.sh"):
                archive.add(FOLDER / name, name)
        packed.seek(0)
        engine.images.build(
            fileobj=packed,
            custom_context=True,
            tag=COMPILED,
            rm=True,
            buildargs={"RUNTIME": IMAGE, "MICROARCHITECTURE": "x86-64-v4"},
        )
    yield COMPILED
    engine.images.remove(COMPILED, force=True)


def version_on(engine: docker.DockerClient, image: str, path: Path) -> Container:
    """A container that tells its server's version, on a CPU that ``path`` describes."""
    return engine.containers.run(
        image,
        ["--version"],
        detach=True,
        environment={"CPUINFO": "/cpuinfo"},
        volumes={str(path): {"bind": "/cpuinfo", "mode": "ro"}},
    )


def test_it_starts_on_a_cpu_that_it_was_compiled_for(
    engine: docker.DockerClient, containers: list[Container], compiled: str, tmp_path: Path
) -> None:
    containers.append(version_on(engine, compiled, cpuinfo(tmp_path, CASCADELAKE)))

    assert containers[0].wait()["StatusCode"] == 0
    assert "TensorFlow ModelServer" in containers[0].logs().decode()


def test_it_says_in_one_line_that_a_cpu_lacks_instructions(
    engine: docker.DockerClient, containers: list[Container], compiled: str, tmp_path: Path
) -> None:
    containers.append(version_on(engine, compiled, cpuinfo(tmp_path, HASWELL)))

    assert containers[0].wait()["StatusCode"] == 1
    (said,) = containers[0].logs().decode().splitlines()
    assert said.startswith("this server was compiled for x86-64-v4; this machine's CPU (Some CPU")
