"""The options by task, as `pytest --help` groups them."""

from __future__ import annotations

# Titles of the groups, each with the names of its options.
GROUPS = {
    "what is deployed, and where": (
        *("target", "experiments", "server", "image", "url", "against", "keep"),
        *("ready-timeout", "unfit"),
    ),
    "existing servers": ("header", "ca-file", "client-certificate", "client-key"),
    "clusters": ("kubeconfig", "context", "namespace", "access", "base", "load-in-cluster", "load-image"),
    "load": (
        *("profile", "users", "rate", "spawn-rate", "run-time", "locustfile", "load-processes", "early-stop"),
        *("max-cpu-wait", "max-lag-ms"),
    ),
    "verdicts": ("alpha", "noise-memory", "inconclusive", "unjudged", "nothing-judged"),
    "reports": ("json", "html", "markdown", "prices", "hours", "ui"),
    "history": ("save", "compare", "compare-fail", "compare-force", "update-slos"),
}


def group_of(option: str) -> str:
    """Return the title of an option's group."""
    return next(title for title, names in GROUPS.items() if option in names)
