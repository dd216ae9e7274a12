"""Draw training samples as the model sees them, after all augmentations."""
from pathlib import Path
from typing import Optional

import numpy as np
from torch.utils.data import Dataset

from mmyolonas.engine.data_check import check_data
from mmyolonas.utils import arguments
from mmyolonas.utils.building import build_dataset
from mmyolonas.utils.cli import add_config_options, new_parser, run_main
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_image
from mmyolonas.utils.progress import track
from mmyolonas.visualization import draw_boxes, draw_poses, make_grid

EXAMPLES = '''examples:
  python tools/analysis_tools/browse_dataset.py configs/yolonas/yolonas_s_bccd.py
  python tools/analysis_tools/browse_dataset.py CONFIG --out samples.png --number 36 --columns 6
  python tools/analysis_tools/browse_dataset.py CONFIG --out samples/ --loader val_dataloader'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    add_config_options(parser)
    parser.add_argument('--out', default='browse.png', help='a picture file for a grid, or a '
                        'folder for one file per sample (default: browse.png)')
    parser.add_argument('--number', type=arguments.positive_int, default=16,
                        help='number of samples (default: 16)')
    parser.add_argument('--columns', type=arguments.positive_int, default=4,
                        help='columns of the grid (default: 4)')
    parser.add_argument('--repeat', type=arguments.positive_int, default=1,
                        help='draw each sample so many times, to '
                        'see what augmentation does to it (default: 1)')
    parser.add_argument('--loader', default='train_dataloader', help='which data loader of the '
                        'config (default: train_dataloader)')
    parser.add_argument('--seed', type=arguments.seed, default=0,
                        help='seed of choice and augmentation')
    return parser.parse_args()


def draw_sample(sample: dict, meta: dict, to_bgr: bool = False) -> np.ndarray:
    """Return a packed sample's image with its boxes and key points.

    Args:
        sample (dict): ``inputs`` (3, H, W) uint8 and ``data_samples``.
        meta (dict): The data set's ``metainfo``.
        to_bgr (bool): Whether the image is RGB. Defaults to False.
    """
    image = sample['inputs'].permute(1, 2, 0).numpy().astype(np.uint8)
    image = np.ascontiguousarray(image[..., ::-1] if to_bgr else image)
    data = sample['data_samples']
    instances = getattr(data, 'gt_instance_labels', None)
    instances = data.gt_instances if instances is None else instances
    boxes = getattr(instances.get('bboxes'), 'tensor', instances.get('bboxes'))
    if boxes is not None:
        labels = instances.get('labels')
        labels = np.zeros(len(boxes), int) if labels is None else np.asarray(labels)
        draw_boxes(image, np.asarray(boxes), labels, classes=meta.get('classes') or ('instance', ))
    keypoints = instances.get('keypoints')
    if keypoints is not None:
        visible = np.asarray(instances.get('keypoints_visible'))
        visible = visible[..., 0] if visible.ndim == 3 else visible
        draw_poses(image, np.asarray(keypoints), visible > 0, meta.get('skeleton_links', ()),
                   _colours(meta, 'keypoint_colors'), _colours(meta, 'skeleton_link_colors'))
    return image


def _colours(meta: dict, key: str) -> Optional[list]:
    """Return mmpose's RGB colours as BGR tuples."""
    colours = meta.get(key)
    return None if colours is None else [tuple(int(c) for c in row[::-1]) for row in colours]


def pick(dataset: Dataset, number: int, repeat: int, seed: int) -> list:
    """Return indices of samples, each ``repeat`` times."""
    if len(dataset) == 0:
        raise UserError('the data set is empty.')
    chosen = np.random.default_rng(seed).permutation(len(dataset))
    return [int(index) for index in chosen[:max(1, number // repeat)] for _ in range(repeat)]


def main() -> None:
    """Run the tool."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    check_data(cfg, (args.loader, ))
    dataset = build_dataset(cfg, args.loader)
    from mmyolonas.engine.hooks.epoch_seed_hook import seed_everything
    seed_everything(args.seed)
    out = Path(args.out)
    single = out.suffix.lower() in ('.png', '.jpg', '.jpeg', '.webp')
    images = []
    for position, index in enumerate(track(pick(dataset, args.number, args.repeat, args.seed),
                                           'samples')):
        image = draw_sample(dataset[index], dataset.metainfo)
        if single:
            images.append(image)
        else:
            write(out / f'{position:04d}.png', image)
    if single:
        write(out, make_grid(images, args.columns))
    print(f'written to {out}')


def write(path: Path, image: np.ndarray) -> None:
    """Write a picture atomically."""
    write_image(path, image)


if __name__ == '__main__':
    run_main(main)
