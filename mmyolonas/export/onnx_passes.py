"""Clean-up and checks of exported ONNX files."""
import os
import re
from typing import Any, Dict, List, Optional, Set

import numpy as np

from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.export.onnx_graph import dead_nodes, drop_dead_nodes, editing, idle_weights
from mmyolonas.utils.optional import require


def simplify(model: Any, feed: Optional[Dict[str, np.ndarray]] = None,
             tolerance: float = 1e-4) -> Any:
    """Fold constants and drop what does nothing, with onnxslim, and check the result.

    Args:
        model (onnx.ModelProto): Graph.
        feed (dict[str, ndarray], optional): Inputs for the check; without it,
            or if the graph holds operators ONNX Runtime does not know, the
            outcome is only validated.
        tolerance (float): Largest allowed difference of an output, relative to
            its largest value.

    Returns:
        onnx.ModelProto: The simpler graph.

    Raises:
        ImportError: onnxslim is not installed.
        RuntimeError: The simpler graph gives other numbers.
    """
    onnx = require('onnx', 'Simplifying an ONNX file')
    slim = require('onnxslim', 'Simplifying an ONNX file').slim
    before = onnx.ModelProto()
    before.CopyFrom(model)
    result = slim(model)
    if result is None:
        raise RuntimeError('onnxslim returned no graph.')
    drop_dead_nodes(result)
    check(result)
    if feed is not None and not has_custom_ops(result):
        compare(before, result, feed, tolerance)
    return result


def compare(reference: Any, model: Any, feed: Dict[str, np.ndarray], tolerance: float) -> None:
    """Check in ONNX Runtime that two graphs give the same numbers.

    Raises:
        RuntimeError: They do not.
    """
    names = [output.name for output in reference.graph.output]
    outs = [run_graph(graph, feed) for graph in (reference, model)]
    for name, old, new in zip(names, *outs):
        scale = max(float(np.abs(old).max(initial=0)), 1.)
        if old.shape != new.shape or float(
                np.abs(old.astype(np.float64) - new).max(initial=0)) > tolerance * scale:
            raise RuntimeError(
                f'the simplified graph differs in output {name!r}; export with simplify=False '
                'and report the model.')


def run_graph(model: Any, feed: Dict[str, np.ndarray]) -> List[np.ndarray]:
    """Return the outputs of a graph that is not in a file, by ONNX Runtime on the CPU."""
    ort = require('onnxruntime', 'Checking an ONNX graph')
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider'])
    return session.run(None, feed)


def check(model: Any) -> None:
    """Validate a graph: well-formed, no dead node, no unused weight.

    Custom operators (EfficientNMS) are left to their runtime.

    Raises:
        ValueError: The graph is not valid, with the reason.
    """
    onnx = require('onnx', 'Checking an ONNX file')
    if not has_custom_ops(model):
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ValueError('the ONNX graph is not valid: '
                             f'{" ".join(str(error).split())[:300]}') from error
    dead = dead_nodes(model)
    if dead:
        raise ValueError(f'{len(dead)} nodes lead to no output, first {dead[0]!r}.')
    idle = idle_weights(model)
    if idle:
        raise ValueError(f'{len(idle)} weights are not used, first {idle[0]!r}.')


def has_custom_ops(model: Any) -> bool:
    """Return whether a node is of no ONNX domain."""
    return any(node.domain not in ('', 'ai.onnx') for node in model.graph.node)


def rename_tensors(model: Any, prefixes: Optional[Dict[str, str]] = None) -> None:
    """Give tensors the name of the node that makes them, nodes that of their module.

    The exporter writes ``/backbone/stage1/blocks/conv1/conv/Conv_output_0``;
    this becomes ``backbone.stage1.blocks.conv1.conv``. Inputs and outputs keep
    their names; the weights of a convolution are named after it.

    Args:
        model (onnx.ModelProto): Graph, changed in place.
        prefixes (dict[str, str], optional): Replacements of a path's first
            part, for modules the exporter did not see being called.
    """
    ir = require('onnx_ir', 'Naming the tensors of an ONNX file')
    with editing(model) as view:
        graph = view.graph
        inner = [node for node in ir.traversal.RecursiveGraphIterator(graph)
                 if node.graph is not graph]
        names = _Names({value.name for value in [*graph.inputs, *graph.outputs]},
                       {value.name for node in inner for value in node.outputs})
        for node in graph:
            base = readable_name(node.name or node.outputs[0].name, node.op_type, prefixes)
            node.name = f'{base}/{node.op_type}'
            for output in node.outputs:
                names.add(output, base)
        _unique_node_names(graph)
        for node in graph:  # constants after their first user; folding made them anonymous
            base = names.of(node.outputs[0])
            kinds = ('weight', 'bias') if node.op_type in ('Conv', 'ConvTranspose') else None
            for index, value in enumerate(node.inputs):
                if value is not None and value.is_initializer():
                    kind = kinds[index - 1] if kinds and 0 < index < 3 else 'value'
                    names.add(value, f'{base}.{kind}')
        ir.convenience.rename_values(list(names.new), list(names.new.values()))


class _Names:
    """New names, each given once.

    Args:
        fixed (set[str]): Names of values that keep them.
        taken (set[str]): Names that no other value may have.
    """

    def __init__(self, fixed: Set[str], taken: Set[str]) -> None:
        self.fixed, self.taken = fixed, fixed | taken
        self.new: Dict[Any, str] = {}

    def add(self, value: Any, base: str) -> None:
        """Name a value that has no new name yet."""
        if not value.name or value.name in self.fixed or value in self.new:
            return
        name, count = base, 1
        while name in self.taken:
            name, count = f'{base}_{count}', count + 1
        self.taken.add(name)
        self.new[value] = name

    def of(self, value: Any) -> str:
        """Return the name a value will have."""
        return self.new.get(value, value.name)


def _unique_node_names(graph: Any) -> None:
    seen: Dict[str, int] = {}
    for node in graph:
        count = seen.get(node.name, 0)
        seen[node.name] = count + 1
        if count:
            node.name = f'{node.name}_{count}'


def readable_name(name: str, op_type: str, prefixes: Optional[Dict[str, str]] = None) -> str:
    """Turn the exporter's path of a node into a dotted module path."""
    name = re.sub(r'_output_\d+$', '', name).strip('/')
    parts: List[str] = []
    for part in filter(None, name.split('/')):
        # a container and its item: 'cls_convs', 'cls_convs.0'
        if parts and part.startswith(f'{parts[-1]}.'):
            parts.pop()
        parts.append(part)
    if len(parts) > 1 and re.fullmatch(rf'{op_type}(_\d+)?', parts[-1]) and op_type in (
            'Conv', 'ConvTranspose', 'Relu', 'MaxPool'):
        parts = parts[:-1]
    base = '.'.join(parts) or op_type
    first, dot, rest = base.partition('.')
    return f'{(prefixes or {}).get(first, first)}{dot}{rest}'


def set_metadata(model: Any, metadata: ModelMetadata) -> None:
    """Store the description in the file's properties, replacing an older one."""
    props = metadata.to_props()
    kept = {prop.key: prop.value for prop in model.metadata_props}
    onnx = require('onnx', 'Describing an ONNX file')
    onnx.helper.set_model_props(model, {**kept, **props})
    model.producer_name = 'mmyolonas'
    model.producer_version = metadata.mmyolonas_version


def load_onnx(path: str, weights: bool = True) -> Any:
    """Read an ONNX file.

    Args:
        path (str): The file.
        weights (bool): Whether to read weights that lie in files of their own.
            Defaults to True.

    Raises:
        FileNotFoundError: No such file.
    """
    onnx = require('onnx', 'Reading an ONNX file')
    if not os.path.isfile(path):
        raise FileNotFoundError(f'no such ONNX file: {path}')
    try:
        model = onnx.load(path, load_external_data=weights)
        if not model.graph.input or not model.graph.output or not model.graph.node:
            raise ValueError('it has no inputs, outputs or operators')
    except FileNotFoundError as error:
        raise ValueError(f'{path} keeps its weights in a file beside it that is missing: '
                         f'{error.filename}.') from error
    except Exception as error:  # protobuf's and onnx's own kinds
        reason = ' '.join(str(error).split())[:200]
        raise ValueError(f'{path} is damaged or not an ONNX file ({reason}): export it again.') \
            from error
    return model


def get_metadata(path: str) -> ModelMetadata:
    """Read the description of an ONNX file.

    Args:
        path (str): ONNX file that this package has written.

    Returns:
        ModelMetadata: Task, classes, pre- and post-processing.

    Raises:
        FileNotFoundError: No such file.
        ValueError: The file carries none.
    """
    model = load_onnx(path, weights=False)
    return ModelMetadata.from_props({p.key: p.value for p in model.metadata_props}, path)


def opset_version(model: Any) -> int:
    """Return the version of ONNX's own operators that a graph uses; 0 if it names none."""
    return max((item.version for item in model.opset_import if item.domain in ('', 'ai.onnx')),
               default=0)


def prepend_preprocess(model: Any, preprocess: Any) -> None:
    """Let a graph take raw pixels: ``uint8``, BGR, (B, 3, H, W).

    Args:
        model (onnx.ModelProto): Graph whose input is normalised, changed in
            place. The input keeps its name.
        preprocess (Preprocess): Channel order, mean and standard deviation.
    """
    ir = require('onnx_ir', 'Adding pre-processing to an ONNX file')
    with editing(model) as view:
        graph, image = view.graph, view.graph.inputs[0]
        readers, image.dtype = list(image.uses()), ir.DataType.UINT8
        current, nodes = image, []

        def add(op_type: str, constant: Optional[np.ndarray] = None, **attributes: Any) -> None:
            nonlocal current
            name = f'preprocess.{op_type.lower()}'
            inputs = [current]
            if constant is not None:
                inputs.append(ir.val(f'{name}.value', const_value=ir.tensor(
                    constant, name=f'{name}.value')))
                graph.register_initializer(inputs[1])
            nodes.append(ir.node(op_type, inputs, attributes, outputs=[ir.val(name)],
                                 name=f'preprocess/{op_type}'))
            current = nodes[-1].outputs[0]

        if preprocess.channel_order == 'RGB':
            add('Gather', np.array([2, 1, 0]), axis=1)
        add('Cast', to=int(ir.DataType.FLOAT))
        if any(preprocess.mean):
            add('Sub', np.array(preprocess.mean, np.float32).reshape(1, -1, 1, 1))
        if any(value != 1 for value in preprocess.std):
            add('Div', np.array(preprocess.std, np.float32).reshape(1, -1, 1, 1))
        for node, index in readers:
            node.replace_input_with(index, current)
        graph.insert_before(graph[0], nodes)
