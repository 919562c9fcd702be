#!/usr/bin/env python3
"""Prints what setup.cfg requires, one requirement a line, with the extras that are named."""

import configparser
import sys
from pathlib import Path

parser = configparser.ConfigParser()
parser.read(Path(__file__).resolve().parents[1] / "setup.cfg", encoding="utf-8")
print(parser["options"]["install_requires"])
for extra in sys.argv[1:]:
    print(parser["options.extras_require"][extra])
