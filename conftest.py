"""Pytest's own test harness, for the plugin's tests."""

pytest_plugins = ["pytester"]
