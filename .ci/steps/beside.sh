#!/usr/bin/env bash
# Tests the plugin beside other pytest plugins. They are in a folder of their own: in the venv they would take part in
# every test.
set -euo pipefail
pip install -q --target "$CI_WORK/plugins" -r tests/beside/plugins.txt
TFSERVING_E2E=none TFSERVING_TEST_PLUGINS=$CI_WORK/plugins pytest -n auto tests/beside \
    --junit-xml="$CI_ARTIFACTS/beside.xml"
