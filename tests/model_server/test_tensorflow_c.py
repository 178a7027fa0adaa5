"""TensorFlow's C library, and the messages that go with it, in a process without TensorFlow's Python."""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

from pytest_tfserving.model_server import protos
from server_process import free_port

PRELUDE = "import sys, numpy as np\nfrom pathlib import Path\n"


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PRELUDE + code, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_a_model_is_run_without_importing_tensorflow(models: Path) -> None:
    done = run_python(
        "from pytest_tfserving.model_server.servable import Servable\n"
        "servable = Servable.load(Path(sys.argv[1]), intra_op=1, inter_op=1)\n"
        "print(servable.run('serving_default', {'x': np.array([1, 2], np.float32)})['y'].tolist())\n"
        "servable.close()\n"
        "print('tensorflow' in sys.modules)\n",
        next((models / "half_plus_two").iterdir()),
    )

    assert done.stdout.split("\n") == ["[2.5, 3.0]", "False", ""], done.stderr


def test_inputs_and_outputs_with_one_tensor(models: Path) -> None:
    done = run_python(
        "from pytest_tfserving.model_server.servable import Servable, Signature\n"
        "servable = Servable.load(Path(sys.argv[1]))\n"
        "plain = servable.signatures['serving_default']\n"
        "x, y = plain.inputs['x'], plain.outputs['y']\n"
        "servable.signatures['twice'] = Signature({'a': x, 'b': x}, {'c': y, 'd': y})\n"
        "inputs = {'a': np.array([1], np.float32), 'b': np.array([2], np.float32)}\n"
        "for _ in range(2):\n"
        "    print({alias: y.tolist() for alias, y in servable.run('twice', inputs).items()})\n"
        "print(servable.run('twice', {'a': inputs['a']}, outputs=['d', 'c']))\n",
        next((models / "half_plus_two").iterdir()),
    )

    last = "{'d': array([2.5], dtype=float32), 'c': array([2.5], dtype=float32)}"
    assert done.stdout.split("\n") == ["{'c': [3.0], 'd': [3.0]}"] * 2 + [last, ""], done.stderr


def test_strings_of_every_length_come_back_whole_however_often(models: Path) -> None:
    done = run_python(
        "from pytest_tfserving.model_server.servable import Servable\n"
        "servable = Servable.load(Path(sys.argv[1]))\n"
        "texts = [b'', b'x', bytes(range(256)), b'y' * 22, b'z' * 23, b'long' * 100_000]\n"
        "for _ in range(50):\n"
        "    answer = servable.run('text', {'s': np.array(texts, object)})\n"
        "    assert answer['raw_bytes'].tolist() == texts\n"
        "empty = servable.run('text', {'s': np.empty((0,), object)})\n"
        "from pytest_tfserving.model_server import tensorflow_c\n"
        "print(empty['plain'].shape, len(tensorflow_c._held))\n",
        models / "many" / "5",
    )

    assert done.stdout == "(0,) 0\n", done.stderr


def test_a_server_without_tensorflow_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    done = run_python(
        "sys.modules['tensorflow'] = None\n"
        "from pytest_tfserving.model_server.main import main\n"
        "sys.exit(main([f'--port={sys.argv[2]}', f'--model_base_path={sys.argv[1]}']))\n",
        tmp_path,
        free_port(),
    )

    assert done.returncode == 1
    assert "the embedded server needs TensorFlow, which is not installed: pip install" in done.stderr
    assert "pytest-tfserving[embedded]" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_class_of_a_message_is_ever_collected() -> None:
    request = protos.message("tensorflow.serving.PredictRequest")()
    parts = [request.model_spec, request.model_spec.version, request.inputs["x"].tensor_shape.dim.add()]
    classes = [weakref.ref(type(part)) for part in parts]

    del request, parts
    gc.collect()

    assert all(each() for each in classes)


def test_the_compiled_messages_are_those_of_the_proto_files() -> None:
    path = Path(protos.__file__).with_name("compile.py")
    spec = importlib.util.spec_from_file_location("compile", path)
    assert spec
    assert spec.loader
    compiler: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(compiler)

    def ours(content: bytes) -> dict[str, Any]:
        files = descriptor_pb2.FileDescriptorSet.FromString(content)
        return {file.name: file for file in files.file if not file.name.startswith("google/")}

    assert ours(compiler.compiled()) == ours(path.with_name("descriptors.binpb").read_bytes())
