"""Roboflow: the documented calls are made, the key stays secret, failures leave nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from dataset_files import write_image, write_text

from yolofast.errors import ConfigError, DataError, MissingExtraError
from yolofast.formats.data_yaml import list_images, read_data_yaml
from yolofast.ingest import export_dataset_for_yolo, fetch_dataset

KEY = "rf_S3CRET"


class Roboflow:
    """Plays the package: workspace -> project -> version -> download, which skips existing folders."""

    def __init__(self, api_key: str) -> None:
        self.key, self.names = api_key, list[object]()

    def workspace(self, name: str) -> Roboflow:
        self.names.append(name)
        return self

    def project(self, name: str) -> Roboflow:
        self.names.append(name)
        return self

    def version(self, number: int) -> Roboflow:
        self.names.append(number)
        return self

    def download(self, model_format: str, location: str) -> SimpleNamespace:
        if self.names != ["lab", "cells", 3] or model_format != "yolov8":
            raise RuntimeError(f"https://api.example/{self.names}?api_key={self.key} gave 404")
        print("Downloading ...")
        folder = Path(location)
        if not folder.exists():
            write_image(folder / "train/images/a.jpg")
            write_image(folder / "valid/images/b.jpg")
            write_text(folder / "README.txt", "exported")
            write_text(
                folder / "data.yaml",
                f"train: {location}/train/images\nval: {location}/valid/images\nnc: 1\nnames: ['cell']\n",
            )
        return SimpleNamespace(location=location)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("roboflow")
    module.Roboflow = Roboflow  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "roboflow", module)


@pytest.mark.usefixtures("package")
def test_download_is_a_dataset_that_stands_where_it_was_put(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = export_dataset_for_yolo(KEY, "lab", "cells", "3", tmp_path / "cells")
    data = read_data_yaml(folder / "data.yaml")
    assert list_images(data, "valid") == (tmp_path / "cells/valid/images/b.jpg",)
    assert ".building" not in data.path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["cells"]
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("package")
def test_default_place_and_command_line_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert export_dataset_for_yolo(KEY, "lab", "cells", 3) == Path("cells-3")
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    assert fetch_dataset("roboflow:lab/cells/3", tmp_path / "d") == tmp_path / "d" / "cells-3"
    with pytest.raises(ConfigError, match="expected roboflow:WORKSPACE/PROJECT/VERSION"):
        fetch_dataset("roboflow:lab/cells", tmp_path)
    monkeypatch.delenv("ROBOFLOW_API_KEY")
    with pytest.raises(ConfigError, match="got no API key"):
        fetch_dataset("roboflow:lab/cells/3", tmp_path)


@pytest.mark.usefixtures("package")
def test_refusal_hides_the_key_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Roboflow lab/other/3: cannot be downloaded") as caught:
        export_dataset_for_yolo(KEY, "lab", "other", 3, tmp_path / "x")
    assert KEY not in str(caught.value)
    assert caught.value.__suppress_context__
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("package")
def test_wrong_version(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got version 'latest', expected a whole number"):
        export_dataset_for_yolo(KEY, "lab", "cells", "latest", tmp_path / "x")


def test_missing_package_says_how_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "roboflow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'yolofast\[roboflow\]'"):
        export_dataset_for_yolo(KEY, "lab", "cells", 3, tmp_path / "x")
