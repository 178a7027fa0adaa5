"""The models this package can make."""
