"""The result files as rows of a page, each with the day, the card and the command."""
import json
import statistics
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence, Tuple

from scipy.stats import t as student

from benchmarks.common import between
from benchmarks.gpu.items import DONE
from benchmarks.gpu.results import FORMAT
from benchmarks.gpu.stages import STAGES
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_json, write_text

BEGIN, END = '<!-- figures of benchmarks/gpu.py -->', '<!-- end of the figures -->'
Items = Dict[str, Dict[str, Any]]


def read_states(out: Path) -> Dict[str, dict]:
    """Return the result files of a folder by stage.

    Raises:
        UserError: There is none, one is not of this program, or one is a rehearsal's.
    """
    found: Dict[str, dict] = {}
    for name in STAGES:
        path = Path(out) / f'gpu-{name}.json'
        if not path.is_file():
            continue
        try:
            state = json.loads(path.read_text(encoding='utf-8'))
            known = state['format'] == FORMAT
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise UserError(f'{path} is no result file of this program.')
        if state['rehearsal']:
            raise UserError(f"{path} is a rehearsal's: no figure of it means anything, and none "
                            'is published.')
        found[name] = state
    if not found:
        raise UserError(f'{out} has no results of this program.')
    return found


def publish(out: Path, page: Path) -> List[Path]:
    """Put the figures into a page, and the result files into ``results`` beside it.

    Args:
        out (Path): Folder of the results.
        page (Path): It has the lines :data:`BEGIN` and :data:`END`; what is between them goes.

    Returns:
        list[Path]: What was written.

    Raises:
        UserError: The results are none, or a rehearsal's; the page has no place for them.
    """
    states = read_states(out)
    try:
        text = between(page.read_text(encoding='utf-8'), BEGIN, END, figures(states))
    except ValueError as error:
        raise UserError(f'{page}: {error}') from error
    written = []
    for name, state in states.items():
        for item in state['items'].values():  # of a failure the sentence, no folders of a machine
            if 'reason' in item:
                item['reason'] = item['reason'].strip().splitlines()[-1]
            item.pop('scratch', None)
        written.append(page.parent / 'results' / f'gpu-{name}.json')
        write_json(written[-1], state)
    write_text(page, text)
    return [*written, page]


def figures(states: Dict[str, dict]) -> str:
    """Return what was measured as Markdown.

    Args:
        states (dict[str, dict]): Of :func:`read_states`.
    """
    return '\n\n'.join('\n'.join([f'### {STAGES[name].title.capitalize()}', '', _origin(state), '',
                                  *TABLES[name](_done(state))]).rstrip()
                       for name, state in states.items())


def _done(state: dict) -> Items:
    return {key: item['result'] for key, item in state['items'].items() if item['status'] == DONE}


def _origin(state: dict) -> str:
    """Return when, on what and how a stage was measured, and what of it was not."""
    items = state['items'].values()
    days = sorted({item['date'] for item in items if item['status'] == DONE})
    used = {item['machine'] for item in items if item['status'] == DONE}
    cards = [', '.join(filter(None, (
        str(machine['device']), 'driver ' + str(machine['driver']) if 'driver' in machine else '',
        f'torch {machine["torch"]}' if 'torch' in machine else '',
        f'CUDA {machine["cuda"]}' if machine.get('cuda') else '',
        f'{machine["processor"]}, {machine["cores"]} cores' if 'cores' in machine else '')))
        for label, machine in state['machines'].items() if label in used]
    lacking = [f'{key} ({item["status"]})' for key, item in state['items'].items()
               if item['status'] != DONE]
    text = (f'{" and ".join(dict.fromkeys((days[0], days[-1]))) if days else "no day"}; '
            f'{"; ".join(dict.fromkeys(cards)) or "no machine"}; '
            f'`python benchmarks/gpu.py --stages {state["stage"]}`.')
    return text + (f' Without a figure: {", ".join(lacking)}.' if lacking else '')


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> List[str]:
    """Return the lines of a table; none without rows."""
    if not rows:
        return []
    return ['| ' + ' | '.join(head) + ' |', '|' + ' --- |' * len(head),
            *('| ' + ' | '.join(show(cell) for cell in row) + ' |' for row in rows), '']


def show(value: Any) -> str:
    """Return a cell: four digits, no line breaks, no bars."""
    if isinstance(value, bool):
        return 'yes' if value else '**no**'
    if isinstance(value, float):
        return f'{value:.4g}'
    return '' if value is None else ' '.join(str(value).split()).replace('|', '/')


def interval(values: Sequence[float]) -> str:
    """Return the mean with its 95 % interval by Student's distribution, and the values."""
    if len(values) == 1:
        return f'{values[0]:.3f} (one seed)'
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values)**0.5
    return (f'{statistics.mean(values):.3f} +- {half:.3f} '
            f'({", ".join(f"{value:.3f}" for value in values)})')


def _sanity(items: Items) -> List[str]:
    rows, others = [], []
    for key, found in items.items():
        if key.startswith('model/'):
            rows += [[key[6:], name, errors['outputs'], errors['fused']['outputs'], errors['loss'],
                      errors['linear'], errors['passed'] and errors['fused']['passed']]
                     for name, errors in found.items() if isinstance(errors, dict)]
        else:
            others.append([key, ', '.join(f'{k} {show(v)}' for k, v in _flat(found).items()
                                          if not k.endswith('passed')), found['passed']])
    return table(['model', 'precision', 'outputs', 'fused', 'loss', 'gradients of a linear form',
                  'passed'], rows) + table(['check', 'found', 'passed'], others)


def _flat(found: Dict[str, Any], before: str = '') -> Dict[str, Any]:
    flat: Dict[str, Any] = {}
    for key, value in found.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f'{before}{key} '))
        elif not isinstance(value, list):
            flat[before + key] = value
    return flat


def _speed(items: Items) -> List[str]:
    steps, aims, data, parts = [], [], [], []
    for key, found in items.items():
        kind, name = key.split('/')
        if kind == 'step':
            steps += [[name, way, row['images_a_second'], row['ms'],
                       f'{1 / row["times_as_fast_as_ours"]:.2f} ({1 / row["highest"]:.2f} .. '
                       f'{1 / row["lowest"]:.2f})', row['peak_mib']]
                      for way, row in found['implementations'].items()]
            if 'aim' in found:
                aim = found['aim']
                aims.append([name, aim['against'], f'{aim["factor"]:.2f} ({aim["lowest"]:.2f} .. '
                             f'{aim["highest"]:.2f})', aim['wanted'], aim['met'],
                             aim['factor_of_our_best']])
        elif kind == 'data':
            data.append([name, found['workers'], found['loader_images_a_second'],
                         found['step_images_a_second'], found['fed_images_a_second'],
                         f'{found["waiting_share"]:.0%}'])
        else:
            ms = found['parts_ms']
            parts.append([name, *(ms[k] for k in ('step', 'forward', 'assign', 'backward',
                                                  'optimiser')), found['waits'].get('count')])
    return (table(['step', 'implementation', 'images/s', 'ms', 'times as fast is ours (range of '
                   'the rounds)', 'peak MiB'], steps)
            + table(['step', 'faster peer', 'times as fast is ours', 'wanted', 'met',
                     'our fastest way'], aims)
            + table(['model', 'workers', 'loader images/s', 'step images/s', 'fed images/s',
                     'waiting'], data)
            + table(['model', 'step ms', 'forward', 'of it assignment', 'backward', 'optimiser',
                     'waits for the GPU'], parts))


def _accuracy(items: Items) -> List[str]:
    """Return AP by training over the seeds, and the gains as differences within a seed."""
    scores: Dict[str, List[Tuple[float, float]]] = {}
    gains: Dict[str, List[float]] = {}
    for key, found in items.items():
        kind, rest = key.split('/')
        name = f'{kind} {rest.rsplit("-", 1)[0]}' if '-' in rest else kind
        parts = {name: found} if 'ap' in found else {
            f'{name}: {part}': value for part, value in found.items()}
        for label, part in parts.items():
            if isinstance(part, dict) and ('ap' in part or 'AP' in part):
                scores.setdefault(label, []).append(
                    (part.get('ap', part.get('AP')), part.get('ap50', part.get('AP50'))))
            elif label.partition(': ')[2].startswith(('gain', 'qat_minus')):
                gains.setdefault(label, []).append(part)
    return (table(['training', 'AP', 'AP50', 'seeds'], [
        [name, interval([v[0] for v in values]), interval([v[1] for v in values])
         if all(v[1] is not None for v in values) else '', len(values)]
        for name, values in scores.items()])
        + table(['difference within a seed', 'AP'],
                [[name, interval(values)] for name, values in gains.items()]))


def _latency(items: Items) -> List[str]:
    rows = []
    for key, found in items.items():
        runtime, name = key.split('/')
        t4 = ', '.join(f'{k} {v}' for k, v in found['published_t4_ms'].items())
        rows += [[name, runtime, label, cell['median_ms'],
                  f'{cell["p5_ms"]:.4g} .. {cell["p95_ms"]:.4g}', cell['images_a_second'],
                  cell.get('power_w'), cell.get('sm_mhz'), t4]
                 for label, cell in found.items() if isinstance(cell, dict) and 'runs' in cell]
    return ['fp32 is TF32 in convolutions, the default of both runtimes.', ''] + table(
        ['model', 'runtime', 'precision', 'median ms', '5 .. 95 %', 'images/s', 'W', 'MHz',
         'T4, TensorRT, published ms'], rows)


def _tensorrt(items: Items) -> List[str]:
    rows, others = [], []
    for key, found in items.items():
        cell = found.get('with_copies')
        if cell is None:
            others.append([key, ', '.join(f'{k}: {show(v)}' for k, v in _flat(found).items())])
            continue
        kind, name = key.split('/')
        rows.append([name, kind, f'{found["flavour"]} {found["version"]}', found['mib'],
                     cell['median_ms'], found['layers_ms'], cell.get('power_w'),
                     cell.get('sm_mhz'), ', '.join(
                         f'{k} {v}' for k, v in found['published_t4_ms'].items())])
    return table(['model', 'engine', 'builder', 'MiB', 'median ms with copies', 'sum of layers',
                  'W', 'MHz', 'T4, published ms'], rows) + table(['item', 'found'], others)


def _plain(items: Items) -> List[str]:
    return table(['item', 'found'], [[key, ', '.join(f'{k} {show(v)}' for k, v in _flat(
        found).items())] for key, found in items.items()])


TABLES: Dict[str, Callable[[Items], List[str]]] = dict(
    sanity=_sanity, speed=_speed, accuracy=_accuracy, latency=_latency, tensorrt=_tensorrt,
    search=_plain)
