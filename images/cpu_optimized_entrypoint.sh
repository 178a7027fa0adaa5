#!/bin/sh
# Serves the model $MODEL_NAME that lies below $MODEL_BASE_PATH, on a CPU that the server was compiled for.
require_cpu "$MICROARCHITECTURE" || exit 1
exec tf_serving_entrypoint.sh "$@"
