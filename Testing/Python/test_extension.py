"""What makes the repository an extension of 3D Slicer: metadata, packaging, and modules that are light to load."""

from __future__ import annotations

import ast
import json
import re
import struct
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted(path.name for path in (ROOT / "STEnhance").iterdir() if path.is_dir())
LIBRARY = ROOT / "STEnhanceLib"
IN_EVERY_SLICER = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "numpy"}
HEAVY = {"torch", "monai", "SimpleITK", "scipy", "pydicom", "matplotlib", "rich", "torchkbnufft", "safetensors"}


def cmake(folder: Path) -> str:
    """A CMakeLists.txt without its comments."""
    return re.sub(r"#.*", "", (folder / "CMakeLists.txt").read_text(encoding="utf-8"))


def metadata(name: str) -> str:
    return re.search(rf'set\({name} "([^"]*)"\)', cmake(ROOT)).group(1)


def index_entry() -> dict:
    return json.loads((ROOT / "STEnhance.json").read_text(encoding="utf-8"))


def imported_at_file_scope(path: Path) -> set[str]:
    """Full names of what a file imports when it is loaded; what it imports inside functions does not count."""
    names, places = set(), list(ast.parse(path.read_text(encoding="utf-8")).body)
    while places:
        place = places.pop()
        if isinstance(place, ast.Import):
            names |= {alias.name for alias in place.names}
        elif isinstance(place, ast.ImportFrom):
            names |= {place.module} | {f"{place.module}.{alias.name}" for alias in place.names}
        elif not isinstance(place, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            places.extend(ast.iter_child_nodes(place))
    return names


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def test_there_are_the_three_modules():
    assert MODULES == ["ArtefactReduction", "SuperResolve", "TemporalInterpolation"]


def test_the_project_is_named_as_its_index_entry_and_adds_library_and_modules():
    assert re.search(r"project\((\w+)\)", cmake(ROOT)).group(1) == "STEnhance"
    added = re.findall(r"add_subdirectory\(([^)]+)\)", cmake(ROOT))
    assert sorted(added) == sorted(["STEnhanceLib", *(f"STEnhance/{module}" for module in MODULES)])


def test_the_index_entry_follows_its_schema():
    entry = index_entry()
    assert entry["$schema"].endswith("/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#")
    texts = {"$schema", "category", "scm_url", "scm_revision", "build_subdirectory"}
    assert entry.keys() == texts | {"build_dependencies", "tier"}  # the schema allows no others without a reason
    assert all(isinstance(entry[name], str) and entry[name] for name in texts)
    assert entry["category"] in {"Cardiac", "Sequences"}
    assert entry["tier"] == 1


def test_build_and_index_agree_on_dependencies_and_address():
    entry = index_entry()
    assert metadata("EXTENSION_DEPENDS").split() == entry["build_dependencies"] == ["PyTorch"]
    address = metadata("EXTENSION_HOMEPAGE")
    assert entry["scm_url"].removesuffix(".git") == address
    # The index refuses repositories whose name does not say that they are for Slicer.
    assert address.startswith("https://") and address.rsplit("/", 1)[1].startswith("Slicer")


def test_icon_and_screenshots_lie_where_their_addresses_say():
    base = metadata("EXTENSION_HOMEPAGE") + "/raw/" + index_entry()["scm_revision"] + "/"
    for address in [metadata("EXTENSION_ICONURL"), *metadata("EXTENSION_SCREENSHOTURLS").split()]:
        assert address.startswith(base)
        assert (ROOT / address.removeprefix(base)).is_file(), address


@pytest.mark.parametrize("module", MODULES)
def test_a_module_packages_exactly_the_resources_it_has(module):
    folder = ROOT / "STEnhance" / module
    text = cmake(folder).replace("${MODULE_NAME}", module)
    listed = set(re.findall(r"^\s+(Resources/\S+)$", text, re.MULTILINE))
    there = {path.relative_to(folder).as_posix() for path in (folder / "Resources").rglob("*") if path.is_file()}
    assert listed == there
    assert {f"Resources/Icons/{module}.svg", f"Resources/Icons/{module}.png", f"Resources/UI/{module}.ui"} <= there
    assert f"slicer_add_python_unittest(SCRIPT {module}.py)" in text and "WITH_GENERIC_TESTS" in text


@pytest.mark.parametrize("icon", ["STEnhance.png", *(f"STEnhance/{m}/Resources/Icons/{m}.png" for m in MODULES)])
def test_icons_are_png_of_128_pixels(icon):
    header = (ROOT / icon).read_bytes()[:24]
    assert header.startswith(b"\x89PNG") and struct.unpack(">II", header[16:]) == (128, 128)


def test_every_file_of_the_library_is_packaged():
    patterns = re.findall(r"^\s+(\*\.\w+)$", cmake(LIBRARY), re.MULTILINE)
    for path in LIBRARY.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.name != "CMakeLists.txt":
            assert any(fnmatch(path.name, pattern) for pattern in patterns), f"{path} would be missing in Slicer"


def test_models_are_packaged_for_slicer_and_for_pip(tmp_path):
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read pyproject.toml")
    for_slicer = re.findall(r"^\s+(\*\.\w+)$", cmake(LIBRARY), re.MULTILINE)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    for_pip = settings["package-data"]["STEnhanceLib"]
    files = ("configs/metadata.json", "models/model.safetensors", "docs/README.md")
    for path in (tmp_path / "Resources" / "Models" / "edsr-x4" / file for file in files):
        path.parent.mkdir(parents=True)
        path.touch()
        assert any(fnmatch(path.name, pattern) for pattern in for_slicer), path
        assert any(path in tmp_path.glob(pattern) for pattern in for_pip), path


@pytest.mark.parametrize("module", MODULES)
def test_a_module_file_is_thin(module):
    path = ROOT / "STEnhance" / module / f"{module}.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 150
    # Slicer takes every Python file beside it for a module.
    assert [other.name for other in path.parent.glob("*.py")] == [path.name]


def test_modules_and_panels_import_nothing_at_file_scope_that_a_fresh_slicer_lacks():
    files = [*(ROOT / "STEnhance").rglob("*.py"), *(LIBRARY / "panels").rglob("*.py")]
    assert len(files) > 5
    known = IN_EVERY_SLICER | {"STEnhanceLib"} | sys.stdlib_module_names
    for path in files:
        assert {name.split(".")[0] for name in imported_at_file_scope(path)} <= known, path


def test_loading_the_modules_loads_no_package_of_the_methods():
    wanted = {
        name
        for folder in (ROOT / "STEnhance", LIBRARY / "panels")
        for path in folder.rglob("*.py")
        for name in imported_at_file_scope(path)
        if name.startswith("STEnhanceLib.") and not name.startswith("STEnhanceLib.panels") and is_module(name)
    }
    assert {"STEnhanceLib.methods", "STEnhanceLib.scene", "STEnhanceLib.enhancing"} <= wanted
    code = f"""
import importlib, sys
for name in {sorted(wanted)}:
    importlib.import_module(name)
    found = {HEAVY} & sys.modules.keys()
    assert not found, f"{{name}} imports {{found}}"
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
