"""A folder of one's own images is understood as its owner means it, and nothing is left out without a word."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import pytest
import torch
from PIL import Image

from simclr_lib.data import few_labels, load_dataset, load_parts, split_indices
from simclr_lib.data.layout import find_images
from simclr_lib.errors import SimCLRError


def make(root: Path, *files: str) -> Path:
    """Write these files below a folder: an image each, or something else where the name is not an image's."""
    for number, name in enumerate(files):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in (".png", ".jpg"):
            Image.new("RGB", (8, 8), (number % 256, 0, 0)).save(path)
        else:
            path.write_text("not an image")
    return root


def numbered(*folders: str, count: int = 3) -> list[str]:
    """``count`` images in each folder."""
    return [f"{folder}/{i}.png" if folder else f"{i}.png" for folder in folders for i in range(count)]


def sizes(layout) -> dict[str, int]:
    return {part: len(files) for part, files in layout.parts.items()}


@pytest.mark.parametrize(
    "folders",
    [("",), ("album",), ("2019", "2020"), ("2024-05-17", "2024-05-18 Norway"), ("20240517/raw", "20240518/raw")],
    ids=["loose", "one album", "years", "days", "nested days"],
)
def test_loose_photos_albums_and_days_have_no_labels_and_all_are_trained_on(tmp_path, folders):
    layout = find_images(make(tmp_path, *numbered(*folders, count=6)))
    assert layout.classes == []
    assert sizes(layout) == {"train": 6 * len(folders)}
    assert {label for _, label in layout.parts["train"]} == {-1}
    dates = ", as the folders have dates for names" if len(folders) > 1 else ""
    assert str(layout).endswith(f"training images; no labels{dates}")


@pytest.mark.parametrize(
    ("training", "testing"),
    [
        ("train", "test"),
        ("Train", "Test"),
        ("training_set", "test_set"),
        ("training", "testing"),
        ("TRAIN", "Validation"),
        ("train-images", "val"),
        ("trainset", "testset"),
        ("train2017", "val_2017"),
        ("Train", "Eval"),
    ],
)
def test_parts_are_known_by_their_usual_names(tmp_path, training, testing):
    files = numbered(f"{training}/cat", f"{training}/dog", count=4) + numbered(f"{testing}/dog", count=2)
    layout = find_images(make(tmp_path, *files))
    assert layout.classes == ["cat", "dog"]
    assert sizes(layout) == {"train": 8, "test": 2}
    assert "8 training images and 2 test images; 2 classes" in str(layout)


def test_the_part_with_labels_is_tested_on(tmp_path):
    files = numbered("train/a", "train/b", "val/a", "val/b") + numbered("test", count=5)
    layout = find_images(make(tmp_path, *files))
    assert sizes(layout) == {"train": 6, "test": 6}
    assert all(path.parts[-3] == "val" for path, _ in layout.parts["test"])
    assert "not used, beside the parts: test/" in str(layout)


@pytest.mark.parametrize("name", ["train", "test"])
def test_a_class_may_have_the_name_of_a_part(tmp_path, name):
    assert find_images(make(tmp_path, *numbered("bus", name))).classes == sorted(["bus", name])


def test_two_training_parts_are_refused_by_name(tmp_path):
    with pytest.raises(SimCLRError, match="train/ and training/: leave one"):
        find_images(make(tmp_path, *numbered("train/a", "training/a")))


def test_images_beside_the_class_folders_have_no_label_and_are_trained_on(tmp_path):
    layout = find_images(make(tmp_path, *numbered("cat", "dog", count=20), *numbered("", count=5)))
    without = [path for path, label in layout.parts["train"] if label < 0]
    assert len(without) == 5
    assert "(5 without a label)" in str(layout)
    assert all(label >= 0 for _, label in layout.parts["test"])


def test_an_image_keeps_its_part_whatever_is_added(tmp_path):
    before = find_images(make(tmp_path, *numbered("cat", "dog", count=100))).parts
    make(tmp_path, *(f"cat/new-{i}.png" for i in range(50)), *numbered("bird", count=50))
    after = find_images(tmp_path).parts
    for part, files in before.items():
        assert {path for path, _ in files} <= {path for path, _ in after[part]}
    assert 20 <= len(before["test"]) <= 60  # a fifth of 200, give or take what names decide


def test_an_image_keeps_its_part_when_its_folder_moves(tmp_path):
    names = {}
    for place in ("here", "there/deeper"):
        root = make(tmp_path / place, *numbered("cat", "dog", count=50))
        names[place] = {path.relative_to(root) for path, _ in find_images(root).parts["test"]}
    assert names["here"] == names["there/deeper"] != set()


@pytest.mark.parametrize(
    "folder",
    ["@eaDir", "$RECYCLE.BIN", "__MACOSX", ".thumbnails", "Network Trash Folder", "@Recently-Snapshot", "Thumbs"],
)
def test_folders_that_systems_make_are_no_classes(tmp_path, caplog, folder):
    root = make(tmp_path, *numbered("cat", "dog", folder, f"cat/{folder}", f"{folder}/deep"))
    with caplog.at_level(logging.INFO, "simclr_lib"):
        layout = find_images(root)
    assert layout.classes == ["cat", "dog"]
    assert sum(sizes(layout).values()) == 6
    said = f"left out 2 folders that systems make, such as {root / folder}"
    assert (said in caplog.text) is not folder.startswith(".")  # hidden folders are not mentioned


@pytest.mark.parametrize("target", [".", "..", "../.."])
def test_a_link_that_leads_back_up_is_no_class_and_brings_no_images(tmp_path, target):
    root = make(tmp_path / "album" / "set", *numbered("cat", "dog", ""))
    make(tmp_path, "other.png", "album/other.png")
    before = find_images(root)
    (root / "a").symlink_to(target)
    assert find_images(root).parts == before.parts
    assert find_images(root).classes == ["cat", "dog"]


def test_a_link_to_a_class_leaves_it_its_images(tmp_path):
    root = make(tmp_path, *numbered("cat", "dog"))
    before = find_images(root)
    (root / "a").symlink_to("cat")
    assert find_images(root).parts == before.parts
    assert find_images(root).classes == ["cat", "dog"]


def test_pictures_that_are_not_read_are_counted_by_extension(tmp_path):
    files = [*numbered("cat", "dog"), "cat/a.dng", "cat/b.DNG", "dog/c.xcf", "dog/notes.txt"]
    layout = find_images(make(tmp_path, *files))
    assert layout.left_out == {".dng": 2, ".xcf": 1}
    assert "left out: 2 .dng, 1 .xcf (images are read from .jpg" in str(layout)


def test_folders_are_classes_or_not_as_their_owner_says(tmp_path):
    root = make(tmp_path, *numbered("2019", "2020", count=5))
    assert find_images(root, "folders").classes == ["2019", "2020"]
    root = make(tmp_path / "set", *numbered("Rome", "Oslo", count=5))
    assert find_images(root).classes == ["Oslo", "Rome"]
    assert "2 classes, named by their folders (labels none takes these for albums)" in str(find_images(root))
    assert "albums" not in str(find_images(root, "folders"))
    assert find_images(root, "none").classes == []


TABLES = {
    "plain": "0.png,cat\n1.png,dog\n",
    "with names of columns": "File,Label\n0.png,cat\n1.png,dog\n",
    "of a spreadsheet in Europe": "\ufefffile;label\n0.png;cat\n1.png;dog\n",
    "with more columns and empty labels": "file,label,who\n0.png,cat,Ann\n1.png,dog,Bob\n2.png,,Ann\n",
    "with tabs": "file\tlabel\n0.png\tcat\n1.png\tdog\n",
    "with tabs and commas in labels": "0.png\tcat\t a, b\n1.png\tdog\tc, d\n",
    "with another column between": "file,split,label\n0.png,train,cat\n1.png,test,dog\n",
    "with the label first": "Class,Path\ncat,0.png\ndog,1.png\n",
    "with numbers of lines": ",filename,category\n0,0.png,cat\n1,1.png,dog\n",
    "with one name of a column": "image,species\n0.png,cat\n1.png,dog\n",
    "with blank lines": "file,label\n0.png,cat\n   \n\n , \n1.png,dog\n",
    "with a photo that was deleted": "0.png,cat\ngone.png,dog\n1.png,dog\n",
}


@pytest.mark.parametrize("table", TABLES)
def test_a_few_labels_come_from_a_csv_file(tmp_path, table):
    root = make(tmp_path / "photos", *numbered("", count=10))
    file = tmp_path / "labels.csv"
    file.write_text(TABLES[table], encoding="utf-8")
    layout = find_images(root, file)
    assert layout.classes == ["cat", "dog"]
    labels = {path.name: label for files in layout.parts.values() for path, label in files}
    assert labels.pop("0.png") == 0
    assert labels.pop("1.png") == 1
    assert set(labels.values()) == {-1}
    assert "2 classes, from labels.csv" in str(layout)


def labels_of(layout) -> dict[str, str]:
    """The labelled files' names → their classes."""
    files = [pair for files in layout.parts.values() for pair in files]
    return {path.name: layout.classes[label] for path, label in files if label >= 0}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig"])
def test_a_table_may_be_in_the_encodings_of_spreadsheets(tmp_path, encoding):
    root = make(tmp_path / "photos", *numbered("", count=4))
    mark = "\ufeff" if encoding[-3:] in ("-le", "-be") else ""
    (tmp_path / "labels.csv").write_text(f"{mark}file,label\n0.png,Löwe\n1.png,猫\n", encoding=encoding)
    assert labels_of(find_images(root, tmp_path / "labels.csv")) == {"0.png": "Löwe", "1.png": "猫"}


def test_names_may_be_composed_in_the_table_and_not_on_the_disk(tmp_path):
    decomposed = [unicodedata.normalize("NFD", f"é{i}.png") for i in range(4)]
    root = make(tmp_path / "photos", *decomposed)
    table = tmp_path / "labels.csv"
    table.write_text(unicodedata.normalize("NFC", "é0.png,cat\né1.png,dog\n"), encoding="utf-8")
    assert labels_of(find_images(root, table)) == {decomposed[0]: "cat", decomposed[1]: "dog"}


def test_photos_that_were_deleted_are_named_and_do_not_refuse_the_table(tmp_path, caplog):
    root = make(tmp_path / "photos", *numbered("", count=4))
    (tmp_path / "labels.csv").write_text("0.png,cat\n1.png,dog\n2.png,dog\ngone.png,cat\nlost.png,cat\n")
    assert len(labels_of(find_images(root, tmp_path / "labels.csv"))) == 3
    assert f"names 2 files that are not images in {root}, such as gone.png" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0.png,cat\nnone.png,dog\n", "names 1 file that is not an image in .*, such as none.png"),
        ("0.png,cat\n0.png,dog\n", "gives 0.png two labels: cat and dog"),
        ("0.png\n", r"no label \(0.png\): each line needs file,label"),
        ("image_id,label\n0.png,cat\n", "columns image_id, label: the one of file names must be called file"),
        ("file,split,kind\n0.png,test,cat\n", "columns file, split, kind: .* the other label"),
        ('file,label\n0.png,"cat\n1.png,dog\n', "quotation mark that is not closed"),
        ('file,label\n0.png,"cat\n1.png,dog"\n2.png,dog\n', r"several lines, which begins with '0.pngcat\\n1.png"),
        ('file,label\n0.png,"' + 200_000 * "cat " + '"\n', "field larger than field limit"),
        ("file,label\n0.png,Löwe\n".encode("cp1252"), 'not in UTF-8: save it as "CSV UTF-8"'),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, content, message):
    root = make(tmp_path / "photos", *numbered("", count=4))
    file = tmp_path / "labels.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SimCLRError, match=message):
        find_images(root, file)


def test_the_table_may_name_folders_as_windows_does(tmp_path):
    root = make(tmp_path / "photos", *numbered("one", "two"))
    (tmp_path / "labels.csv").write_text("file,label\none\\0.png,cat\ntwo\\1.png,dog\n")
    assert labels_of(find_images(root, tmp_path / "labels.csv")) == {"0.png": "cat", "1.png": "dog"}


@pytest.mark.parametrize("beside", ["docs/readme.txt", "labels/train/0.txt", "docs/.thumbs/0.png", "docs/@eaDir/0.png"])
def test_folders_without_images_do_not_make_parts_into_classes(tmp_path, beside):
    layout = find_images(make(tmp_path, *numbered("train", "test", count=5), beside))
    assert layout.classes == []
    assert sizes(layout) == {"train": 5, "test": 5}


def test_parts_may_lie_in_a_folder_of_images(tmp_path):
    layout = find_images(make(tmp_path, *numbered("images/train", "images/val", count=5), "labels/train/0.txt"))
    assert layout.classes == []
    assert sizes(layout) == {"train": 5, "test": 5}
    make(tmp_path, "loose.png")
    assert sum(sizes(find_images(tmp_path)).values()) == 11  # none is dropped


@pytest.mark.parametrize(
    "folders",
    [
        ("2024_05_17_Norway", "2024_05_18_Oslo"),
        ("20240517_trip", "20240518_trip"),
        ("17.05.2024", "18.05.2024"),
        ("1.5.2024 Oslo", "18-05-2024"),
    ],
)
def test_days_are_no_classes_however_they_are_written(tmp_path, folders):
    assert find_images(make(tmp_path, *numbered(*folders))).classes == []


@pytest.mark.parametrize("folders", [("1990s", "2000s"), ("12345678", "20241"), ("2024", "cats")])
def test_names_that_only_look_like_days_are_classes(tmp_path, folders):
    assert find_images(make(tmp_path, *numbered(*folders))).classes == sorted(folders)


@pytest.mark.parametrize("file", ["checkpoint.pt", "results.json"])
@pytest.mark.parametrize("place", ["run", "cat/run", "runs/mine"])
def test_results_of_runs_are_no_photos(tmp_path, caplog, place, file):
    root = make(tmp_path, *numbered("cat", "dog", place, f"{place}/film"), f"{place}/{file}")
    with caplog.at_level(logging.INFO, "simclr_lib"):
        layout = find_images(root)
    assert layout.classes == ["cat", "dog"]
    assert sum(sizes(layout).values()) == 6
    assert f"{root / place} holds the results of a run: its pictures are left out" in caplog.text


def test_files_of_unknown_kinds_are_counted_also_where_there_is_no_image(tmp_path):
    root = make(tmp_path, *(f"{i}.NEF" for i in range(50)), "a.dcm", "b.fits", "notes.txt", "0.xmp", "README", "c.csv")
    with pytest.raises(SimCLRError, match=r"no images that can be read, but 50 \.nef, 1 \.dcm, 1 \.fits: images are"):
        find_images(root)
    assert find_images(make(root, "0.png")).left_out == {".nef": 50, ".dcm": 1, ".fits": 1}


def test_a_class_is_never_wholly_held_out(tmp_path):
    root = make(tmp_path / "photos", *numbered("", count=60))
    held = [path.name for path, _ in find_images_of(tmp_path, root, [f"{i}.png,a" for i in range(60)]).parts["test"]]
    layout = find_images_of(
        tmp_path, root, [*(f"{name},cat" for name in held[:3]), *(f"{name},dog" for name in held[3:4])]
    )
    assert sorted(label for _, label in layout.parts["train"] if label >= 0) == [0, 1]
    assert [label for _, label in layout.parts["test"]] == [0, 0]


def test_labels_that_all_go_to_training_are_said(tmp_path):
    root = make(tmp_path / "photos", *numbered("", count=60))
    rows = [f"{i}.png,{'ab'[i % 2]}" for i in range(60)]
    trained = [path.name for path, _ in find_images_of(tmp_path, root, rows).parts["train"]]
    layout = find_images_of(tmp_path, root, [f"{name},{'ab'[i % 2]}" for i, name in enumerate(trained[:10])])
    assert set(layout.parts) == {"train"}
    assert "no labelled image was chosen for testing: label more of them, or add a folder called test" in str(layout)
    with pytest.raises(SimCLRError, match="no test part: no image has a label, or so few"):
        load_dataset("imagefolder", "test", root, labels=tmp_path / "labels.csv")


def test_it_is_said_that_an_image_labelled_later_has_been_trained_on(tmp_path):
    root = make(tmp_path / "photos", *numbered("", count=60))
    note = "an image that is labelled after training may become one, although training has seen it without its label"
    assert note in str(find_images_of(tmp_path, root, [f"{i}.png,a" for i in range(30)]))
    assert note not in str(find_images_of(tmp_path, root, [f"{i}.png,a" for i in range(60)]))


def find_images_of(folder: Path, root: Path, rows: list[str]):
    """Find the images with a table of these rows."""
    (folder / "labels.csv").write_text("\n".join(rows))
    return find_images(root, folder / "labels.csv")


def test_images_without_a_label_are_in_no_choice_by_classes():
    labels = torch.tensor([-1] * 50 + [0] * 10 + [1] * 10)
    assert labels[few_labels(labels, 2)].tolist() == [0, 0, 1, 1]
    first, second = split_indices(labels, 0.2)
    assert labels[first].tolist() == [0] * 8 + [1] * 8
    assert labels[second].tolist() == [0, 0, 1, 1]
    assert few_labels(labels[:50], 2).tolist() == []


def test_images_know_their_files_also_in_a_subset(tmp_path):
    root = make(tmp_path, *numbered("cat", "dog", count=20))
    parts = load_parts("imagefolder", root)
    assert sorted(parts["train"].files + parts["test"].files) == sorted(numbered("cat", "dog", count=20))
    chosen = parts["train"].subset(torch.tensor([5, 2]))
    assert chosen.files == (parts["train"].files[5], parts["train"].files[2])
    for part in parts.values():
        for file, image in zip(part.files, part.images, strict=True):
            assert tuple(image[:, 0, 0].tolist()) == Image.open(root / file).getpixel((0, 0))


def test_all_images_are_one_part_too(tmp_path):
    root = make(tmp_path, *numbered("train/a", "train/b", "test/a"))
    assert load_dataset("imagefolder", "all", root).files == tuple(sorted(numbered("test/a", "train/a", "train/b")))


def test_a_test_part_that_is_not_there_is_named(tmp_path):
    root = make(tmp_path, *numbered("", count=4))
    assert set(load_parts("imagefolder", root)) == {"train"}
    with pytest.raises(SimCLRError, match="no test part: no image has a label"):
        load_dataset("imagefolder", "test", root)


def test_labels_are_for_ones_own_images():
    with pytest.raises(SimCLRError, match="not for emblems"):
        load_dataset("emblems", labels="folders", limit=10)
