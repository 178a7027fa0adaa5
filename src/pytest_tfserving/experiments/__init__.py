"""Experiments: frozen data on deployments and their load, and the reader of their file."""

# Here, since every pytest run reads the options, and experiments themselves take long to import.
TARGET_NAMES = ("local", "docker", "kubernetes", "url")
DEFAULT_IMAGE = "tensorflow/serving:2.19.1"
