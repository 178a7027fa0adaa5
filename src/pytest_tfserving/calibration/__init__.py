"""What `pytest-tfserving calibrate` measures of this machine, and keeps for later runs on it."""
