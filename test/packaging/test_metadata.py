"""Versions, dependencies and executables agree between the files that name them."""

import ast
import configparser
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import moro_ros

ROOT = Path(__file__).resolve().parents[2]
INTERFACES = [path for kind in ("msg", "srv", "action") for path in ROOT.glob(f"{kind}/*.{kind}")]
# Distribution that an imported module comes from, where the names differ.
DISTRIBUTIONS = {"cv2": "opencv-python-headless", "PIL": "pillow", "yaml": "pyyaml"}
ROSDEP = {"cv2": "python3-opencv", "PIL": "python3-pil", "yaml": "python3-yaml"} | {
    name: f"python3-{name}" for name in ("matplotlib", "numpy", "scipy", "tqdm")
}


# What is used where a ROS 2 machine has it, and done without elsewhere.
OPTIONAL = {
    "cv_bridge", "tf_transformations", "sensor_msgs_py",
    "vision_msgs", "people_msgs", "moveit_msgs", "shape_msgs",
}  # fmt: skip
RELEASES = [("requirements-jazzy.txt",), ("requirements-kilted.txt",)]
# Imported by a few commands, which say what to install.
OF_AN_EXTRA = {
    "anny", "coal", "ezc3d", "onnx", "pygltflib", "rich", "trimesh", "urdf_parser_py", "viser",
    "websockets",
}  # fmt: skip
# Imported for launch files alone, which are of use where launch is.
FOR_LAUNCH = {"launch"}


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text: str) -> list[Requirement]:
    return [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]


def run_requirements() -> list[Requirement]:
    return requirements(setup_cfg()["options"]["install_requires"])


def extra_requirements() -> list[Requirement]:
    extras = setup_cfg()["options.extras_require"]
    return [item for name in extras for item in requirements(extras[name])]


def pinned(*files: str) -> dict[str, list[Requirement]]:
    """The versions of constraints.txt and of other files, by name."""
    found: dict[str, list[Requirement]] = {}
    for name in ("constraints.txt", *files):
        for item in requirements((ROOT / name).read_text(encoding="utf-8")):
            found.setdefault(canonicalize_name(item.name), []).append(item)
    return found


def versions(item: Requirement, *files: str, python: str = "") -> list[str]:
    """The exact versions that the files give for a requirement, on any Python or on one."""
    pins = pinned(*files).get(canonicalize_name(item.name), [])
    if python:
        pins = [p for p in pins if not p.marker or p.marker.evaluate({"python_version": python})]
    return [spec.version for pin in pins for spec in pin.specifier if spec.operator == "=="]


def package_xml() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def imported_modules(folder: str) -> set[str]:
    """Top-level modules that the sources below a folder import, at any place."""
    modules = set()
    for path in (ROOT / "moro_ros" / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                modules.add((node.module or "").split(".")[0])
    return modules - sys.stdlib_module_names - {"moro_ros", "__future__"}


def test_one_version():
    version = package_xml().findtext("version")
    assert version == moro_ros.__version__ == metadata.version("moro_ros")


@pytest.mark.parametrize("item", run_requirements() + extra_requirements(), ids=str)
def test_every_requirement_is_a_range_that_holds_the_tested_versions(item):
    assert any(spec.operator == ">=" for spec in item.specifier), f"{item}: no lower bound"
    assert all(spec.operator in (">=", "<") for spec in item.specifier), f"{item}: not a range"
    if item.name in ("anny", "onnx", "onnxscript"):
        return  # extras that no route installs
    files = RELEASES if item.name.startswith("ros-") else [()]
    for release in files:
        found = versions(item, *release)
        assert found, f"{item}: no version in {release or 'constraints.txt'}"
        assert all(item.specifier.contains(version) for version in found), f"{item}: {found}"


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_is_a_list_of_exact_versions(release):
    items = requirements((ROOT / release[0]).read_text(encoding="utf-8"))
    assert any(item.name == "ros-rclpy" for item in items)
    for item in items:
        exact = all(spec.operator == "==" for spec in item.specifier)
        for python in ("3.10", "3.11", "3.12", "3.13"):
            once = len(versions(item, *release, python=python)) == 1
            assert exact and once, f"{item} is not pinned once on {python}"


def test_installed_versions_are_the_pinned_ones():
    """Where this test runs in the environment that make builds, or one like it."""
    if not any(path.name == "pip" for path in Path(sys.prefix, "bin").glob("pip")):
        pytest.skip("not in a venv with pip")
    for item in run_requirements():
        for pin in pinned()[canonicalize_name(item.name)]:
            if pin.marker is None or pin.marker.evaluate():
                installed = metadata.version(item.name)
                assert pin.specifier.contains(installed), f"{item.name} {installed}, pinned {pin}"


def test_the_library_needs_no_ros():
    assert not [item.name for item in run_requirements() if item.name.startswith("ros-")]


def test_imports_are_declared_for_pip():
    declared = {canonicalize_name(item.name) for item in run_requirements() + extra_requirements()}
    for module in imported_modules("") - OPTIONAL - FOR_LAUNCH:
        wanted = canonicalize_name(DISTRIBUTIONS.get(module, module))
        by_rclpy = module in {
            "builtin_interfaces", "rcl_interfaces", "rosgraph_msgs", "lifecycle_msgs",
            "ament_index_python",
        }  # fmt: skip
        embedded = (ROOT / "embedded" / module).is_dir()
        assert by_rclpy or embedded or {wanted, f"ros-{wanted}"} & declared, module


def named_for_pip() -> set[str]:
    """What the ROS route of docs/install.md has pip install; as pinned as in constraints.txt."""
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    named = [Requirement(item) for item in re.findall(r"'([\w-]+==[^']+)'", text)]
    for item in named:
        pins = pinned()[canonicalize_name(item.name)]
        assert str(item.specifier) in {str(pin.specifier) for pin in pins}, item
    return {canonicalize_name(item.name) for item in named}


@pytest.mark.slow
def test_imports_are_declared_for_ros():
    root = package_xml()
    declared = {node.text for tag in ("depend", "exec_depend") for node in root.iter(tag)}
    used = imported_modules("")
    install = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    for module in used - OF_AN_EXTRA:
        # docs/install.md tells what rosdep cannot bring, and what a robot may have besides.
        name = ROSDEP.get(module, module)
        by_pip = canonicalize_name(name) in named_for_pip()
        on_wish = f"\nOptional: `{name}`" in install or module in OPTIONAL
        assert name in declared or by_pip or on_wish, module
    for module, key in ROSDEP.items():
        assert (key in declared) == (module in used), key


@pytest.mark.parametrize("module", sorted(OPTIONAL))
def test_what_is_optional_is_imported_in_a_try(module):
    imports, guarded = 0, 0
    for path in (ROOT / "moro_ros" / "ros").rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports += count_imports(tree, module)
        for node in ast.walk(tree):
            if isinstance(node, ast.Try):
                names = {ast.unparse(h.type) for h in node.handlers if h.type is not None}
                assert "ImportError" not in names, f"{path}: hides a broken installation"
                if "ModuleNotFoundError" in names:
                    guarded += sum(count_imports(part, module) for part in node.body)
    assert imports == guarded > 0


def count_imports(tree: ast.AST, module: str) -> int:
    """How many imports of a module a tree holds."""
    return sum(
        (node.module or "").split(".")[0] == module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    ) + sum(
        alias.name.split(".")[0] == module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    )


def test_package_xml_is_in_order():
    """As the build tools of ROS read it."""
    parser = pytest.importorskip("catkin_pkg.package")
    warnings: list[str] = []
    package = parser.parse_package(str(ROOT / "package.xml"), warnings=warnings)
    assert (package.package_format, warnings) == (3, [])
    assert [item.name for item in package.member_of_groups] == ["rosidl_interface_packages"]
    assert (ROOT / package.licenses[0].file).is_file()


def test_what_the_cmake_file_finds_is_declared():
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    building, testing = cmake.split("if(BUILD_TESTING)")
    root = package_xml()

    def found(text: str) -> set[str]:
        return set(re.findall(r"find_package\((\w+)", text))

    def declared(*tags: str) -> set[str]:
        return {node.text for tag in tags for node in root.iter(tag)}

    assert found(building) == declared("buildtool_depend", "depend")
    assert found(testing) == {item for item in declared("test_depend") if "ament_cmake" in item}


def test_interfaces_depend_on_what_they_name():
    used = set(re.findall(r"^(\w+)/\w+", "".join(p.read_text() for p in INTERFACES), re.M))
    used |= {"action_msgs" for path in INTERFACES if path.suffix == ".action"}
    depends = {node.text for node in package_xml().iter("depend")}
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert used == depends
    assert all(f"find_package({name} REQUIRED)" in cmake for name in used)


def test_executables_of_both_routes_start_the_same_functions():
    scripts = setup_cfg()["options.entry_points"]["console_scripts"].split("\n")
    points = dict(line.split(" = ") for line in scripts if line)
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    nodes = {"moro_node", "moro_video", "moro_recorder", "moro_bag", "moro_lifecycle"}
    nodes |= {"moro_view", "moro_distance"}
    assert points.keys() == nodes | {"moro"}
    for name, target in points.items():
        module, function = target.split(":")
        text = (ROOT / "scripts" / name).read_text(encoding="utf-8")
        assert f"from {module} import {function}" in text
        assert re.search(rf"scripts/{name}\b", cmake)
        assert (ROOT / "scripts" / name).stat().st_mode & 0o111


def test_command_answers_help():
    command = Path(sys.prefix, "bin", "moro")
    if not command.exists():
        pytest.skip("installed without console scripts (colcon)")
    result = subprocess.run([command, "--help"], capture_output=True, text=True, check=True)
    assert "demo" in result.stdout
