"""tools/finetune.py from a folder to a report; killed, out of space, and with bad data."""
import errno
import json
import os
import signal
from pathlib import Path

import cv2
import pytest
from mmengine.config import Config

from mmyolonas.datasets.formats.roboflow import ANNOTATIONS
from mmyolonas.workflows.finetune.finetuning import _put_aside
from tests.conftest import ROOT
from tests.forked import end_of_ranks, start_ranks
from tests.killing import kill_at_line, start_and_read
from tests.layout_files import write_layout, write_model
from tests.run_tool import run_tool

TOOL = 'tools/finetune.py'


def options(folder: Path, *more) -> list:
    """Return options for a training of a second."""
    model = write_model(folder / 'narrow.py')
    return ['--model', model, '--imgsz', 64, '--epochs', 1, '--batch', 8, '--work-dir',
            folder / 'wörk dir', *more]


@pytest.fixture(autouse=True)
def short_epochs(monkeypatch):
    """Two steps an epoch, where tiny sets would be repeated for fifty."""
    monkeypatch.setattr('mmyolonas.workflows.finetune.finetune_settings._MIN_STEPS', 2)


@pytest.mark.long
def test_from_folder_to_report(tmp_path, capsys):
    data = write_layout(tmp_path / 'meine Däten', 'yolo', 8, 4)
    arguments = [data, *options(tmp_path)]
    assert run_tool(TOOL, *arguments) == 0
    work = tmp_path / 'wörk dir'
    text = capsys.readouterr().out
    for expected in ('(yolo), 2 classes', 'WARNING: only 8 images to train on', 'Epoch(train)',
                     'AP 0.', '| square | 4 |', 'tools/quantize.py', 'tools/deploy.py'):
        assert expected in text, expected
    cfg = Config.fromfile(work / 'config.py')
    assert cfg.classes == ('square', 'disc') and cfg.batch_size == 8
    assert json.loads((work / 'data' / 'train.json').read_text())['categories'][0]['id'] == 1
    pictures = sorted(path.stem for path in (work / 'evaluation').glob('*.png'))
    assert {'confusion', 'threshold', 'classes', 'predictions', 'mistakes'} == set(pictures)
    assert all(cv2.imread(str(path)).std() > 3 for path in work.glob('*/*.png'))
    assert len(list((work / 'train').glob('*/vis_data/scalars.json'))) == 1
    report = json.loads((work / 'evaluation' / 'report.json').read_text())
    assert list(report) == ['val'] and 0 < report['val']['threshold'] < 1
    # what it prints can be typed
    line = next(line for line in text.splitlines() if 'image_demo.py' in line)
    assert '--score-thr' in line and str(work) in line
    # a second call repeats nothing; other options keep the first training
    stamp = (work / 'config.py').stat().st_mtime_ns
    assert run_tool(TOOL, *arguments) == 0
    assert capsys.readouterr().out.count('done before') == 3
    assert (work / 'config.py').stat().st_mtime_ns == stamp


@pytest.mark.long
def test_the_written_config_works_with_the_other_tools(tmp_path, capsys):
    data = write_layout(tmp_path / 'data', 'roboflow', 8, 4)
    (data / 'valid').rename(data / 'test')  # validation images are set aside
    assert run_tool(TOOL, data, *options(tmp_path)) == 0
    work = tmp_path / 'wörk dir'
    text = capsys.readouterr().out
    assert 'there is no validation split: 2 of 8' in text
    assert 'On the validation images: AP' in text
    report = json.loads((work / 'evaluation' / 'report.json').read_text())
    assert list(report) == ['val', 'test'] and report['test']['images'] == 4
    assert report['test']['threshold'] == report['val']['threshold']
    checkpoint, = (work / 'train').glob('best_*.pth')
    assert run_tool('tools/test.py', work / 'config.py', checkpoint, '--work-dir',
                    tmp_path / 'again') == 0
    scores, = (tmp_path / 'again').glob('*/*.json')
    assert json.loads(scores.read_text())['coco/bbox_mAP'] == pytest.approx(
        report['test']['ap'], abs=6e-4)


@pytest.mark.long
def test_goes_on_after_a_kill(tmp_path, capsys):
    """kill -9 in the second epoch; the same command resumes and ends."""
    data = write_layout(tmp_path / 'data', 'coco', 8, 4)
    arguments = [data, *options(tmp_path)]
    arguments[arguments.index('--epochs') + 1] = 2
    arguments[arguments.index('--batch') + 1] = 2
    kill_at_line(start_and_read([ROOT / TOOL, *arguments]), 'Epoch(val) [1]')
    train = tmp_path / 'wörk dir' / 'train'
    assert (train / 'epoch_1.pth').exists() and not (train / 'epoch_2.pth').exists()
    config = tmp_path / 'wörk dir' / 'config.py'
    config.write_text(config.read_text() + '# a change by hand\n')
    assert run_tool(TOOL, *arguments) == 0
    text = capsys.readouterr().out
    assert 'resumed epoch: 1' in text and 'Data: done before' in text
    assert len(list(train.glob('*/vis_data/scalars.json'))) == 2
    assert (train / 'epoch_2.pth').exists() and 'a change by hand' in config.read_text()


def test_other_options_keep_the_earlier_training(tmp_path, capsys):
    (tmp_path / 'train_before_1').mkdir()
    (tmp_path / 'train').mkdir()
    (tmp_path / 'train' / 'epoch_3.pth').write_bytes(b'')
    _put_aside(tmp_path / 'train')
    assert (tmp_path / 'train_before_2' / 'epoch_3.pth').exists()
    assert 'kept in' in capsys.readouterr().out and not (tmp_path / 'train').exists()


class TestBadInput:
    """One clear sentence each, and nothing is left half done."""

    def message(self, capsys, *arguments) -> str:
        assert run_tool(TOOL, *arguments) in (1, 2)
        text = capsys.readouterr().err
        assert 'error: ' in text and 'Traceback' not in text
        return text

    def test_arguments(self, tmp_path, capsys):
        said = self.message(capsys, tmp_path, '--epochs', 0)
        assert '--epochs: must be a whole number of at least 1' in said
        assert '--model must be s, m, l' in self.message(capsys, tmp_path, '--model', 'x')
        missing = self.message(capsys, tmp_path / 'none', '--work-dir', tmp_path / 'w')
        assert 'does not exist' in missing
        (tmp_path / 'data').mkdir()
        unknown = self.message(capsys, tmp_path / 'data', '--work-dir', tmp_path / 'w')
        assert 'holds no labels in a layout known here' in unknown
        data = write_layout(tmp_path / 'b', 'roboflow')
        absent = self.message(capsys, data, *options(tmp_path, '--pretrained', 'no.pth'))
        assert 'no.pth does not exist' in absent

    def test_labels(self, tmp_path, capsys):
        data = write_layout(tmp_path / 'data', 'roboflow')
        for part in ('train', 'valid'):
            path = data / part / ANNOTATIONS
            path.write_text(json.dumps({**json.loads(path.read_text()), 'annotations': []}))
        assert 'not a single box' in self.message(capsys, data, *options(tmp_path))

    @pytest.mark.long
    def test_missing_images_are_an_error_or_left_out(self, tmp_path, capsys):
        data = write_layout(tmp_path / 'data', 'roboflow', 8, 4)
        lost = sorted((data / 'train').glob('*.png'))[2]
        lost.unlink()
        text = self.message(capsys, data, *options(tmp_path))
        assert f"1 images cannot be used, the first: image file '{lost}' does not exist" in text
        assert '--drop-bad-images' in text
        assert run_tool(TOOL, data, *options(tmp_path, '--drop-bad-images')) == 0
        assert 'corrected annotations are in' in capsys.readouterr().out
        kept = json.loads((tmp_path / 'wörk dir' / 'data' / 'train.json').read_text())
        assert len(kept['images']) == 7
        original = json.loads((data / 'train' / ANNOTATIONS).read_text())
        assert len(original['images']) == 8

    @pytest.mark.long
    def test_full_disk(self, tmp_path, capsys, monkeypatch):
        """Nothing is left half written, and the command goes on when there is room."""
        data = write_layout(tmp_path / 'data', 'voc', 8, 4)
        with monkeypatch.context() as patch:
            def full(*_):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

            patch.setattr('mmyolonas.utils.files._sync', full)
            text = self.message(capsys, data, *options(tmp_path))
        assert 'No space left on device' in text and 'make room' in text
        work = tmp_path / 'wörk dir'
        assert not [path for path in work.rglob('*') if path.is_file()]
        assert run_tool(TOOL, data, *options(tmp_path)) == 0


@pytest.mark.long
def test_two_processes_look_once_and_train_together(tmp_path, capsys):
    """As torchrun starts them; killed and started again, they go on where they were."""
    data = write_layout(tmp_path / 'data', 'coco', 8, 4)
    arguments = [data, *options(tmp_path, '--launcher', 'pytorch')]
    arguments[arguments.index('--epochs') + 1] = 2
    arguments[arguments.index('--batch') + 1] = 2
    ranks = start_ranks([ROOT / TOOL, *arguments])
    kill_at_line(ranks[0], 'Epoch(val) [1]')
    os.kill(ranks[1].pid, signal.SIGKILL)
    ranks[1].wait()
    work = tmp_path / 'wörk dir'
    assert (work / 'train' / 'epoch_1.pth').exists()
    text = ''.join(end_of_ranks(start_ranks([ROOT / TOOL, *arguments])))
    assert 'Data: done before' in text and 'resumed epoch: 1' in text
    assert text.count('[3/3] Evaluation') == 1 and (work / 'report.md').is_file()
    cfg = Config.fromfile(work / 'config.py')
    assert cfg.batch_size == 1 and cfg.sync_bn == 'torch'
    # 8 images, two at a step, in two epochs; each process by itself would make 16
    rows = [json.loads(line) for path in (work / 'train').glob('*/vis_data/scalars.json')
            for line in path.read_text().splitlines()]
    assert max(row['step'] for row in rows if 'loss' in row) == 8


def test_a_launcher_that_has_started_nothing(tmp_path, capsys, monkeypatch):
    for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    for launcher, word in (('pytorch', 'torchrun --nproc_per_node'), ('slurm', 'srun python')):
        assert run_tool(TOOL, tmp_path, *options(tmp_path, '--launcher', launcher)) == 1
        assert word in capsys.readouterr().err
