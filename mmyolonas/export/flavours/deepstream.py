"""The configuration of DeepStream's nvinfer element for a file of the flavour deepstream."""
import os
from typing import List

from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.utils.files import atomic_path

CONFIG, LABELS = 'config_infer_primary_yolonas.txt', 'labels.txt'


def write_deepstream_files(onnx_path: str, metadata: ModelMetadata) -> List[str]:
    """Write nvinfer's configuration and the labels beside an ONNX file.

    The parser is DeepStream-Yolo's ``NvDsInferParseYolo``; DeepStream suppresses
    (``cluster-mode=2``). nvinfer pads with black, whatever the model was trained with.

    Args:
        onnx_path (str): File of the flavour deepstream.
        metadata (ModelMetadata): Its description.

    Returns:
        list[str]: The files.

    Raises:
        ValueError: nvinfer cannot normalise as the model wants.
    """
    folder, name = os.path.split(os.path.abspath(onnx_path))
    written = []
    for target, lines in ((CONFIG, config_lines(name, metadata)), (LABELS, metadata.class_names)):
        path = os.path.join(folder, target)
        with atomic_path(path) as temporary:
            temporary.write_text('\n'.join(lines) + '\n', encoding='utf-8')
        written.append(path)
    return written


def config_lines(onnx_name: str, metadata: ModelMetadata) -> List[str]:
    """Return the lines of the configuration.

    Args:
        onnx_name (str): Name of the ONNX file, without folder.
        metadata (ModelMetadata): Its description.

    Returns:
        list[str]: Lines.

    Raises:
        ValueError: The channels have different standard deviations: nvinfer has one factor.
    """
    before, rules = metadata.preprocess, metadata.postprocess
    if len(set(before.std)) > 1 and not before.in_graph:
        raise ValueError('nvinfer scales all channels by one factor, and this model has three; '
                         'set post_processing.preprocess_in_graph=True.')
    factor = 1. if before.in_graph else 1 / before.std[0]
    # the file takes raw pixels as BGR
    bgr = before.in_graph or before.channel_order == 'BGR'
    lines = [
        '[property]', 'gpu-id=0', f'net-scale-factor={factor:.16g}',
        f'model-color-format={int(bgr)}', f'onnx-file={onnx_name}',
        f'model-engine-file={onnx_name}_b1_gpu0_fp32.engine', f'labelfile-path={LABELS}',
        'batch-size=1', 'network-mode=0', f'num-detected-classes={len(metadata.class_names)}',
        'interval=0', 'gie-unique-id=1', 'process-mode=1', 'network-type=0', 'cluster-mode=2',
        f'maintain-aspect-ratio={int(before.keep_ratio)}',
        f'symmetric-padding={int(before.pad_position == "center")}',
        'parse-bbox-func-name=NvDsInferParseYolo',
        'custom-lib-path=nvdsinfer_custom_impl_Yolo/libnvdsinfer_custom_impl_Yolo.so']
    if any(before.mean) and not before.in_graph:
        lines.insert(3, 'offsets=' + ';'.join(f'{value:g}' for value in before.mean))
    return [*lines, '', '[class-attrs-all]', f'nms-iou-threshold={rules.iou_threshold:g}',
            f'pre-cluster-threshold={rules.score_threshold:g}',
            f'topk={rules.max_detections}']
