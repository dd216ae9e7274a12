"""The same small data set in every layout, in folders with spaces and accents."""
import json
import shutil
from pathlib import Path

import cv2
import numpy as np

from mmyolonas.datasets.formats.roboflow import ANNOTATIONS
from tests import tiny


def write_layout(root: Path, kind: str, train: int = 6, val: int = 3) -> Path:
    """Write images of squares and discs; return the folder.

    Args:
        root (Path): Folder to make.
        kind (str): 'roboflow', 'coco', 'yolo', 'voc' or 'single' (one COCO
            file, no parts).
        train, val (int): Number of images of the parts; ``val`` 0 for none.
    """
    source = tiny.write_data(root / 'source', train + val)
    data = json.loads((source / 'annotations.json').read_text())
    for image in data['images']:
        image['file_name'] = f'bild ä {image["file_name"]}'
        (source / image['file_name'].removeprefix('bild ä ')).rename(source / image['file_name'])
    parts = {'train': data['images'][:train], 'valid': data['images'][train:]}
    write = dict(roboflow=_roboflow, coco=_coco, yolo=_yolo, voc=_voc, single=_single)[kind]
    for name, images in parts.items():
        if images:
            ids = {image['id'] for image in images}
            write(root, source, name, dict(
                data, images=images,
                annotations=[a for a in data['annotations'] if a['image_id'] in ids]))
    shutil.rmtree(source)
    return root


def _copy(source: Path, data: dict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for image in data['images']:
        shutil.copy(source / image['file_name'], folder)


def _roboflow(root: Path, source: Path, name: str, data: dict) -> None:
    _copy(source, data, root / name)
    (root / name / ANNOTATIONS).write_text(json.dumps(data))


def _coco(root: Path, source: Path, name: str, data: dict) -> None:
    name = dict(valid='val').get(name, name)
    _copy(source, data, root / f'{name} 2017')
    (root / 'annotations').mkdir(exist_ok=True)
    (root / 'annotations' / f'instances_{name}2017.json').write_text(json.dumps(data))


def _single(root: Path, source: Path, name: str, data: dict) -> None:
    _copy(source, data, root / 'images')
    (root / 'labels.json').write_text(json.dumps(data))


def _yolo(root: Path, source: Path, name: str, data: dict) -> None:
    _copy(source, data, root / name / 'images')
    (root / name / 'labels').mkdir()
    for image in data['images']:
        lines = []
        for item in data['annotations']:
            if item['image_id'] == image['id']:
                x, y, w, h = np.array(item['bbox']) / image['width']
                lines.append(f'{item["category_id"] - 1} {x + w / 2} {y + h / 2} {w} {h}')
        path = root / name / 'labels' / Path(image['file_name']).with_suffix('.txt')
        path.write_text('\n'.join(lines))
    text = f'names: {list(tiny.CLASSES)}\nnc: 2\ntrain: ../train/images\n'
    val = 'val: ../valid/images\n' if (root / 'valid').exists() else ''
    (root / 'data.yaml').write_text(text + val)


def _voc(root: Path, source: Path, name: str, data: dict) -> None:
    _copy(source, data, root / 'JPEGImages')
    (root / 'Annotations').mkdir(exist_ok=True)
    lists = root / 'ImageSets' / 'Main'
    lists.mkdir(parents=True, exist_ok=True)
    for image in data['images']:
        objects = ''
        for item in data['annotations']:
            if item['image_id'] == image['id']:
                x, y, w, h = item['bbox']
                objects += (
                    f'<object><name>{tiny.CLASSES[item["category_id"] - 1]}</name><bndbox>'
                    f'<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + w}</xmax>'
                    f'<ymax>{y + h}</ymax></bndbox></object>')
        path = root / 'Annotations' / Path(image['file_name']).with_suffix('.xml')
        path.write_text(f'<annotation><filename>{image["file_name"]}</filename><size><width>64'
                        f'</width><height>64</height></size>{objects}</annotation>')
    stems = [Path(image['file_name']).stem for image in data['images']]
    (lists / f'{dict(valid="val").get(name, name)}.txt').write_text('\n'.join(stems))


def write_model(path: Path) -> Path:
    """Write a config file with a narrow YOLO-NAS alone, for ``--model``."""
    return tiny.write_config(path, dict(model=tiny.model_config()))


def speckle(path: Path, seed: int, size: int = 64) -> None:
    """Write an image of coloured blocks that looks like no other."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(blocks, (size, size)))
