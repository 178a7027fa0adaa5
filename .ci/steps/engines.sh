#!/usr/bin/env bash
# Starts real engines. Without scripts that do, the Docker Engine that answers is used, and its absence is said.
set -euo pipefail
source .ci/library.sh

if has_cluster; then
    "$cluster/docker-up"
    "$cluster/base-image"
    "$cluster/up"
    # The Docker Engine lets nothing be forwarded that is not its own: Pods would not reach each other.
    iptables -P FORWARD ACCEPT
fi
if docker info >/dev/null 2>&1; then
    docker build -q -t pytest-tfserving:dev -f images/Dockerfile .
else
    echo "left out: no Docker Engine answers"
fi
