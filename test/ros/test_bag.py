"""A recording's metadata is what every supported rosbag2 reads."""

import yaml

from moro_ros.ros.bag import MotionBag


def test_humble_can_read_the_metadata(tmp_path):
    bag = MotionBag(tmp_path / "walk")
    bag.add_topic("/tf", "tf2_msgs/msg/TFMessage")
    bag.write("/tf", 1, b"\x00\x01\x00\x00\x00\x00\x00\x00")
    bag.close()
    text = (tmp_path / "walk" / "metadata.yaml").read_text(encoding="utf-8")
    information = yaml.safe_load(text)["rosbag2_bagfile_information"]
    assert information["storage_identifier"] == "mcap"
    for topic in information["topics_with_message_count"]:
        # Humble parses a string; from version 9 on it is a list, on which it stops.
        assert isinstance(topic["topic_metadata"]["offered_qos_profiles"], str)
