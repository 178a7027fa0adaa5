#!/usr/bin/env bash
# Runs README's first command, the main job: some experiments are judged, and none fails.
set -euo pipefail
source .ci/library.sh

out=$artifacts/local
PYTEST_ADDOPTS="--junit-xml='$out.xml' --tfserving-json='$out.json' --tfserving-html='$out.html'"
PYTEST_ADDOPTS+=" --tfserving-markdown='$out.md'"
export PYTEST_ADDOPTS
as_a_newcomer main-job 1
python .ci/check_reports.py "$out" judged
