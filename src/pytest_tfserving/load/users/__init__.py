"""The Locust users that put load on an endpoint; imported in the load child only."""
