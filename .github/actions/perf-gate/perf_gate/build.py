"""``build``: checks the inputs, and builds the servers that are refs, each in a git worktree."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass

from perf_gate import inputs
from perf_gate.runner import Mistake, gate_folder, input_of, write_output


@dataclass(frozen=True)
class Product:
    """The product of a build: the variable that names it, and its name in the plugin's options."""

    variable: str
    kind: str

    def place(self, side: str, commit: str) -> str:
        """Return the name of the image, or the path of the program, of one ``side`` of the comparison."""
        if self.kind == "image":
            return f"perf-gate-{side}:{commit[:12]}"
        return str(gate_folder() / side / "server")


_IMAGE = Product("IMAGE", "image")
_PRODUCTS = {"docker": _IMAGE, "kubernetes": _IMAGE, "local": Product("SERVER", "server")}


def run() -> None:
    """Set the outputs ``candidate``, an option of pytest, and ``against``, a value of --tfserving-against."""
    inputs.check()
    image, against, kind = input_of("IMAGE"), input_of("AGAINST"), _kind()
    candidate = f"--tfserving-image={image}" if image else ""
    commits = {}
    if input_of("BUILD") and not image:
        commits["candidate"] = _commit("ref", input_of("REF"))
        candidate = f"--tfserving-{kind}={_place('candidate', commits['candidate'])}"
    if against.startswith("ref:"):
        commits["baseline"] = _commit("against", against.removeprefix("ref:"))
        against = f"{kind}:{_place('baseline', commits['baseline'])}"
    if len(commits) > len(set(commits.values())):
        raise Mistake(
            f"against: {input_of('AGAINST')} and the candidate are one commit, {commits['baseline']}: "
            "there is no change to judge."
        )
    for side, commit in commits.items():
        _build(side, commit)
    write_output("candidate", candidate)
    write_output("against", against)


def _kind() -> str:
    product = _PRODUCTS.get(input_of("TARGET"))
    return product.kind if product else ""


def _place(side: str, commit: str) -> str:
    return _PRODUCTS[input_of("TARGET")].place(side, commit)


def _commit(name: str, ref: str) -> str:
    """Return the commit of a ref, which is fetched if the checkout does not have it."""
    if not ref or ref.startswith("-"):
        raise Mistake(f"{name}: {ref!r} is not a git ref.")
    for known in (ref, f"refs/remotes/origin/{ref}"):
        if found := _git("rev-parse", "--verify", "--quiet", f"{known}^{{commit}}"):
            return found
    _git("fetch", "--quiet", "--depth=1", "--no-tags", "origin", ref)
    fetched = _git("rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}")
    if not fetched:
        raise Mistake(
            f"{name}: this checkout has no ref {ref!r} and cannot fetch it; give actions/checkout "
            "fetch-depth: 2 for HEAD^1, and fetch-depth: 0 for other refs."
        )
    return fetched


def _git(*arguments: str) -> str:
    """Return what git prints; empty if it fails."""
    done = subprocess.run(["git", *arguments], check=False, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def _build(side: str, commit: str) -> None:
    """Run the build command in a worktree of ``commit``, which stays until the job ends."""
    product, place = _PRODUCTS[input_of("TARGET")], _place(side, commit)
    worktree = gate_folder() / side / "worktree"
    worktree.parent.mkdir()
    print(f"::group::build the {side}, {commit}", flush=True)
    subprocess.run(["git", "worktree", "prune"], check=True)
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(worktree), commit], check=True)
    command = ["bash", "-euo", "pipefail", "-c", input_of("BUILD")]
    done = subprocess.run(command, check=False, cwd=worktree, env={**os.environ, product.variable: place})
    print("::endgroup::", flush=True)
    if done.returncode:
        raise Mistake(f"build: the command ended with exit code {done.returncode} for the {side}, {commit}.")
    if product.kind == "server" and not os.access(place, os.X_OK):
        raise Mistake(f"build: the command made no executable program $SERVER for the {side}, {commit}.")
