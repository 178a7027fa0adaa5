"""Calibration: this machine's noise, measured by `pytest-tfserving calibrate` and kept for later runs."""
