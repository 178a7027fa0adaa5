"""Load: profiles, payloads, the Locust child and what it measures."""
