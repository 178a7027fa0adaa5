"""Requests as protocol buffers, from gRPC and from warm-up files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.model_server.inference import CLASSIFY, DEFAULT_SIGNATURE, Classes, Inference, Task
from pytest_tfserving.model_server.protos import message
from pytest_tfserving.model_server.status import Code, ServingError, invalid
from pytest_tfserving.model_server.tensor_proto import fill_proto, to_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    from google.protobuf.message import Message
    from numpy.typing import NDArray

    from pytest_tfserving.model_server.manager import Loaded
    from pytest_tfserving.model_server.servable import Signature

_SERVING = "tensorflow.serving."


class ProtoApi:
    """Answers to requests on a loaded version; ``as_content`` sends numbers as ``tensor_content``."""

    def __init__(self, inference: Inference, *, as_content: bool) -> None:
        self._inference = inference
        self._as_content = as_content

    def predict(self, model: Loaded, request: Message, timeout_ms: int | None = None) -> Message:
        """Return a ``PredictResponse``.

        Raises:
            ServingError: with TF Serving's code and text.
        """
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        if name not in model.signatures:
            raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        inputs = _inputs(request.inputs, model.signatures[name], model.signature_defs[name].defaults)
        wanted = _outputs(request.output_filter, model.signatures[name])
        inline = model.paces[name].is_short and not model.may_wait
        outputs = self._inference.predict(model, name, inputs, timeout_ms, wanted, inline=inline)
        response = message(f"{_SERVING}PredictResponse")()
        _fill_spec(response.model_spec, model, request.model_spec)
        for alias, array in outputs.items():
            fill_proto(response.outputs[alias], array, as_content=self._as_content)
        return response

    def classify(self, model: Loaded, request: Message, timeout_ms: int | None = None) -> Message:
        """Return a ``ClassificationResponse``.

        Raises:
            ServingError: with TF Serving's code and text.
        """
        name = request.model_spec.signature_name
        classes = self._inference.classify(model, name, examples(request.input), timeout_ms)
        response = message(f"{_SERVING}ClassificationResponse")()
        _fill_spec(response.model_spec, model, request.model_spec)
        fill_classes(response.result, classes)
        return response

    def regress(self, model: Loaded, request: Message, timeout_ms: int | None = None) -> Message:
        """Return a ``RegressionResponse``.

        Raises:
            ServingError: with TF Serving's code and text.
        """
        name = request.model_spec.signature_name
        values = self._inference.regress(model, name, examples(request.input), timeout_ms)
        response = message(f"{_SERVING}RegressionResponse")()
        _fill_spec(response.model_spec, model, request.model_spec)
        fill_regressions(response.result, values)
        return response

    def several(self, model: Loaded, request: Message, timeout_ms: int | None = None) -> Message:
        """Return a ``MultiInferenceResponse``.

        Raises:
            ServingError: with TF Serving's code and text.
        """
        check_tasks(request)
        tasks = [Task(task.model_spec.signature_name, task.method_name) for task in request.tasks]
        results = self._inference.several(model, tasks, examples(request.input), timeout_ms)
        response = message(f"{_SERVING}MultiInferenceResponse")()
        for task, result in zip(request.tasks, results, strict=True):
            answer = response.results.add()
            _fill_spec(answer.model_spec, model, task.model_spec)
            if task.method_name == CLASSIFY:
                assert isinstance(result, Classes)
                fill_classes(answer.classification_result, result)
            else:
                assert not isinstance(result, Classes)
                fill_regressions(answer.regression_result, result)
        return response

    def replay(self, model: Loaded, kind: str, request: Message) -> None:
        """Run the request of a warm-up record; ``kind`` is the name of the record's field.

        Raises:
            ServingError: when the request fails.
        """
        calls = {
            "predict_log": self.predict,
            "classify_log": self.classify,
            "regress_log": self.regress,
            "multi_inference_log": self.several,
        }
        calls[kind](model, request)


def check_tasks(request: Message) -> None:
    """Check that all tasks of a ``MultiInferenceRequest`` are for the same model.

    Raises:
        ServingError: when the tasks are for different models, or there are none.
    """
    if not request.tasks:
        raise invalid("Inference request must have at least one task")
    names = {task.model_spec.name for task in request.tasks}
    if "" in names:
        raise invalid("Found ModelSpec with an empty model name.")
    if len(names) > 1:
        raise invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")


def examples(proto: Message) -> list[bytes]:
    """Return the serialized examples of an ``Input``, each with the common context before it."""
    kind = proto.WhichOneof("kind")
    if kind == "example_list":
        return list(proto.example_list.examples)
    context = proto.example_list_with_context.context
    return [context + each for each in proto.example_list_with_context.examples]


def _inputs(
    sent: Mapping[str, Message], signature: Signature, defaults: Mapping[str, Message]
) -> dict[str, NDArray[np.generic]]:
    if len(sent) > len(signature.inputs) or (len(sent) < len(signature.inputs) and not defaults):
        raise invalid(_wrong_size(set(sent), set(signature.inputs)))
    arrays = {}
    for alias, spec in signature.inputs.items():
        if alias in sent:
            proto = sent[alias]
        elif alias in defaults:
            proto = message(f"{_SERVING}PackedTensor").FromString(defaults[alias].SerializeToString())
        else:
            raise invalid(
                f"Signature input alias: {alias}(feed name: {spec.tensor_name}) not found in request and no "
                f"default value provided. Inputs expected to be in the request {{{_listed(sent)}}}, or "
                f"default input alias set: {_listed(defaults)}"
            )
        try:
            arrays[alias] = to_array(proto)
        except ValueError:
            raise invalid(f"tensor parsing error: {alias}") from None
    return arrays


def _wrong_size(sent: set[str], wanted: set[str]) -> str:
    return (
        f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{_listed(sent)}}}) != "
        f"len({{{_listed(wanted)}}}). Sent extra: {{{_listed(sent - wanted)}}}. "
        f"Missing but required: {{{_listed(wanted - sent)}}}."
    )


def _listed(names: Iterable[str]) -> str:
    return ",".join(sorted(names))


def _outputs(wanted: Iterable[str], signature: Signature) -> list[str]:
    seen: list[str] = []
    for alias in wanted:
        if alias not in signature.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{{{_listed(signature.outputs)}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.append(alias)
    return seen


def _fill_spec(spec: Message, model: Loaded, asked: Message) -> None:
    spec.name = asked.name
    spec.version.value = model.version
    spec.signature_name = asked.signature_name or DEFAULT_SIGNATURE


def fill_classes(result: Message, classes: Classes) -> None:
    """Write classes into a ``ClassificationResult``."""
    for row in range(classes.shape[0]):
        entry = result.classifications.add()
        for label, score in classes.of(row):
            entry.classes.add(label=label.decode(errors="replace"), score=score)


def fill_regressions(result: Message, values: NDArray[np.generic]) -> None:
    """Write numbers into a ``RegressionResult``."""
    for value in values:
        result.regressions.add(value=value)
