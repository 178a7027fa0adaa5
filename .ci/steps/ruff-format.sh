#!/usr/bin/env bash
# Checks how Python is laid out.
set -euo pipefail
ruff format --check .
