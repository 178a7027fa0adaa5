"""How many runs pass whose load generator misbehaves: killed, stopped, starved, left by users, ended early.

Each kind misbehaves at moments that seeds choose, in runs on a server that answers well: limits are far from
what it does, so that nothing but the generator can keep a run from passing. None may pass: what was measured
is not what was asked for.

`--seeds` is how many runs there are of all kinds together, which come in turn.
"""

from __future__ import annotations

from collections import Counter

import _common as common
from _misbehaving import KINDS, misbehaved, server, verdict

from pytest_tfserving.slo.language import Verdict

QUICK_RUNS = len(KINDS)


def main() -> None:
    args = common.arguments(__doc__, seeds=(100, "how many runs (default: 100)"))
    count = QUICK_RUNS if args.quick else args.seeds
    found: dict[str, Counter[str]] = {name: Counter() for name in KINDS}
    causes: dict[str, str] = {}
    names = list(KINDS)
    with server() as port:
        for seed in range(count):
            name = names[seed % len(names)]
            with common.scratch() as folder:
                result = misbehaved(KINDS[name], seed, folder / "load", port)
            found[name][verdict(result).value] += 1
            causes[name] = result.aborted or result.invalid or result.incomplete
            common.note(f"{seed + 1}/{count}")
    common.note("")
    shown = (Verdict.PASS, Verdict.INVALID, Verdict.FAIL, Verdict.INCONCLUSIVE)
    common.table(
        ["the load generator", *map(str, shown)],
        [[name, *(verdicts[each.value] for each in shown)] for name, verdicts in found.items()],
    )
    for name, cause in causes.items():
        print(f"{name}: {cause or 'by its SLOs'}")
    passed = sum(verdicts[Verdict.PASS.value] for verdicts in found.values())
    common.finish(
        args,
        {"runs": count, "verdicts": {name: dict(verdicts) for name, verdicts in found.items()}},
        [common.Target(f"passed, of {count} runs", passed, 0)],
    )


if __name__ == "__main__":
    main()
