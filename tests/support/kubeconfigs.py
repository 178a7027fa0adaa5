"""Kubeconfig files of made-up clusters."""

from __future__ import annotations

from typing import Any

# Nothing listens there.
NOWHERE = "http://127.0.0.1:1"


def entry(kind: str, name: str, **values: object) -> dict[str, object]:
    return {"name": name, kind: values}


def config(current: str = "kind-one", *, server: str = NOWHERE, **user: object) -> dict[str, Any]:
    """A kubeconfig with a local context, one elsewhere, and one that refers to nothing."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "contexts": [
            entry("context", "kind-one", cluster="one", user="me"),
            entry("context", "far", cluster="two", user="me"),
            entry("context", "kind-broken", cluster="three", user="me"),
        ],
        "clusters": [entry("cluster", "one", server=server), entry("cluster", "two", server=server)],
        "users": [entry("user", "me", **user)],
    }
