"""Exit code 0 when the server in this container has its model AVAILABLE, else 1 with one line that says why.

The server is process 1; its own flags tell what to ask, and where.
"""

import json
import socket
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from pytest_tfserving.model_server.flags import parse_flags

TIMEOUT_S = 4.0


def problem(flags: dict[str, Any]) -> str:
    """Return the problem; empty if there is none."""
    if not flags["rest_api_port"]:
        socket.create_connection(("127.0.0.1", flags["port"]), TIMEOUT_S).close()
        return ""
    connection = HTTPConnection("127.0.0.1", flags["rest_api_port"], timeout=TIMEOUT_S)
    connection.request("GET", f"/v1/models/{flags['model_name']}")
    answer = json.loads(connection.getresponse().read())
    if flags["model_config_file"]:
        return ""  # which models there should be changes while it runs
    states = [version["state"] for version in answer.get("model_version_status", ())]
    return "" if "AVAILABLE" in states else f"{flags['model_name']} is {', '.join(states) or answer}"


try:
    arguments = Path("/proc/1/cmdline").read_text(encoding="utf-8").split("\0")
    found = problem(parse_flags([each for each in arguments if each.startswith("--")]).values)
except (OSError, ValueError) as error:
    found = str(error)
if found:
    sys.exit(found)
