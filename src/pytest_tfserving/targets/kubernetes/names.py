"""Names of this package's objects in a cluster."""

from __future__ import annotations

APP = "tfserving"
CONTAINER = "serving"
FIELD_MANAGER = "pytest-tfserving"
REPLICA = "pytest-tfserving/replica"
# Label of load Pods, with the id of the run.
LOAD = "pytest-tfserving/load-of"
LOCUSTFILE_FOLDER = "/etc/tfs-load"
GRPC_PORT = 8500
REST_PORT = 8501
BATCHING_FOLDER = "/etc/tfs-config"
BATCHING_FILE = "batching_config.txt"
BATCHING_CONFIG_MAP = "tfserving-batching"
