"""Locust users that put load on an endpoint; only load processes import them."""
