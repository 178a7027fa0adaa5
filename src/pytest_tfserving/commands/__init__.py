"""The commands of ``pytest-tfserving``, a module each: ``add_arguments`` declares what it takes.

``run`` does it and returns an exit code, or raises an error of `pytest_tfserving.errors`.
"""
