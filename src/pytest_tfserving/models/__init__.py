"""Models that this package can export."""
