import pytest
import torch
from PIL import Image
from torch import nn

from onebyone.errors import MissingPackageError, PhotoError, ShapeError
from onebyone.explainer import samples
from onebyone.explainer.samples import (
    CROPS,
    check_images,
    fit_preprocess,
    folder_images,
    prepared_images,
    sample_images,
)
from onebyone.graph import capture
from onebyone.models import Preprocess, open_photo
from tests.helpers.light import hide
from tests.helpers.photos import CAMERA, CHELSEA, cmyk_jpeg

SMALL = Preprocess(32, 40)


@pytest.fixture
def folder(tmp_path):
    """A folder with two photos, one that is none, a hidden file and a folder."""
    for name, colour in (("b.png", "red"), ("a.png", "blue")):
        Image.new("RGB", (60, 50), colour).save(tmp_path / name)
    (tmp_path / "c.jpg").write_bytes(cmyk_jpeg())
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "within").mkdir()
    return tmp_path


def test_sample_photos_are_cut_in_eight_ways():
    images = sample_images(SMALL)
    assert images.source == "8 crops of each of 6 sample photos"
    assert images.prepared.shape == (48, 3, 32, 32)
    assert len(images) == len(list(images)) == 48
    assert len(images.prepared.flatten(1).unique(dim=0)) == 48


def test_the_first_crop_is_what_the_network_usually_sees():
    expected = SMALL(open_photo(CHELSEA))
    assert torch.equal(sample_images(SMALL, crops=1)[0], expected[None])


def test_a_mirrored_crop_is_the_other_side_of_a_mirrored_photo():
    photo = Image.linear_gradient("L").rotate(90).resize((80, 80)).convert("RGB")
    left_mirrored = next(crop for crop in CROPS if crop.mirrored and crop.across == 0)
    right = samples.Crop(across=1, down=left_mirrored.down, scale=left_mirrored.scale)
    mirrored = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert torch.equal(left_mirrored.cut(photo, SMALL), right.cut(mirrored, SMALL))


def test_a_picture_is_the_square_that_was_cut():
    square = SMALL.cut(open_photo(CHELSEA))
    picture = sample_images(SMALL, crops=1).picture(0)
    expected = torch.tensor(list(square.get_flattened_data()), dtype=torch.uint8)
    assert torch.equal(picture.flatten(1).T, expected)


def test_a_folders_photos_come_in_turn_and_what_is_none_is_named(folder):
    images = folder_images(folder, SMALL)
    assert images.source == f"8 crops of each of 2 photos in {folder}"
    assert [bool(image[0, 0].max() > image[0, 2].max()) for image in images] == [False, True] * 8
    assert len(images.skipped) == 1
    assert images.skipped[0].startswith(f"{folder / 'c.jpg'} is in the colour space CMYK")


def test_of_many_photos_some_are_taken_evenly(tmp_path):
    for number in range(9):
        Image.new("RGB", (40, 40), (20 * number, 0, 0)).save(tmp_path / f"{number}.png")
    images = folder_images(tmp_path, SMALL, limit=3)
    assert images.source == f"3 photos in {tmp_path}"
    assert [int(images.picture(index)[0, 0, 0]) for index in range(3)] == [0, 60, 120]


def test_very_large_inputs_are_few(monkeypatch):
    monkeypatch.setattr(samples, "MAX_NUMBERS", 13 * 3 * 32 * 32)
    assert sample_images(SMALL).source == "2 crops of each of 6 sample photos"
    monkeypatch.setattr(samples, "MAX_NUMBERS", 1)
    assert sample_images(SMALL).source == "2 sample photos"


def test_a_photo_that_is_damaged_further_on_is_named_too(folder):
    whole = CAMERA.read_bytes()
    (folder / "d.png").write_bytes(whole[: len(whole) // 2])
    images = folder_images(folder, SMALL)
    assert images.source == f"8 crops of each of 2 photos in {folder}"
    assert len(images.skipped) == 2
    assert "is damaged or cut short" in images.skipped[1]
    for name in ("a.png", "b.png", "c.jpg"):
        (folder / name).unlink()
    with pytest.raises(PhotoError, match=r"^none of 1 photos can be read: .* is damaged"):
        folder_images(folder, SMALL)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "cannot be read \\(No such file or directory\\)$"),
        ("a.png", "cannot be read \\(Not a directory\\)$"),
        ("within", r"has no photo that can be read \(it is empty\); name a folder with JPEGs"),
    ],
)
def test_a_folder_without_photos_is_one_line(folder, name, message):
    with pytest.raises(PhotoError, match=message):
        folder_images(folder / name, SMALL)


def test_no_images_at_all_are_refused(folder):
    with pytest.raises(ShapeError, match=r"^at least 1 image must be looked at, and 0 were asked"):
        folder_images(folder, SMALL, limit=0)


def test_without_the_extra_its_pip_line_is_told(monkeypatch):
    hide(monkeypatch, "PIL")
    with pytest.raises(MissingPackageError, match=r"pillow.*pip install 'onebyone\[photos\]'$"):
        sample_images(SMALL)


def test_a_tensor_is_taken_as_it_is():
    tensor = torch.randn(3, 5, 4, 6)
    images = prepared_images(tensor)
    assert torch.equal(images[1], tensor[1:2])
    assert (len(images), images.source, images.picture(0)) == (3, "the images given", None)
    for bad in (torch.randn(3, 4, 4), torch.randn(0, 3, 4, 4)):
        with pytest.raises(ShapeError, match=r"^`images` must be `\(N, C, H, W\)`, and"):
            prepared_images(bad)


def test_preprocessing_is_fitted_to_another_size():
    fitted = fit_preprocess(Preprocess(224, 256), (1, 3, 112, 112))
    assert (fitted.input_size, fitted.resize_size) == (112, 128)
    for shape in ((1, 4, 32, 32), (1, 3, 32, 64), (1, 3)):
        with pytest.raises(ShapeError, match=r"^photos become inputs of \(1, 3, S, S\), and this"):
            fit_preprocess(SMALL, shape)


def test_images_that_a_network_does_not_read_are_refused():
    graph = capture(nn.Conv2d(4, 2, 1).eval(), (torch.randn(1, 4, 8, 8),)).graph
    check_images(graph, prepared_images(torch.randn(2, 4, 8, 8)))
    for shape in ((2, 3, 8, 8), (2, 4, 9, 8)):
        with pytest.raises(ShapeError, match=r"^the network was captured for an input of \(1, 4, "):
            check_images(graph, prepared_images(torch.randn(shape)))
    both = capture(torch.add, (torch.randn(1, 4, 8, 8), torch.randn(1, 4, 8, 8))).graph
    with pytest.raises(ShapeError, match="networks with one input, and this one has 2"):
        check_images(both, prepared_images(torch.randn(2, 4, 8, 8)))
