"""State of a model, from the states of its versions."""

from __future__ import annotations

from typing import Any

from pytest_tfserving.text.foreign_text import one_line


def best_state(answer: Any) -> tuple[str, str]:
    """Return the best state among the versions in a model's status, with its error message."""
    try:
        states = {
            one_line(str(version["state"])): one_line(str(version.get("status", {}).get("error_message", "")))
            for version in answer["model_version_status"]
        }
    except (KeyError, TypeError, AttributeError):
        return "no model status", ""
    if "AVAILABLE" in states:
        return "AVAILABLE", ""
    state = next((state for state in states if state != "END"), "END" if states else "no version")
    return state, states.get(state, "")
