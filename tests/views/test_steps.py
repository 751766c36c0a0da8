"""Steps as a YAML file holds them: one form, typed, written back as it was read, with readable mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from biocl.commands.configs import explain_key
from biocl.config import load_experiment, to_yaml
from biocl.errors import UsageError
from biocl.experiment import Experiment
from biocl.views.spec import STEPS, FrequencyShift, MaskStep, Reflect, Reverse, SignFlip, ViewSpec

VIEWS = TypeAdapter(ViewSpec)


def with_views(text: str, *more: str) -> Experiment:
    return load_experiment(Path("demo"), [f"views.masked_1={text}", *more])


def test_a_step_is_its_name_with_its_main_setting_and_others_beside_it() -> None:
    read = VIEWS.validate_python(
        [{"mask": "continuous", "share": 0.2}, "sign-flip", {"frequency-shift": 2, "p": 0.5}, "reverse", "reflect"]
    )
    assert read == [
        MaskStep(mask="continuous", share=0.2),
        SignFlip(),
        FrequencyShift(frequency_shift=2.0, p=0.5),
        Reverse(),
        Reflect(),
    ]


@pytest.mark.parametrize("key", STEPS)
def test_every_step_is_written_as_it_is_read_and_can_be_explained(key: str) -> None:
    (step,) = VIEWS.validate_python([key])
    written = VIEWS.dump_python([step], mode="json")
    assert written[0][key] == STEPS[key].main_default()
    assert VIEWS.validate_python(written) == [step]
    text = explain_key(f"views.{key}")
    assert f"views.NAME[].{key}: " in text
    assert " ".join(STEPS[key].__doc__.split()) in text  # type: ignore[union-attr]
    assert f" {key} " in explain_key("views").replace("(", " ").replace(")", " ")
    assert all(field.description for field in STEPS[key].model_fields.values())
    assert STEPS[key].__doc__


def test_a_resolved_configuration_is_read_back(tmp_path: Path) -> None:
    experiment = with_views("[{frequency-shift: 0.1}, sign-flip, {band-stop: 3, low_hz: 8, p: 0.3}]")
    (tmp_path / "a.yaml").write_text(to_yaml(experiment))
    assert load_experiment(tmp_path / "a.yaml") == experiment


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("[sgn-flip]", r"views\.masked_1\.0.*did you mean sign-flip"),
        ("[{frequency_shift: 1}]", "did you mean frequency-shift"),
        ("[{jitter: 0.1, scale: 0.2}]", "jitter and scale are two steps"),
        ("[{}]", "an empty mapping names no step"),
        ("[{p: 0.5}]", "p names no step of a view; the steps are mask, jitter"),
        ("[3]", "a step is a mapping such as"),
        ("[{jitter: loud}]", r"views\.masked_1\.0\.jitter.*: should be a valid number, not 'loud'"),
        ("[{mask: some}]", r"views\.masked_1\.0\.mask.*: should be 'continuous'"),
        ("[{frequency-shift: 1, drw: fixed}]", r"views\.masked_1\.0\.drw.* is not a known key, did you mean draw"),
        ("[{jitter: 0.1, p: 2}]", r"views\.masked_1\.0\.p.*: should be less than or equal to 1"),
        ("[{band-stop: 9, low_hz: 8, high_hz: 12}]", "a band of 9 Hz does not fit"),
    ],
)
def test_a_mistake_reads_as_one_sentence(steps: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_views(steps)


def test_settings_that_several_steps_have_are_told_apart() -> None:
    text = explain_key("views.low_hz")
    assert "[band-stop]" in text
    assert "[muscle]" in text
    assert explain_key("views.p").count("Probability that the step happens") == 1
