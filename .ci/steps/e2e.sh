#!/usr/bin/env bash
# Runs the tests on real engines, and those that take long.
set -euo pipefail
source .ci/library.sh

export TFSERVING_E2E=long-runs
if ! docker image inspect pytest-tfserving:dev >/dev/null 2>&1; then
    echo "left out: no Docker Engine has the image"
elif use_cluster; then
    TFSERVING_E2E=docker,kubernetes,long-runs
    export TFSERVING_E2E_CONTEXT=local TFSERVING_E2E_LIMITED_CONTEXT=limited
    export TFSERVING_E2E_LOAD_IMAGE=$cluster/load-image TFSERVING_E2E_API_SERVER=$cluster/apiserver
else
    TFSERVING_E2E=docker,long-runs
fi
pytest tests/e2e --cache-clear -n 2 --dist=loadscope --durations=30 --junit-xml="$CI_ARTIFACTS/e2e.xml" ||
    again_alone e2e "$PWD"
