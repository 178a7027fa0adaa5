"""Targets: the places where an experiment can run.

A target is a module with these functions:

- ``describe(settings)``: a text for the terminal
- ``unfit(settings, experiment)``: what the target lacks for the experiment; empty if nothing
- ``served(settings, experiment, say)``: values that identify the served model and the server
- ``deploy(order)``: a context manager that yields a `Deployment`
- ``sweep(leftovers, settings, say)``: only if objects can outlive the process that made them; it deletes the
  objects that `Leftovers` includes, and says so with a line for each
- ``turn(settings)``: only if the target is not on this machine; a lock against two measurements at once
"""

TARGETS = {
    "local": "pytest_tfserving.targets.local",
    "docker": "pytest_tfserving.targets.docker",
    "kubernetes": "pytest_tfserving.targets.kubernetes",
    "url": "pytest_tfserving.targets.url",
}
