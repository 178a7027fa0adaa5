"""Pytest's hooks, in the order pytest calls them."""
