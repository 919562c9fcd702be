"""The run-time configuration: defaults, files, and an error for everything that makes no sense."""

import pytest

from moro_ros.config import MotionConfig, PipelineConfig, from_dict, load_config
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
        ({"max_people": 2.5}, "whole number"),
        ({"max_people": True}, "expected a number"),
        ({"motion": {"fps": float("nan")}}, "motion.fps: got nan"),
        ({"motion": {"max_gap_s": 100}}, "0.05 to 60.0 s"),
        ({"mesh": "yes"}, "mesh: got 'yes', expected bool"),
        ({"motion": 3}, "expected a mapping"),
    ],
)
def test_bad_values_are_named(values, words):
    with pytest.raises(ConfigError) as caught:
        from_dict(PipelineConfig, values)
    assert words in str(caught.value)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"Cannot read the configuration .*absent"):
        load_config(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="Cannot read"):
        load_config(tmp_path / "bad.yaml")
