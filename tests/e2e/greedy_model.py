"""Exports a model that takes as many bytes of RAM as its input says: ``python greedy_model.py FOLDER``."""

import sys

import tensorflow as tf

v1 = tf.compat.v1
with v1.Graph().as_default(), v1.Session() as session:
    x = v1.placeholder(tf.float32, [None], name="x")
    floats = tf.cast(tf.reduce_max(x) / 4, tf.int32)
    y = x + tf.reduce_max(tf.fill([floats], 1.0))
    signature = v1.saved_model.predict_signature_def({"x": x}, {"y": y})
    builder = v1.saved_model.Builder(f"{sys.argv[1]}/1")
    builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
    builder.save()
