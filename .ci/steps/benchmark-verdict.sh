#!/usr/bin/env bash
# Counts wrong verdicts in simulated time: no other work on the machine changes them.
set -euo pipefail
python benchmarks/verdict.py --quick --only boundary,stalls,independent --json="$CI_ARTIFACTS/verdict.json"
