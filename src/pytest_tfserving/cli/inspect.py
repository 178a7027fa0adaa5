"""``inspect``: the signatures of a SavedModel, with a request for each that the model takes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from pytest_tfserving.protocols.fitting_request import FoundRequest, TensorText

_LABEL_WIDTH = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "model", type=Path, metavar="MODEL_DIR", help="the model's base folder, or one version in it"
    )
    parser.add_argument(
        "--signature", metavar="NAME", default="", help="show this signature only (default: all)"
    )
    parser.add_argument(
        "--whole", action="store_true", help="print whole requests (default: as much as fits on a line)"
    )


def run(options: argparse.Namespace) -> int:
    """Print the signatures of a SavedModel."""
    from pytest_tfserving.protocols.fitting_request import inspected
    from pytest_tfserving.targets.common.model_folder import find_model

    folder = find_model(options.model)
    if folder.note:
        print(f"{folder.note}\n")
    model = inspected(folder.version_path)
    chosen = [model.named(options.signature)] if options.signature else model.requests
    width = None if options.whole else shutil.get_terminal_size().columns
    signatures = "1 signature" if len(model.requests) == 1 else f"{len(model.requests)} signatures"
    print(f"{folder.version_path}: loaded in {model.load_s:.2g} s, {signatures}")
    for request in chosen:
        print()
        for line in _lines(request, width):
            print(line)
    return 0


def _lines(found: FoundRequest, width: int | None) -> Iterator[str]:
    same = f", the same tensors as {found.same_as}" if found.same_as else ""
    yield f"{one_line(found.signature_name)} ({found.method or 'no method'}{same})"
    yield from _table("inputs", found.inputs)
    yield from _table("outputs", found.outputs)
    if found.problem:
        yield f"  no request: {found.problem}"
        return
    yield "  a request that the model takes"
    yield _form("REST rows", found.rows, found.no_rows, width)
    yield _form("REST columns", found.columns, found.no_columns, width)
    sent = ", ".join(f"{each.name}: {each.type} {each.shape}" for each in found.tensors)
    yield f"    {'gRPC':{_LABEL_WIDTH}} {_size(found.grpc)}  PredictRequest({sent})"
    outputs = ", ".join(f"{each.name}: {each.type} {each.shape}" for each in found.answer)
    yield f"  one call in process took {found.call_ms:.3g} ms, outputs: {outputs}"
    yield "  made up:"
    yield from (f"    {note}" for note in found.notes)


def _table(title: str, tensors: Iterable[TensorText]) -> Iterator[str]:
    yield f"  {title}"
    rows = [(each.name, each.type, each.shape) for each in tensors] or [("none", "", "")]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, kind, shape in rows:
        yield f"    {name:{widths[0]}}  {kind:{widths[1]}}  {shape}".rstrip()


def _form(label: str, body: bytes | None, problem: str, width: int | None) -> str:
    """Return a line with a request's size and its body, as much of it as fits ``width``."""
    if body is None:
        return f"    {label:{_LABEL_WIDTH}} not possible: {problem}"
    line = f"    {label:{_LABEL_WIDTH}} {_size(body)}  {body.decode()}"
    return line if width is None or len(line) <= width else f"{line[: width - 1]}…"


def _size(content: bytes) -> str:
    return f"{len(content):,} bytes".replace(",", " ")
