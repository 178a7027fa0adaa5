#!/usr/bin/env bash
# Tests the plugin beside other pytest plugins. They are in a folder of their own: in the venv they would take part in
# every test.
set -euo pipefail
pip install -q --target "$work/plugins" -r tests/beside/plugins.txt
TFSERVING_E2E=none TFSERVING_TEST_PLUGINS=$work/plugins pytest -n auto tests/beside \
    --junit-xml="$artifacts/beside.xml"
