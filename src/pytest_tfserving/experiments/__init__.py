"""Experiments: frozen data on deployments and their load, and the reader of their file."""
