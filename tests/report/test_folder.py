import pytest

from cimsim.errors import InputError
from cimsim.report.folder import check_target


def test_a_new_folder_an_empty_one_and_an_earlier_run_are_accepted(tmp_path):
    assert check_target(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert check_target(tmp_path) == tmp_path
    (tmp_path / "result.json").write_text("{}")
    (tmp_path / "layers.csv").write_text("")
    assert check_target(tmp_path) == tmp_path
    assert not (tmp_path / "a").exists()


def test_a_file_a_place_below_a_file_and_other_content_are_refused(tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    for wrong, part in (
        (tmp_path / "note.txt", "is a file"),
        (tmp_path / "note.txt" / "run", "no write access"),
        (tmp_path, "holds other files"),
    ):
        with pytest.raises(InputError, match=part):
            check_target(wrong)
    assert (tmp_path / "note.txt").read_text() == "mine"
