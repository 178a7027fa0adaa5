"""An API server where a Job is a real load process of this machine, whose log may lose lines."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qs, urlsplit

from pytest_tfserving.load.generator.local_host import WORKER
from pytest_tfserving.targets.kubernetes.cluster import Cluster
from pytest_tfserving.targets.kubernetes.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_tfserving.targets.kubernetes.context import Kubeconfig

POD = "tfserving-load-x"
_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _LONG, _LONGEST = 0x7F, 126, 127
_CLOSE = 8
_LOOK_S = 0.05


class FakeCluster:
    """Answers on a port of its own; ``on_line`` is called with each line before it comes to the log."""

    def __init__(self, on_line: Callable[[FakeCluster, dict[str, Any]], None] = lambda *_: None) -> None:
        self.log: list[bytes] = []
        self.changed = threading.Condition()
        self.process: subprocess.Popen[bytes] | None = None
        self._on_line = on_line
        self._loses = False
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.cluster = self
        self._threads = [threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.delete_pod()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    def connect(self) -> Cluster:
        """A client."""
        server = f"http://127.0.0.1:{self._server.server_port}"
        config: Kubeconfig = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "me"}}],
            "clusters": [{"name": "fake", "cluster": {"server": server}}],
            "users": [{"name": "me", "user": {}}],
        }
        return Cluster(Context("fake", server, config))

    def start_pod(self) -> None:
        """Start a load process, whose output is the log."""
        self.process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._threads.append(threading.Thread(target=self._read, args=(self.process,), daemon=True))
        self._threads[-1].start()

    def delete_pod(self) -> None:
        """End the load process, and have no Pod any more."""
        process, self.process = self.process, None
        if process:
            process.kill()
            process.wait()
            assert process.stdin
            process.stdin.close()
        with self.changed:
            self.changed.notify_all()

    def lose_log(self) -> None:
        """Lose what is in the log, and the line that was about to come to it."""
        self._loses = True

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        with process.stdout as lines:
            for line in lines:
                self._loses = False
                self._on_line(self, json.loads(line))
                with self.changed:
                    self.log = [] if self._loses else [*self.log, line]
                    self.changed.notify_all()

    def pod(self) -> dict[str, Any]:
        """The load process as a Pod."""
        return {
            "metadata": {"name": POD, "namespace": "n", "uid": "1"},
            "spec": {"containers": [{"name": "load"}]},
            "status": {"phase": "Running", "containerStatuses": [{"name": "load", "state": {"running": {}}}]},
        }


class _Server(ThreadingHTTPServer):
    cluster: FakeCluster


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def _cluster(self) -> FakeCluster:
        assert isinstance(self.server, _Server)
        return self.server.cluster

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path)
        if path.path.endswith("/attach"):
            self._attach()
        elif path.path.endswith("/log"):
            self._log(follow="follow" in parse_qs(path.query))
        elif path.path.endswith(f"/pods/{POD}"):
            self._json(self._cluster.pod() if self._cluster.process else None)
        elif path.path.endswith("/pods"):
            self._json({"items": [self._cluster.pod()] if self._cluster.process else []})
        elif path.path == "/version":
            self._json({"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
        elif re.fullmatch(r"/apis/batch/v1", path.path):
            self._json({"resources": [{"name": "jobs", "kind": "Job", "namespaced": True}]})
        else:
            self._json({"items": []})

    def do_PATCH(self) -> None:
        self._body()
        self._cluster.start_pod()
        self._json({})

    def do_DELETE(self) -> None:
        self._body()
        self._cluster.delete_pod()
        self._json({})

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _json(self, body: dict[str, Any] | None) -> None:
        data = json.dumps(body or {"message": "not found"}).encode()
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _log(self, *, follow: bool) -> None:
        """What is in the log, and what comes to it, as HTTP chunks."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        process, seen = self._cluster.process, set[int]()
        while True:
            with self._cluster.changed:
                new = [line for line in self._cluster.log if id(line) not in seen]
                if not new and follow and self._cluster.process is process and process:
                    self._cluster.changed.wait(_LOOK_S)
                    continue
            for line in new:
                seen.add(id(line))
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            if not new:
                break
        self.wfile.write(b"0\r\n\r\n")

    def _attach(self) -> None:
        """What comes over the WebSocket is the process's standard input."""
        key = self.headers["Sec-WebSocket-Key"] + _MAGIC
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        accept = hashlib.sha1(key.encode(), usedforsecurity=False).digest()
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(accept).decode())
        self.send_header("Sec-WebSocket-Protocol", "v4.channel.k8s.io")
        self.end_headers()
        self.close_connection = True
        while (head := self.rfile.read(2)) and head[0] & 0x0F != _CLOSE:
            data = self._frame(head[1] & _TEXT)
            if self._cluster.process is None:
                return
            assert self._cluster.process.stdin
            self._cluster.process.stdin.write(data[1:])
            self._cluster.process.stdin.flush()

    def _frame(self, length: int) -> bytes:
        if length in (_LONG, _LONGEST):
            length = int.from_bytes(self.rfile.read(2 if length == _LONG else 8))
        mask = self.rfile.read(4)
        return bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length)))
