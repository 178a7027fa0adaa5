"""Model-serving performance as test assertions."""

__version__ = "0.1.0"
