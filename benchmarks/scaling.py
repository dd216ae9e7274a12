"""What large trainings cost on 1, 8 and 64 GPUs, from a step's parts.

A step takes the longer of computing and feeding, the exchanges of synchronised batch norms, and
what of the all-reduce of the gradients the backward pass does not hide; an epoch has its steps,
every few epochs there is a validation. Every number that goes in is in scaling.json with a mark:
measured, computed, published or assumed. Times of a step on a GPU are assumed, as a range, until
results of gpu.py are given.

  python benchmarks/scaling.py
  python benchmarks/scaling.py --measured results/gpu-speed.json
  python benchmarks/scaling.py --set rate.low.s=420 workers=16 --gpus 1 8 64 256
  python benchmarks/scaling.py --write docs/en/scaling.md     # renew the tables of the page
"""
import argparse
import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Sequence

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import between  # noqa: E402
from mmyolonas.utils.cli import new_parser, run_main  # noqa: E402
from mmyolonas.utils.errors import UserError  # noqa: E402
from mmyolonas.utils.files import write_text  # noqa: E402

INPUTS = Path(__file__).resolve().with_name('scaling.json')
MARKS = ('measured', 'computed', 'published', 'assumed')
GPUS = (1, 8, 64)
NODE = 8
#: A gradient is float32 in mixed precision too; a multiplication comes with an addition.
_BYTES, _OPERATIONS = 4, 2
ENGINES = dict(
    coco='torchrun (`tools/dist_train.sh`); Slurm (`tools/slurm_train.sh`) beyond a node',
    objects365='the same', supernet="the same; afterwards optuna's storage shares out the search",
    rf100='Slurm array (`tools/rf100.py run --shard`), a GPU for each data set',
    pseudo='Slurm array (`tools/pseudo_label.py --shard`), a GPU each')


@dataclass
class Step:
    """The seconds of a step.

    Args:
        compute (float): Forward, backward, optimiser.
        feed (float): Data workers, who work at the same time.
        norms (float): Exchanges of synchronised batch norms.
        reduce (float): All-reduce of the gradients.
        exposed (float): What of it is not hidden.
        batch (int): Images of a GPU.
    """
    compute: float
    feed: float
    norms: float
    reduce: float
    exposed: float
    batch: int

    @property
    def seconds(self) -> float:
        """float: All of it."""
        return max(self.compute, self.feed) + self.norms + self.exposed

    @property
    def bound(self) -> str:
        """str: What most of it is."""
        parts = dict(computing=self.compute, data=self.feed)
        longest = max(parts, key=parts.get)
        others = dict(norms=self.norms, gradients=self.exposed)
        other = max(others, key=others.get)
        return longest if parts[longest] >= others[other] else other


class Inputs:
    """The numbers of scaling.json, and those that replace them.

    Raises:
        UserError: A name that there is not, a value that is not a positive number, or no mark.
    """

    def __init__(self, entries: Dict[str, Dict[str, Any]]) -> None:
        for name, entry in entries.items():
            if entry.get('mark') not in MARKS or not entry.get('source') or not entry.get('unit'):
                raise UserError(f'{name} needs a unit, a source, and one of the marks '
                                f'{", ".join(MARKS)}.')
            value = entry.get('value')
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not (
                    0 < value < math.inf):
                raise UserError(f'{name} must be a number above 0, got {value!r}.')
        self.entries = entries

    @classmethod
    def read(cls, path: Path = INPUTS) -> 'Inputs':
        """Read a file."""
        return cls(json.loads(path.read_text(encoding='utf-8')))

    def __getitem__(self, name: str) -> float:
        return self.entries[name]['value']

    def replaced(self, values: Dict[str, float], mark: str, source: str) -> 'Inputs':
        """Return the inputs with other values."""
        for name in values:
            if name not in self.entries:
                raise UserError(f'there is no input {name!r}; there are '
                                f'{", ".join(sorted(self.entries))}.')
        return Inputs({**self.entries, **{
            name: dict(self.entries[name], value=value, mark=mark, source=source)
            for name, value in values.items()}})

    def rate(self, case: str, arch: str) -> float:
        """Return images a second of a training step on one GPU.

        The higher case is arithmetic: three times the forward pass at a share of the peak.
        """
        low = self.entries[f'rate.low.{arch}']
        if case == 'low' or low['mark'] == 'measured':  # which leaves no range
            return low['value']
        operations = _OPERATIONS * self[f'macs.{arch}'] / self['step.share_forward']
        return self['utilisation.high'] * self['peak'] / operations


def all_reduce(inputs: Inputs, size: float, gpus: int) -> float:
    """Return the seconds of an all-reduce of ``size`` bytes: a ring in the node, one between them.

    A ring of n moves 2 (n - 1) / n of the data through each link. Between nodes each GPU has a
    port and an eighth of the data.
    """
    if gpus == 1:
        return 0.
    inside = min(gpus, NODE)
    seconds = 2 * (inside - 1) / inside * size / inputs['bus.node'] + inputs['latency.node']
    nodes = math.ceil(gpus / NODE)
    if nodes > 1:
        seconds += 2 * (nodes - 1) / nodes * size / NODE / inputs['bus.net']
        seconds += inputs['latency.net']
    return seconds


def training_step(inputs: Inputs, case: str, arch: str, gpus: int, networks: float = 1) -> Step:
    """Return a step of data-parallel training.

    Args:
        inputs (Inputs): The numbers.
        case (str): ``'low'`` or ``'high'``, of a GPU's rate.
        arch (str): ``'s'``, ``'m'`` or ``'l'``.
        gpus (int): Number of GPUs, eight to a node.
        networks (float): Networks that a step computes on its images. Defaults to 1.
    """
    batch = max(1, min(int(inputs['batch']), int(inputs['batch.largest']) // gpus))
    compute = networks * batch / inputs.rate(case, arch)
    feed = batch / (inputs['workers'] * inputs['worker.rate'])
    reduce = all_reduce(inputs, _BYTES * inputs[f'parameters.{arch}'], gpus)
    last = all_reduce(inputs, min(inputs['bucket'], _BYTES * inputs[f'parameters.{arch}']), gpus)
    exposed = max(last, reduce - inputs['overlap'] * compute)
    latency = 0. if gpus == 1 else inputs['latency.node' if gpus <= NODE else 'latency.net']
    # statistics in the forward pass, their gradients in the backward pass
    norms = 2 * networks * inputs[f'norms.{arch}'] * latency
    return Step(compute, feed, norms, reduce, exposed, batch)


def training_hours(inputs: Inputs, step: Step, gpus: int, images: float, epochs: float) -> float:
    """Return the hours of a training with its validations."""
    steps = math.floor(images / (step.batch * gpus)) * epochs
    validations = epochs / inputs['validation.interval']
    network = 5000 * inputs['step.share_forward'] * step.compute / step.batch / gpus
    return (steps * step.seconds + validations * (network + inputs['validation.serial'])) / 3600


def jobs(inputs: Inputs, case: str, gpus: int) -> Dict[str, float]:
    """Return the hours of every job by its name."""
    hours: Dict[str, float] = {}
    for arch in 'sml':
        step = training_step(inputs, case, arch, gpus)
        hours[f'coco {arch.upper()}'] = training_hours(
            inputs, step, gpus, inputs['coco.images'], inputs['coco.epochs'])
        hours[f'objects365 {arch.upper()}'] = training_hours(
            inputs, step, gpus, inputs['objects365.images'], inputs[f'objects365.epochs.{arch}'])
    step = training_step(inputs, case, 'm', gpus, inputs['supernet.subnets'])
    hours['supernet'] = training_hours(inputs, step, gpus, inputs['coco.images'],
                                       inputs['supernet.epochs'])
    alone = training_step(inputs, case, 's', 1)
    rate = alone.batch / alone.seconds
    work = inputs['rf100.images'] * inputs['rf100.epochs'] / rate
    work += inputs['rf100.sets'] * inputs['rf100.start']
    # no data set is divided: the longest is the least that all of them take
    longest = inputs['rf100.largest'] * inputs['rf100.images'] * inputs['rf100.epochs'] / rate
    hours['rf100 S'] = max(work / gpus, longest + inputs['rf100.start']) / 3600
    forward = inputs.rate(case, 'l') / inputs['step.share_forward']
    fed = min(forward, inputs['workers'] * inputs['worker.rate'])
    hours['pseudo L'] = inputs['pseudo.images'] / fed / gpus / 3600
    return hours


def measured_rates(path: Path) -> Dict[str, float]:
    """Return the rates that gpu.py measured: the fastest of this package's ways, in fp16.

    Raises:
        UserError: The file is a rehearsal's or has no such cell.
    """
    state = json.loads(Path(path).read_text(encoding='utf-8'))
    if state.get('rehearsal') is not False:
        raise UserError(f'{path} is no measurement: it was made by --rehearse or not by gpu.py.')
    found: Dict[str, float] = {}
    for key, item in state['items'].items():
        kind, _, cell = key.partition('/')
        arch, _, rest = cell.partition('-')
        if kind == 'step' and arch in 'sml' and rest.endswith('fp16') and item['status'] == 'done':
            rates = [row['images_a_second'] for name, row in item['result'][
                'implementations'].items() if name.startswith('mmyolonas')]
            name = f'rate.low.{arch}'
            found[name] = max(found.get(name, 0.), *rates)
    if not found:
        raise UserError(f'{path} has no measured training step of S, M or L in fp16.')
    return found


def tables(inputs: Inputs, gpus: Sequence[int]) -> str:
    """Return the tables as Markdown."""
    return '\n\n'.join((_hours_table(inputs, gpus), _step_table(inputs, gpus),
                        _input_table(inputs)))


def _hours_table(inputs: Inputs, gpus: Sequence[int]) -> str:
    lines = ['| job | ' + ' | '.join(f'{n} GPU{"s" * (n > 1)}' for n in gpus) + ' | engine |',
             '|' + ' --- |' * (len(gpus) + 2)]
    cases = {case: [jobs(inputs, case, n) for n in gpus] for case in ('low', 'high')}
    for name in cases['low'][0]:
        cells = [_range(high[name], low[name])
                 for low, high in zip(cases['low'], cases['high'])]
        lines.append(f'| {name} | {" | ".join(cells)} | {ENGINES[name.split()[0]]} |')
    return '\n'.join(lines)


def _range(one: float, two: float) -> str:
    """Return hours as a range in two digits, below an hour in minutes."""
    low, high = sorted((one, two))
    unit, factor = ('h', 1) if high >= 1 else ('min', 60)
    texts = [f'{value:.1f}' if value < 10 else f'{float(f"{value:.2g}"):.0f}'
             for value in (factor * low, factor * high)]
    return f'{texts[0]} {unit}' if texts[0] == texts[1] else f'{texts[0]} to {texts[1]} {unit}'


def _step_table(inputs: Inputs, gpus: Sequence[int]) -> str:
    lines = ['| model, rate | GPUs | images a GPU | computing | data | norms | all-reduce | '
             'of it exposed | images a second | efficiency | bound by |', '|' + ' --- |' * 11]
    for arch in 'sml':
        for case in ('low', 'high'):
            one = training_step(inputs, case, arch, 1)
            for n in gpus:
                step = training_step(inputs, case, arch, n)
                rate = step.batch * n / step.seconds
                cells = [f'{1e3 * value:.1f} ms' for value in (
                    step.compute, step.feed, step.norms, step.reduce, step.exposed)]
                lines.append(
                    f'| {arch.upper()}, {case} | {n} | {step.batch} | {" | ".join(cells)} | '
                    f'{rate:.0f} | {rate / n / (one.batch / one.seconds):.2f} | {step.bound} |')
    return '\n'.join(lines)


def _input_table(inputs: Inputs) -> str:
    lines = ['| input | value | unit | mark | source |', '| --- | --- | --- | --- | --- |']
    for name, entry in inputs.entries.items():
        lines.append(f'| `{name}` | {entry["value"]:.8g} | {entry["unit"]} | **{entry["mark"]}** | '
                     f'{entry["source"]} |')
    return '\n'.join(lines)


BEGIN, END = '<!-- tables of benchmarks/scaling.py -->', '<!-- end of the tables -->'


def with_tables(page: str, text: str) -> str:
    """Return a page with its tables renewed.

    Raises:
        UserError: The page has no place for them.
    """
    try:
        return between(page, BEGIN, END, text)
    except ValueError as error:
        raise UserError(str(error)) from error


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__)
    parser.add_argument('--gpus', type=int, nargs='+', default=list(GPUS))
    parser.add_argument('--measured', type=Path, metavar='JSON', help='gpu-speed.json of gpu.py')
    parser.add_argument('--set', nargs='+', default=[], metavar='NAME=VALUE', help='other inputs')
    parser.add_argument('--write', type=Path, metavar='PAGE', help='renew the tables of a page')
    return parser.parse_args()


def main() -> None:
    """Print or write the tables."""
    args = parse_args()
    if min(args.gpus) < 1:
        raise UserError('--gpus takes numbers of at least 1.')
    inputs = Inputs.read()
    if args.measured:
        inputs = inputs.replaced(measured_rates(args.measured), 'measured', str(args.measured.name))
    values: Dict[str, float] = {}
    for text in args.set:
        name, _, value = text.partition('=')
        try:
            values[name] = float(value)
        except ValueError as error:
            raise UserError(f'--set takes NAME=VALUE, such as workers=16, got {text!r}.') from error
    inputs = inputs.replaced(values, 'assumed', 'the command line')
    text = tables(inputs, args.gpus)
    if args.write:
        write_text(args.write, with_tables(args.write.read_text(encoding='utf-8'), text))
    else:
        print(text)


if __name__ == '__main__':
    run_main(main)
