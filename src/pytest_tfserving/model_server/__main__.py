"""``python -m pytest_tfserving.model_server``."""

import os
import sys

from pytest_tfserving.model_server.main import main

code = main()
sys.stdout.flush()
sys.stderr.flush()
# TensorFlow's own shutdown takes seconds and frees nothing that the end of the process does not.
os._exit(code)
