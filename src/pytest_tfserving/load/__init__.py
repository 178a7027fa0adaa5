"""Load: the load generator, load processes and their results."""
