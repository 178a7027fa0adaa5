#!/usr/bin/env bash
# Lints Python.
set -euo pipefail
ruff check .
