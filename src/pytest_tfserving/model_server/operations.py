"""Operations of other libraries, which TensorFlow itself does not have.

The stock binary of TensorFlow Serving has those of TensorFlow Text built in. Here they are loaded from the
package tensorflow-text, once a model needs one of them.
"""

from __future__ import annotations

import importlib.util
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.log import log
from pytest_tfserving.model_server.status import ServingError
from pytest_tfserving.model_server.tensorflow_c import load_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    _Made = TypeVar("_Made")

_PACKAGE = "tensorflow_text"
_MISSING = re.compile(r"Op type not registered '([^']+)'")
# The operations of TensorFlow Text; newer ones have the prefix.
_TEXT_PREFIX = "TFText>"
_TEXT_OPERATIONS = frozenset(
    {
        *("CaseFoldUTF8", "ConstrainedSequence", "FastBertNormalize", "FastWordpieceTokenizeWithOffsets"),
        *("FindSourceOffsets", "MaxSpanningTree", "NormalizeUTF8", "NormalizeUTF8WithOffsetsMap"),
        *("PhraseTokenize", "RegexSplitWithOffsets", "RougeL", "SentenceFragments", "SentenceFragmentsV2"),
        *("SentencepieceDetokenizeOp", "SentencepieceIdToStringOp", "SentencepieceOp"),
        *("SentencepieceStringToIdOp", "SentencepieceTokenizeOp", "SentencepieceTokenizeWithOffsetsOp"),
        *("SentencepieceVocabSizeOp", "SplitMergeTokenizeWithOffsets", "TokenizerFromLogits"),
        *(
            "UnicodeScriptTokenizeWithOffsets",
            "WhitespaceTokenizeWithOffsets",
            "WordpieceTokenizeWithOffsets",
        ),
    }
)
_lock = threading.Lock()
_loaded: set[Path] = set()


def load_operations(paths: Iterable[Path]) -> None:
    """Load shared libraries of operations, each of them once.

    Raises:
        ServingError: with the reason why a library cannot be loaded.
    """
    with _lock:
        for path in paths:
            if path not in _loaded:
                load_library(path)
                _loaded.add(path)
                log("info", f"loaded the operations of {path}")


def with_operations(make: Callable[[], _Made]) -> _Made:
    """Return what ``make`` makes of a graph; load the operations that the graph needs if they are installed.

    Raises:
        ServingError: with the reason why ``make`` failed.
    """
    try:
        return make()
    except ServingError as error:
        found = _MISSING.search(error.message)
        if not found:
            raise
        load_operations(_text_libraries(found[1], error))
    return make()


def _text_libraries(operation: str, error: ServingError) -> list[Path]:
    """Return the libraries of TensorFlow Text if they may have an operation.

    Raises:
        ServingError: ``error`` with advice, when they do not have the operation or are not installed.
    """
    shown = f"The graph needs the operation {operation}"
    if operation not in _TEXT_OPERATIONS and not operation.startswith(_TEXT_PREFIX):
        advice = "which TensorFlow does not have; --custom_op_libraries loads libraries that have it"
        raise ServingError(error.code, f"{shown}, {advice}. {error.message}") from None
    spec = importlib.util.find_spec(_PACKAGE)
    folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
    paths = sorted(path for folder in folders for path in folder.glob("python/*/*.so"))
    if not paths or _loaded.issuperset(paths):
        advice = "of TensorFlow Text: pip install tensorflow-text, in the version of TensorFlow"
        raise ServingError(error.code, f"{shown} {advice}. {error.message}") from None
    return paths
