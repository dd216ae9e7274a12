"""Image files: changed bytes, any size in the header, any pixels."""
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from mmyolonas.datasets.inspection.image_scan import scan_image
from mmyolonas.utils.image_checks import ImageError, image_problem
from mmyolonas.utils.images import decode_image, image_size, read_image
from tests.fuzz.judge import judge
from tests.fuzz.mutate import changed_bytes

pytestmark = pytest.mark.filterwarnings('ignore:.*became 0..255')


def encoded(kind, mode='RGB', **options) -> bytes:
    blocks = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(cv2.resize(blocks, (48, 36))).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


EXIF = Image.Exif()
EXIF[0x0112] = 6
FILES = [
    encoded('JPEG', exif=EXIF), encoded('JPEG', progressive=True), encoded('JPEG', 'CMYK'),
    encoded('PNG'), encoded('PNG', 'P'), encoded('PNG', 'LA'), encoded('BMP'), encoded('TIFF'),
    encoded('TIFF', '1', compression='group4'), encoded('WEBP'), encoded('PPM'),
    encoded('GIF', 'P'), encoded('JPEG2000'),
    cv2.imencode('.png', np.arange(900, dtype=np.uint16).reshape(30, 30))[1].tobytes(),
    cv2.imencode('.tif', np.eye(20, dtype=np.float32))[1].tobytes()]


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('images')


def look(path):
    """What every way in says is the same; a decoded image has the size that was announced."""
    image, problem = read_image(path), image_problem(str(path))
    assert problem is None
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    scanned = scan_image(path)
    assert scanned.problem is None
    assert scanned.size == image.shape[1::-1] or image_size(path) != image.shape[1::-1]
    return image


@given(st.sampled_from(FILES).flatmap(changed_bytes))
def test_bytes(place, data):
    (place / 'a.jpg').write_bytes(data)
    found = judge('images', lambda: look(place / 'a.jpg'))
    if isinstance(found, ImageError):
        assert scan_image(place / 'a.jpg').problem is not None


@given(st.binary(max_size=200), st.sampled_from([b'', *(data[:8] for data in FILES)]))
def test_anything(place, data, start):
    (place / 'a.jpg').write_bytes(start + data)
    judge('images', lambda: look(place / 'a.jpg'))


SIDES = st.one_of(st.integers(0, 2**31 - 1), st.integers(1, 200), st.sampled_from(
    [13_000, 16_384, 65_535, 100_000, 2**31 - 1]))


@given(SIDES, SIDES, st.sampled_from([1, 2, 4, 8, 16]), st.sampled_from([0, 2, 3, 4, 6]))
def test_png_of_any_size(place, width, height, depth, colour):
    """A few bytes that announce anything: never more memory than the limit allows."""
    def chunk(name, data):
        return struct.pack('>I', len(data)) + name + data + struct.pack(
            '>I', zlib.crc32(name + data))
    data = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack(
        '>IIBBBBB', width, height, depth, colour, 0, 0, 0)) + chunk(
        b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b'')
    if 10**7 < width * height < 2 * 10**8:
        return  # allowed, and would fill the memory of small machines many times over
    (place / 'a.png').write_bytes(data)
    judge('images', lambda: look(place / 'a.png'))


PIXELS = st.sampled_from(['u1', 'u2', 'f4', 'i2', 'i4', 'f8']).flatmap(
    lambda kind: arrays.arrays(kind, st.tuples(st.integers(1, 9), st.integers(1, 9),
                                               st.sampled_from([1, 3]))))


@given(PIXELS)
def test_any_pixels(pixels):
    """Any number type, NaN and infinity among them."""
    done, data = cv2.imencode('.tif', pixels)
    if done:
        image = judge('images', lambda: decode_image(data.tobytes(), 'a.tif'))
        if not isinstance(image, Exception):
            assert image.shape[:2] == pixels.shape[:2]
