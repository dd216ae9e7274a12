"""What the guide to fine-tuning says can be typed."""
import re
import runpy
import shlex
import sys
from unittest import mock

import pytest

from mmyolonas.datasets.samples import sample_data
from tests.conftest import ROOT

TEXT = (ROOT / 'docs' / 'en' / 'finetune.md').read_text()
COMMANDS = [line for block in re.findall(r'```shell\n(.*?)```', TEXT, re.S)
            for line in block.replace('\\\n', ' ').splitlines()]


@pytest.mark.parametrize('line', [line for line in COMMANDS if '-m mmyolonas' not in line])
def test_commands_are_understood(line):
    """The tool exists and takes these options; the configs exist."""
    words = shlex.split(line)
    assert words[0] in ('python', 'torchrun', 'srun')
    tool, *arguments = words[next(i for i, word in enumerate(words) if word.endswith('.py')):]
    for word in arguments:
        if word.startswith('configs/'):
            assert (ROOT / word).is_file()
    module = runpy.run_path(str(ROOT / tool))
    with mock.patch.object(sys, 'argv', [tool, *arguments]):
        assert module['parse_args']()


def test_sample_command(tmp_path, monkeypatch):
    line, = (line for line in COMMANDS if '-m mmyolonas' in line)
    *_, task, _, option, count = shlex.split(line)
    drawn = {}
    monkeypatch.setattr(sample_data, 'generate_detection_samples',
                        lambda folder, *counts, **_: drawn.update(counts=counts) or {})
    sample_data.main([task, str(tmp_path), option, count])
    assert drawn['counts'][0] == 2000


def test_checkpoint_of_the_samples():
    from mmengine.config import Config
    cfg = Config.fromfile(ROOT / 'configs' / 'yolonas' / 'yolonas_s_sample.py')
    assert f'epoch_{cfg.max_epochs}.pth' in TEXT


def test_files_and_options_exist():
    for link in re.findall(r'\]\(([^)]+)\)', TEXT):
        path, _, heading = link.partition('#')
        page = (ROOT / 'docs' / 'en' / (path or 'finetune.md')).resolve()
        assert page.exists() and (not heading or heading in page.read_text().lower().replace(
            ' ', '-')), link
    tool = (ROOT / 'tools' / 'finetune.py').read_text()
    for option in re.findall(r'`(--[a-z-]+)', TEXT):
        assert f"'{option}'" in tool, option
