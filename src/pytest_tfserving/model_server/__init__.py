"""The embedded server: TF Serving's REST API and flags, on the TensorFlow wheel."""
