"""The moro command: its help, and errors that are one line and an exit status."""

import argparse
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from moro_ros.cli import cli, demo
from moro_ros.cli.run import ARGUMENTS, node_names, nodes_to_run, value_of
from moro_ros.errors import ConfigError
from moro_ros.resources import share_path


def test_help_lists_every_command_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for name, (_, text) in cli.available().items():
        assert [line for line in lines if line.split()[:1] == [name] and text in line], name
    assert {"demo", "run", "predict"} <= set(cli.available())


def test_help_is_fast_because_nothing_heavy_is_imported() -> None:
    code = (
        "import sys\n"
        "from moro_ros.cli import cli\n"
        "cli.build_parser(None)\n"
        "print(sorted({'torch', 'cv2', 'numpy', 'rclpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_that_is_there_registers_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec(cli.COMMANDS[name][0]) is None:
        assert name not in cli.available()
        return
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: moro {name}" in capsys.readouterr().out
    subparsers = argparse.ArgumentParser().add_subparsers()
    importlib.import_module(cli.COMMANDS[name][0]).register(subparsers)
    assert all(
        callable(parser.get_default("handler")) for parser in leaves(subparsers.choices[name])
    )


# What the extras of setup.cfg install, ROS 2 among them.
EXTRAS = "rclpy viser rich trimesh websockets pygltflib ezc3d coal tensorboard onnx onnxscript anny"


def test_commands_load_without_the_packages_of_the_extras() -> None:
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({EXTRAS!r}.split()))  # which fails to import\n"
        "from moro_ros.cli import cli\n"
        "for name in cli.available():\n"
        "    cli.build_parser(name)\n"
        "    print(name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == list(cli.available())


def leaves(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Return a command's parser, or those of its subcommands."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below or parser.get_default("handler"):
        return [parser]
    return [leaf for action in below for sub in action.choices.values() for leaf in leaves(sub)]


@pytest.mark.parametrize("words", [[], ["dance"], ["demo", "--fast"], ["predict", "--focal", "9"]])
def test_wrong_usage_has_status_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "usage: moro" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["demo", "--video", "walk.mp4"], "--focal PX"),
        (["demo", "--focal", "1000"], "--video PATH"),
        (["demo", "--video", "missing.mp4", "--focal", "1000"], "missing.mp4"),
        (["demo", "--rate", "nan"], "--rate: got nan, expected 0 to 1000 (Hz"),
        (["demo", "--height", "-1"], "--height: got -1, expected 0 to 16384 (px"),
        (["demo", "--domain", "500"], "--domain: got 500, expected 0 to 232"),
        (["predict", "missing.mp4", "--focal", "1000"], "missing.mp4"),
        (["predict", "walk.mp4"], "walk.mp4"),
        (["run", "--loop"], "requires video or bag"),
        (["run", "--params-file", "missing.yaml"], "missing.yaml"),
    ],
)
def test_a_users_mistake_is_one_line_and_status_1(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"moro {words[0]}: ")
    assert message in lines[0]
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_a_file_that_is_no_video_ends_the_demo_before_it_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.mp4").write_text("not a video")
    out = tmp_path / "out"
    words = ["demo", "--video", str(tmp_path / "notes.mp4"), "--focal", "900", "--out", str(out)]
    assert cli.main(words) == 1
    assert "notes.mp4" in capsys.readouterr().err
    assert not out.exists()


def parsed(*words: str) -> argparse.Namespace:
    return cli.build_parser("run").parse_args(["run", *words])


def started(*words: str) -> dict[str, list[str]]:
    """Executable -> its command line."""
    arguments = parsed(*words)
    nodes = nodes_to_run(vars(arguments))
    return {node.executable: node.command_line(arguments.namespace) for node in nodes}


def test_run_passes_its_arguments_on() -> None:
    found = started(
        *("--image", "/left/image", "--namespace", "robot", "--device", "cuda:1"),
        *("--video", "a b.mp4", "--focal", "900", "--loop"),
    )
    assert list(found) == ["moro_node", "moro_video"]
    node, video = found.values()
    assert node[:2] == ["--ros-args", "--params-file"]
    assert Path(node[2]).name == "moro.yaml" and Path(node[2]).is_file()
    for word in ("image:=/left/image", "__ns:=/robot", 'device:="cuda:1"'):
        assert word in node
    assert f'video:="{Path("a b.mp4").resolve()}"' in video
    for word in ("image:=/left/image", "__ns:=/robot", "focal:=900.0", "loop:=true"):
        assert word in video
    assert list(started()) == ["moro_node"]


def test_single_parameters_outrank_the_others() -> None:
    text = "{max_people: 2, motion.look_ahead: 4, device: 'cuda:0', camera_guard: false}"
    node = started("--device", "cpu", "--backend", "torch", "--parameters", text)["moro_node"]
    for word in ("max_people:=2", "motion.look_ahead:=4", "camera_guard:=false"):
        assert word in node
    assert 'backend:="torch"' in node and 'device:="cuda:0"' in node
    assert 'device:="cpu"' not in node
    for wrong in ("max_people", "[1, 2]", "{a: "):
        with pytest.raises(ConfigError, match="parameters: got"):
            started("--parameters", wrong)


def test_run_plays_a_recording_in_its_own_time(tmp_path: Path) -> None:
    found = started("--bag", str(tmp_path), "--speed", "2", "--cameras", "a,b", "--no-autostart")
    bag, node = found["moro_bag"], found["moro_node"]
    assert f'bag:="{tmp_path}"' in bag and "speed:=2.0" in bag and "loop:=false" in bag
    for word in ("use_sim_time:=true", 'cameras:="a,b"', "autostart:=false"):
        assert word in node
    assert 'wait_for_nodes:="/a/moro,/b/moro"' in bag
    assert not {"use_sim_time:=true", "autostart:=false"} & set(started()["moro_node"])


@pytest.mark.parametrize(
    ("namespace", "cameras", "names"),
    [
        ("", "", ["/moro"]),
        ("/robot/", "", ["/robot/moro"]),
        ("robot", "front, side", ["/robot/front/moro", "/robot/side/moro"]),
    ],
)
def test_the_recording_waits_for_every_node(namespace: str, cameras: str, names: list[str]) -> None:
    assert node_names(namespace, cameras) == names


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--loop",), "loop requires video or bag"),
        (("--speed", "2"), "speed requires bag"),
        (("--focal", "900"), "focal requires video"),
        (("--bag", "x", "--video", "y.mp4"), "combined"),
        (("--video", "y.mp4"), "either focal, .* got neither"),
        (("--video", "y.mp4", "--focal", "9", "--camera", "c.yaml"), "got both"),
        (
            ("--params-file", "no_such_preset"),
            "one of accurate, cpu, low_latency, moro, multi_.*n.$",
        ),
        (("--params-file", "open_training"), "got 'open_training', expected a file"),
    ],
)
def test_run_refuses_what_does_not_fit_together(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        started(*words)


@pytest.mark.parametrize("name", ["moro", "low_latency", "accurate", "multi_person", "cpu"])
def test_run_takes_the_name_of_a_preset(name: str) -> None:
    words = started("--params-file", name)["moro_node"]
    assert Path(words[2]).samefile(share_path("config", f"{name}.yaml"))


def test_run_starts_rviz_on_the_topics_of_the_nodes() -> None:
    words = started("--rviz", "--image", "/left/image", "--namespace", "robot")["rviz2"]
    assert Path(words[1]).is_file() and words[0] == "-d"
    for word in ("/camera/image_raw:=/left/image", "/moro/markers:=moro/markers", "__ns:=/robot"):
        assert word in words


def test_a_launch_argument_is_text_of_the_argument_s_type() -> None:
    given = {"loop": "True", "rviz": "0", "focal": "900", "bag": "walk", "image": "/a", "rate": ""}
    values = {name: value_of(name, text) for name, text in given.items()}
    assert values == {
        "loop": True, "rviz": False, "focal": 900.0, "bag": Path("walk"), "image": "/a",
        "rate": None,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="rviz: got 'maybe'"):
        value_of("rviz", "maybe")
    with pytest.raises(ConfigError, match="focal: got 'long', expected a number"):
        value_of("focal", "long")
    for name, argument in ARGUMENTS.items():
        assert len(argument.description) > 15 and argument.description[0].isupper(), name


def test_summary_tells_every_figure_of_the_reports() -> None:
    node = {
        "received": "98",
        "processed": "90",
        "dropped": "6",
        "bad.encoding": "2",
        "stages_s.encode_s.p50": "0.011",
        "stages_s.encode_s.p95": "0.022",
    }
    played = {
        "frames_published": 100,
        "held_up_s": 1.25,
        "rate_hz": 29.97,
        "duration_s": 3.5,
        "missing": "",
    }
    recorded = {
        "people": {"1": 90, "4": 33},
        "latency_p50_s": 0.0421,
        "latency_p95_s": 0.0987,
        "diagnostics": {"/moro: human motion": node, "other": {"received": "1"}},
    }
    text = demo.summary(played, recorded)
    rows = {line.split("  ")[0].strip(): line for line in text.splitlines()}
    assert "100 at 29.97 Hz (delayed by 1.2 s" in rows["frames published"]
    assert rows["frames received"].endswith("98")
    assert rows["frames processed"].endswith("90")
    assert rows["frames dropped"].endswith("6 (2 unusable)")
    assert "2: id 1 in 90 frames, id 4 in 33 frames" in rows["people"]
    assert "42 ms" in rows["latency, stamp to publication"]
    assert "99 ms" in rows["latency, stamp to publication"]
    assert any("encode" in line and "11 ms" in line and "22 ms" in line for line in rows.values())
    assert "This machine processed" not in text  # 26 Hz
    slow = demo.summary(played | {"duration_s": 10.0, "missing": "walk.mp4 is damaged."}, recorded)
    assert slow.splitlines()[0] == "walk.mp4 is damaged."
    assert "processed 9.0 of 29.97 images per second" in slow.splitlines()[-1]


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("torch", "pip install torch"),
        ("cv2", "pip install opencv-python-headless"),
        ("ai_edge_litert.interpreter", "pip install ai-edge-litert"),
        ("rclpy", "rosdep install"),
        ("moro_ros.msg", ". install/setup.bash"),
    ],
)
def test_what_is_not_installed_is_named_in_one_line(
    module: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_chosen: str | None) -> argparse.ArgumentParser:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)

    monkeypatch.setattr(cli, "build_parser", fail)
    assert cli.main(["predict", "walk.mp4"]) == 1
    line = capsys.readouterr().err
    assert line.startswith("moro predict: ") and line.count("\n") == 1
    assert words in line and module.split(".")[0] in line
