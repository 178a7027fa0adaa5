"""The types of what a result is made of."""

from __future__ import annotations

from typing import get_type_hints

from pytest_tfserving.experiments.load_profile import LoadProfile, ProfileFields
from pytest_tfserving.experiments.trace import Trace, TraceFields
from pytest_tfserving.load.result import Percentiles
from pytest_tfserving.statistics.percentiles import KEPT_PERCENTILES, percentile_key


def test_the_fields_of_a_profile_have_its_names_and_types() -> None:
    written, fields = get_type_hints(ProfileFields), get_type_hints(LoadProfile)

    assert (written.pop("replay"), fields.pop("replay")) == (TraceFields | None, Trace | None)
    assert written == fields
    assert get_type_hints(TraceFields) == get_type_hints(Trace)


def test_percentiles_are_those_that_are_kept() -> None:
    assert set(Percentiles.__annotations__) == set(map(percentile_key, KEPT_PERCENTILES))
