"""Installed messages are those of msg/; embedded packages are on the wire what ROS 2 has."""

import json
from pathlib import Path

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

ROOT = Path(__file__).resolve().parents[2]
TF_MESSAGE_HASH = "RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087"

# Of hri_msgs 2.0.0, those that are embedded.
HRI_HASHES = {
    "BodyPosture": "RIHS01_fa4258f18cc616a912e5aa1d48dbfead0fa5235a8546b4c69b70d64db7cef570",
    "Gesture": "RIHS01_fbf9f3c4cb8a64e63a1cf819affbb09a32915da45d4786c701eed225193b7f4a",
    "IdsList": "RIHS01_7e0812d1ac945c98fd3e393568d581ad0ab567f37b24eff633eab778c1bfe62d",
    "NormalizedPointOfInterest2D": (
        "RIHS01_cc1d2f720c82afeb850ff1dbf66f41ecb7caf19f842987f1247e66160cf03953"
    ),
    "NormalizedRegionOfInterest2D": (
        "RIHS01_2e50c93f1ca166ee77af9a5424dc951ae4e452b740162a7f83c082d917dcaff5"
    ),
    "Skeleton2D": "RIHS01_1cb61f012db6ca43c48fa0097ccab9a00108ea39323c13f01bb983323c1e3420",
}

# Those that planners read. A hash covers the types of all fields, and so other embedded packages.
PLANNER_HASHES = {
    "moveit_msgs/PlanningScene": (
        "RIHS01_0f58540ad5eab4b9ea827d53b763c793d8cabd202b3b301fcee25afa4ce1bd80"
    ),
    "moveit_msgs/PlanningSceneComponents": (
        "RIHS01_76b77cb53f7a0b680d46fad6c0056d3710a74ec335dd5f361f3df62383313d69"
    ),
    "vision_msgs/Detection3DArray": (
        "RIHS01_793f5eab9595ac1c0da07873cc859db42eae51f0ee76056db8562515d830e018"
    ),
    "vision_msgs/Detection2DArray": (
        "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968"
    ),
    "people_msgs/People": (
        "RIHS01_9ea98a5e58f833a9532957bca23a6b8006a12885d5a16c8ca41dd901d10c33b6"
    ),
}


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


@pytest.mark.parametrize("name", HRI_HASHES)
def test_hri_msgs_are_the_official_ones(name):
    assert installed_hash("hri_msgs", name) == HRI_HASHES[name]


@pytest.mark.parametrize("name", PLANNER_HASHES)
def test_messages_for_planners_are_the_official_ones(name):
    assert installed_hash(*name.split("/")) == PLANNER_HASHES[name]


def test_every_embedded_hri_message_is_checked():
    folder = ROOT / "embedded" / "hri_msgs" / "msg"
    assert {path.stem for path in folder.glob("*.msg")} == HRI_HASHES.keys()


def test_the_whole_of_tf2_msgs_is_there():
    """tf2_ros imports the service and the action as well."""
    from tf2_msgs.action import LookupTransform
    from tf2_msgs.msg import TF2Error
    from tf2_msgs.srv import FrameGraph

    assert TF2Error.TRANSFORM_ERROR == 6
    assert LookupTransform.Result().error.error == TF2Error.NO_ERROR
    assert FrameGraph.Response().frame_yaml == ""
