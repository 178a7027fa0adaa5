# TensorFlow Serving compiled from its sources for one micro-architecture, with oneDNN.
#
#   images/build-cpu-optimized x86-64-v3 tfserving:2.19.1-v3
#
# The compile takes hours and tens of GB. Names of micro-architectures: require_cpu --list.

ARG TENSORFLOW_SERVING=2.19.1
ARG RUNTIME=ubuntu:22.04

# The release's own toolchain and sources, in /tensorflow-serving.
FROM tensorflow/serving:${TENSORFLOW_SERVING}-devel AS server
ARG MICROARCHITECTURE=x86-64-v3
# How much of the machine the compile may take, as Bazel's --jobs and --local_ram_resources say it.
ARG JOBS=auto
ARG RAM=HOST_RAM*.67
COPY require_cpu /usr/local/bin/
WORKDIR /tensorflow-serving
# A name that could not be checked at start is refused before the compile.
RUN require_cpu --list >/tmp/known && grep --line-regexp --fixed-strings "$MICROARCHITECTURE" /tmp/known
# Bazel keeps what it built in the home of this stage's user, root.
RUN bazel build \
        --config=release \
        --config=mkl_open_source_only \
        --copt=-march="$MICROARCHITECTURE" \
        --copt=-O3 \
        --jobs="$JOBS" \
        --local_ram_resources="$RAM" \
        --verbose_failures \
        tensorflow_serving/model_servers:tensorflow_model_server \
    && install --strip bazel-bin/tensorflow_serving/model_servers/tensorflow_model_server /usr/bin/ \
    && rm -rf "$HOME/.cache/bazel"

FROM ${RUNTIME}
ARG TENSORFLOW_SERVING
ARG MICROARCHITECTURE=x86-64-v3
LABEL org.opencontainers.image.title="TensorFlow Serving for ${MICROARCHITECTURE}" \
      org.opencontainers.image.version="${TENSORFLOW_SERVING}" \
      org.opencontainers.image.licenses="Apache-2.0"
USER 0:0
# The release keeps the version.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libgomp1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=server /usr/bin/tensorflow_model_server /usr/bin/
COPY require_cpu tf_serving_entrypoint.sh cpu_optimized_entrypoint.sh /usr/bin/
ENV MICROARCHITECTURE=${MICROARCHITECTURE} \
    TF_ENABLE_ONEDNN_OPTS=1 \
    MODEL_BASE_PATH=/models \
    MODEL_NAME=model
WORKDIR /models
USER 10001:10001
EXPOSE 8500 8501
ENTRYPOINT ["/usr/bin/cpu_optimized_entrypoint.sh"]
