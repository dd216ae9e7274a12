"""Pictures, files and the reference that the clients are measured with."""
import copy
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

COUNT, LEAST = 12, 0.25
FRAMES, SETTLED = 60, 8
FLAVOURS = ('none', 'onnx', 'flat', 'deepstream', 'ultralytics', 'maps')


def make_pictures(source: Path, folder: Path) -> List[str]:
    """Write 12 pictures, without loss: four as they are, four cut wide, four cut high.

    Raises:
        UserError: There are fewer than 12.
    """
    from mmyolonas.runtime.numpy_ops import read_image
    from mmyolonas.utils.errors import UserError
    from mmyolonas.utils.files import write_image
    from mmyolonas.utils.images import find_images
    found = find_images([str(source)])
    if len(found) < COUNT:
        raise UserError(f'{source} has {len(found)} images; {COUNT} are needed.')
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, path in enumerate(found[:COUNT]):
        image = read_image(str(path))
        height, width = image.shape[:2]
        if index % 3 == 1:
            image = image[:int(height * 0.66)]
        elif index % 3 == 2:
            image = image[:, :int(width * 0.62)]
        paths.append(str(folder / f'{index:02d}.png'))
        write_image(paths[-1], np.ascontiguousarray(image))
    return paths


def make_mosaic(images: Sequence[str], reference: Sequence[list], path: Path) -> Dict[str, Any]:
    """Write a picture of the four uncut ones, two by two; return what it holds."""
    from mmyolonas.runtime.numpy_ops import read_image
    from mmyolonas.utils.files import write_image
    chosen = range(0, COUNT, 3)
    parts = [read_image(images[index]) for index in chosen]
    side = min(min(part.shape[:2]) for part in parts)
    if any(part.shape[:2] != (side, side) for part in parts):
        raise ValueError('the mosaic needs square pictures of one size')
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [np.concatenate(parts[:2], 1), np.concatenate(parts[2:], 1)]
    write_image(str(path), np.concatenate(rows))
    expected = []
    for place, index in enumerate(chosen):
        y, x = divmod(place, 2)
        for row in reference[index]:
            shift = np.array([x, y, x, y]) * side
            expected.append([*(np.array(row[:4]) + shift).tolist(), *row[4:]])
    return dict(mosaic=str(path), side=side, mosaic_expected=expected)


def make_video(images: Sequence[str], reference: Sequence[list], path: Path) -> Dict[str, Any]:
    """Write a video of cut-out objects, one a class, that go to and fro; return their ways."""
    import cv2

    from mmyolonas.runtime.numpy_ops import read_image
    rng, sprites = np.random.default_rng(1), {}
    for image, rows in zip(images, reference):
        picture = read_image(image)
        height, width = picture.shape[:2]
        for x1, y1, x2, y2, score, label in rows:
            a, b, c, d = (int(round(v)) for v in (x1 - 2, y1 - 2, x2 + 2, y2 + 2))
            if score > 0.6 and min(c - a, d - b) > 36 and a > 0 and b > 0 and (
                    c < width and d < height):
                sprites.setdefault(int(label), picture[b:d, a:c])
    side, chosen = read_image(images[0]).shape[0], []
    for sprite in sorted(sprites.values(), key=lambda item: item.shape[0]):  # as many as fit
        if sum(item.shape[0] + 8 for item in [*chosen, sprite]) <= side:
            chosen.append(sprite)
    height, width, tops = side, side, np.cumsum([4] + [item.shape[0] + 8 for item in chosen])
    starts = rng.uniform(0.05, 0.7, len(chosen)) * width
    ground = rng.integers(112, 124, (height, width, 3), dtype=np.uint8)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 25, (width, height))
    ways = []
    for frame in range(FRAMES):
        image, boxes = ground.copy(), []
        for index, sprite in enumerate(chosen):
            h, w = sprite.shape[:2]
            span = width - w - 2
            place = (starts[index] + (1, -1)[index % 2] * width / 160 * frame) % (2 * span)
            x, y = int(place if place < span else 2 * span - place), int(tops[index])
            image[y:y + h, x:x + w] = sprite
            boxes.append([x + 2, y + 2, x + w - 2, y + h - 2])
        video.write(image)
        ways.append(boxes)
    video.release()
    return dict(video=str(path), ways=ways, settled=SETTLED)


def predict(config: Any, checkpoint: str, images: Sequence[str],
            **test_cfg: Any) -> List[list]:
    """Return the rows that PyTorch finds, through ``mmyolonas.apis.Predictor``, above 0.25."""
    config = copy.deepcopy(config)
    if test_cfg:
        config.model.test_cfg.update(test_cfg)
    from mmyolonas.inference.inference import InferenceOptions, Predictor
    from mmyolonas.runtime.numpy_ops import read_image
    predictor = Predictor(config, checkpoint, InferenceOptions(score_thr=LEAST))
    found = []
    for image in images:
        item, = predictor([read_image(image)])
        last = item.labels[:, None] if item.keypoints is None else item.keypoints.reshape(
            len(item.keypoints), -1)
        found.append(np.concatenate([item.boxes, item.scores[:, None], last], 1).tolist())
    return found


def export_all(config: Any, checkpoint: str, folder: Path) -> Tuple[Dict[str, str], Any]:
    """Write every flavour and the program, unless they are there; return paths, description."""
    from mmyolonas.deploy.pipeline import load_model
    from mmyolonas.export import export_onnx, export_program, metadata_from_config
    from mmyolonas.export.flavours import write_deepstream_files
    metadata = metadata_from_config(config)
    width, height = metadata.input_size
    files = {name: str(folder / f'{name}.onnx') for name in (*FLAVOURS, 'none-free')}
    files['program'] = str(folder / 'none.pt2')
    stamp = folder / 'made.json'
    made = dict(config=hashlib.sha256(config.pretty_text.encode()).hexdigest(),
                checkpoint=hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest())
    if stamp.is_file() and json.loads(stamp.read_text()) == made:
        return files, metadata
    model, shape = load_model(config, checkpoint), (1, 3, height, width)
    for name in FLAVOURS:
        print(f'exporting {name} ...', flush=True)
        report = export_onnx(model, files[name], shape, nms=name, metadata=metadata)
        if name == 'deepstream':
            write_deepstream_files(report.path, report.metadata)
    export_onnx(model, files['none-free'], shape, nms='none', metadata=metadata, dynamic='shape')
    export_program(model, files['program'], shape, metadata=metadata)
    stamp.write_text(json.dumps(made))
    return files, metadata


def convert_for(target: str, python: str, files: Dict[str, str], flavour: str, folder: Path,
                images: Sequence[str], source: Path) -> Tuple[str, List[str]]:
    """Convert by the recipe of ``configs/deploy``, once; return the file and what was said."""
    from mmyolonas.deploy.targets.driver import convert_target
    from mmyolonas.utils.configs import load_config
    root = Path(__file__).resolve().parents[2]
    config = load_config(str(root / f'configs/deploy/detection_{target}.py')).backend_config
    config.python = python
    if config.get('quantize'):
        config.calib_images = str(source)
    place = folder / target
    place.mkdir(exist_ok=True)
    onnx, stamp = place / f'{flavour}.onnx', place / 'made.json'
    digest = hashlib.sha256(Path(files[flavour]).read_bytes()).hexdigest()
    if stamp.is_file():
        known = json.loads(stamp.read_text())
        if known['digest'] == digest and known['python'] == python:
            return known['file'], known['said']
    shutil.copyfile(files[flavour], onnx)
    made, said = convert_target(config, str(onnx), str(place), files['program'], images)
    stamp.write_text(json.dumps(dict(digest=digest, python=python, file=made[0], said=said)))
    return made[0], said


def reference_on(pixels: np.ndarray, program: Any, metadata: Any, runtime: Any,
                 multi_label: bool) -> List[list]:
    """Return what PyTorch finds in RGB pixels within 0..1, (1, 3, H, W), in their pixels."""
    import torch

    from mmyolonas.runtime.numpy_ops import Geometry
    how = metadata.preprocess
    ordered = pixels if how.channel_order == 'RGB' else pixels[:, ::-1]
    mean, std = (np.array(value, np.float32).reshape(1, 3, 1, 1) for value in (how.mean, how.std))
    feed = torch.from_numpy(np.ascontiguousarray((ordered * 255 - mean) / std, np.float32))
    with torch.no_grad():
        outputs = {name: value.numpy() for name, value in program(feed).items()}
    size = pixels.shape[3], pixels.shape[2]
    runtime.metadata.postprocess.multi_label = multi_label
    found = runtime.postprocess(outputs, [Geometry(size, (1., 1.), (0, 0), size)])[0].above(LEAST)
    return [[*map(float, box), float(score), int(label)]
            for box, score, label in zip(found.boxes, found.scores, found.labels)]
