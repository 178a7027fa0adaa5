#!/usr/bin/env bash
# Counts verdicts of runs whose generator was starved or disturbed.
set -euo pipefail
timeout --kill-after=30 300 python benchmarks/honesty.py --quick --json="$CI_ARTIFACTS/honesty.json"
