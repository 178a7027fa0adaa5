"""Targets: where an experiment runs.

Each is a module with ``describe(settings)``, ``unfit(settings, experiment)``,
``served(settings, experiment, say)``, what tells results apart, and ``deploy(order)``, a context manager that
yields a `Deployment`. One that cannot take every experiment has ``refusal(settings, experiment)``, why not.
One whose objects can outlive the process that made them has ``sweep(leftovers, settings, say)`` too: it
deletes those that `Leftovers` includes, and says so, a line each. One that lies elsewhere has
``turn(settings)``: what keeps two runs from measuring there at once.
"""

TARGETS = {
    "local": "pytest_tfserving.targets.local",
    "docker": "pytest_tfserving.targets.docker",
    "kubernetes": "pytest_tfserving.targets.kubernetes",
    "url": "pytest_tfserving.targets.url",
}
