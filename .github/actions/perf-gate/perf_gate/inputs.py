"""The rules for the inputs of the action."""

from __future__ import annotations

from perf_gate.runner import Mistake, input_of, words_of

# What pip installs for each target.
REQUIREMENTS = {
    "docker": "pytest-tfserving[docker]",
    "kubernetes": "pytest-tfserving[kubernetes]",
    "local": "pytest-tfserving[embedded]",
    "url": "pytest-tfserving",
}


def check() -> None:
    """Refuse inputs that do not fit.

    Raises:
        Mistake: if one does not, with what is valid.
    """
    target, against, build = input_of("TARGET"), input_of("AGAINST"), input_of("BUILD")
    if target not in REQUIREMENTS:
        raise Mistake(f"target: {target!r} is not one of {', '.join(REQUIREMENTS)}.")
    if not against:
        raise Mistake("against: name the baseline server, as ref:HEAD^1 or image:IMAGE.")
    if input_of("COMMENT") not in ("true", "false"):
        raise Mistake(f"comment: {input_of('COMMENT')!r} is not one of true, false.")
    for name in ("TESTS", "ARGUMENTS", "INSTALL"):
        words_of(name)
    if against.startswith("ref:") and not build:
        raise Mistake(f"against: {against} has to be built; give the command in the input build.")
    if build and target == "url":
        raise Mistake("build: target url takes addresses; start both servers, and use against: url:URL.")
    if build and input_of("IMAGE") and not against.startswith("ref:"):
        raise Mistake("build: there is nothing to build, because image and against name both servers.")
