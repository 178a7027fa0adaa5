#!/usr/bin/env bash
# Runs README's second command, the tests.
set -euo pipefail
source .ci/library.sh

# The schema of JUnit XML is in pytest's source distribution only, the official stubs of gRPC require the whole
# TensorFlow wheel, and an independent client an old protobuf: none is a dependency. The report's pictures are kept.
make_venv "$CI_WORK/client"
if "$CI_WORK/client/bin/pip" install -q min-tfs-client 'protobuf<3.21'; then
    export TFSERVING_TEST_CLIENT=$CI_WORK/client/bin/python
fi
if pip install -q --no-deps --target "$CI_WORK/stubs" tensorflow-serving-api; then
    export TFSERVING_TEST_STUBS=$CI_WORK/stubs
fi
if pip install -q --no-deps --target "$CI_WORK/text" tensorflow-text; then
    export TFSERVING_TEST_TEXT=$CI_WORK/text
fi
version=$(python -c 'import importlib.metadata; print(importlib.metadata.version("pytest"))')
if pip download -q --no-deps --no-binary pytest --dest "$CI_WORK/sdist" "pytest==$version"; then
    tar -xzf "$CI_WORK/sdist/pytest-$version.tar.gz" -C "$CI_WORK/sdist"
    XUNIT2_XSD=$(find "$CI_WORK/sdist" -name junit-10.xsd)
    export XUNIT2_XSD
fi
# Real engines have a step of their own.
export TFSERVING_E2E=none REPORT_SCREENSHOTS=$CI_ARTIFACTS/screenshots
export PYTEST_ADDOPTS="--junit-xml='$CI_ARTIFACTS/tests.xml'"
as_a_newcomer tests 2 ||
    PATH=$CI_WORK/tests/venv/bin:$PATH VIRTUAL_ENV=$CI_WORK/tests/venv \
    again_alone tests "$CI_WORK/tests/clone"
