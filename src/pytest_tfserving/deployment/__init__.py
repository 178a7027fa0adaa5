"""Deployments, as load sees them on any target."""
