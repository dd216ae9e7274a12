"""Links between the files of the repository, as links between the pages of the site.

Documents link to each other, to configs, tools and folders by relative paths, so that they can
be read in a checkout. In the site each such target is a page: a document, or the file's source.
"""
import json
import posixpath
import re
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional

#: Fenced code, code in a line, a Markdown link or image, an HTML attribute.
_LINK = re.compile(r'(?P<code>^(?P<fence>```+).*?^(?P=fence)\s*$|`[^`\n]+`)'
                   r'|(?P<open>\]\(|(?:src|href)=")(?P<target>[^)"\s]+)(?P<close>[)"])',
                   re.M | re.S)
_LANGUAGES = {'.py': 'python', '.sh': 'shell', '.yml': 'yaml', '.json': 'json', '.toml': 'toml'}


def replace_links(text: str, change: Callable[[str], str]) -> str:
    """Return Markdown with each relative target of a link changed; code stays."""
    def one(match: 're.Match[str]') -> str:
        if match['code'] or re.match(r'[a-z]+:|#|/', match['target']):
            return match[0]
        return match['open'] + change(match['target']) + match['close']
    return _LINK.sub(one, text)


def targets(text: str, path: str) -> Iterator[str]:
    """Yield the repository paths that a document of this path links to."""
    found: List[str] = []
    replace_links(text, lambda target: found.append(target) or target)
    for target in found:
        name = target.partition('#')[0]
        if name:
            yield posixpath.normpath(posixpath.join(posixpath.dirname(path), name))


def rewrite(text: str, path: str, page: str, places: Dict[str, str]) -> str:
    """Return a document with its links as they are in the site.

    Args:
        text (str): Markdown.
        path (str): Path of the document in the repository.
        page (str): Its place in the site.
        places (dict[str, str]): Place in the site of each path of the repository.
    """
    def change(target: str) -> str:
        name, mark, fragment = target.partition('#')
        there = posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
        if there not in places:
            return target  # the strict build names it
        return posixpath.relpath(places[there], posixpath.dirname(page) or '.') + mark + fragment
    return replace_links(text, change)


def source_place(root: Path, path: str) -> Optional[str]:
    """Return where the site shows a file or folder that is no document, or None."""
    if (root / path).is_dir():
        return f'source/{path}/index.md'
    return f'source/{path}.md' if (root / path).is_file() else None


def source_page(root: Path, path: str) -> str:
    """Return a page that shows a file, a notebook or the list of a folder."""
    file = root / path
    title = f'# {path}\n\n'
    if file.is_dir():
        names = sorted(entry.name for entry in file.iterdir()
                       if entry.suffix in _LANGUAGES or entry.suffix == '.md' or entry.is_dir())
        names = [name for name in names if not name.startswith(('.', '__'))]
        return title + '\n'.join(f'* [{name}]({name})' for name in names) + '\n'
    text = file.read_text(encoding='utf-8')
    if file.suffix == '.ipynb':
        return title + '\n\n'.join(_cell(cell) for cell in json.loads(text)['cells']) + '\n'
    return f'{title}````{_LANGUAGES.get(file.suffix, "text")}\n{text.rstrip()}\n````\n'


def _cell(cell: dict) -> str:
    text = ''.join(cell['source'])
    return f'````python\n{text}\n````' if cell['cell_type'] == 'code' else text
