"""Parts of the target ``kubernetes``: pure functions decide, `cluster` talks to the API server."""
