"""The noise of this machine: measured by `pytest-tfserving calibrate`, and kept for later runs on it."""
