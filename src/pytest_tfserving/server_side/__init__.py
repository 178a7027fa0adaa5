"""Server side of a run: resources used under load, and TF Serving's own metrics."""
