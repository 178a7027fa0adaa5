"""Targets: where an experiment runs. Each is one context manager that yields a `Deployment`."""
