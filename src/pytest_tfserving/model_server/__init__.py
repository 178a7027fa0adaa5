"""The embedded server: TF Serving's REST and gRPC APIs and its flags, on the TensorFlow wheel."""
