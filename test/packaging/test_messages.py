"""The installed messages are those of msg/, and tf2_msgs is on the wire what ROS 2 has."""

import json
from pathlib import Path

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

ROOT = Path(__file__).resolve().parents[2]
TF_MESSAGE_HASH = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"


def installed_hash(package: str, message: str) -> str:
    """The type hash that the installed type support carries."""
    module = __import__(f"{package}.msg", fromlist=[message])
    for prefix in Path(module.__file__).parents:
        description = prefix / "share" / package / "msg" / f"{message}.json"
        if description.is_file():
            hashes = json.loads(description.read_text(encoding="utf-8"))["type_hashes"]
            return next(
                item["hash_string"]
                for item in hashes
                if item["type_name"] == f"{package}/msg/{message}"
            )
    pytest.fail(f"{package}/msg/{message} has no type description beside it")


@pytest.mark.parametrize("name", sorted(path.stem for path in ROOT.glob("msg/*.msg")))
def test_installed_messages_are_up_to_date(name):
    types = {}
    for path in ROOT.glob("msg/*.msg"):
        types |= get_types_from_msg(path.read_text(encoding="utf-8"), f"moro_ros/msg/{path.stem}")
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(types)
    expected = store.hash_rihs01(f"moro_ros/msg/{name}")
    assert installed_hash("moro_ros", name) == expected, "install again: make setup"


def test_tf2_msgs_is_the_official_one():
    assert installed_hash("tf2_msgs", "TFMessage") == TF_MESSAGE_HASH


def test_the_whole_of_tf2_msgs_is_there():
    """tf2_ros imports the service and the action as well."""
    from tf2_msgs.action import LookupTransform
    from tf2_msgs.msg import TF2Error
    from tf2_msgs.srv import FrameGraph

    assert TF2Error.TRANSFORM_ERROR == 6
    assert LookupTransform.Result().error.error == TF2Error.NO_ERROR
    assert FrameGraph.Response().frame_yaml == ""
