#!/usr/bin/env bash
# Runs the tests on real engines.
set -euo pipefail
source .ci/library.sh

export TFSERVING_E2E=docker
docker image inspect pytest-tfserving:dev >/dev/null 2>&1 || {
    echo "left out: no Docker Engine has the image"
    exit 0
}
if use_cluster; then
    export TFSERVING_E2E=docker,kubernetes TFSERVING_E2E_CONTEXT=local TFSERVING_E2E_LIMITED_CONTEXT=limited
    export TFSERVING_E2E_LOAD_IMAGE=$cluster/load-image TFSERVING_E2E_API_SERVER=$cluster/apiserver
fi
pytest tests/e2e -n 2 --dist=loadscope --durations=30 --junit-xml="$artifacts/e2e.xml"
