"""What the server's side shows while it is loaded: resources used, and TF Serving's own metrics."""
