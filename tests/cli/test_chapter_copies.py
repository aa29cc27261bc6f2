"""The reader's copies of the chapters."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlbook.cli.chapter_copies import RECORD, Copies, copy_chapters, is_source
from rlbook.errors import RlbookError

A, B = "ch00_a/ch00_a.ipynb", "ch01_b/ch01_b.ipynb"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    folder = tmp_path / "book"
    for name, text in ((A, "a1"), (B, "b1")):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(text)
        (folder / name).with_name("labs.py").touch()
    (folder / "__init__.py").touch()
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "mine"


def test_only_notebooks_are_copied_and_no_part_files_stay(book: Path, mine: Path) -> None:
    """Prevents: code beside the copies that would shadow the installed chapters."""
    assert copy_chapters(book, mine) == Copies(made=(A, B))
    files = sorted(path.relative_to(mine).as_posix() for path in mine.rglob("*") if path.is_file())
    assert files == [RECORD, A, B]
    assert (mine / A).read_text() == "a1"
    assert copy_chapters(book, mine) == Copies()


def test_what_the_reader_changed_is_never_overwritten(book: Path, mine: Path) -> None:
    """Prevents: an evening's exercises lost to an update."""
    copy_chapters(book, mine)
    (mine / A).write_text("my answers")
    assert copy_chapters(book, mine) == Copies()
    (book / A).write_text("a2")
    (book / B).write_text("b2")
    assert copy_chapters(book, mine) == Copies(updated=(B,), outdated=(A,))
    assert ((mine / A).read_text(), (mine / B).read_text()) == ("my answers", "b2")
    assert copy_chapters(book, mine) == Copies(outdated=(A,))


def test_a_removed_copy_comes_back(book: Path, mine: Path) -> None:
    """Prevents: a chapter that is gone for good once it was deleted."""
    copy_chapters(book, mine)
    (mine / A).unlink()
    assert copy_chapters(book, mine).made == (A,)


@pytest.mark.parametrize("record", [None, "", "[]", '{"copied": 3}', "\0"])
def test_without_a_record_every_copy_counts_as_the_readers(book: Path, mine: Path, record: str | None) -> None:
    """Prevents: a damaged record that lets changed notebooks be overwritten."""
    copy_chapters(book, mine)
    (mine / A).write_text("my answers")
    (book / A).write_text("a2")
    (mine / RECORD).unlink()
    if record is not None:
        (mine / RECORD).write_text(record)
    assert copy_chapters(book, mine).outdated == (A,)
    assert (mine / A).read_text() == "my answers"
    assert copy_chapters(book, mine).outdated == (A,)


def test_copies_equal_to_the_book_are_recorded_again(book: Path, mine: Path) -> None:
    """Prevents: copies that never update again after the record was lost."""
    copy_chapters(book, mine)
    (mine / RECORD).unlink()
    copy_chapters(book, mine)
    (book / A).write_text("a2")
    assert copy_chapters(book, mine) == Copies(updated=(A,))


def test_a_folder_that_cannot_be_used_gives_a_sentence(book: Path, tmp_path: Path) -> None:
    """Prevents: a traceback for a wrong --dir."""
    (tmp_path / "file").touch()
    with pytest.raises(RlbookError, match=r"cannot be copied into .*choose another folder with --dir"):
        copy_chapters(book, tmp_path / "file")


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_a_link_of_the_readers_is_left_alone(book: Path, mine: Path, tmp_path: Path) -> None:
    """Prevents: a link to the reader's own notebook being replaced."""
    own = tmp_path / "own.ipynb"
    own.write_text("mine")
    (mine / A).parent.mkdir(parents=True)
    (mine / A).symlink_to(own)
    assert copy_chapters(book, mine) == Copies(made=(B,), outdated=(A,))
    assert (mine / A).is_symlink()


def test_a_clones_chapters_are_told_from_copies(book: Path, mine: Path) -> None:
    """Prevents: copies written over the sources of a clone."""
    copy_chapters(book, mine)
    assert is_source(book)
    assert not is_source(mine)
