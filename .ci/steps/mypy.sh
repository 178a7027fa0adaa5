#!/usr/bin/env bash
# Checks types.
set -euo pipefail
mypy
