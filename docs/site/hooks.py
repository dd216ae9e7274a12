"""What mkdocs is told about this repository: pages outside of docs/en, and links to sources."""
import re
from pathlib import Path
from typing import Any, Dict

from api_pages import api_pages
from links import rewrite, source_page, source_place, targets
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).resolve().parents[2]
#: Documents outside of docs/en, and where the site has them.
DOCUMENTS = {
    'README.md': 'readme.md', 'README_zh-CN.md': 'zh_cn/index.md', 'README_ko.md': 'ko/index.md',
    'CONTRIBUTING.md': 'contributing.md', 'CHANGELOG.md': 'changelog.md',
    'SECURITY.md': 'security.md', 'benchmarks/README.md': 'benchmarks.md',
    **{f'configs/{path.parent.name}/README.md': f'configs/{path.parent.name}.md'
       for path in sorted(ROOT.glob('configs/*/README.md'))},
    **{f'docs/zh_cn/{path.name}': f'zh_cn/{path.name}'
       for path in sorted(ROOT.glob('docs/zh_cn/*.md'))},
}
_places: Dict[str, str] = {}


def on_files(files: Files, config: Any) -> Files:
    """Add the documents outside of docs/en, the API reference, and what they link to."""
    _places.clear()
    for file in files:
        _places[f'docs/en/{file.src_uri}'] = file.src_uri
    for path, place in DOCUMENTS.items():
        _places[path] = place
        if path.endswith('/README.md'):
            _places[posixpath_parent(path)] = place
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    for place, text in api_pages(ROOT).items():
        files.append(File.generated(config, place, content=text))
    for path in sorted((ROOT / 'docs' / 'site').rglob('*')):
        if path.is_file() and path.suffix != '.py' and '__pycache__' not in path.parts:
            place = path.relative_to(ROOT / 'docs').as_posix()
            files.append(File.generated(config, place, abs_src_path=str(path)))
    _add_sources(files, config)
    return files


def posixpath_parent(path: str) -> str:
    """Return the folder of a path of the repository."""
    return path.rpartition('/')[0]


def _add_sources(files: Files, config: Any) -> None:
    """Add a page for every file and folder that a page links to, and for what these link to."""
    waiting = [(path, (ROOT / path).read_text(encoding='utf-8')) for path in _places
               if path.endswith('.md')]
    while waiting:
        path, text = waiting.pop()
        for target in targets(text, path):
            place = source_place(ROOT, target)
            if target in _places or place is None or target.startswith('..'):
                continue
            _places[target] = place
            page = source_page(ROOT, target)
            files.append(File.generated(config, place, content=page,
                                        inclusion=InclusionLevel.NOT_IN_NAV))
            waiting.append((f'{target}/index' if (ROOT / target).is_dir() else target, page))


def on_page_markdown(markdown: str, page: Any, **kwargs: Any) -> str:
    """Point the links of a page to pages of the site."""
    place = page.file.src_uri
    path = next((path for path, there in _places.items() if there == place), None)
    if path is None:
        return markdown
    if (ROOT / path).is_dir() and place.startswith('source/'):
        path = f'{path}/index'
    return rewrite(markdown, path, place, _places)


def on_post_page(output: str, **kwargs: Any) -> str:
    """Leave nothing that would be fetched from another machine."""
    return re.sub(r'<link rel="preconnect"[^>]*>', '', output)
