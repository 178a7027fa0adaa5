"""Load: profiles, payloads, load processes and their results."""
