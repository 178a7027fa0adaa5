"""Compiler of the .proto files here into descriptors.binpb: ``python compile.py`` (needs grpcio-tools)."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent


def compiled() -> bytes:
    """Return the descriptors of every .proto file here and of the files that they import.

    Raises:
        SystemExit: when a file has a mistake, which the compiler has printed.
    """
    import grpc_tools
    from grpc_tools import protoc

    included = Path(grpc_tools.__file__).with_name("_proto")
    files = sorted(path.name for path in FOLDER.glob("*.proto"))
    with tempfile.NamedTemporaryFile(suffix=".binpb") as out:
        options = ["--include_imports", f"--proto_path={FOLDER}", f"--proto_path={included}"]
        if code := protoc.main(["protoc", *options, f"--descriptor_set_out={out.name}", *files]):
            sys.exit(code)
        return Path(out.name).read_bytes()


if __name__ == "__main__":
    (FOLDER / "descriptors.binpb").write_bytes(compiled())
