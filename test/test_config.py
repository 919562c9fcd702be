"""The run-time configuration: defaults, files, and an error for everything that makes no sense."""

import pytest

from moro_ros.config import MotionConfig, PipelineConfig, from_dict, load_config, resets
from moro_ros.errors import ConfigError


def test_a_file_changes_only_what_it_names(tmp_path):
    path = tmp_path / "moro.yaml"
    path.write_text("max_people: 2\nmotion: {window: 30}\n")
    config = load_config(path)
    assert (config.max_people, config.motion.window) == (2, 30)
    assert config.motion.passes == MotionConfig().passes
    path.write_text("")
    assert load_config(path) == PipelineConfig()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_peple": 2}, "Did you mean 'max_people'"),
        ({"motion": {"windows": 2}}, "'motion.windows'. Did you mean 'window'"),
        ({"max_people": 0}, "max_people: got 0, expected 1 to 32"),
        ({"max_people": 2.5}, "max_people: got 2.5, expected a whole number without a decimal"),
        (
            {"max_people": 2.0},
            "got 2.0, expected a whole number without a decimal point: 2",
        ),
        ({"max_people": float("inf")}, "max_people: got inf, expected a whole number"),
        ({"max_people": float("nan")}, "max_people: got nan, expected a whole number"),
        ({"max_people": 10**400}, "expected 1 to 32"),
        ({"max_people": None}, "max_people: got None, expected a whole number"),
        ({"motion": {"fps": float("inf")}}, "motion.fps: got inf, expected 1.0 to 240.0 Hz"),
        ({"motion": {"fps": 10**400}}, "expected 1.0 to 240.0 Hz"),
        ({"motion": {"look_ahead": 2.0}}, "look_ahead: got 2.0, expected a whole number"),
        ({"device": "gpu"}, "device: got 'gpu', expected cpu, cuda or cuda:N"),
        ({"device": "cuda:"}, "device: got 'cuda:'"),
        ({"model": 5}, "model: got 5, expected text"),
        ({"max_people": True}, "expected a whole number"),
        ({"motion": {"fps": float("nan")}}, "motion.fps: got nan"),
        ({"motion": {"max_gap_s": 100}}, "0.05 to 60.0 s"),
        ({"mesh": "yes"}, "mesh: got 'yes', expected true or false"),
        ({"motion": 3}, "motion: got 3, expected a mapping"),
    ],
)
def test_bad_values_are_named(values, words):
    with pytest.raises(ConfigError) as caught:
        from_dict(PipelineConfig, values)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["look_ahead", "refined_lag"])
def test_in_mode_window_a_delay_must_be_within_the_window(name):
    """No frame so old is decoded, so nobody would be published."""
    with pytest.raises(ConfigError, match=rf"motion.{name}: got 4, expected less than .* 4 frames"):
        MotionConfig(mode="window", window=4, **{name: 4})
    MotionConfig(mode="window", window=4, **{name: 3})
    MotionConfig(mode="incremental", window=4, **{name: 60})


def test_the_refined_output_is_not_older_than_the_first():
    """The places of people are known once the first output has described the image."""
    with pytest.raises(ConfigError, match=r"motion.refined_lag: got 3, expected 0, or at .* 4"):
        MotionConfig(look_ahead=4, refined_lag=3)
    for refined_lag in (0, 4, 5):
        MotionConfig(look_ahead=4, refined_lag=refined_lag)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot read the configuration .*absent"):
        load_config(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="Cannot read"):
        load_config(tmp_path / "bad.yaml")


def test_only_what_changes_the_kept_past_restarts_tracking():
    before = MotionConfig()
    assert not resets(before, MotionConfig(passes=3, gain=0.7, shape_lock_s=2.0))
    for name, value in {"mode": "window", "window": 9, "look_ahead": 1, "fps": 15.0}.items():
        assert resets(before, MotionConfig(**{name: value}))
