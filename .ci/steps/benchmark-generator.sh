#!/usr/bin/env bash
# Measures the load generator beside others.
set -euo pipefail
timeout --kill-after=30 300 python benchmarks/generator.py --quick --json="$CI_ARTIFACTS/generator.json"
