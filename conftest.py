"""Pytest's own test harness, and tests that are left out where what they need is not there."""

pytest_plugins = ["pytester", "needs"]
