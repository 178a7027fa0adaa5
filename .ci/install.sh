#!/usr/bin/env bash
# Installs system packages that are missing, and the project with all it needs into the venv of .ci/run.
set -euo pipefail
source .ci/library.sh

# README's commands need a clone. nginx and wrk stand beside our load generator in the benchmarks; in tests Chromium
# opens the HTML report, openssl makes certificates, the embedded server is asked by HTTP clients, its JSON parser is
# compared with RapidJSON, and its reader of HTTP requests with libevent.
missing=()
command -v chromium >/dev/null && command -v chromedriver >/dev/null || missing+=(chromium chromium-driver)
command -v openssl >/dev/null || missing+=(openssl)
command -v git >/dev/null || missing+=(git)
PATH=$PATH:/usr/sbin command -v nginx >/dev/null || missing+=(nginx-light)
command -v wrk >/dev/null || missing+=(wrk)
command -v curl >/dev/null || missing+=(curl)
command -v node >/dev/null || missing+=(nodejs)
command -v javac >/dev/null || missing+=(default-jdk-headless)
command -v ab >/dev/null || missing+=(apache2-utils)
command -v hey >/dev/null || missing+=(hey)
command -v g++ >/dev/null && [[ -d /usr/include/rapidjson ]] || missing+=(g++ rapidjson-dev)
"$PYTHON" -c 'import ctypes; ctypes.CDLL("libevent-2.1.so.7")' 2>/dev/null || missing+=(libevent-dev)
if ((${#missing[@]})); then
    apt_install "${missing[@]}" || echo "not installed: ${missing[*]}; what uses them says so"
fi
check='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'
"$PYTHON" -c "$check" || {
    echo "set PYTHON to a Python 3.11, 3.12 or 3.13; $PYTHON is none"
    exit 1
}
make_venv "$CI_WORK/venv"
"$CI_WORK/venv/bin/pip" install -q -e '.[embedded,docker,kubernetes,dev]'
"$CI_WORK/venv/bin/pip" freeze --exclude-editable >"$CI_ARTIFACTS/requirements.txt"
