"""The commands of ``pytest-tfserving``, one module each.

In each module ``add_arguments`` declares the arguments of the command. ``run`` runs the command and returns
an exit code, or raises an error of `pytest_tfserving.errors`.
"""
