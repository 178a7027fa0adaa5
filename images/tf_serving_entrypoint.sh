#!/bin/sh
# Serves the model $MODEL_NAME that lies below $MODEL_BASE_PATH; arguments are further flags, and stronger ones.
exec tensorflow_model_server \
    --port=8500 \
    --rest_api_port=8501 \
    --model_name="$MODEL_NAME" \
    --model_base_path="$MODEL_BASE_PATH/$MODEL_NAME" \
    "$@"
