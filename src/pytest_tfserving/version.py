"""The version of this package, for modules that must not import all of its names."""

__version__ = "0.1.0"
