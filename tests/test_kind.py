"""The kind cluster's configuration: every NodePort there can be is mapped to the host."""

from __future__ import annotations

from pathlib import Path

import yaml

CONFIG = Path(__file__).parents[1] / "k8s" / "kind" / "cluster.yaml"


def test_every_node_port_is_mapped_to_the_same_port_of_the_loopback_address() -> None:
    config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    (patch,) = map(yaml.safe_load, config["kubeadmConfigPatches"])
    first, last = map(int, patch["apiServer"]["extraArgs"]["service-node-port-range"].split("-"))
    (mapped,) = [node["extraPortMappings"] for node in config["nodes"] if "extraPortMappings" in node]

    assert [each["containerPort"] for each in mapped] == list(range(first, last + 1))
    assert all(each["hostPort"] == each["containerPort"] for each in mapped)
    assert {each["listenAddress"] for each in mapped} == {"127.0.0.1"}
