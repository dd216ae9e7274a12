"""Looking at the data of a fine-tuning, choosing settings, writing the config."""
from pathlib import Path
from typing import Any, Dict, List

from mmyolonas.utils.files import read_json, write_json, write_text
from mmyolonas.utils.stages import Results
from mmyolonas.workflows.finetune.finetune_settings import choose_settings
from mmyolonas.workflows.finetune.task import Finetuning

_MEMORY_SHARE = 0.8


def look_at_data(task: Finetuning) -> Results:
    """Read and check the data, draw what was found, choose settings, write the config."""
    from mmyolonas.datasets.formats.layouts import read_layout
    from mmyolonas.datasets.inspection.report import inspect_data
    from mmyolonas.visualization.data_report import draw_data_report
    from mmyolonas.workflows.finetune.finetune_config import base_model, write_config
    from mmyolonas.workflows.finetune.start_weights import read_start
    # all of it: a damaged file is found out before an hour of looking at images
    start = read_start(task.options.pretrained) if task.options.pretrained else None
    report = inspect_data(read_layout(task.data, task.format))
    print(report.to_text(), flush=True)
    folder = task.work_dir / 'data'
    write_json(folder / 'report.json', report.to_dict())
    write_text(folder / 'report.txt', report.to_text() + '\n')
    bad_images(task, report)
    pictures = draw_data_report(report, folder)
    splits = _annotation_files(report, folder)
    settings = choose_settings(report, task.options, start=start,
                               processes=task.crew.size,
                               **machine(base_model(task.options.model)))
    keep_reasons(folder, settings.reasons)
    write_config(task.config, report.classes, splits, settings)
    return dict(images=' + '.join(f'{len(part.scanned)} {name}'
                                  for name, part in report.splits.items()),
                classes=len(report.classes), warnings=len(report.warnings),
                pictures=', '.join(path.name for path in pictures), config=task.config)


def keep_reasons(folder: Path, reasons: List[str]) -> None:
    """Print why the settings are as they are, and add it to the report on the data."""
    for reason in reasons:
        print(f'  {reason}')
    path = folder / 'report.json'
    write_json(path, dict(read_json(path, 'a report on the data'), reasons=reasons))


def bad_images(task: Finetuning, report: Any) -> None:
    """Stop at images that cannot be used, unless they are to be left out.

    Raises:
        DataError: The first of them, with what to do.
    """
    from mmyolonas.utils.data_error import DataError
    bad = [part.scanned[i].problem for part in report.splits.values() for i in part.bad_images]
    if bad and not task.drop_bad_images:
        raise DataError(f'{len(bad)} images cannot be used, the first: {bad[0]}. Repair them, or '
                        'leave them out with --drop-bad-images')


def _annotation_files(report, folder: Path) -> dict:
    """Write annotations that are not files yet or had to be corrected; return all parts."""
    from mmyolonas.datasets.inspection.box_table import cleaned_split
    splits = {}
    for name, part in report.splits.items():
        split = part.split
        if split.ann_file is None or part.table.problems or part.bad_images:
            split = cleaned_split(split, part.table, report.classes, part.bad_images)
            split.ann_file = folder / f'{name}.json'
            write_json(split.ann_file, split.data)
            if part.split.ann_file is not None:
                print(f'  {name}: corrected annotations are in {split.ann_file}; '
                      f'{part.split.ann_file} is as it was')
        splits[name] = split
    return splits


def machine(cfg: Any) -> Dict[str, Any]:
    """Return what the settings depend on: GPU or not, pixels that fit into memory.

    Args:
        cfg (Config): With the model.
    """
    import torch

    from mmyolonas.utils.building import build_model
    from mmyolonas.utils.memory import available_memory, saved_bytes_per_pixel, training_memory
    gpu = torch.cuda.is_available()
    net = build_model(cfg)
    free = _MEMORY_SHARE * available_memory('cuda:0' if gpu else 'cpu') - training_memory(net, 0)
    per_million = training_memory(net, 10**6, saved_bytes_per_pixel(net)) - training_memory(net, 0)
    return dict(gpu=gpu, max_pixels=int(max(0, free) / per_million * 10**6))
