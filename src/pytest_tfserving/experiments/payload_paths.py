"""Paths of payloads, told apart by their names: a single request, or a payload set."""

from __future__ import annotations

from pathlib import PurePath

REQUEST, LINES, RECORDS = ".json", ".jsonl", ".tfrecord"
WARM_UP = "tf_serving_warmup_requests"


def is_payload_path(payload: str) -> bool:
    """Return whether an experiment's payload is a path, not the name of a bundled request."""
    return payload.endswith(REQUEST) or is_set_path(payload)


def is_set_path(payload: str) -> bool:
    """Return whether an experiment's payload is the path of a payload set: a file or a folder."""
    return is_lines(payload) or is_records(payload) or ("/" in payload and not payload.endswith(REQUEST))


def is_lines(path: str) -> bool:
    """Return whether a path is that of JSON lines."""
    return path.endswith(LINES)


def is_records(path: str) -> bool:
    """Return whether a path is that of TFRecords, also of one of several shards."""
    name = PurePath(path).name
    return RECORDS in name or name == WARM_UP
