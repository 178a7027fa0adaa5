"""The value of the fixture ``load``: runs of load, which tests share where they can, and searches."""

from __future__ import annotations

import itertools
import json
import math
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_tfserving.errors import ConfigurationError, LoadError, TFServingError, TFServingWarning
from pytest_tfserving.plugin.failures import plain_failures
from pytest_tfserving.plugin.overrides import resolve_profile
from pytest_tfserving.plugin.ownership import experiment_of
from pytest_tfserving.plugin.plain_assertions import begin, remember
from pytest_tfserving.plugin.session_start import session_of
from pytest_tfserving.plugin.stored import changes
from pytest_tfserving.settings import LoadOverrides

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_tfserving.deployment.deployment import Deployment
    from pytest_tfserving.experiments.experiment import Experiment
    from pytest_tfserving.experiments.load_profile import LoadProfile
    from pytest_tfserving.load.result import Result
    from pytest_tfserving.measurement.prepared_load import LoadRequest
    from pytest_tfserving.measurement.search import SearchResult, Trial
    from pytest_tfserving.plugin.identity import Wanted
    from pytest_tfserving.report.store import Run, Taking
    from pytest_tfserving.slo.language import Judgement, Slo


class Load:
    """The value of the fixture ``load``.

    If the same is served and the same is sent, ``load()`` runs once a session, and tests share its result.
    """

    def __init__(self, request: pytest.FixtureRequest, experiment: Experiment) -> None:
        self._request = request
        self._experiment = experiment
        self._perf = session_of(request.config)
        self._unchecked: dict[str, str] = {}
        self._used: set[tuple[str, str]] = set()
        begin(request.node)

    def __call__(self, profile: str | None = None, **overrides: object) -> Result:
        """Run load, or return the result of the same run if there is one.

        Args:
            profile: a load profile's name; without one the options', the mark's or the experiment's.
            overrides: fields of `LoadProfile`, as ``users=8`` or ``run_time_s=60``.

        Raises:
            pytest.fail.Exception: for a load that does not fit, a deployment or a load that fails, and a
                result without valid figures.
            pytest.skip.Exception: when the result cannot be judged.
            KeyboardInterrupt: when the run was interrupted; its result is kept.
        """
        __tracebackhide__ = True
        with plain_failures():
            chosen = self._profile(LoadOverrides(profile, overrides))
            run = self._run_of(chosen)
        return self._judged(run)

    def _use(self, key: str, how: str) -> None:
        """Record how the test used a run of load, or a search."""
        if (key, how) not in self._used:
            self._used.add((key, how))
            self._perf.log.add_use(key, self._request.node, how)

    def warn_of_unchecked(self) -> None:
        """Warn of results whose load generator had trouble and on which the test did not call `check`."""
        for cause in self._unchecked.values():
            text = f"{cause}; only check() allows for that, a comparison of the test's own does not"
            self._request.node.warn(TFServingWarning(f"{self._experiment.name}: {text}"))

    def max_rps(
        self,
        *slos: str,
        over: str = "users",
        start: float = 1,
        most: float = math.inf,
        precision: float = 0.05,
        state: str | Path | None = None,
    ) -> SearchResult:
        """Search for the largest load that meets ``slos``, or the test's own SLOs if none are given.

        The load is doubled until it no longer holds, then approached by bisection. The load found, and a load
        a tenth lower, are confirmed. Each load is a run of its own, which ends as soon as its SLOs are
        decided.

        Args:
            slos: SLOs as ``"p95<200ms"``; one on errors is added.
            over: the field of the load profile that is raised, as ``users``.
            start: where to begin.
            most: what is not exceeded.
            precision: how near, as a fraction, the next load that does not hold is in the end.
            state: a file that keeps what was tried, for a search that was interrupted.

        Raises:
            pytest.fail.Exception: without an SLO, for an argument that does not fit, for a state file that
                cannot be read or is of another search, and when a run of load has no valid figures.
            KeyboardInterrupt: when a run was interrupted; ``state`` has the runs before.
        """
        from pytest_tfserving.measurement.search import Search
        from pytest_tfserving.plugin import marks, outcomes
        from pytest_tfserving.plugin.given import GivenSearchResult
        from pytest_tfserving.slo.language import parse_slos

        __tracebackhide__ = True
        with plain_failures():
            own = (*self._experiment.slo, *marks.slos(self._request.node))
            chosen = outcomes.with_errors(parse_slos(slos) or own)
            if not chosen:
                raise ConfigurationError('a search needs an SLO, as load.max_rps("p95<200ms").')
            name = self._name_of_search(over, chosen)
            search = Search(start, precision, most, over == "users", name)
            found = search.run(partial(self._tried, over, chosen), Path(state) if state else None)
            key = self._keep(found, over, chosen)
        self._use(key, "asked")
        return GivenSearchResult.reporting(found, lambda *_: self._use(key, "read"))

    def _name_of_search(self, over: str, slos: tuple[Slo, ...]) -> str:
        """Return the identity of a search: what is served and sent is part of the name, the load is not."""
        from pytest_tfserving.plugin.identity import Wanted, identify

        identity = identify(self._perf, self._experiment, self._request)
        profile = self._profile(LoadOverrides())
        key = Wanted.of(identity, profile, but={over, "spawn_rate"}).key
        return f"{self._experiment.name} {over} {' '.join(slo.text for slo in slos)} {key}"

    def _keep(self, found: SearchResult, over: str, slos: tuple[Slo, ...]) -> str:
        """Add the curve to every report; return the key of the search."""
        return self._perf.log.add_search(
            {
                "experiment": self._experiment.name,
                "origin": self._experiment.origin,
                "target": self._experiment.target,
                "over": over,
                "slos": [slo.text for slo in slos],
                "knee": found.knee,
                "confirmed": found.confirmed,
                "found": str(found),
                "probes": [probe.as_dict() for probe in found.curve],
            }
        )

    def _tried(self, over: str, slos: tuple[Slo, ...], load: float) -> Trial:
        from pytest_tfserving.measurement.measure import measure
        from pytest_tfserving.measurement.search import Trial
        from pytest_tfserving.slo.language import Verdict
        from pytest_tfserving.statistics.intervals import interval_of

        fields: dict[str, object] = {over: int(load) if over == "users" else load}
        if over == "users":
            fields["spawn_rate"] = max(load, 1.0)
        profile = self._profile(LoadOverrides(None, fields))
        perf = self._perf
        deployment: Deployment = self._request.getfixturevalue("serving")
        alone = replace(deployment, against=None)
        with perf.turn(self._experiment.name):
            asked = self._asked(profile, slos)
            result, interrupted = measure(alone, asked, self._folder, perf.progress)
        perf.progress.close()
        if interrupted:
            raise KeyboardInterrupt
        if cause := result.invalid or result.not_judged:
            raise LoadError(f"the search ended at {over} {load:g}: {cause}")
        judgements = result.judge(slos)
        if doubtful := next((each for each in judgements if each.verdict is Verdict.INVALID), None):
            raise LoadError(f"the search ended at {over} {load:g}: {doubtful}")
        missed = [str(each) for each in judgements if not each.holds]
        return Trial(
            load=load,
            holds=not missed,
            rps=result.rps,
            p95_ms=result.p95_ms,
            reason=missed[0] if missed else "",
            rps_interval=interval_of(result.intervals.get("rps")),
            p95_interval=interval_of(result.intervals.get("p95_ms")),
        )

    @property
    def _folder(self) -> Path:
        return self._perf.folder / f"load-{self._perf.log.writer}"

    def _profile(self, call: LoadOverrides) -> LoadProfile:
        from pytest_tfserving.plugin import marks

        item, settings = self._request.node, self._perf.settings
        sources = (call, settings.cli_load, marks.load_overrides(item), settings.ini_load)
        profile = resolve_profile(self._experiment.profile, self._perf.profiles(item), sources)
        self._perf.noise_memory.check(profile.name, profile.run_time_s)
        return profile

    def _run_of(self, profile: LoadProfile) -> Run:
        """Return the run of load for the test: a run in the log, or a new one."""
        from pytest_tfserving.plugin.identity import Wanted, identify

        nothing = Wanted.of_nothing(self._experiment, profile)
        if run := self._found(nothing) or self._skipped(nothing):
            return run
        with self._recorded(nothing):
            identity = identify(self._perf, self._experiment, self._request)
        wanted = Wanted.of(identity, profile)
        if run := self._found(wanted):
            return run
        self._perf.begin(self._experiment, self._request.session.items)
        with self._perf.turn(self._experiment.name):
            return self._found(wanted) or self._measured(wanted)

    def _skipped(self, nothing: Wanted) -> Run | None:
        """Return the run of an experiment for which the target is unfit and which is not tried; else None."""
        from pytest_tfserving.measurement.measure import nothing_measured

        perf, experiment = self._perf, self._experiment
        if perf.settings.unfit == "smoke":
            return None
        # Without its lock, a cluster may be full of the deployments of others.
        with perf.turn(experiment.name), self._recorded(nothing):
            if (run := self._found(nothing)) or not (lacking := perf.target.unfit(experiment)):
                return run
            return self._kept(nothing, nothing_measured(experiment, nothing.profile, not_judged=lacking))

    @cached_property
    def _before(self) -> list[Taking]:
        """The runs that this test took before it was run again; a rerun does not share them."""
        return self._perf.log.takings_of(self._request.node.nodeid)

    def _found(self, wanted: Wanted) -> Run | None:
        slos = {slo.text for slo in self._slos}
        run = self._perf.log.find(wanted.key, slos, without={taking.run for taking in self._before})
        return self._taken(run) if run else None

    def _kept(self, wanted: Wanted, result: Result, watched: Sequence[Slo] | None = None) -> Run:
        known = replace(result, origin=self._experiment.origin, identity=wanted.identity)
        texts = None if watched is None else [slo.text for slo in watched]
        return self._taken(self._perf.log.add_result(wanted.key, known, texts))

    def _taken(self, run: Run) -> Run:
        """Return a run under the test's own names."""
        taking = self._taking(run)
        self._perf.log.add_taking(taking)
        self._use(taking.row, "asked")
        return replace(run, result=replace(run.result, **json.loads(taking.names)))

    def _taking(self, run: Run) -> Taking:
        from pytest_tfserving.report.store import Taking

        experiment = self._experiment
        names: dict[str, object] = {"experiment": experiment.name, "origin": experiment.origin}
        # The configuration of a server at an address is not known.
        if not self._perf.settings.url:
            names["configuration"] = experiment.configuration
        execution = 1 + max((taking.execution for taking in self._before), default=0)
        return Taking(run.id, self._request.node.nodeid, execution, json.dumps(names, sort_keys=True))

    @contextmanager
    def _recorded(self, wanted: Wanted) -> Iterator[None]:
        """Add a run that fails before its load to every report, with its cause."""
        from pytest_tfserving.measurement.measure import nothing_measured

        try:
            yield
        except (TFServingError, pytest.fail.Exception) as error:
            cause = str(error) if isinstance(error, TFServingError) else str(error.msg).splitlines()[0]
            if not self._found(wanted):
                self._kept(wanted, nothing_measured(self._experiment, wanted.profile, aborted=cause))
            raise

    def _measured(self, wanted: Wanted) -> Run:
        from pytest_tfserving.measurement.measure import measure

        perf, item, slos = self._perf, self._request.node, self._watched()
        with self._recorded(wanted):
            deployment: Deployment = self._request.getfixturevalue("serving")
            asked = self._asked(wanted.profile, slos)
            result, interrupted = measure(deployment, asked, self._folder, perf.progress)
        perf.progress.close()
        run = self._kept(wanted, result, slos)
        if result.aborted:
            perf.given_up.add(self._experiment)
        self._show_tracebacks(run.result)
        if result.aborted or (result.server and result.server.incidents):
            for title, text in deployment.evidence():
                item.add_report_section("call", title, text)
                item.user_properties.append((title, text))
        item.ihook.pytest_tfserving_result(config=item.config, nodeid=item.nodeid, result=run.result)
        if interrupted:
            raise KeyboardInterrupt
        self._warn_of_replicas(run.result)
        return run

    def _warn_of_replicas(self, result: Result) -> None:
        """Warn of replicas that were lost or restarted: the SLOs of the run may hold all the same."""
        if result.server and not result.aborted:
            for text in result.server.incidents:
                self._request.node.warn(TFServingWarning(f"{self._experiment.name}: {text}"))

    def _show_tracebacks(self, result: Result) -> None:
        """Note the tracebacks of a locustfile for the end of the session, each one once."""
        for text in result.tracebacks:
            note = f"{self._experiment.name}: the locustfile raised:\n{text}"
            if note not in self._perf.notes():
                self._perf.log.add_note(note)

    def _asked(self, profile: LoadProfile, slos: tuple[Slo, ...]) -> LoadRequest:
        from pytest_tfserving.measurement.prepared_load import LoadRequest
        from pytest_tfserving.protocols.payload_set import PayloadSet

        settings = self._perf.settings
        return LoadRequest(
            profile,
            PayloadSet.of(self._request.getfixturevalue("request_payload")),
            slos,
            settings.alpha,
            settings.load_processes,
            settings.locustfile,
            self._perf.noise_memory.seconds,
        )

    @property
    def _slos(self) -> tuple[Slo, ...]:
        return self._slos_of(self._request.node)

    def _slos_of(self, item: pytest.Item) -> tuple[Slo, ...]:
        """Return the SLOs of the experiment and of a test's marks."""
        from pytest_tfserving.plugin import marks, outcomes
        from pytest_tfserving.plugin.against import with_changes

        own = (*self._experiment.slo, *marks.slos(item))
        slos = with_changes(own, self._perf.settings)
        # SLOs that are only reported do not make a run one that is judged.
        return outcomes.with_errors(slos) if any(slo.strict for slo in slos) else slos

    def _watched(self) -> tuple[Slo, ...]:
        """Return the SLOs of the experiment and of all its tests: any of the tests may share this run."""
        tests = [item for item in self._request.session.items if experiment_of(item) == self._experiment]
        slos = dict.fromkeys(itertools.chain(self._slos, *map(self._slos_of, tests)))
        # Of two SLOs with the same text the last one counts: the one that is not a guard.
        return tuple(sorted(slos, key=lambda slo: not slo.guard))

    def _judged(self, run: Run) -> Result:
        from pytest_tfserving.plugin import outcomes
        from pytest_tfserving.plugin.given import GivenResult
        from pytest_tfserving.report import junit
        from pytest_tfserving.slo.language import Verdict

        __tracebackhide__ = True
        item, result, slos, taking = self._request.node, run.result, self._slos, self._taking(run)
        self._perf.log.add_judgements(taking, result.judge(slos))
        junit.add_result(item, run.id, result)
        junit.add_changes(item, changes(self._perf, result))
        outcomes.stop_unless_measured(item, result, self._perf.settings)
        if result.trouble:
            self._unchecked[run.id] = result.trouble

        def settle(judged: Result, judgements: list[Judgement], metrics: tuple[str, ...]) -> None:
            __tracebackhide__ = True
            self._unchecked.pop(run.id, None)
            self._use(taking.row, "checked")
            outcomes.settle(item, self._perf.settings, judged, judgements, metrics)

        def read(figure: str, problem: str) -> None:
            __tracebackhide__ = True
            self._use(taking.row, "read")
            remember(item, taking)
            if problem and figure not in doubtful:
                doubtful.add(figure)
                if self._perf.settings.inconclusive == "fail":
                    text = f"{figure}: {problem}"
                    self._perf.log.add_failed_assertion(taking, Verdict.INCONCLUSIVE, text)
                outcomes.doubt_reading(item, result, figure, problem, self._perf.settings)

        doubtful: set[str] = set()
        return GivenResult.reporting(result.bound(slos, settle), read)
