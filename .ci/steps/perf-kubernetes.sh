#!/usr/bin/env bash
# Judges the local experiments in a cluster.
set -euo pipefail
source .ci/library.sh

use_cluster || {
    echo "left out: no scripts start a cluster"
    exit 0
}
# The cluster's nodes have an image with the model in it if the tests on real engines ran: theirs. Otherwise one is
# baked and brought onto them.
if [[ -s $CI_ARTIFACTS/e2e.xml ]] && docker image inspect pytest-tfserving-e2e:models >/dev/null 2>&1; then
    image=pytest-tfserving-e2e:$(docker image inspect --format '{{slice .Id 7 19}}' pytest-tfserving-e2e:models)
else
    image=pytest-tfserving-perf:dev
    pytest-tfserving export-model resnet50 "$CI_WORK/resnet50"
    pytest-tfserving bake pytest-tfserving:dev "$CI_WORK/resnet50" "$image"
    "$cluster/load-image" "$image"
fi
pytest perf_tests -k 1cpu --tfserving-target=kubernetes --tfserving-image="$image" --tfserving-context=local \
    -o tfserving_allowed_contexts=local --junit-xml="$CI_ARTIFACTS/kubernetes.xml" \
    --tfserving-json="$CI_ARTIFACTS/kubernetes.json"
python .ci/check_reports.py "$CI_ARTIFACTS/kubernetes" judged
