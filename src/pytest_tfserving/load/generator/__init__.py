"""Load generator: the parent of load processes, and its results."""
