"""``python -m pytest_tfserving.cli``."""

from __future__ import annotations

import sys

from pytest_tfserving.cli import main

sys.exit(main())
