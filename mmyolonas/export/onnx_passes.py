"""Clean-up and checks of exported ONNX files."""
import os
import re
from typing import Any, Dict, Iterable, List, Optional, Set

import numpy as np

from mmyolonas.export.metadata import ModelMetadata
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
    ort = require('onnxruntime', 'Checking a simplified ONNX file')
    names = [output.name for output in reference.graph.output]
    outs = []
    for graph in (reference, model):
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(
            graph.SerializeToString(), options, providers=['CPUExecutionProvider'])
        outs.append(session.run(names, feed))
    for name, old, new in zip(names, *outs):
        scale = max(float(np.abs(old).max(initial=0)), 1.)
        if old.shape != new.shape or float(
                np.abs(old.astype(np.float64) - new).max(initial=0)) > tolerance * scale:
            raise RuntimeError(
                f'the simplified graph differs in output {name!r}; export with simplify=False '
                'and report the model.')


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
            raise ValueError(f'the ONNX graph is not valid: {error}') from error
    dead = dead_nodes(model)
    if dead:
        raise ValueError(f'{len(dead)} nodes lead to no output, first {dead[0]!r}.')
    used = {name for node in model.graph.node for name in _inputs(node)}
    idle = [init.name for init in model.graph.initializer if init.name not in used]
    if idle:
        raise ValueError(f'{len(idle)} weights are not used, first {idle[0]!r}.')


def has_custom_ops(model: Any) -> bool:
    """Return whether a node is of no ONNX domain."""
    return any(node.domain not in ('', 'ai.onnx') for node in model.graph.node)


def dead_nodes(model: Any) -> List[str]:
    """Return the names of nodes that no output depends on."""
    live = _live(model)
    return [node.name or node.op_type for node in model.graph.node
            if not live.intersection(node.output)]


def drop_dead_nodes(model: Any) -> None:
    """Remove nodes that no output depends on, and weights nothing uses."""
    live = _live(model)
    _keep(model.graph.node, lambda node: bool(live.intersection(node.output)))
    used = {name for node in model.graph.node for name in _inputs(node)}
    used.update(output.name for output in model.graph.output)
    _keep(model.graph.initializer, lambda init: init.name in used)
    names = used.union(*(node.output for node in model.graph.node))
    _keep(model.graph.value_info, lambda info: info.name in names)


def drop_unit_factors(model: Any) -> None:
    """Remove multiplications by a constant of ones."""
    onnx = require('onnx', 'Simplifying an ONNX file')
    constants = {init.name: init for init in model.graph.initializer}
    outputs = {output.name for output in model.graph.output}
    mapping: Dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type != 'Mul' or node.output[0] in outputs:
            continue
        for one, other in ((node.input[0], node.input[1]), (node.input[1], node.input[0])):
            if one in constants and len(constants[one].dims) <= 1:
                values = onnx.numpy_helper.to_array(constants[one])
                if values.size == 1 and values.item() == 1:
                    mapping[node.output[0]] = other
                    break
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            while name in mapping:
                name = mapping[name]
            node.input[index] = name
    drop_dead_nodes(model)


def _keep(items: Any, wanted: Any) -> None:
    kept = [item for item in items if wanted(item)]
    del items[:]
    items.extend(kept)


def _live(model: Any) -> Set[str]:
    """Return the names of tensors that some output depends on."""
    producers = {name: node for node in model.graph.node for name in node.output}
    live: Set[str] = set()
    pending = [output.name for output in model.graph.output]
    while pending:
        name = pending.pop()
        if name and name not in live:
            live.add(name)
            if name in producers:
                pending.extend(_inputs(producers[name]))
    return live


def _inputs(node: Any) -> Iterable[str]:
    """Yield the inputs of a node, those of its sub-graphs included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in [attribute.g, *attribute.graphs]:
            for inner in graph.node:
                yield from _inputs(inner)


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
    graph = model.graph
    fixed = {value.name for value in [*graph.input, *graph.output]}
    taken = set(fixed)
    mapping: Dict[str, str] = {}

    def rename(old: str, base: str) -> None:
        name, count = base, 1
        while name in taken:
            name, count = f'{base}_{count}', count + 1
        taken.add(name)
        mapping[old] = name

    for node in graph.node:
        base = readable_name(node.name or node.output[0], node.op_type, prefixes)
        node.name = f'{base}/{node.op_type}'
        for output in node.output:
            if output and output not in fixed:
                rename(output, base)
    _unique_node_names(graph)
    _name_weights(graph, mapping, rename)
    for init in graph.initializer:
        init.name = mapping.get(init.name, init.name)
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = mapping.get(name, name)
    for info in graph.value_info:
        info.name = mapping.get(info.name, info.name)


def _name_weights(graph: Any, mapping: Dict[str, str], rename: Any) -> None:
    """Name constants after their first user; folding made them anonymous."""
    weights = {init.name for init in graph.initializer}
    for node in graph.node:
        base = mapping.get(node.output[0], node.output[0])
        kinds = ('weight', 'bias') if node.op_type in ('Conv', 'ConvTranspose') else None
        for index, source in enumerate(list(node.input)):
            if source in weights and source not in mapping:
                kind = kinds[index - 1] if kinds and 0 < index < 3 else 'value'
                rename(source, f'{base}.{kind}')


def _unique_node_names(graph: Any) -> None:
    seen: Dict[str, int] = {}
    for node in graph.node:
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
    _keep(model.metadata_props, lambda prop: prop.key not in props)
    for key, value in props.items():
        prop = model.metadata_props.add()
        prop.key, prop.value = key, value
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
    onnx = require('onnx', 'Adding pre-processing to an ONNX file')
    helper, graph = onnx.helper, model.graph
    name = graph.input[0].name
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    current, nodes, weights = name, [], []

    def add(op_type: str, constant: Optional[np.ndarray] = None, **attributes: Any) -> None:
        nonlocal current
        output = f'preprocess.{op_type.lower()}'
        inputs = [current]
        if constant is not None:
            weights.append(onnx.numpy_helper.from_array(constant, f'{output}.value'))
            inputs.append(f'{output}.value')
        nodes.append(helper.make_node(op_type, inputs, [output], f'preprocess/{op_type}',
                                      **attributes))
        current = output

    if preprocess.channel_order == 'RGB':
        add('Gather', np.array([2, 1, 0]), axis=1)
    add('Cast', to=onnx.TensorProto.FLOAT)
    if any(preprocess.mean):
        add('Sub', np.array(preprocess.mean, np.float32).reshape(1, -1, 1, 1))
    if any(value != 1 for value in preprocess.std):
        add('Div', np.array(preprocess.std, np.float32).reshape(1, -1, 1, 1))
    for node in graph.node:
        for index, source in enumerate(node.input):
            if source == name:
                node.input[index] = current
    original = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *original])
    graph.initializer.extend(weights)
