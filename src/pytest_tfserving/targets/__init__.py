"""Targets: where an experiment runs.

Each is a module with ``describe(settings)``, ``unfit(settings, shape)`` and ``deploy(order)``, a context
manager that yields a `Deployment`.
"""

TARGETS = {
    "local": "pytest_tfserving.targets.local",
    "url": "pytest_tfserving.targets.url",
}
