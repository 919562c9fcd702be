#!/usr/bin/env bash
# Usage: colcon_build.sh DISTRO [TESTS]
# Builds and tests this package with colcon against ROS 2 from Python wheels, without ROS installed.
#
# DISTRO  jazzy or kilted
# TESTS   what of test/ colcon test runs, by semicolons; what depends on the release by default
#
# PYTHON   the Python to use (python3); COLCON_DIR  where everything goes (.colcon)
# RETESTS  how often a test that fails is run again (0)
# A virtual environment and a workspace are made in COLCON_DIR/DISTRO and used again the next time; the
# former is recreated when the requirements or the Python have changed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
distro=${1:-}
colcon=test/packaging/test_colcon.py
tests=${2:-$colcon;test/packaging/test_messages.py;test/packaging/test_files.py;test/test_compat.py;test/ros}
if [ ! -f "$root/requirements-$distro.txt" ]; then
  echo "colcon_build.sh: got '$distro', expected jazzy or kilted" >&2
  exit 1
fi
python=${PYTHON:-python3}
"$root/scripts/check_prerequisites.sh" "$python"

# One ROS 2 at a time: the one of the virtual environment.
unset AMENT_PREFIX_PATH COLCON_PREFIX_PATH CMAKE_PREFIX_PATH LD_LIBRARY_PATH PYTHONPATH PYTHONHOME \
  PIP_USER PIP_TARGET PIP_PREFIX ROS_DISTRO ROS_VERSION ROS_PYTHON_VERSION RMW_IMPLEMENTATION \
  _ROS_WHEELS_BOOTSTRAP_COMPLETE

mkdir -p "${COLCON_DIR:-$root/.colcon}/$distro"
folder=$(cd "${COLCON_DIR:-$root/.colcon}/$distro" && pwd)
venv=$folder/venv
workspace=$folder/ws

made_for=$(echo "$venv"; "$python" -V; cd "$root"; sha256sum constraints.txt "requirements-$distro.txt" setup.cfg)
if [ "$made_for" != "$(cat "$venv/made_for" 2>/dev/null)" ] || ! "$venv/bin/python" -c ''; then
  echo "[1/3] ROS 2 ${distro^} and colcon in $venv"
  rm -rf "$venv" "$workspace"
  "$python" -m venv "$venv"
  "$venv/bin/python" "$root/scripts/requirements.py" ros test >"$venv/requirements.txt"
  "$venv/bin/python" -m pip install -qq --no-input --disable-pip-version-check \
    -c "$root/constraints.txt" -r "$root/requirements-$distro.txt" -r "$venv/requirements.txt" \
    colcon-common-extensions
  printf '%s\n' "$made_for" >"$venv/made_for"
fi
export PATH="$venv/bin:$PATH" AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv"

echo "[2/3] colcon build in $workspace"
rm -rf "$workspace/src"
mkdir -p "$workspace/src"
ln -s "$root" "$workspace/src/moro_ros"
# The embedded message packages have no wheels; a ROS 2 has them.
for package in "$root"/embedded/* "$root/test/packaging/consumer"; do
  copy=$workspace/src/$(basename "$package")
  cp -a "$package" "$copy"
  rm "$copy/COLCON_IGNORE"
done
cd "$workspace"
colcon build --symlink-install --cmake-args -G Ninja -Wno-dev \
  "-DCMAKE_PROJECT_INCLUDE=$root/cmake/pip_ros.cmake" "-DPython3_EXECUTABLE=$venv/bin/python" \
  "-DMORO_ROS_TESTS=$tests"

echo "[3/3] colcon test: ${tests//;/ }"
# Sourced, since package.xml does not name hri_msgs, which is optional.
set +u
# shellcheck source=/dev/null
. install/setup.bash
set -u
# The summary below reads whatever results it finds.
rm -rf build/*/test_results build/*/Testing
export PYTEST_ADDOPTS="-n auto --dist loadfile" OMP_NUM_THREADS=1 MORO_COLCON_WORKSPACE=$workspace
colcon test --packages-select moro_ros --event-handlers console_direct+ \
  --retest-until-pass "${RETESTS:-0}"
# Last of all the output: which tests failed, and why.
colcon test-result --verbose
