"""Prediction, classification and regression on a loaded version, for REST, gRPC and warm-up."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.model_server.status import Code, ServingError, invalid
from pytest_tfserving.model_server.tensorflow_c import dtype_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from google.protobuf.message import Message
    from numpy.typing import NDArray

    from pytest_tfserving.model_server.manager import Loaded
    from pytest_tfserving.model_server.metrics import MetricHistogram, Metrics

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
PREDICT = "tensorflow/serving/predict"
DEFAULT_SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of each example: two matrices of the same shape; a model may leave out one of them."""

    labels: NDArray[np.generic] | None
    scores: NDArray[np.generic] | None

    @property
    def shape(self) -> tuple[int, int]:
        """The number of examples, and the number of classes of each."""
        matrix = self.scores if self.labels is None else self.labels
        assert matrix is not None
        return matrix.shape[0], matrix.shape[1]

    def of(self, example: int) -> list[tuple[bytes, np.float32]]:
        """Return label and score of each class of an example."""
        _, count = self.shape
        labels = [b""] * count if self.labels is None else self.labels[example]
        scores = np.zeros(count, np.float32) if self.scores is None else self.scores[example]
        return list(zip(labels, scores, strict=True))


@dataclass(frozen=True, slots=True)
class Task:
    """An inference among several on the same examples."""

    signature_name: str
    method: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """The tensors of a signature, by their names in the graph: one input and several outputs."""

    input: str
    outputs: Mapping[str, str]


class Inference:
    """Inference on models; ``checks_method_names`` says whether a signature must be of the requested kind."""

    def __init__(self, metrics: Metrics, *, checks_method_names: bool = False) -> None:
        self._metrics = metrics
        self._checks_method_names = checks_method_names
        self._runtimes: dict[tuple[str, str], MetricHistogram] = {}

    def predict(  # noqa: PLR0913 - what a run takes, and how it runs
        self,
        model: Loaded,
        signature_name: str,
        inputs: Mapping[str, NDArray[np.generic]],
        timeout_ms: int | None = None,
        outputs: Sequence[str] = (),
        *,
        inline: bool = False,
    ) -> dict[str, NDArray[np.generic]]:
        """Run a signature that the model has; ``inline`` is as in `Runnable.run_tensors`.

        Raises:
            ServingError: with TF Serving's code and text.
        """
        if self._checks_method_names:
            _check_predicts(model.signature_defs[signature_name].method_name)
        pace = model.paces[signature_name]
        cpu_started_s = thread_time() if inline and pace.is_suspect else 0.0
        started = perf_counter()
        try:
            found = model.run(signature_name, inputs, timeout_ms, outputs, inline=inline)
        finally:
            took_s = perf_counter() - started
            if inline:
                pace.took_on_loop(took_s, thread_time() - cpu_started_s if pace.is_in_doubt(took_s) else 0.0)
            else:
                pace.took_in_thread(took_s)
        self._runtime(model, "Predict").observe(took_s * 1e6)
        return found

    def classify(
        self, model: Loaded, signature_name: str, examples: Sequence[bytes], timeout_ms: int | None = None
    ) -> Classes:
        """Return the classes of serialized examples.

        Raises:
            ServingError: with TF Serving's code and text.
        """
        plan = self._classify_plan(_signature(model, signature_name))
        with self._measured(model, "Classify", examples):
            tensors = _run(model, [plan], examples, timeout_ms)
        return _classes(plan, tensors, len(examples))

    def regress(
        self, model: Loaded, signature_name: str, examples: Sequence[bytes], timeout_ms: int | None = None
    ) -> NDArray[np.generic]:
        """Return a number for each serialized example.

        Raises:
            ServingError: with TF Serving's code and text.
        """
        plan = self._regress_plan(_signature(model, signature_name))
        with self._measured(model, "Regress", examples):
            tensors = _run(model, [plan], examples, timeout_ms)
        return _regressions(plan, tensors, len(examples))

    def several(
        self, model: Loaded, tasks: Sequence[Task], examples: Sequence[bytes], timeout_ms: int | None = None
    ) -> list[Classes | NDArray[np.generic]]:
        """Return the results of several signatures in one run, in the order of ``tasks``.

        Raises:
            ServingError: with TF Serving's code and text.
        """
        plans = self._plans(model, tasks)
        with self._measured(model, "MultiInference", examples):
            tensors = _run(model, plans, examples, timeout_ms)
        return [
            (_classes if task.method == CLASSIFY else _regressions)(plan, tensors, len(examples))
            for task, plan in zip(tasks, plans, strict=True)
        ]

    def _runtime(self, model: Loaded, api: str) -> MetricHistogram:
        found = self._runtimes.get((model.name, api))
        if found is None:
            labels = {"model_name": model.name, "API": api, "runtime": "TF1"}
            found = self._runtimes[model.name, api] = self._metrics.histogram("runtime_latency", **labels)
        return found

    @contextmanager
    def _measured(self, model: Loaded, api: str, examples: Sequence[bytes]) -> Iterator[None]:
        started = perf_counter()
        yield
        self._runtime(model, api).observe((perf_counter() - started) * 1e6)
        if examples:
            self._metrics.observe("request_example_counts", len(examples), model=model.name)
            self._metrics.count("request_example_count_total", len(examples), model=model.name)

    def _plans(self, model: Loaded, tasks: Sequence[Task]) -> list[_Plan]:
        plans: dict[str, _Plan] = {}
        for task in tasks:
            name = task.signature_name or DEFAULT_SIGNATURE
            if name in plans:
                raise invalid(f"Duplicate evaluation of signature: {name}")
            if name not in model.signature_defs:
                raise invalid(f"Requested signature not found in model graph: {name}")
            planners = {CLASSIFY: self._classify_plan, REGRESS: self._regress_plan}
            if task.method not in planners:
                raise ServingError(Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method}")
            plans[name] = planners[task.method](model.signature_defs[name])
        return list(plans.values())

    def _classify_plan(self, signature: Message) -> _Plan:
        self._check_method(signature, CLASSIFY, "classification")
        _check_count(len(signature.inputs) == 1, "Expected one input Tensor.")
        found = len(signature.outputs)
        _check_count(found in (1, 2), f"Expected one or two output Tensors, found {found}")
        examples = _examples_tensor(signature, "classification")
        outputs = {alias: signature.outputs[alias].name for alias in signature.outputs}
        if not {"classes", "scores"} & set(outputs):
            raise ServingError(
                Code.FAILED_PRECONDITION,
                'Expected classification signature outputs to contain at least one of "classes" or "scores". '
                f"Signature was: {signature}",
            )
        wanted = {alias: outputs[alias] for alias in ("classes", "scores") if alias in outputs}
        return _Plan(examples, wanted)

    def _regress_plan(self, signature: Message) -> _Plan:
        self._check_method(signature, REGRESS, "regression")
        _check_count(len(signature.inputs) == 1, "Expected one input Tensor.")
        _check_count(len(signature.outputs) == 1, "Expected one output Tensor.")
        examples = _examples_tensor(signature, "regression")
        if "outputs" not in signature.outputs:
            raise ServingError(
                Code.FAILED_PRECONDITION, f"No regression outputs found in SignatureDef: {signature}"
            )
        return _Plan(examples, {"outputs": signature.outputs["outputs"].name})

    def _check_method(self, signature: Message, method: str, kind: str) -> None:
        if self._checks_method_names and signature.method_name != method:
            raise invalid(
                f"Expected {kind} signature method_name to be {method}. Was: {signature.method_name}"
            )


def _check_predicts(method: str) -> None:
    if method not in (PREDICT, CLASSIFY, REGRESS):
        raise ServingError(
            Code.INTERNAL,
            f"Expected prediction signature method_name to be one of {{{PREDICT}, {CLASSIFY}, {REGRESS}}}. "
            f"Was: {method}",
        )


def _signature(model: Loaded, name: str) -> Message:
    name = name or DEFAULT_SIGNATURE
    if name not in model.signature_defs:
        raise invalid(f"No signature was found with the name: {name}")
    return model.signature_defs[name]


def _check_count(fits: bool, problem: str) -> None:  # noqa: FBT001 - the condition itself
    if not fits:
        raise invalid(problem)


def _examples_tensor(signature: Message, kind: str) -> str:
    if "inputs" not in signature.inputs:
        raise ServingError(Code.FAILED_PRECONDITION, f"No {kind} inputs found in SignatureDef: {signature}")
    name: str = signature.inputs["inputs"].name
    return name


def _run(
    model: Loaded, plans: Sequence[_Plan], examples: Sequence[bytes], timeout_ms: int | None
) -> Mapping[str, NDArray[np.generic]]:
    if not examples:
        raise invalid("Input is empty.")
    column = np.empty(len(examples), object)
    column[:] = examples
    fetches = sorted({name for plan in plans for name in plan.outputs.values()})
    # Signatures of one graph may have one input; those of TensorFlow 2 have an input each.
    feeds = {plan.input: column for plan in plans}
    return model.run_tensors(feeds, fetches, timeout_ms)


def _classes(plan: _Plan, tensors: Mapping[str, NDArray[np.generic]], count: int) -> Classes:
    labels, scores = (
        tensors[plan.outputs[alias]] if alias in plan.outputs else None for alias in ("classes", "scores")
    )
    _check_matrix(labels, "classes", np.dtype(object), count)
    _check_matrix(scores, "scores", np.dtype(np.float32), count)
    if labels is not None and scores is not None and labels.shape != scores.shape:
        raise invalid(
            "Tensors class and score should match in dim_size(1). "
            f"Got {labels.shape[1]} vs. {scores.shape[1]}"
        )
    return Classes(labels, scores)


def _check_matrix(
    matrix: NDArray[np.generic] | None, alias: str, dtype: np.dtype[np.generic], count: int
) -> None:
    if matrix is None:
        return
    if matrix.ndim != 2:  # noqa: PLR2004 - a matrix has two
        raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(matrix)}")
    if matrix.dtype != dtype:
        wanted = "DT_STRING" if alias == "classes" else "DT_FLOAT"
        raise invalid(f"Expected {alias} Tensor of {wanted}. Got: {dtype_name(matrix.dtype)}")
    if len(matrix) != count:
        raise invalid(f"Expected {alias} output batch size of {count}. Got: {len(matrix)}")


def _regressions(plan: _Plan, tensors: Mapping[str, NDArray[np.generic]], count: int) -> NDArray[np.generic]:
    values = tensors[plan.outputs["outputs"]]
    if values.ndim != 1 and values.shape[1:] != (1,):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{_shape(values)}"
        )
    if len(values) != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {len(values)}")
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {dtype_name(values.dtype)}")
    return values.reshape(-1)


def _shape(array: NDArray[np.generic]) -> str:
    return f"[{','.join(map(str, array.shape))}]"
