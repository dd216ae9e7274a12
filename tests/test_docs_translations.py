"""Translated pages have the commands of their originals, and no dead links."""
import re
from pathlib import Path
from typing import List

import pytest

from tests.conftest import ROOT

#: Translation and original; whether it has the first blocks alone.
PAGES = [('README_zh-CN.md', 'README.md', False), ('README_ko.md', 'README.md', True)] + [
    (f'docs/zh_cn/{path.name}', f'docs/en/{path.name}', False)
    for path in sorted((ROOT / 'docs' / 'zh_cn').glob('*.md'))]


def code_blocks(text: str) -> List[str]:
    """Return the fenced blocks; comments are prose and may be translated."""
    blocks = re.findall(r'^```(\w*\n.*?)^```', text, re.M | re.S)
    return [re.sub(r'(?m)(?:^|[ \t]+)#.*$', '', block) for block in blocks]


@pytest.mark.parametrize('translation, original, beginning', PAGES)
def test_commands_are_identical(translation, original, beginning):
    mine = code_blocks((ROOT / translation).read_text(encoding='utf-8'))
    theirs = code_blocks((ROOT / original).read_text(encoding='utf-8'))
    assert len(mine) >= (4 if beginning else 1)
    hint = f'{translation} and {original} differ: take the command over into the translation'
    assert mine == (theirs[:len(mine)] if beginning else theirs), hint


@pytest.mark.parametrize('path', [page for page, _, _ in PAGES])
def test_links(path):
    for link in re.findall(r'\]\(([^)#]+)', (ROOT / path).read_text(encoding='utf-8')):
        if '://' not in link:
            assert (Path(ROOT / path).parent / link).exists(), link


def test_the_four_guides_exist():
    names = {Path(page).stem for page, _, _ in PAGES}
    assert {'quickstart', 'finetune', 'deploy', 'quantization'} <= names


def test_a_changed_command_is_seen():
    text = '```shell\npython tools/x.py --a 1   # this\n```\n'
    assert code_blocks(text) == code_blocks(text.replace('# this', '# 这'))
    assert code_blocks(text) != code_blocks(text.replace('--a 1', '--a 2'))
