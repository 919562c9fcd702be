"""`moro export onnx` hands its options on; what the files hold is test_backend_onnx's."""

from pathlib import Path

import pytest

from moro_ros.cli import cli, export


@pytest.mark.weights
def test_options_reach_the_exporter(monkeypatch, tmp_path, capsys):
    calls = []

    def write(model, folder: Path, parts, *, weights):
        calls.append((model.name, folder, parts, weights))
        folder.mkdir(exist_ok=True)
        path = folder / "tokenizer.onnx"
        path.write_bytes(bytes(2_000_000))
        return [path]

    monkeypatch.setattr(export, "export_onnx", write)
    out = tmp_path / "out"
    assert cli.main(["export", "onnx", "--out", str(out), "--part", "tokenizer"]) == 0
    assert calls == [("moro_open", out, ("tokenizer",), True)]
    assert "tokenizer.onnx  2.0 MB" in capsys.readouterr().out


def test_a_file_instead_of_the_folder_is_named_before_the_model_is_loaded(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(export, "load_model", lambda _folder: pytest.fail("too late"))
    (tmp_path / "out").touch()
    assert cli.main(["export", "onnx", "--out", str(tmp_path / "out")]) == 1
    assert "Cannot write to" in capsys.readouterr().err


def test_an_unknown_model_is_named(tmp_path, capsys):
    assert cli.main(["export", "onnx", "--model", "absent", "--out", str(tmp_path)]) == 1
    assert "No model 'absent'" in capsys.readouterr().err
