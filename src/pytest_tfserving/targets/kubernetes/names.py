"""Names of this package's objects in a cluster."""

from __future__ import annotations

from pytest_tfserving.protocols import REST, SERVING_PROTOCOLS

APP = "tfserving"
CONTAINER = "serving"
FIELD_MANAGER = "pytest-tfserving"
REPLICA = "pytest-tfserving/replica"
# Label of load Pods, with the id of the run.
LOAD = "pytest-tfserving/load-of"
LOCUSTFILE_FOLDER = "/etc/tfs-load"
# The port of the server in a Pod, by protocol.
PORTS = {name: each.server_port for name, each in SERVING_PROTOCOLS.items()}
REST_PORT = PORTS[REST.name]
BATCHING_FOLDER = "/etc/tfs-config"
BATCHING_FILE = "batching_config.txt"
BATCHING_CONFIG_MAP = "tfserving-batching"
MODELS_CONFIG_FOLDER = "/etc/tfs-models"
MODELS_CONFIG_MAP = "tfserving-models"
