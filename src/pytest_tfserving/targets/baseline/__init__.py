"""The in-process baseline: the same model without a server, on the cores of a replica."""
