"""The server's own messages beside TensorFlow's."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from pytest_tfserving.model_server.protos import message

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

# Run in TensorFlow's process too, whose messages have their own pool.
FIELDS = """
def fields(descriptor, found):
    if descriptor.full_name in found or descriptor.full_name == "tensorflow.TensorProto":
        return found
    own = found.setdefault(descriptor.full_name, {})
    for field in descriptor.fields:
        own[field.name] = [field.number, field.type]
        if field.message_type:
            fields(field.message_type, found)
    return found
"""
THEIRS = f"""
import json
from tensorflow.core.protobuf import config_pb2
{FIELDS}
print(json.dumps(fields(config_pb2.ConfigProto.DESCRIPTOR, {{}})))
"""


def test_the_whole_config_proto_is_known() -> None:
    done = subprocess.run([sys.executable, "-c", THEIRS], capture_output=True, text=True, check=True)
    namespace: dict[str, object] = {}
    exec(FIELDS, namespace)
    fields = namespace["fields"]
    assert callable(fields)
    descriptor: Descriptor = message("tensorflow.ConfigProto").DESCRIPTOR

    ours, theirs = fields(descriptor, {}), json.loads(done.stdout)

    assert ours == theirs
    assert len(theirs) > 20
