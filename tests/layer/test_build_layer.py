"""What is in the layer, and that it is the same every time."""

import json
import marshal
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def one_file(builder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a build have one file, where it matters only that there is a build."""
    small = [builder.Member("python/small.py", b"")]
    monkeypatch.setattr(builder, "collect", lambda: list(small))


def test_two_builds_are_the_same_bytes(builder: Any, archive: Path, tmp_path: Path) -> None:
    again = builder.build(tmp_path, builder.find_pythons([sys.executable]))

    assert again.read_bytes() == archive.read_bytes()
    image_files = "lambdallm-opt.tar"
    assert (tmp_path / image_files).read_bytes() == (archive.parent / image_files).read_bytes()


def test_each_python_compiles_the_same_bytes_again_and_again(builder: Any) -> None:
    """A set of texts is the constant whose bytes depend on the order of hashes."""
    words = ", ".join(f"'word-{number}'" for number in range(40))
    source = f"def known(word): return word in {{{words}}}\n".encode()
    members = [builder.Member("python/words.py", source)]
    pythons = builder.find_pythons()

    first, *others = [builder.compile_members(members, pythons) for _ in range(3)]

    assert len(first) == len(pythons)
    assert all(other == first for other in others)


def test_the_folder_of_extensions_holds_the_launcher_alone(archive: Path) -> None:
    names = zipfile.ZipFile(archive).namelist()

    assert [name for name in names if name.startswith("extensions/")] == ["extensions/lambdallm"]
    assert {name.split("/")[0] for name in names} == {"extensions", "lambdallm", "python"}


def test_the_function_imports_the_sdk_and_the_contract_and_nothing_of_the_sidecar(
    archive: Path,
) -> None:
    names = zipfile.ZipFile(archive).namelist()
    packages = {name.split("/")[1] for name in names if name.startswith("python/")}

    assert packages == {"lambdallm", "lambdallm_wire", "lambda_runtime_api"}


def test_tools_of_developers_are_left_out(archive: Path) -> None:
    names = zipfile.ZipFile(archive).namelist()

    assert not [name for name in names if "/emulator/" in name or "/testing/" in name]
    assert not [name for name in names if "lambdallm_cli" in name]


def test_what_is_executed_is_executable_and_nothing_else(archive: Path) -> None:
    entries = zipfile.ZipFile(archive).infolist()
    executable = {entry.filename for entry in entries if entry.external_attr >> 16 & 0o111}

    assert executable == {"extensions/lambdallm", "lambdallm/exec-wrapper"}


def test_the_tar_holds_the_same_files_below_opt(archive: Path) -> None:
    zipped = zipfile.ZipFile(archive)
    with tarfile.open(archive.parent / "lambdallm-opt.tar") as opened:
        members = {member.name: member for member in opened.getmembers()}
        assert set(members) == {f"opt/{name}" for name in zipped.namelist()}
        launcher = opened.extractfile("opt/extensions/lambdallm")
        assert launcher is not None
        assert launcher.read() == zipped.read("extensions/lambdallm")
    assert members["opt/extensions/lambdallm"].mode == 0o755


def test_every_module_has_bytecode_that_is_used_without_a_look_at_its_source(opt: Path) -> None:
    for source in opt.rglob("*.py"):
        compiled = (
            source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
        )
        data = compiled.read_bytes()
        assert int.from_bytes(data[4:8], "little") == 0b01, "hash-based, unchecked"
        code = marshal.loads(data[16:])
        assert isinstance(code, CodeType)
        assert code.co_filename == f"/opt/{source.relative_to(opt).as_posix()}"


def test_a_changed_source_beside_its_bytecode_is_not_even_read(opt: Path, tmp_path: Path) -> None:
    package = tmp_path / "lambdallm_wire"
    package.mkdir()
    original = opt / "lambdallm/lambdallm_wire"
    for name in ("__init__", "names"):
        (package / f"{name}.py").write_text("raise SystemExit('compiled anew')")
        target = package / "__pycache__" / f"{name}.{sys.implementation.cache_tag}.pyc"
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((original / "__pycache__" / target.name).read_bytes())
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import lambdallm_wire.names"

    assert subprocess.run([sys.executable, "-I", "-S", "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("package", ["lambdallm_wire", "lambda_runtime_api"])
def test_function_and_sidecar_read_the_same_files_of_the_contract(opt: Path, package: str) -> None:
    module = {"lambdallm_wire": "names", "lambda_runtime_api": "http1"}[package]
    code = f"import sys; sys.path.insert(0, {str(opt / 'python')!r})\n"
    code += f"from {package} import {module}; print({module}.__file__)"

    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True
    )

    assert run.stdout.strip() == str(opt / "lambdallm" / package / f"{module}.py")
    assert [path.name for path in (opt / "python" / package).glob("*.py")] == ["__init__.py"]


def test_a_contract_of_another_layer_is_the_functions_own_affair(opt: Path, tmp_path: Path) -> None:
    """Layers are unpacked over each other: a newer SDK comes with its own contract."""
    copy = shutil.copytree(opt, tmp_path / "opt")
    shutil.rmtree(copy / "python/lambdallm_wire")
    other = copy / "python/lambdallm_wire"
    other.mkdir()
    (other / "__init__.py").write_text("")
    (other / "names.py").write_text("OTHER = True")
    ask = "import sys; sys.path.insert(0, {!r}); from lambdallm_wire import names; print({})"

    for folder, question in (
        ("python", "names.OTHER"),
        ("lambdallm", "not hasattr(names, 'OTHER')"),
    ):
        code = ask.format(str(copy / folder), question)
        run = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True
        )
        assert run.stdout == "True\n", folder


def test_the_manifest_names_version_pythons_and_sources(opt: Path) -> None:
    manifest = json.loads((opt / "lambdallm/manifest.json").read_text())

    assert manifest["version"] in (ROOT / "pyproject.toml").read_text()
    assert list(manifest["pythons"]) == [".".join(map(str, sys.version_info[:2]))]
    assert "extensions/lambdallm" in manifest["files"]


@pytest.mark.usefixtures("one_file")
def test_publish_refuses_a_layer_with_a_gap(
    builder: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["publish", "--python", sys.executable, "--output", str(tmp_path), "--dry-run"]

    assert builder.main(arguments) == 1
    said = capsys.readouterr()
    assert "Not published: no bytecode for Python" in said.err
    assert "3.14" in said.err or sys.version_info[:2] == (3, 14)


def test_a_dry_run_of_a_whole_layer_says_what_it_would_do(
    builder: Any, archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = [builder.Python(version, "cpython", version, "") for version in builder.SUPPORTED]
    options = builder.argparse.Namespace(dry_run=True, name="lambdallm", region=None)

    assert builder.publish(archive, whole, options) == 0
    assert "Would publish" in capsys.readouterr().out


@pytest.mark.usefixtures("one_file")
@pytest.mark.parametrize("output", ["/proc/x", "/dev/null"])
def test_a_folder_that_cannot_be_written_is_named(builder: Any, output: str) -> None:
    with pytest.raises(SystemExit, match=rf"^{output} cannot be written .*--output"):
        builder.main(["build", "--output", output, "--python", sys.executable])


@pytest.mark.usefixtures("one_file")
def test_a_python_may_be_named_as_seen_from_here(
    builder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(sys.executable)
    monkeypatch.chdir(tmp_path)

    assert builder.main(["build", "--output", "dist", "--python", "bin/python"]) == 0
    assert (tmp_path / "dist/lambdallm-layer.zip").exists()


def test_something_that_is_no_python_is_refused_by_name(builder: Any) -> None:
    with pytest.raises(SystemExit, match="/bin/false is no Python"):
        builder.find_pythons(["/bin/false"])
