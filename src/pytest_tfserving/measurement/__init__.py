"""Measurements: from a deployment to a result, and the search for the largest load."""
