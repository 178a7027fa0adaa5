"""Target ``kubernetes`` and its parts: pure functions decide, `cluster` talks to the API server."""
