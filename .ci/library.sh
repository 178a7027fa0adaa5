# shellcheck shell=bash
# Functions and folders that .ci/run and its steps share. They are sourced; CI_WORK and CI_ARTIFACTS are
# folders that .ci/run exports.

# Install Debian packages, as root on Debian only.
apt_install() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
    # Packages of servers must not start them here.
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

# make_venv FOLDER: with the Python of .ci/run.
make_venv() {
    "$PYTHON" -m venv "$1" 2>/dev/null || { apt_install python3-venv && "$PYTHON" -m venv --clear "$1"; }
}

# as_a_newcomer NAME NUMBER: README's command NUMBER, word for word, in a fresh clone and a fresh venv.
as_a_newcomer() {
    local place=$CI_WORK/$1 command
    command=$(readme_command "$2")
    [[ -n $command ]] || {
        echo "README.md has no command $2 under \"Two commands\""
        return 1
    }
    git clone -q . "$place/clone"
    make_venv "$place/venv"
    printf '$ %s\n' "$command"
    (cd "$place/clone" && PATH=$place/venv/bin:$PATH VIRTUAL_ENV=$place/venv bash -c "$command")
}

# The command in README's console block NUMBER of "Two commands".
readme_command() {
    awk -v number="$1" '
        /^## / { inside = $0 == "## Two commands" }
        inside && /^```/ { fenced = !fenced; blocks += fenced; next }
        inside && fenced && blocks == number
    ' README.md
}

# again_alone NAME FOLDER: run the tests that failed in FOLDER once more, one after the other, with nothing beside them.
# Their names go into NAME.flaky, which .ci/run shows. More than five are no accident, and are not run again.
again_alone() {
    local cache=$2/.pytest_cache/v/cache/lastfailed failed
    [[ -f $cache ]] || return 1
    failed=$(python -c 'import json, sys; print(*json.load(open(sys.argv[1])), sep="\n")' "$cache")
    (($(wc -l <<<"$failed") <= 5)) || return 1
    printf '\n=== again, alone\n%s\n' "$failed"
    (cd "$2" && PYTEST_ADDOPTS="--junit-xml='$CI_ARTIFACTS/$1-again.xml'" pytest --lf --lfnf=none -n 0) || return 1
    printf '%s\n' "$failed" >"$CI_ARTIFACTS/$1.flaky"
}

# Scripts that start a cluster on a bare machine may stand beside the checkout.
cluster=$PWD/../shared/cluster
has_cluster() { [[ -x $cluster/up && $(id -u) == 0 ]]; }

# use_cluster: point clients at it, or say that there is none.
use_cluster() {
    has_cluster || return 1
    export KUBECONFIG=/var/lib/local-kubernetes/kubeconfig
}
