"""Download data sets: COCO 2017, Roboflow 100; where Objects365 comes from.

Downloads are resumed after an interruption, by the next call with the same arguments,
and compared with checksums: COCO's are built in; Roboflow publishes none, so those of the
first download are noted in checksums.json and the numbers of images compared with the
published ones. Archives are unpacked and kept, unless --remove-archives is given.

coco        train2017, val2017 and annotations, about 20 GB (twice that while unpacking);
            with --unlabeled also unlabeled2017 and its image list, as much again.
            Licences: annotations CC BY 4.0, each image its own (Flickr).
rf100       the 100 data sets of Roboflow 100 in its COCO format. Needs a key of a (free)
            Roboflow account in the environment variable ROBOFLOW_API_KEY.
objects365  cannot be downloaded without accepting its terms: says where it is, and
            checks a folder that was filled by hand.
"""
import argparse
import json
import os
from pathlib import Path
from typing import Dict, List
from urllib.parse import quote

from mmyolonas.datasets.formats.coco_checks import read_coco_file
from mmyolonas.datasets.formats.roboflow import read_roboflow
from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.download import fetch, unpack, unpacked_note
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import file_digest, is_full_disk, write_json
from mmyolonas.workflows.rf100.rf100 import RF100Dataset, rf100_datasets

COCO_URL = 'http://images.cocodataset.org'
#: MD5 sums as several projects publish them (COCO itself gives none).
COCO = {
    'annotations/annotations_trainval2017.zip': 'f4bbac642086de4f52a3fdda2de5fa2c',
    'zips/val2017.zip': '442b8da7639aecaf257c1dceb8ba8c80',
    'zips/train2017.zip': 'cced6f7f71b7629ddf16f17bbcfab6b2',
}
COCO_UNLABELED = {
    'annotations/image_info_unlabeled2017.zip': 'ede38355d5c3e5251bb7f8b68e2c068f',
    'zips/unlabeled2017.zip': '7ebc562819fdb32847aab79530457326',
}
RF100_URL = 'https://api.roboflow.com'
RF100_WORKSPACE = 'roboflow-100'
OBJECTS365 = '''Objects365 v2 (365 classes, 1.7 million images) must be asked for:
  terms and download   https://www.objects365.org/download.html
  a mirror             https://opendatalab.com/OpenDataLab/Objects365 (account needed)
The configs expect, below {folder}:
  annotations/zhiyuan_objv2_train.json   annotations/zhiyuan_objv2_val.json
  train/patch0 ... train/patch50         val/patch0 ...
With the files in place, `objects365 --dir {folder} --check` says what is missing.'''


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__)
    commands = parser.add_subparsers(dest='name', required=True, metavar='DATASET')
    coco = commands.add_parser('coco', help='COCO 2017')
    coco.add_argument('--dir', type=Path, default=Path('data/coco'), help='default: data/coco')
    coco.add_argument('--unlabeled', action='store_true', help='unlabeled2017 as well')
    coco.add_argument('--only', nargs='+', metavar='ARCHIVE', help='these only, such as val2017')
    coco.add_argument('--url', default=COCO_URL, help=f'server or mirror (default: {COCO_URL})')
    coco.add_argument('--checksums', type=Path, metavar='FILE.json', help='MD5 sums by archive '
                      "instead of COCO's own, for data in its layout")
    rf100 = commands.add_parser('rf100', help='Roboflow 100')
    rf100.add_argument('--dir', type=Path, default=Path('data/rf100'), help='default: data/rf100')
    rf100.add_argument('--datasets', nargs='+', metavar='NAME', help='these only')
    rf100.add_argument('--url', default=RF100_URL, help=f'server (default: {RF100_URL})')
    objects365 = commands.add_parser('objects365', help='where it is, and a check')
    objects365.add_argument('--dir', type=Path, default=Path('data/objects365'),
                            help='default: data/objects365')
    objects365.add_argument('--check', action='store_true', help='check the folder')
    for command in (coco, rf100):
        command.add_argument('--remove-archives', action='store_true',
                             help='remove each archive when it is unpacked')
    return parser.parse_args()


def download_coco(args: argparse.Namespace) -> None:
    """Download and unpack COCO."""
    archives: Dict[str, str] = {**COCO, **(COCO_UNLABELED if args.unlabeled else {})}
    if args.checksums:
        archives = {**archives, **_checksums(args.checksums)}
    if args.only:
        chosen = {name: value for name, value in archives.items() if Path(name).stem in args.only}
        unknown = set(args.only) - {Path(name).stem for name in chosen}
        if unknown:
            raise UserError(f'unknown archive {", ".join(sorted(unknown))}; there are '
                            f'{", ".join(Path(name).stem for name in archives)}.')
        archives = chosen
    for name, digest in archives.items():
        # annotations unpack into annotations/, images into train2017/ ...
        get_archive(f'{args.url}/{name}', args.dir / Path(name).name, args.dir, f'md5:{digest}',
                    args.remove_archives)


def _checksums(path: Path) -> Dict[str, str]:
    """Read checksums by name.

    Raises:
        UserError: The file is no such list.
    """
    try:
        values = json.loads(path.read_text(encoding='utf-8'))
    except OSError as error:
        raise UserError(f'cannot read {path}: {error.strerror}.') from None
    except ValueError as error:
        raise UserError(f'{path} is not JSON ({error}): remove it or write it again.') from None
    if not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
        raise UserError(f'{path} must hold checksums by the name of the archive, as text.')
    return values


def get_archive(url: str, archive: Path, folder: Path, checksum: str, remove: bool,
                name: str = '') -> None:
    """Download and unpack an archive, unless it has been unpacked before."""
    if unpacked_note(archive.name, folder).is_file():
        print(f'{archive.name}: unpacked before', flush=True)
        return
    fetch(url, archive, checksum, name=name or archive.name)
    count = unpack(archive, folder)
    print(f'{archive.name}: {count} files in {folder}', flush=True)
    if remove:
        archive.unlink()


def download_rf100(args: argparse.Namespace) -> int:
    """Download and unpack data sets; the exit code is 1 if some failed."""
    known = rf100_datasets()
    names = args.datasets or list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(f'Roboflow 100 has no data set {", ".join(unknown)}.')
    key = os.environ.get('ROBOFLOW_API_KEY', '').strip()
    if not key:
        raise UserError(
            'Roboflow 100 needs a key: make a (free) account, take the key from its settings '
            '(https://docs.roboflow.com), and export ROBOFLOW_API_KEY=...')
    failed: List[str] = []
    for number, name in enumerate(names, 1):
        print(f'[{number}/{len(names)}] {name}', flush=True)
        try:
            _download_one(known[name], args, key)
        except (UserError, DataError) as error:
            if 'key was refused' in str(error) or is_full_disk(error):
                raise
            print(f'failed: {error}', flush=True)
            failed.append(name)
    print(f'{len(names) - len(failed)} of {len(names)} data sets in {args.dir}'
          + (f'; failed: {", ".join(failed)}' if failed else ''))
    return 1 if failed else 0


def _download_one(dataset: RF100Dataset, args: argparse.Namespace, key: str) -> None:
    folder = args.dir / dataset.name
    archive = folder / f'{dataset.name}-{dataset.version}.zip'
    noted = folder / 'checksums.json'
    checksum = _checksums(noted).get(archive.name) if noted.is_file() else None
    if not unpacked_note(archive.name, folder).is_file():
        fetch(_rf100_link(dataset, args, key), archive, checksum,
              name=f'{dataset.name}, version {dataset.version}')
        if checksum is None:
            write_json(noted, {archive.name: f'sha256:{file_digest(archive)}'})
    get_archive('', archive, folder, checksum, args.remove_archives)
    _compare(dataset, folder)


def _rf100_link(dataset: RF100Dataset, args: argparse.Namespace, key: str) -> str:
    """Ask Roboflow for the address of a data set's archive."""
    # the answer is small: it is fetched like any file, for the same messages
    reply = args.dir / dataset.name / '.link.json'
    reply.unlink(missing_ok=True)
    url = f'{args.url}/{RF100_WORKSPACE}/{dataset.name}/{dataset.version}/coco?api_key={quote(key)}'
    try:
        fetch(url, reply, name=f'{args.url} ({dataset.name})')
        link = json.loads(reply.read_text(encoding='utf-8'))['export']['link']
        if not link.startswith(('http://', 'https://')):
            raise ValueError('no address of the web')
        return link
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f'{args.url} gave no download link for {dataset.name}, version '
                        f'{dataset.version}; try again later.') from None
    finally:
        reply.unlink(missing_ok=True)


def _compare(dataset: RF100Dataset, folder: Path) -> None:
    """Say if a data set has other numbers of images than published."""
    splits = read_roboflow(folder, needed=('train', 'val', 'test'))
    found = tuple(len(splits[name].data['images']) for name in ('train', 'val', 'test'))
    published = (dataset.train, dataset.valid, dataset.test)
    if found != published:
        print(f'    note: {found} images in train, valid, test; published were {published}',
              flush=True)


def check_objects365(args: argparse.Namespace) -> int:
    """Say where Objects365 is, or what a folder lacks."""
    print(OBJECTS365.format(folder=args.dir))
    if not args.check:
        return 0
    problems = 0
    for split in ('train', 'val'):
        path = args.dir / 'annotations' / f'zhiyuan_objv2_{split}.json'
        images = [] if not path.is_file() else read_coco_file(str(path), str(path))['images']
        missing = [image['file_name'] for image in images
                   if not (args.dir / split / _patch(image['file_name'])).is_file()]
        problems += not images or bool(missing)
        print(f'{split}: ' + (f'{path} is missing' if not images else
                              f'{len(images)} images, {len(missing)} of them missing'
                              + (f', the first: {_patch(missing[0])}' if missing else '')))
    return 1 if problems else 0


def _patch(name: str) -> str:
    """Return an image's place: the files name ``images/v1/patch8/x.jpg``, on disk patch8/x.jpg."""
    return '/'.join(Path(name).parts[-2:])


def main() -> int:
    """Run the tool."""
    args = parse_args()
    if args.name == 'coco':
        download_coco(args)
        return 0
    return download_rf100(args) if args.name == 'rf100' else check_objects365(args)


if __name__ == '__main__':
    run_main(main)
