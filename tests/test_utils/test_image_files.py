"""Every kind of image file becomes BGR of 8 bits, or one sentence before anything is decoded."""
import io
import time
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from mmyolonas.datasets.inspection.image_scan import scan_image
from mmyolonas.utils import images
from mmyolonas.utils.image_checks import ImageError, image_problem, is_cut_short
from mmyolonas.utils.images import decode_image, image_size, read_image

RAMP = np.tile(np.arange(64, dtype=np.uint8) * 4, (48, 1))


@pytest.fixture(autouse=True)
def fresh_warnings():
    images._WARNED.clear()


def encoded(image, kind, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def photo(size=(96, 64)):
    blocks = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(blocks, size))


@pytest.mark.parametrize('progressive', [False, True])
def test_bytes_behind_a_sound_jpeg(tmp_path, progressive):
    """A film that a phone appends, padding of a camera; more than any fixed tail."""
    data = encoded(photo(), 'JPEG', progressive=progressive)
    whole = decode_image(data, 'a.jpg')
    for tail in (bytes(100_000), b'ftypmp42' + bytes(range(256)) * 500):
        path = tmp_path / 'a.jpg'
        path.write_bytes(data + tail)
        assert image_problem(str(path)) is None and scan_image(path).problem is None
        assert np.array_equal(read_image(path), whole)


@pytest.mark.parametrize('share', [0.6, 0.8, 0.99])
def test_cut_jpeg_with_a_preview_at_its_end(share):
    """An end marker that is the preview's, or that is missing, does not make a file whole."""
    preview = encoded(photo((16, 16)), 'JPEG')
    segment = b'\xff\xe1' + (len(preview) + 2).to_bytes(2, 'big') + preview
    data = encoded(photo(), 'JPEG')
    data = data[:2] + segment + data[2:]
    assert not is_cut_short(data)
    cut = data[:len(segment) + int(share * (len(data) - len(segment)))]
    assert is_cut_short(cut)
    with pytest.raises(ImageError, match=r'cut short \(\d+ bytes of a JPEG\)'):
        decode_image(cut, 'a.jpg')


def test_cut_png_and_bytes_behind_one():
    data = encoded(photo(), 'PNG')
    assert decode_image(data + bytes(9000), 'a.png').shape == (64, 96, 3)
    with pytest.raises(ImageError, match='cut short'):
        decode_image(data[:-20], 'a.png')


@pytest.mark.parametrize('bits', [8, 10, 12, 14, 16])
def test_bits_of_cameras(bits):
    """The used bits become 0..255, and unless they are all used a warning says so."""
    values = (RAMP.astype(np.uint32) * (2**bits - 1) // 252).astype(np.uint16)
    expected = RAMP.astype(float) * 255 / 252
    for suffix in ('.png', '.tif'):
        images._WARNED.clear()
        data = cv2.imencode(suffix, values)[1].tobytes()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter('always')
            image = decode_image(data, 'a')
        assert np.abs(image - expected[..., None]).max() <= 1
        assert [f'uses {bits} bits' in str(w.message) for w in caught] == [True] * (bits < 16)


def test_fixed_bits(monkeypatch):
    """Frames of one camera keep their relative brightness."""
    data = cv2.imencode('.png', np.full((8, 8), 500, np.uint16))[1].tobytes()
    monkeypatch.setenv('MMYOLONAS_IMAGE_BITS', '12')
    with pytest.warns(UserWarning, match='12 bits'):
        assert decode_image(data, 'a.png').max() == 500 >> 4
    monkeypatch.setenv('MMYOLONAS_IMAGE_BITS', '77')
    with pytest.raises(RuntimeError, match='MMYOLONAS_IMAGE_BITS must be a number from 8 to 16'):
        decode_image(data, 'a.png')


@pytest.mark.parametrize('dtype', [np.float32, np.float64, np.int16, np.int32, np.uint32, np.int8])
def test_tiffs_of_other_types(dtype):
    top = {np.float32: 1, np.float64: 1, np.int8: 127}.get(dtype, 4095)
    values = (RAMP / 252 * top).astype(dtype)
    images._WARNED.clear()
    with pytest.warns(UserWarning, match='became 0..255'):
        image = decode_image(cv2.imencode('.tif', values)[1].tobytes(), 'a.tif')
    expected = RAMP * (127 / 252 if dtype is np.int8 else 255 / 252)
    assert image.shape == (48, 64, 3) and np.abs(image - expected[..., None]).max() <= 1.5


def test_float_with_nan():
    values = np.where(RAMP > 200, np.nan, RAMP / 252).astype(np.float32)
    with pytest.warns(UserWarning):
        image = decode_image(cv2.imencode('.tif', values)[1].tobytes(), 'a.tif')
    assert image[RAMP > 200].max() == 0 and image.max() > 180


@pytest.mark.parametrize('mode,kind', [
    ('L', 'PNG'), ('LA', 'PNG'), ('P', 'PNG'), ('1', 'PNG'), ('RGBA', 'PNG'), ('RGBA', 'TIFF'),
    ('CMYK', 'TIFF'), ('CMYK', 'JPEG'), ('1', 'TIFF'), ('L', 'JPEG'), ('P', 'BMP'), ('L', 'PPM'),
    ('RGB', 'WEBP')])
def test_modes(mode, kind):
    """As Pillow shows them."""
    image = photo().convert(mode)
    data = encoded(image, kind, **(dict(lossless=True) if kind == 'WEBP' else {}))
    expected = np.asarray(Image.open(io.BytesIO(data)).convert('RGB'))[..., ::-1]
    found = decode_image(data, 'a').astype(int)
    # the two have different tables for CMYK
    assert np.abs(found - expected).mean() < (4 if kind == 'JPEG' and mode == 'CMYK' else 1)


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'TIFF', 'WEBP'])
@pytest.mark.parametrize('orientation', [1, 3, 6])
def test_size_is_that_of_the_decoded_image(tmp_path, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / 'a'
    path.write_bytes(encoded(photo(), kind, exif=exif))
    assert image_size(path) == read_image(path).shape[1::-1] == scan_image(path).size


@pytest.mark.parametrize('kind', ['PNG', 'TIFF'])
def test_bomb_is_not_decoded(tmp_path, kind, monkeypatch):
    """A few kilobytes that would take gigabytes."""
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', None)
    path = tmp_path / 'bomb'
    options = dict(compression='group4') if kind == 'TIFF' else {}
    path.write_bytes(encoded(Image.new('1', (20000, 10000)), kind, **options))
    monkeypatch.undo()
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('it was decoded'))
    start = time.perf_counter()
    for problem in (image_problem(str(path)), scan_image(path).problem):
        assert 'has 20000x10000 pixels, more than the 179 million' in problem
        assert 'MMYOLONAS_MAX_PIXELS=200000000' in problem
    assert image_size(path) == (20000, 10000)
    assert time.perf_counter() - start < 2


def test_limit_can_be_set(tmp_path, monkeypatch):
    path = tmp_path / 'a.png'
    path.write_bytes(encoded(photo(), 'PNG'))
    monkeypatch.setenv('MMYOLONAS_MAX_PIXELS', '6143')
    assert 'has 96x64 pixels, more than the 0.006143 million' in image_problem(str(path))
    monkeypatch.setenv('MMYOLONAS_MAX_PIXELS', '6144')
    assert image_problem(str(path)) is None
    for wrong in ('many', '0', 'nan', '-1', 'inf'):
        monkeypatch.setenv('MMYOLONAS_MAX_PIXELS', wrong)
        with pytest.raises(RuntimeError, match='MMYOLONAS_MAX_PIXELS must be a number'):
            read_image(path)


def test_damage_is_said(tmp_path):
    for content, expected in ((b'', 'is empty'), (b'<html>', 'is a web page'),
                              (b'BM' + bytes(30), 'damaged BMP'), (b'\x89PNG\r\n\x1a\n', 'cut sh')):
        path = tmp_path / 'x.jpg'
        path.write_bytes(content)
        assert expected in image_problem(str(path)), content
        assert scan_image(path).problem == image_problem(str(path))
    assert 'does not exist' in image_problem(str(tmp_path / 'none'))
    assert 'does not exist' in image_problem('a\0b')
    assert 'does not exist' in image_problem(str(tmp_path))


@pytest.mark.parametrize('start,expected', [
    (b'\0\0\0\x18ftypheic' + bytes(40), 'HEIF or AVIF'), (b'\0\0\0\x1cftypavif', 'HEIF or AVIF'),
    (b'version https://git-lfs.github.com/spec/v1\n', 'git lfs pull'),
    (b'<?xml version="1.0"?><svg width="9"/>', 'SVG'), (b'%PDF-1.4', 'is not an image')])
def test_what_is_no_picture_is_named(start, expected):
    with pytest.raises(ImageError, match=expected):
        decode_image(start, 'a.jpg')


@pytest.mark.parametrize('kind,mode', [('TIFF', 'RGB'), ('WEBP', 'RGB'), ('PNG', 'RGB'),
                                       ('GIF', 'P')])
def test_several_pictures_in_a_file(kind, mode):
    """The first one is taken, which is said once."""
    first, second = photo().convert(mode), photo().rotate(180).convert(mode)
    many = encoded(first, kind, save_all=True, append_images=[second, second])
    with pytest.warns(UserWarning, match='holds several pages, of which the first is taken'):
        image = decode_image(many, 'a')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        alone = decode_image(encoded(first, kind), 'a')
        decode_image(many, 'a')
    assert np.abs(image.astype(int) - alone).mean() < 4


def test_values_below_zero():
    values = (RAMP.astype(np.int16) * 4 - 500)
    with pytest.warns(UserWarning, match='values from -500 to 508, which became'):
        image = decode_image(cv2.imencode('.tif', values)[1].tobytes(), 'a.tif')
    assert np.abs(image[..., 0] - RAMP * (255 / 252)).max() <= 1


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_no_finite_value(value):
    data = cv2.imencode('.tif', np.full((9, 9), value, np.float32))[1].tobytes()
    with pytest.raises(ImageError, match='holds no finite numbers'):
        decode_image(data, 'a.tif')
