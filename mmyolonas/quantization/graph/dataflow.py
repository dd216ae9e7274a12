"""Which tensors exist between the layers, and which of them share a scale.

The torch model and its ONNX graph are both reduced to a list of :class:`Op`;
the analysis of that list is the same for both, so they agree on the name of
every tensor. A tensor bears the name of the layer that makes it:

* ``X``: output of the weighted layer ``X``, after its activation;
* ``X.add``: the sum into which the output of ``X`` goes;
* ``X.input``: what the layer ``X`` reads, if nothing above makes it (the image).

Max-pooling, concatenation and nearest-neighbour resizing only move values, so
with one scale on both sides they work on integers and nothing is rounded
again. The tensors they connect form a class with one scale, called by the name
that comes first in the alphabet: exporters change the order of execution.
"""
from dataclasses import dataclass, field
from typing import Dict, FrozenSet, Hashable, List, Sequence, Set, Tuple

Value = Hashable

KINDS = ('weighted', 'relu', 'commute', 'rescale', 'add', 'other')


@dataclass(frozen=True)
class Op:
    """One step of the computation, in order of execution.

    Args:
        kind (str): ``'weighted'`` (convolution, transposed or not), ``'relu'``,
            ``'commute'`` (max-pool, concatenation, nearest resize),
            ``'rescale'`` (product with one positive number), ``'add'`` (of
            two tensors) or ``'other'``: anything else, behind which tensors have no
            names, though what they are made of is known.
        inputs (tuple): The values it reads; of a weighted layer the data only.
        output: The value it makes.
        name (str): Weighted: the layer's module name. Add: the module that
            adds, where known.
    """
    kind: str
    inputs: Tuple[Value, ...]
    output: Value
    name: str = ''


@dataclass(frozen=True)
class Addition:
    """A sum of two tensors that have names.

    Args:
        name (str): Name of the sum.
        shortcut (str): Name of the input with fewer steps behind it.
        branch (str): Name of the other input.
        site (str): Module that adds, empty if not known.
    """
    name: str
    shortcut: str
    branch: str
    site: str = ''


@dataclass
class Dataflow:
    """Names, classes and readers of the tensors; see :func:`analyse`.

    Args:
        names (dict): Name of each value that has one.
        nonnegative (set): Values that cannot be negative.
        rescaled (dict): Value behind each rescaled value.
        layers (dict[str, tuple[str, str]]): Names of the input and the output
            of each weighted layer, in order of execution.
        additions (list[Addition]): Sums, in order of execution.
    """
    names: Dict[Value, str] = field(default_factory=dict)
    nonnegative: Set[Value] = field(default_factory=set)
    rescaled: Dict[Value, Value] = field(default_factory=dict)
    layers: Dict[str, Tuple[str, str]] = field(default_factory=dict)
    additions: List[Addition] = field(default_factory=list)
    _parents: Dict[str, str] = field(default_factory=dict)
    _depth: Dict[Value, int] = field(default_factory=dict)
    _behind: Dict[Value, FrozenSet[str]] = field(default_factory=dict)
    _read: Set[str] = field(default_factory=set)
    _signed: Set[str] = field(default_factory=set)
    _loose: Set[str] = field(default_factory=set)

    def is_prediction(self, layer: str) -> bool:
        """Return whether no weighted layer follows a layer: what it makes is a prediction.

        Args:
            layer (str): Name of a weighted layer.

        Returns:
            bool: Whether its output is decoded instead of being read by another layer.
        """
        return layer not in self._read

    def is_nonnegative(self, tensor_class: str) -> bool:
        """Return whether nothing that is read of a class can be negative.

        Args:
            tensor_class (str): Name of the class.

        Returns:
            bool: Whether all its tensors are read behind a ReLU.
        """
        return all(self.tensor_class(name) != tensor_class for name in self._signed)

    def is_closed(self, tensor_class: str) -> bool:
        """Return whether only steps that are known read a class.

        Args:
            tensor_class (str): Name of the class.

        Returns:
            bool: Whether no step of the kind ``'other'`` does.
        """
        return all(self.tensor_class(name) != tensor_class for name in self._loose)

    def tensor_class(self, name: str) -> str:
        """Return the class a tensor's name belongs to.

        Args:
            name (str): Name of a tensor.

        Returns:
            str: The name of the class, which is that of one of its tensors.
        """
        while self._parents.get(name, name) != name:
            name = self._parents[name]
        return name

    def classes(self) -> Dict[str, List[str]]:
        """Return the names in each class, classes in order of execution.

        Returns:
            dict[str, list[str]]: Sorted names of tensors by the name of their class.
        """
        members: Dict[str, List[str]] = {}
        for name in self._parents:
            members.setdefault(self.tensor_class(name), []).append(name)
        return {name: sorted(names) for name, names in members.items()}

    def readers(self, tensor_class: str) -> List[str]:
        """Return the weighted layers and sums that read a class.

        Args:
            tensor_class (str): Name of the class.

        Returns:
            list[str]: Names of layers, then of sums.
        """
        found = [layer for layer, (source, _) in self.layers.items()
                 if self.tensor_class(source) == tensor_class]
        found += [add.name for add in self.additions
                  if tensor_class in map(self.tensor_class, (add.shortcut, add.branch))]
        return found

    def is_input(self, tensor_class: str) -> bool:
        """Return whether a class is made by no layer: what comes in from outside.

        Args:
            tensor_class (str): Name of the class.

        Returns:
            bool: Whether no tensor of it is the output of a layer or a sum.
        """
        return all(name.endswith('.input') for name in self.classes()[tensor_class])

    def input_class(self, layer: str) -> str:
        """Return the class of what a weighted layer reads.

        Args:
            layer (str): Name of a weighted layer.

        Returns:
            str: Name of the class.
        """
        return self.tensor_class(self.layers[layer][0])

    def output_class(self, layer: str) -> str:
        """Return the class of what a weighted layer makes.

        Args:
            layer (str): Name of a weighted layer.

        Returns:
            str: Name of the class.
        """
        return self.tensor_class(self.layers[layer][1])

    def _add_name(self, value: Value, name: str) -> None:
        self.names[value] = name
        self._parents.setdefault(name, name)

    def _join(self, names: Sequence[str]) -> None:
        roots = sorted({self.tensor_class(name) for name in names})
        for root in roots[1:]:
            self._parents[root] = roots[0]


def analyse(ops: Sequence[Op]) -> Dataflow:
    """Name the tensors of a computation and find those that share a scale.

    Args:
        ops (Sequence[Op]): The computation, in order of execution.

    Returns:
        Dataflow: Names, classes and readers.
    """
    flow = Dataflow()
    for op in ops:
        _follow(flow, op)
        if op.kind == 'weighted':
            _weighted(flow, op)
        elif op.kind == 'relu':
            if op.inputs[0] in flow.names:
                flow.names[op.output] = flow.names[op.inputs[0]]
            flow.nonnegative.add(op.output)
        elif op.kind == 'rescale':
            flow.rescaled[op.output] = flow.rescaled.get(op.inputs[0], op.inputs[0])
            if op.inputs[0] in flow.nonnegative:
                flow.nonnegative.add(op.output)
        elif op.kind == 'commute':
            _commute(flow, op)
        elif op.kind == 'add':
            _add(flow, op)
        elif op.kind != 'other':
            raise ValueError(f'unknown kind of step {op.kind!r}; known: {", ".join(KINDS)}.')
        if op.kind == 'other':
            flow._loose.update(flow.names[value] for value in op.inputs if value in flow.names)
        if op.kind in ('weighted', 'commute', 'add'):
            for value in (flow.rescaled.get(value, value) for value in op.inputs):
                if value in flow.names and value not in flow.nonnegative:
                    flow._signed.add(flow.names[value])
    return flow


def _follow(flow: Dataflow, op: Op) -> None:
    """Note how many steps and which layers a value has behind it."""
    depth = max((flow._depth.get(value, 0) for value in op.inputs), default=0)
    # what runs as one function here is several nodes there: others do not count
    flow._depth[op.output] = depth + (op.kind != 'other')
    behind = frozenset().union(*(flow._behind.get(value, frozenset()) for value in op.inputs))
    if op.kind == 'weighted':
        # a layer that was read has nothing new to say about those behind it
        flow._read |= behind
        behind = frozenset([op.name])
    flow._behind[op.output] = behind


def _weighted(flow: Dataflow, op: Op) -> None:
    source = op.inputs[0]
    if source not in flow.names:
        flow._add_name(source, f'{op.name}.input')
    flow._add_name(op.output, op.name)
    flow.nonnegative.discard(op.output)
    flow.layers[op.name] = (flow.names[source], op.name)


def _commute(flow: Dataflow, op: Op) -> None:
    if all(value in flow.names for value in op.inputs):
        names = [flow.names[value] for value in op.inputs]
        flow._join(names)
        flow.names[op.output] = min(names)
    if all(value in flow.nonnegative for value in op.inputs):
        flow.nonnegative.add(op.output)


def _add(flow: Dataflow, op: Op) -> None:
    values = tuple(flow.rescaled.get(value, value) for value in op.inputs)
    if all(value in flow.nonnegative for value in op.inputs):
        flow.nonnegative.add(op.output)
    if not all(value in flow.names for value in values):
        return
    shortcut, branch = (flow.names[value] for value in sorted(values, key=flow._depth.__getitem__))
    name = f'{branch}.add'
    flow._add_name(op.output, name)
    flow.additions.append(Addition(name, shortcut, branch, op.name))
