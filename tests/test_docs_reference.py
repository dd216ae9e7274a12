"""Citations of the mathematical reference name sections that exist."""
import re
import subprocess
from pathlib import Path
from typing import Iterator, List, Set, Tuple

import pytest

from tests.conftest import ROOT

REFERENCE = ROOT / 'docs' / 'en' / 'reference.md'
HEADING = re.compile(r'^(?:## (\d+)\.|### (\d+\.\d+)) \S', re.M)
#: In code the number must follow on the same line, or the citation could not be checked.
CITATION = re.compile(r'(?<!\w)reference\.md(?: (\d+(?:\.\d+)?))?')
#: The old form, such as "spec" with a number behind it, wrapped or not.
OLD = re.compile(r'\bspec(?:ification)?\b[\s#,:]+(?:of the model[\s#,]+)?'
                 r'(?:sections?\s+\d|\d+\.\d)', re.I)


def tracked_files() -> List[Path]:
    """Return the Python and Markdown files of the checkout, without this one."""
    git = subprocess.run(['git', 'ls-files', '-z', '*.py', '*.md'], cwd=ROOT, check=False,
                         capture_output=True, text=True)
    if git.returncode:
        pytest.skip('not a git checkout')
    paths = [ROOT / name for name in git.stdout.split('\0') if name]
    return [path for path in paths if path.is_file() and path != Path(__file__).resolve()]


def sections(text: str) -> Set[str]:
    """Return the numbers of the headings of a text."""
    return {chapter or section for chapter, section in HEADING.findall(text)}


def findings(text: str, known: Set[str], is_code: bool) -> Iterator[Tuple[int, str]]:
    """Return the line and the fault of every citation that leads nowhere."""
    for match in CITATION.finditer(text):
        number, line = match[1], text.count('\n', 0, match.start()) + 1
        if number is not None and number not in known:
            yield line, f'reference.md has no section {number}'
        if number is None and is_code:
            yield line, 'the section number must follow on the same line'
    for match in OLD.finditer(text):
        line = text.count('\n', 0, match.start()) + 1
        yield line, f'cites a text that is not in the repository: {match[0]!r}'


def test_citations():
    known = sections(REFERENCE.read_text(encoding='utf-8'))
    faults, cited = [], 0
    for path in tracked_files():
        text = path.read_text(encoding='utf-8')
        cited += sum(match[1] is not None for match in CITATION.finditer(text))
        faults += [f'{path.relative_to(ROOT)}:{line}: {fault}'
                   for line, fault in findings(text, known, path.suffix == '.py')]
    assert not faults, '\n' + '\n'.join(faults)
    assert cited > 50  # the pattern still finds the citations of the code


def test_sections_are_numbered_in_order():
    """No number is missing or given twice."""
    chapter, section = 0, 0
    for heading in HEADING.finditer(REFERENCE.read_text(encoding='utf-8')):
        if heading[1]:
            chapter, section = chapter + 1, 0
            assert heading[1] == str(chapter)
        else:
            section += 1
            assert heading[2] == f'{chapter}.{section}'


def test_links_of_the_contents():
    """The table of contents names every chapter, and its links lead there."""
    text = REFERENCE.read_text(encoding='utf-8')
    chapters = re.findall(r'^## (\d+)\. (.+)$', text, re.M)
    links = re.findall(r'^\* \[(\d+) (.+)\]\(#(.+)\)$', text, re.M)
    assert links == [(number, title, re.sub(r'[^\w -]', '', f'{number}. {title}').lower().replace(
        ' ', '-')) for number, title in chapters]


@pytest.mark.parametrize('text, fault', [
    ('# see reference.md 4.1', None),
    ('# (docs/en/reference.md 4.1, reference.md 4)', None),
    ('# Source: reference.md 4.1.', None),
    ('spec = find_spec(name)  # 3 names', None),
    ('x\n# reference.md 4.9', (2, 'no section 4.9')),
    ('# reference.md 4.1, reference.md 5', (1, 'no section 5')),
    ('# reference.md\n# 4.1', (1, 'same line')),
    ('# as the spec 4.1 says', (1, 'not in the repository')),
    ('x = 1\n# (spec\n# section 9.6)', (2, 'not in the repository')),
    ('# Spec sections 1.7, 2', (1, 'not in the repository')),
    ('# (specification, section 5.1, step 4)', (1, 'not in the repository')),
])
def test_what_is_found(text, fault):
    found = list(findings(text, {'4', '4.1'}, is_code=True))
    if fault is None:
        assert not found
    else:
        (line, message), = found
        assert line == fault[0] and fault[1] in message
