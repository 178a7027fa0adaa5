#!/usr/bin/env bash
# Runs README's first command, the main job: some experiments are judged, and none fails.
set -euo pipefail
source .ci/library.sh

out=$CI_ARTIFACTS/local
# pytest splits it as a shell does.
# shellcheck disable=SC2089,SC2090
export PYTEST_ADDOPTS="--junit-xml='$out.xml' --tfserving-json='$out.json' --tfserving-html='$out.html' \
    --tfserving-markdown='$out.md'"
as_a_newcomer main-job 1
python .ci/check_reports.py "$out" judged
