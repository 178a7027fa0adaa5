"""State of a model, from the states of its versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_tfserving.text.foreign_text import one_line

if TYPE_CHECKING:
    from pytest_tfserving.text.json_value import JsonValue

NO_STATUS = "no model status"


def best_state(answer: JsonValue) -> tuple[str, str]:
    """Return the best state among the versions in a model's status, with its error message.

    If the answer is no status, the message is the reason that the server gives.
    """
    versions = answer.get("model_version_status") if isinstance(answer, dict) else None
    if not isinstance(versions, list) or None in (found := [_state(each) for each in versions]):
        reason = answer.get("error", "") if isinstance(answer, dict) else ""
        return NO_STATUS, one_line(str(reason))
    states = dict(filter(None, found))
    if "AVAILABLE" in states:
        return "AVAILABLE", ""
    state = next((state for state in states if state != "END"), "END" if states else "no version")
    return state, states.get(state, "")


def _state(version: JsonValue) -> tuple[str, str] | None:
    """Return the state of a version and its error message; None if they are not a state and a message."""
    if not isinstance(version, dict) or "state" not in version:
        return None
    status = version.get("status", {})
    if not isinstance(status, dict):
        return None
    return one_line(str(version["state"])), one_line(str(status.get("error_message", "")))
