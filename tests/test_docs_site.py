"""The documentation site: builds without a warning, is complete, fetches nothing."""
import ast
import html
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / 'docs' / 'site'))
import api_pages  # noqa: E402
import links  # noqa: E402

sys.path.pop(0)

PUBLIC = [(package, name, path) for package in api_pages.PACKAGES
          for name, path in api_pages.public_names(ROOT, package).items()]
COMPONENTS = [(page, name, path) for page, _, folders in api_pages.COMPONENTS
              for folder in folders for name, path in api_pages.registered(ROOT, folder)]


def build(folder: Path) -> subprocess.CompletedProcess:
    """Build the site as `make docs` does: with --quiet mkdocs would count no warnings."""
    return subprocess.run(
        [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
        env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'})


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    """The built site."""
    for name in ('material', 'mkdocstrings'):
        pytest.importorskip(name, reason=f'needs {name}, which is not in this environment '
                                         '(requirements/docs.in; Python 3.11 or newer)')
    folder = tmp_path_factory.mktemp('site')
    done = build(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope='module')
def sections(site) -> dict:
    """What the API reference says about each object, by its dotted path."""
    found = {}
    for path in (site / 'api').glob('*.html'):
        parts = re.split(r'<h2 id="(mmyolonas[\w.]*)"', path.read_text(encoding='utf-8'))
        found.update({(path.stem, name): text for name, text in zip(parts[1::2], parts[2::2])})
    return found


def test_nothing_is_fetched(site):
    """Links of the text may lead elsewhere; scripts, styles, fonts and pictures lie here."""
    for path in site.rglob('*.html'):
        text = re.sub(r'<pre.*?</pre>', '', path.read_text(encoding='utf-8'), flags=re.S)
        for tag in re.findall(r'<(?:script|link|img|iframe|source)\b[^>]*>', text):
            assert not re.search(r'(?:src|href)="?(?:https?:)?//', tag), (path.name, tag)
    for path in site.rglob('*.css'):
        assert not re.search(r'(?:url\(|@import )["\']?(?:https?:)?//', path.read_text()), path


def test_every_local_link_leads_somewhere(site):
    """Also those that mkdocs does not look at: raw HTML, generated pages, files."""
    for page in site.rglob('*.html'):
        text = re.sub(r'<pre.*?</pre>', '', page.read_text(encoding='utf-8'), flags=re.S)
        for target in set(re.findall(r'(?:href|src)="?([^"#?> ]+)', text)):
            if not re.match(r'[a-z]+:|/', target) and page.name != '404.html':
                there = (page.parent / html.unescape(target)).resolve()
                assert there.exists(), f'{page.relative_to(site)}: {target}'


def test_formulas_are_found(site):
    text = (site / 'reference.html').read_text(encoding='utf-8')
    assert text.count('class="arithmatex"') > 300
    plain = re.sub(r'<(pre|code|script|svg)\b.*?</\1>|<[^>]+>', '', text, flags=re.S)
    assert '$' not in plain


def test_lists_are_lists(site):
    """Python-Markdown wants an empty line before a list and four spaces within it."""
    for path in site.rglob('*.html'):
        text = re.sub(r'<(pre|code)\b.*?</\1>', '', path.read_text(encoding='utf-8'), flags=re.S)
        for paragraph in re.findall(r'<p>(.*?)</p>', text, re.S):
            assert not re.search(r'\n(?:[*-]|\d+\.|\|) ', paragraph), (path.name, paragraph[:200])


@pytest.mark.parametrize('package, name, path', PUBLIC)
def test_public_name_is_documented(sections, package, name, path):
    """Args and Returns are rendered, for methods of a class as well."""
    text = sections[package, path]
    module, _, _ = path.rpartition('.')
    thing = getattr(importlib.import_module(module), name)
    if inspect.isclass(thing):
        assert 'Parameters:' in text or 'Attributes:' in text
        for method in (value for key, value in vars(thing).items()
                       if inspect.isfunction(value) and not key.startswith('_')):
            parts = text.split(f'id="{path}.{method.__name__}"')
            assert len(parts) > 1, method
            check_sections(re.split(r'<h3 id=', parts[1])[0], method)
    else:
        check_sections(text, thing)


def check_sections(text: str, function) -> None:
    """Assert that parameters and result of a function are described."""
    signature = inspect.signature(function)
    if [key for key in signature.parameters if key != 'self']:
        assert 'Parameters:' in text, function
    if signature.return_annotation not in (None, 'None', inspect.Signature.empty):
        assert 'Returns:' in text or 'Yields:' in text, function


@pytest.mark.parametrize('page, name, path', COMPONENTS)
def test_component_is_documented(sections, page, name, path):
    assert f'mmyolonas.{name}' in sections[page, path]


def test_no_registered_component_is_missing():
    """The folders that are read are all that register something."""
    listed = {path for _, _, path in COMPONENTS}
    for path in (ROOT / 'mmyolonas').rglob('*.py'):
        module = '.'.join(path.relative_to(ROOT).with_suffix('').parts)
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            words = ' '.join(ast.unparse(call) for call in getattr(node, 'decorator_list', []))
            if re.search(r'\b(MODELS|TASK_UTILS|DATASETS|TRANSFORMS|METRICS|HOOKS|MODEL_WRAPPERS|'
                         r'OPTIMIZERS|OPTIM_WRAPPERS|OPTIM_WRAPPER_CONSTRUCTORS|LOOPS)\.register',
                         words):
                assert f'{module}.{node.name}' in listed


@pytest.mark.parametrize('text, expected', [
    ('[a](b.md)', '[a](b.md)'),
    ('[a](../../configs/x.py#L3)', '[a](source/configs/x.py.md#L3)'),
    ('[a](https://x.org) [b](#here)', '[a](https://x.org) [b](#here)'),
    ('`[a](../../configs/x.py)`', '`[a](../../configs/x.py)`'),
    ('```\n[a](../../configs/x.py)\n```\n', '```\n[a](../../configs/x.py)\n```\n'),
    ('<img src="../../configs/x.py">', '<img src="source/configs/x.py.md">'),
    ('[a](../../nowhere.md)', '[a](../../nowhere.md)'),
])
def test_links(text, expected):
    places = {'configs/x.py': 'source/configs/x.py.md', 'docs/en/b.md': 'b.md'}
    assert links.rewrite(text, 'docs/en/a.md', 'a.md', places) == expected
