"""Prints the requirements in a pyproject.toml, those of some of its extras among them, without TensorFlow.

``python requirements.py pyproject.toml EXTRA...``
"""

import sys
import tomllib
from pathlib import Path

path, *extras = sys.argv[1:]
project = tomllib.loads(Path(path).read_text(encoding="utf-8"))["project"]
required = list(project["dependencies"])
for extra in extras:
    required += project["optional-dependencies"][extra]
print(*(each for each in required if not each.startswith("tensorflow")), sep="\n")
