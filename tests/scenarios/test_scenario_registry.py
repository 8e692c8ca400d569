"""Finding scenarios: by name, by path, and what is said when there is none."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from loopwright.core.errors import InvalidConfig, MissingExtra, UnknownName
from loopwright.core.scenario import Scenario
from loopwright.scenarios.registry import get_scenario, scenario_names, scenario_source_digest

POINT_FILE = """
from loopwright.scenarios.point.scenario import PointReach

scenario = PointReach(image_px=32)
other = PointReach(image_px=48)
nothing = 7
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "scenario.py"
    path.write_text(POINT_FILE)
    return path


def test_built_in_names_resolve_to_scenarios_of_that_id():
    assert {"button-press-v1", "coffee-button-v1", "faucet-open-v1"} <= set(scenario_names())
    for name in scenario_names():
        scenario = get_scenario(name)
        assert isinstance(scenario, Scenario)
        assert scenario.id == name


def test_a_misspelt_name_is_answered_with_the_near_one_and_without_a_simulator():
    code = (
        "import sys\n"
        "from loopwright.core.errors import UnknownName\n"
        "from loopwright.scenarios.registry import get_scenario, scenario_names\n"
        "scenario_names()\n"
        "try: get_scenario('buton-press-v1')\n"
        "except UnknownName as error: print(error)\n"
        "print({'mujoco', 'metaworld', 'gymnasium', 'torch'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, loaded = done.stdout.splitlines()
    assert message.startswith("unknown scenario 'buton-press-v1'; did you mean 'button-press-v1'")
    assert loaded == "set()"


def test_stating_what_a_scenario_is_needs_no_simulator():
    code = (
        "import sys\n"
        "from loopwright.scenarios.registry import get_scenario\n"
        "scenario = get_scenario('button-press-v1')\n"
        "scenario.start(3), scenario.interface.to_json(), scenario.verifier.name\n"
        "print({'mujoco', 'metaworld', 'gymnasium', 'torch'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("package", ["mujoco", "metaworld", "packaging"])
def test_a_missing_package_is_named_with_its_install_command(monkeypatch, package):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else found(name)
    )
    with pytest.raises(MissingExtra, match=rf"needs {package}.*loopwright\[metaworld\]"):
        get_scenario("button-press-v1")


def test_a_file_gives_its_scenario(file):
    assert get_scenario(str(file)).interface.cameras[0].width_px == 32
    assert get_scenario(f"{file}:other").interface.cameras[0].width_px == 48


def test_a_file_may_be_named_relative_to_the_working_folder(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert get_scenario("scenario.py").id == "point-reach-v1"
    assert get_scenario("./scenario.py:other").interface.cameras[0].width_px == 48


def test_an_edited_file_is_read_again_and_has_another_digest(file):
    before = scenario_source_digest(str(file))
    assert scenario_source_digest(f"{file}:other") == before
    get_scenario(str(file))
    file.write_text(POINT_FILE.replace("32", "64"))
    assert get_scenario(str(file)).interface.cameras[0].width_px == 64
    assert scenario_source_digest(str(file)) != before
    assert scenario_source_digest("button-press-v1") is None


def test_what_lies_beside_a_scenario_is_found_and_is_part_of_it(file, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (file.parent / "side_of_scenario.py").write_text("side_px = 32\n")
    file.write_text("from side_of_scenario import side_px\n" + POINT_FILE.replace("32", "side_px"))
    before = scenario_source_digest(str(file))
    assert get_scenario(str(file)).interface.cameras[0].width_px == 32
    (file.parent / "side_of_scenario.py").write_text("side_px = 64\n")
    assert scenario_source_digest(str(file)) != before
    assert get_scenario(str(file)).interface.cameras[0].width_px == 64


def test_a_file_that_is_no_scenario_says_why(file, tmp_path):
    with pytest.raises(InvalidConfig, match="does not exist"):
        get_scenario(str(tmp_path / "absent.py"))
    with pytest.raises(InvalidConfig, match="no attribute 'absent'"):
        get_scenario(f"{file}:absent")
    with pytest.raises(InvalidConfig, match="is a int, no scenario; it lacks"):
        get_scenario(f"{file}:nothing")
    file.write_text("import a_module_that_is_not_there")
    with pytest.raises(InvalidConfig, match="cannot be imported: ModuleNotFoundError"):
        get_scenario(str(file))


def test_an_unknown_name_lists_scenarios():
    with pytest.raises(UnknownName) as caught:
        get_scenario("door-opn-v1")
    assert caught.value.near[0] == "door-open-v1"


def test_an_entry_point_is_digested_with_its_package(tmp_path, monkeypatch):
    package, info = tmp_path / "plugged_in", tmp_path / "plugged_in-1.0.dist-info"
    package.mkdir()
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged-in\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[loopwright.scenarios]\nplugged-v1 = plugged_in.worlds:scenario\n"
    )
    (package / "__init__.py").write_text("")
    (package / "worlds.py").write_text(POINT_FILE)
    monkeypatch.syspath_prepend(str(tmp_path))
    before = scenario_source_digest("plugged-v1")
    assert before is not None
    (package / "judging.py").write_text("LIMIT = 3\n")
    assert scenario_source_digest("plugged-v1") != before
    assert scenario_source_digest("button-press-v1") is None
