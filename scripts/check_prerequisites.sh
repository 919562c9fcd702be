#!/bin/sh
# Usage: check_prerequisites.sh PYTHON
# Says in one line what has to be installed before the set-up can work, and exits 1.

python=$1

lacking() {
  echo "moro_ros needs $1. Debian, Ubuntu: sudo apt install $2" >&2
  exit 1
}

command -v "$python" >/dev/null 2>&1 || lacking "Python 3.10 or newer ('$python' was not found)" python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
  found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  echo "moro_ros needs Python 3.10 or newer; '$python' is $found. Name a newer one:" \
    "make PYTHON=python3.11 (Debian, Ubuntu: sudo apt install python3.11 python3.11-venv python3.11-dev)" >&2
  exit 1
}
case "$(uname -sm)" in
  "Linux x86_64") ;;
  *)
    echo "moro_ros finds ROS 2 as Python wheels for Linux x86_64 only, and this is $(uname -sm):" \
      "install ROS 2 and use colcon build, see docs/install.md" >&2
    exit 1
    ;;
esac

# The package names of a Python that was asked for by version carry it too.
case "$(basename "$python")" in
  python3.*) name=$(basename "$python") ;;
  *) name=python3 ;;
esac
"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || lacking "Python's venv module" "$name-venv"
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
[ -f "$header" ] || lacking "the Python headers ($header)" "$name-dev"
command -v "${CXX:-g++}" >/dev/null 2>&1 || lacking "a C++ compiler (g++)" g++
command -v git >/dev/null 2>&1 || lacking git git
