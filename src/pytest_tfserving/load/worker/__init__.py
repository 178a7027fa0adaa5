"""Load process: the child of the load generator, which sends and records requests."""
