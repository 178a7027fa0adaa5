"""TensorFlow through its C API, without importing TensorFlow's Python.

The shared library is part of the TensorFlow wheel, and its C API is stable. Opening the library takes a
fraction of the time of ``import tensorflow``. The library loads a SavedModel with TF Serving's own C++
loader, and runs a session by tensor name, without Python's shape check and without the interpreter lock.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import os
import sys
from contextlib import contextmanager
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from functools import cache, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from pytest_tfserving.errors import missing_extra
from pytest_tfserving.model_server.status import Code, ServingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

STRING = 7
# The DataType numbers of TensorFlow's types.proto that have a numpy type; bytes are objects.
_NUMPY: dict[int, np.dtype[np.generic]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    5: np.dtype(np.int16),
    6: np.dtype(np.int8),
    STRING: np.dtype(object),
    8: np.dtype(np.complex64),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    17: np.dtype(np.uint16),
    18: np.dtype(np.complex128),
    19: np.dtype(np.float16),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
}
BFLOAT16 = 14
# Added to the DataType of an output that refers to a variable of TensorFlow 1.
_REFERENCE = 100
_NUMBERS = {dtype: number for number, dtype in _NUMPY.items()}
_STRING_BYTES = 24
# Up to this size, a second copy takes less time than a view of TensorFlow's memory.
_FEW_BYTES = 4096
_LIBRARIES = {"linux": "libtensorflow_cc.so.2", "darwin": "libtensorflow_cc.2.dylib"}


class Output(ctypes.Structure):
    """An output of a graph's operation."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


# A C array of outputs.
Outputs = ctypes.Array[Output]


_Deallocator = ctypes.CFUNCTYPE(None, c_void_p, c_size_t, c_void_p)

# C functions that may take long, by name: the result and the arguments.
_LONG_CALLS: dict[str, tuple[type[object] | None, tuple[type[object], ...]]] = {
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        (c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, c_void_p, c_void_p),
    ),
    "TF_SessionRun": (
        None,
        (
            *(c_void_p, c_void_p),
            *(c_void_p, c_void_p, c_int),
            *(c_void_p, c_void_p, c_int),
            *(c_void_p, c_int, c_void_p, c_void_p),
        ),
    ),
    "TF_LoadLibrary": (c_void_p, (c_char_p, c_void_p)),
    "TF_CloseSession": (None, (c_void_p, c_void_p)),
    "TF_DeleteSession": (None, (c_void_p, c_void_p)),
    "TF_DeleteGraph": (None, (c_void_p,)),
}
# C functions that take less time than to release and take the interpreter lock.
_SHORT_CALLS: dict[str, tuple[type[object] | None, tuple[type[object], ...]]] = {
    "TF_NewStatus": (c_void_p, ()),
    "TF_DeleteStatus": (None, (c_void_p,)),
    "TF_GetCode": (c_int, (c_void_p,)),
    "TF_Message": (c_char_p, (c_void_p,)),
    "TF_NewBuffer": (c_void_p, ()),
    "TF_NewBufferFromString": (c_void_p, (c_char_p, c_size_t)),
    "TF_DeleteBuffer": (None, (c_void_p,)),
    "TF_NewGraph": (c_void_p, ()),
    "TF_GraphOperationByName": (c_void_p, (c_void_p, c_char_p)),
    "TF_OperationNumOutputs": (c_int, (c_void_p,)),
    "TF_NewSessionOptions": (c_void_p, ()),
    "TF_SetConfig": (None, (c_void_p, c_char_p, c_size_t, c_void_p)),
    "TF_DeleteSessionOptions": (None, (c_void_p,)),
    "TF_NewTensor": (
        c_void_p,
        (c_int, POINTER(c_int64), c_int, c_void_p, c_size_t, _Deallocator, c_void_p),
    ),
    "TF_AllocateTensor": (c_void_p, (c_int, c_void_p, c_int, c_size_t)),
    "TF_DeleteTensor": (None, (c_void_p,)),
    "TF_TensorDefaultAlignment": (c_size_t, ()),
    "TF_OperationOutputType": (c_int, (Output,)),
    "TF_NumDims": (c_int, (c_void_p,)),
    "TF_Dim": (c_int64, (c_void_p, c_int)),
    "TF_TensorData": (c_void_p, (c_void_p,)),
    "TF_StringInit": (None, (c_void_p,)),
    "TF_StringCopy": (None, (c_void_p, c_char_p, c_size_t)),
    "TF_StringGetDataPointer": (c_void_p, (c_void_p,)),
    "TF_StringGetSize": (c_size_t, (c_void_p,)),
    "TF_StringDealloc": (None, (c_void_p,)),
}


class _Buffer(ctypes.Structure):
    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


@cache
def library() -> SimpleNamespace:
    """Return the functions above from TensorFlow's shared library.

    Raises:
        ConfigurationError: when TensorFlow is not installed.
    """
    spec = importlib.util.find_spec("tensorflow")
    file_name = _LIBRARIES.get(sys.platform, _LIBRARIES["linux"])
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    paths = [folder / file_name for folder in folders if (folder / file_name).exists()]
    if not paths:
        raise missing_extra("TensorFlow", "embedded", "the embedded server")
    functions = SimpleNamespace()
    for loaded, calls in ((ctypes.CDLL, _LONG_CALLS), (ctypes.PyDLL, _SHORT_CALLS)):
        dll = loaded(str(paths[0]))
        for name, (result, arguments) in calls.items():
            function = getattr(dll, name)
            function.restype, function.argtypes = result, arguments
            setattr(functions, name, function)
    return functions


class _Status:
    """A TF_Status as a context: an error in the status is raised when the context ends."""

    def __enter__(self) -> int:
        status: int = library().TF_NewStatus()
        self._status = status
        return status

    def __exit__(self, kind: object, *_: object) -> None:
        tf = library()
        code = tf.TF_GetCode(self._status)
        text = tf.TF_Message(self._status).decode(errors="replace") if code else ""
        tf.TF_DeleteStatus(self._status)
        if code and kind is None:
            raise ServingError(Code(code), text)


def load_library(path: Path) -> None:
    """Load a shared library of operations, for all graphs from now on.

    Raises:
        ServingError: with TensorFlow's own code and text.
    """
    with _Status() as status:
        library().TF_LoadLibrary(os.fsencode(path), status)


class Session:
    """A session of a SavedModel in memory."""

    def __init__(
        self, path: Path, config: bytes, tags: Sequence[str], run_options: RunOptions | None = None
    ) -> None:
        """Load the version folder ``path`` with a serialized ConfigProto.

        ``run_options`` are those of the runs that restore variables and initialise tables.

        Raises:
            ServingError: with the loader's reason.
        """
        tf = library()
        self._graph = tf.TF_NewGraph()
        options, self._meta_graph = tf.TF_NewSessionOptions(), tf.TF_NewBuffer()
        names = (c_char_p * len(tags))(*(tag.encode() for tag in tags))
        try:
            with _Status() as status:
                tf.TF_SetConfig(options, config, len(config), status)
            with _Status() as status:
                folder = os.fsencode(path)
                run_address = run_options and run_options.address
                self._session = tf.TF_LoadSessionFromSavedModel(
                    options, run_address, folder, names, len(tags), self._graph, self._meta_graph, status
                )
        except ServingError:
            tf.TF_DeleteBuffer(self._meta_graph)
            tf.TF_DeleteGraph(self._graph)
            raise
        finally:
            tf.TF_DeleteSessionOptions(options)

    @contextmanager
    def meta_graph(self) -> Iterator[memoryview]:
        """Return the serialized MetaGraphDef, whose memory is freed when the context ends: call this once."""
        content = _Buffer.from_address(self._meta_graph)
        memory = (ctypes.c_char * content.length).from_address(content.data)
        try:
            yield memoryview(memory).cast("B")
        finally:
            library().TF_DeleteBuffer(self._meta_graph)

    def call(self, feeds: Sequence[str], fetches: Sequence[str]) -> Call:
        """Return a call that feeds some tensors of the graph and fetches others.

        Raises:
            ServingError: when there is no such tensor.
        """
        return Call(self._session, self._outputs(feeds), self._outputs(fetches))

    def _outputs(self, tensor_names: Sequence[str]) -> Outputs:
        return (Output * len(tensor_names))(*map(self._output, tensor_names))

    def _output(self, tensor_name: str) -> Output:
        name, _, index = tensor_name.partition(":")
        operation = library().TF_GraphOperationByName(self._graph, name.encode())
        if not operation or int(index or 0) >= library().TF_OperationNumOutputs(operation):
            raise ServingError(Code.NOT_FOUND, f"Tensor {tensor_name} is not in the graph")
        return Output(operation, int(index or 0))

    def close(self) -> None:
        """Free the model's memory; call this method after the last run."""
        tf = library()
        for function in (tf.TF_CloseSession, tf.TF_DeleteSession):
            with _Status() as status:
                function(self._session, status)
        tf.TF_DeleteGraph(self._graph)


class RunOptions:
    """A serialized RunOptions in TensorFlow's memory."""

    def __init__(self, serialized: bytes) -> None:
        self._delete = library().TF_DeleteBuffer
        self.address: int = library().TF_NewBufferFromString(serialized, len(serialized))

    def __del__(self) -> None:
        """Free the memory."""
        self._delete(self.address)


class _Frame:
    """The memory of one run: addresses of input and then output tensors, and a status."""

    def __init__(self, given: int, made: int) -> None:
        self.tensors = (c_void_p * (given + made))()
        self.given_address = ctypes.addressof(self.tensors)
        self.made_address = self.given_address + given * ctypes.sizeof(c_void_p)
        self._delete = library().TF_DeleteStatus
        self.status: int = library().TF_NewStatus()

    def __del__(self) -> None:
        """Free the memory."""
        self._delete(self.status)


class Call:
    """A call with fixed input and output tensors of a graph; many threads may call `run`.

    All that does not change from run to run is prepared: for a small model it would take longer than the run.
    """

    def __init__(self, session: int, feeds: Outputs, fetches: Outputs) -> None:
        self._tf = library()
        self._session = session
        self._kept = (feeds, fetches)
        self._feeds = (ctypes.addressof(feeds), len(feeds))
        self._fetches = (ctypes.addressof(fetches), len(fetches))
        self._made = [_made_dtype(self._tf.TF_OperationOutputType(output)) for output in fetches]
        self._free: list[_Frame] = []

    def run(
        self, arrays: Sequence[NDArray[np.generic]], options: RunOptions | None = None
    ) -> list[NDArray[np.generic]]:
        """Feed arrays and return the outputs, which may be read-only; strings are arrays of bytes objects.

        Raises:
            ServingError: with TensorFlow's own code and text.
        """
        try:
            frame = self._free.pop()
        except IndexError:
            frame = _Frame(self._feeds[1], self._fetches[1])
        tensors, delete = frame.tensors, self._tf.TF_DeleteTensor
        try:
            for index, array in enumerate(arrays):
                tensors[index] = _to_tensor(array)
            self._run(frame, options)
            made = zip(tensors[self._feeds[1] :], self._made, strict=True)
            return [_to_array(tensor, *dtype) for tensor, dtype in made if tensor]
        finally:
            for index, tensor in enumerate(tensors):
                if tensor:
                    delete(tensor)
                    tensors[index] = None
            self._free.append(frame)

    def _run(self, frame: _Frame, options: RunOptions | None) -> None:
        feeds, feed_count = self._feeds
        fetches, fetch_count = self._fetches
        given, made, status = frame.given_address, frame.made_address, frame.status
        settings = options and options.address
        self._tf.TF_SessionRun(
            self._session,
            settings,
            feeds,
            given,
            feed_count,
            fetches,
            made,
            fetch_count,
            None,
            0,
            None,
            status,
        )
        if code := self._tf.TF_GetCode(status):
            raise ServingError(Code(code), self._tf.TF_Message(status).decode(errors="replace"))


def numpy_dtype(dtype: int) -> np.dtype[np.generic] | None:
    """Return numpy's type for a DataType; None if numpy has none."""
    if dtype == BFLOAT16:
        import ml_dtypes

        bfloat16: np.dtype[np.generic] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    return _NUMPY.get(dtype)


def dtype_number(dtype: np.dtype[np.generic]) -> int:
    """Return the DataType of an array's elements."""
    return _NUMBERS.get(dtype, BFLOAT16)


def dtype_name(dtype: np.dtype[np.generic]) -> str:
    """Return TensorFlow's name for the type of an array's elements, as ``DT_FLOAT``."""
    name = {"float32": "float", "float64": "double", "float16": "half", "object": "string"}
    return f"DT_{name.get(dtype.name, dtype.name).upper()}"


def _to_tensor(array: NDArray[np.generic]) -> int:
    dtype = dtype_number(array.dtype)
    shape = array.shape
    dims = _dims(shape)
    if dtype == STRING:
        return _to_string_tensor(dims, array)
    tf, size = library(), array.nbytes
    tensor: int = tf.TF_AllocateTensor(dtype, dims, len(shape), size)
    if size <= _FEW_BYTES:
        ctypes.memmove(tf.TF_TensorData(tensor), array.tobytes(), size)
    else:
        _content(tensor, shape, array.dtype)[...] = array
    return tensor


@lru_cache
def _dims(shape: tuple[int, ...]) -> ctypes.Array[c_int64]:
    return (c_int64 * len(shape))(*shape)


# The memory of string tensors, by address, until TensorFlow frees the tensor. A stateful model may keep a
# tensor long after the call.
_held: dict[int, tuple[ctypes.Array[ctypes.c_char], int]] = {}


def _to_string_tensor(dims: ctypes.Array[c_int64], array: NDArray[np.generic]) -> int:
    tf = library()
    align = tf.TF_TensorDefaultAlignment()
    memory = ctypes.create_string_buffer(_STRING_BYTES * array.size + align)
    address = -(-ctypes.addressof(memory) // align) * align
    for index, text in enumerate(array.reshape(-1).tolist()):
        place = address + _STRING_BYTES * index
        tf.TF_StringInit(place)
        tf.TF_StringCopy(place, text, len(text))
    _held[address] = (memory, array.size)
    tensor: int = tf.TF_NewTensor(
        STRING, dims, array.ndim, address, _STRING_BYTES * array.size, _let_go, None
    )
    return tensor


@_Deallocator  # type: ignore[untyped-decorator]
def _let_go(address: int, _length: int, _argument: object) -> None:
    _memory, count = _held.pop(address)
    for index in range(count):
        library().TF_StringDealloc(address + _STRING_BYTES * index)


def _made_dtype(dtype: int) -> tuple[int, np.dtype[np.generic] | None]:
    """Return the DataType of an output's tensors, and numpy's type if numpy has one."""
    made = dtype % _REFERENCE
    return made, numpy_dtype(made)


def _to_array(tensor: int, dtype: int, wanted: np.dtype[np.generic] | None) -> NDArray[np.generic]:
    tf = library()
    shape = tuple([tf.TF_Dim(tensor, axis) for axis in range(tf.TF_NumDims(tensor))])
    if dtype == STRING:
        return _strings(tf.TF_TensorData(tensor), shape)
    if wanted is None:
        raise ServingError(Code.UNIMPLEMENTED, f"A tensor of DataType {dtype} cannot be a response")
    content = ctypes.string_at(tf.TF_TensorData(tensor), math.prod(shape) * wanted.itemsize)
    return np.ndarray(shape, wanted, content)


def _content(tensor: int, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Return a tensor's own memory as an array; the array must not outlive the tensor."""
    memory = ctypes.c_char * (math.prod(shape) * dtype.itemsize)
    address = library().TF_TensorData(tensor)
    return np.ndarray(shape, dtype, memoryview(memory.from_address(address)))


def _strings(address: int, shape: tuple[int, ...]) -> NDArray[np.generic]:
    tf = library()
    array = np.empty(shape, object)
    flat = array.reshape(-1)
    for index in range(flat.size):
        place = address + _STRING_BYTES * index
        flat[index] = ctypes.string_at(tf.TF_StringGetDataPointer(place), tf.TF_StringGetSize(place))
    return array
