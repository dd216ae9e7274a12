"""The pages of the API reference, written from the source without importing it.

A package that lists its public names with ``lazy_names`` gets a page with each of
them; the registered components get a page for each kind.
"""
import ast
from pathlib import Path
from typing import Dict, Iterator, List, Set, Tuple

#: Packages with a list of public names, in the order of the navigation.
PACKAGES = ('apis', 'export', 'runtime', 'deploy', 'quantization')
#: Page of the components, its title, and the folders of ``mmyolonas`` they are in.
COMPONENTS = (
    ('models', 'Models', ('models/detectors', 'models/backbones', 'models/necks',
                          'models/dense_heads', 'models/pose_heads', 'models/layers',
                          'models/data_preprocessors', 'search')),
    ('losses', 'Losses and assignment', ('models/losses', 'models/task_modules')),
    ('data', 'Data sets and transforms', ('datasets',)),
    ('engine', 'Hooks, optimisers, wrappers', ('engine', 'quantization')),
    ('evaluation', 'Metrics', ('evaluation',)),
)
_REGISTRIES = ('MODELS', 'TASK_UTILS', 'DATASETS', 'TRANSFORMS', 'METRICS', 'HOOKS',
               'MODEL_WRAPPERS', 'OPTIMIZERS', 'OPTIM_WRAPPERS', 'OPTIM_WRAPPER_CONSTRUCTORS',
               'VISBACKENDS')


def public_names(root: Path, package: str) -> Dict[str, str]:
    """Return where each public name of a package is defined, as dotted paths.

    Args:
        root (Path): Root of the checkout.
        package (str): Name of a package in ``mmyolonas``.

    Returns:
        dict[str, str]: ``{'Runtime': 'mmyolonas.runtime.runtime.Runtime'}``.

    Raises:
        ValueError: The package has no list of names.
    """
    path = root / 'mmyolonas' / package / '__init__.py'
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'lazy_names':
            names = ast.literal_eval(node.args[1])
            return {name: f'{_absolute(module, package)}.{name}'
                    for name, module in sorted(names.items(), key=lambda item: item[0].lower())}
    raise ValueError(f'{path} has no lazy_names')


def _absolute(module: str, package: str) -> str:
    return f'mmyolonas.{package}{module}' if module.startswith('.') else module


def registered(root: Path, folder: str) -> Iterator[Tuple[str, str]]:
    """Yield registered name and dotted path of each component below a folder."""
    for path in sorted((root / 'mmyolonas' / folder).rglob('*.py')):
        module = '.'.join(path.relative_to(root).with_suffix('').parts)
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            for call in getattr(node, 'decorator_list', []):
                if ast.unparse(call).split('.register_module')[0] in _REGISTRIES:
                    given = [ast.literal_eval(word.value) for word in getattr(call, 'keywords', [])
                             if word.arg == 'name']
                    yield (given or [node.name])[0], f'{module}.{node.name}'


def api_pages(root: Path) -> Dict[str, str]:
    """Return the Markdown of each page of the API reference by its place in the site."""
    pages: Dict[str, str] = {}
    seen: Set[str] = set()  # a name of two packages: references lead to the later, its home
    for package in reversed(PACKAGES):
        text = ast.get_docstring(
            ast.parse((root / 'mmyolonas' / package / '__init__.py').read_text(encoding='utf-8')))
        parts = [f'# mmyolonas.{package}', text or '']
        names = public_names(root, package)
        parts += [_entry(f'mmyolonas.{package}.{name}', path, path in seen)
                  for name, path in names.items()]
        seen.update(names.values())
        pages[f'api/{package}.md'] = '\n\n'.join(parts) + '\n'
    for page, title, folders in COMPONENTS:
        parts = [f'# {title}', "In a config: `type='mmyolonas.NAME'`, with "
                 "`custom_imports = dict(imports=['mmyolonas'])` where mmyolonas is not "
                 'imported otherwise.']
        for folder in folders:
            parts += [_entry(f'mmyolonas.{name}', path) for name, path in registered(root, folder)]
        pages[f'api/{page}.md'] = '\n\n'.join(parts) + '\n'
    return pages


def _entry(heading: str, path: str, again: bool = False) -> str:
    lines: List[str] = [f'::: {path}', '    options:', f'      heading: {heading}',
                        f'      toc_label: {heading.rsplit(".", 1)[1]}', '      heading_level: 2']
    if again:
        lines.append('      skip_local_inventory: true')
    return '\n'.join(lines)
