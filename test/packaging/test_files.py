"""RViz view, DDS profile and launch file fit the code they belong to."""

import importlib.util
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import yaml

from moro_ros.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
# Displays that every RViz 2 has.
STOCK = ("Grid", "TF", "MarkerArray", "Image", "PointCloud2")


def test_rviz_shows_the_topics_with_stock_displays():
    view = yaml.safe_load((ROOT / "rviz" / "moro.rviz").read_text(encoding="utf-8"))
    manager = view["Visualization Manager"]
    displays = {item["Class"]: item for item in manager["Displays"]}
    stock = {f"rviz_default_plugins/{name}" for name in STOCK}
    assert displays.keys() == stock
    shown = {item["Topic"]["Value"] for item in manager["Displays"] if "Topic" in item}
    assert shown == {"/moro/markers", "/moro/cloud", "/moro/annotated", "/camera/image_raw"}
    assert manager["Global Options"]["Fixed Frame"] == "camera_optical_frame"


def test_a_full_hd_image_fits_the_shared_memory_profile():
    root = ElementTree.parse(ROOT / "config" / "fastdds_images.xml").getroot()
    space = {"dds": "http://www.eprosima.com"}
    transport = root.find(".//dds:transport_descriptor[dds:type='SHM']", space)
    image = 1920 * 1080 * 3
    assert int(transport.findtext("dds:maxMessageSize", namespaces=space)) > image
    assert int(transport.findtext("dds:segment_size", namespaces=space)) > 4 * image


class TestLaunch:
    """Where ros2 launch is installed: it cannot come from wheels."""

    @pytest.fixture
    def launched(self):
        pytest.importorskip("launch_ros", reason="launch_ros is not installed")
        from launch import LaunchContext

        path = ROOT / "launch" / "moro.launch.py"
        spec = importlib.util.spec_from_file_location("moro_launch", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        description = module.generate_launch_description()
        assert all(argument.description for argument in description.get_launch_arguments())

        def start(**arguments):
            context = LaunchContext()
            context.launch_configurations.update(arguments)
            for argument in description.get_launch_arguments():
                argument.visit(context)
            return module.start_nodes(context)

        return start

    def test_the_node_alone_by_default(self, launched):
        assert [node.node_executable for node in launched()] == ["moro_node"]

    def test_video_and_rviz_on_request(self, launched):
        nodes = launched(video="walk.mp4", focal="1400", rviz="true")
        assert [node.node_executable for node in nodes] == ["moro_node", "moro_video", "rviz2"]

    def test_a_wrong_switch_is_named(self, launched):
        with pytest.raises(ConfigError, match="rviz: got 'maybe'"):
            launched(rviz="maybe")
