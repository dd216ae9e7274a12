"""The generated sample data: format, determinism, and that boxes fit the drawings."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from mmyolonas.datasets import CheckedCocoDataset
from mmyolonas.datasets.samples.sample_data import (
    generate_detection_samples,
    generate_pose_samples,
    main,
)
from mmyolonas.datasets.samples.sample_figures import KEYPOINT_NAMES, figures_image
from mmyolonas.datasets.samples.sample_shapes import SHAPE_CLASSES, shapes_image, visible_objects
from mmyolonas.datasets.samples.sample_textures import texture_bank


def read(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes()
            for file in sorted(folder.rglob('*')) if file.is_file()}


class TestDetectionSamples:

    def test_format(self, tmp_path):
        files = generate_detection_samples(str(tmp_path / 'a' / 'b'), 12, 4, 128, seed=3)
        for split, count in (('train', 12), ('val', 4)):
            coco = COCO(files[split])
            assert len(coco.imgs) == count
            assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == list(SHAPE_CLASSES)
            for image in coco.imgs.values():
                img = cv2.imread(str(tmp_path / 'a' / 'b' / split / image['file_name']))
                assert img.shape == (128, 128, 3)
            boxes = np.array([a['bbox'] for a in coco.anns.values()])
            assert (boxes[:, 2:] >= 3).all() and (boxes[:, :2] >= 0).all()
            assert (boxes[:, :2] + boxes[:, 2:] <= 128).all()
            assert min(coco.anns) == 1
        dataset = CheckedCocoDataset(ann_file=files['train'], metainfo=dict(classes=SHAPE_CLASSES))
        assert len(dataset) == 12
        assert {i['bbox_label'] for n in range(12) for i in dataset.get_data_info(n)['instances']
                } == set(range(5))

    def test_deterministic_and_prefix_stable(self, tmp_path):
        generate_detection_samples(str(tmp_path / 'a'), 4, 2, 96)
        generate_detection_samples(str(tmp_path / 'b'), 4, 2, 96)
        generate_detection_samples(str(tmp_path / 'c'), 6, 2, 96)
        generate_detection_samples(str(tmp_path / 'd'), 4, 2, 96, seed=1)
        a, b, c, d = (read(tmp_path / name) for name in 'abcd')
        assert a == b
        assert a['train/000003.jpg'] == c['train/000003.jpg']
        assert a['train/000003.jpg'] != d['train/000003.jpg']
        assert a['train/000001.jpg'] != a['val/000001.jpg']

    @pytest.mark.slow  # every process imports the package
    def test_processes_draw_the_same(self, tmp_path):
        for workers in (1, 2):
            generate_detection_samples(str(tmp_path / str(workers)), 40, 2, 96, workers=workers)
        one, two = read(tmp_path / '1'), read(tmp_path / '2')
        assert one == two and len(one) == 45

    def test_existing_folder(self, tmp_path):
        folder = tmp_path / 'a'
        folder.mkdir()
        generate_detection_samples(str(folder), 2, 1, 64)
        stamp = (folder / 'sample.json').stat().st_mtime_ns
        generate_detection_samples(str(folder), 2, 1, 64)
        assert (folder / 'sample.json').stat().st_mtime_ns == stamp
        with pytest.raises(FileExistsError, match='choose another folder'):
            generate_detection_samples(str(folder), 3, 1, 64)
        with pytest.raises(FileExistsError):
            generate_pose_samples(str(folder), 2, 1, 64)
        assert [p.name for p in tmp_path.iterdir()] == ['a']  # nothing temporary is left

    def test_interrupted(self, tmp_path, monkeypatch):
        def fail(*args):
            raise KeyboardInterrupt

        monkeypatch.setattr('mmyolonas.datasets.samples.sample_data.shapes_image', fail)
        with pytest.raises(KeyboardInterrupt):
            generate_detection_samples(str(tmp_path / 'a'), 2, 1, 64)
        assert list(tmp_path.iterdir()) == []

    def test_wrong_numbers(self, tmp_path):
        with pytest.raises(ValueError, match='size >= 64'):
            generate_detection_samples(str(tmp_path / 'a'), 2, 1, 32)
        with pytest.raises(ValueError, match='at least one image'):
            generate_detection_samples(str(tmp_path / 'a'), 2, 0)

    def test_overlap_clutter_and_empty_images(self):
        bank = texture_bank(np.random.default_rng(0), 96)
        counts, overlaps = [], 0
        for index in range(60):
            _, objects = shapes_image(np.random.default_rng(index), bank, 96)
            counts.append(len(objects))
            boxes = np.array([o.bbox for o in objects]).reshape(-1, 4)
            low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
            ends = boxes[:, :2] + boxes[:, 2:]
            high = np.minimum(ends[:, None], ends[None])
            overlaps += (np.triu((high - low > 0).all(-1), 1)).sum()
        assert 0 in counts and max(counts) >= 6 and np.mean(counts) > 3
        assert overlaps > 20

    def test_visible_objects(self):
        owners = np.zeros((10, 12), dtype=np.uint8)
        owners[2:5, 3:9] = 1
        owners[4:8, 5:7] = 2
        first, second = visible_objects(owners, [3, 0])
        assert (first.label, first.bbox, first.area) == (3, [3, 2, 6, 3], 16)
        assert (second.label, second.bbox, second.area) == (0, [5, 4, 2, 4], 8)


class TestPoseSamples:

    def test_format(self, tmp_path):
        files = generate_pose_samples(str(tmp_path / 'p'), 8, 2, 128)
        coco = COCO(files['train'])
        category = coco.loadCats(1)[0]
        assert category['name'] == 'person' and category['keypoints'] == list(KEYPOINT_NAMES)
        assert np.array(category['skeleton']).shape == (19, 2)
        assert len(coco.anns) > 5
        for annotation in coco.anns.values():
            keypoints = np.array(annotation['keypoints']).reshape(17, 3)
            x, y, w, h = annotation['bbox']
            assert annotation['num_keypoints'] == (keypoints[:, 2] > 0).sum() >= 13
            assert (keypoints[keypoints[:, 2] == 0] == 0).all()
            assert (keypoints[:, :2] < 128).all() and (keypoints[:, :2] >= 0).all()
            seen = keypoints[keypoints[:, 2] == 2]
            assert ((seen[:, 0] >= x - 1) & (seen[:, 0] <= x + w + 1)).all()
            assert ((seen[:, 1] >= y - 1) & (seen[:, 1] <= y + h + 1)).all()
            assert 0 < annotation['area'] <= w * h

    def test_all_visibilities_occur(self):
        bank = texture_bank(np.random.default_rng(0), 128)
        values = [v for index in range(30)
                  for figure in figures_image(np.random.default_rng(index), bank, 128)[1]
                  for v in figure.keypoints[:, 2]]
        assert set(values) == {0, 1, 2}
        assert np.mean(np.array(values) == 2) > 0.8


class TestCommandLine:

    @pytest.mark.parametrize('task,prefix', [('detection', 'instances'),
                                             ('pose', 'person_keypoints')])
    def test_runs(self, tmp_path, capsys, task, prefix):
        main([task, str(tmp_path / 'x'), '--num-train', '2', '--num-val', '1', '--size', '64'])
        lines = capsys.readouterr().out.split()
        assert [line.rsplit('/', 1)[1] for line in lines] == [f'{prefix}_train.json',
                                                              f'{prefix}_val.json']
        assert len(json.loads((tmp_path / f'x/annotations/{prefix}_train.json').read_text())[
            'images']) == 2

    def test_error(self, tmp_path, capsys):
        (tmp_path / 'file').write_text('x')
        with pytest.raises(SystemExit):
            main(['detection', str(tmp_path)])
        assert 'exists and holds other data' in capsys.readouterr().err


def test_kinds_of_sets(tmp_path):
    """One large object, many small ones, rare classes; another kind is another set."""
    found = {}
    for kind in ('single', 'crowd', 'tail'):
        files = generate_detection_samples(str(tmp_path / kind), 40, 1, 96, kind=kind)
        found[kind] = json.loads(Path(files['train']).read_text())['annotations']
    assert len(found['single']) <= 40 and len(found['crowd']) > 20 * 40
    assert min(a['bbox'][2] for a in found['single']) > max(a['bbox'][2] for a in found['crowd'])
    counts = np.bincount([a['category_id'] for a in found['tail']], minlength=6)
    assert counts[1] > counts[2] > counts[3] >= counts[4] and counts[1] > 10 * counts[5]
    with pytest.raises(FileExistsError):
        generate_detection_samples(str(tmp_path / 'tail'), 40, 1, 96)
