"""The weights that the original has published: names, sums, and how to get a copy.

None of them is in this project, nor may it be: their licence allows neither passing them on
nor commercial use. A user who accepts it names the place that a copy comes from.
"""
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Optional

from mmyolonas.model_converters.supergradients import from_supergradients
from mmyolonas.utils.checkpoints import read_checkpoint
from mmyolonas.utils.download import fetch
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike, file_digest, write_checkpoint
from mmyolonas.utils.locks import only_writer

_PATIENCE = 3600.  # seconds

#: What a user types before the name of one.
PREFIX = 'sg:'
LICENCE_URL = 'https://github.com/Deci-AI/super-gradients/blob/master/LICENSE.YOLONAS.md'
LICENCE = ('the licence of these weights (Deci.AI, LICENSE.YOLONAS.md: no commercial use, no '
           'passing on, no changes without consent; it also speaks of what is derived from them)')


@dataclass(frozen=True)
class PublishedWeights:
    """A file of the original.

    Attributes:
        model (str): What it holds.
        sha256 (str): Of the file on the original's server, as LibreYOLO pins it.
        megabytes (int): Size of its tensors in MB.
    """
    model: str
    sha256: str
    megabytes: int


#: By the name of the file without its suffix.
PUBLISHED: Dict[str, PublishedWeights] = {
    'yolo_nas_s_coco': PublishedWeights(
        'YOLO-NAS S, COCO',
        'c1b1d9148ab8ae5d5984699547e850955ff9efccaf568c67b3d605acb4bfe1cb', 76),
    'yolo_nas_m_coco': PublishedWeights(
        'YOLO-NAS M, COCO',
        'b194fc7fa196f76161c6356558bedf04fb99a62325a74a36a4bec3ca8ba48250', 205),
    'yolo_nas_l_coco': PublishedWeights(
        'YOLO-NAS L, COCO',
        '91a06beaa1ce1a651d6691e3198061da996eafc8890503238dedacbd4c392a32', 268),
    'yolo_nas_pose_n_coco_pose': PublishedWeights(
        'YOLO-NAS-Pose N, COCO',
        '3544cd4bef7a4930e79c2d9a9ec50167be6fa366be834d52d462393edfc3a64f', 40),
    'yolo_nas_pose_s_coco_pose': PublishedWeights(
        'YOLO-NAS-Pose S, COCO',
        '54f0933cb3760c5f9ba47e901c58d6d114cd206718667a586031bea0ab9ea849', 89),
    'yolo_nas_pose_m_coco_pose': PublishedWeights(
        'YOLO-NAS-Pose M, COCO',
        '6d0f92a589fd2f39a9fb92c42894cca76e81eaf2fcb3a00f1cac2e7089fb91ec', 233),
    'yolo_nas_pose_l_coco_pose': PublishedWeights(
        'YOLO-NAS-Pose L, COCO',
        'd05c55157b3eb917e43d3669cc1e99fbe35a8a93c7883b95b93036a81216c5ab', 318),
}


def name_of(path: PathLike) -> Optional[str]:
    """Return the published name of a file by its content; None if it is another one."""
    digest = file_digest(path, 'sha256')
    return next((name for name, weights in PUBLISHED.items() if weights.sha256 == digest), None)


def check_request(request: str, mirror: Optional[str], accepted: bool) -> str:
    """Look at a request for published weights before any work.

    Args:
        request (str): ``sg:NAME``.
        mirror (str, optional): Folder on a server that holds the file.
        accepted (bool): Whether the user has accepted the licence.

    Returns:
        str: The name.

    Raises:
        UserError: The name is unknown, the licence is not accepted, or there is no mirror.
    """
    name = request.removeprefix(PREFIX).removesuffix('.pth')
    if name not in PUBLISHED:
        raise UserError(f'{request}: there are no such weights; the original has published '
                        f'{", ".join(PREFIX + known for known in PUBLISHED)}.')
    if not accepted:
        raise UserError(f'{request}: read {LICENCE}, {LICENCE_URL}, and add --accept-licence if '
                        'you accept it.')
    if not mirror:
        raise UserError(f"{request}: the original's server is gone; name the place of a copy with "
                        f'--mirror, a folder that holds {name}.pth (https://... or file:///...), '
                        'or give your own file as --pretrained.')
    return name


def fetch_published(request: str, mirror: Optional[str], accepted: bool,
                    folder: PathLike) -> Path:
    """Fetch published weights from a mirror, check and convert them; what is there is kept.

    Args:
        request, mirror, accepted: See :func:`check_request`.
        folder (str | Path): Where the files go.

    Returns:
        Path: The converted checkpoint.

    Raises:
        UserError: See :func:`check_request`; or the link is dead, or leads to another file.
    """
    name = check_request(request, mirror, accepted)
    source, target = Path(folder) / f'{name}.pth', Path(folder) / f'{name}_mmyolonas.pth'
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    url = mirror if mirror.endswith('.pth') else f'{mirror.rstrip("/")}/{name}.pth'
    with only_writer(target, timeout=_PATIENCE):
        if target.is_file():  # by another process of a distributed training
            return target
        try:
            fetch(url, source, f'sha256:{PUBLISHED[name].sha256}')
        except UserError as error:
            raise UserError(f'{error} If this place is dead or holds another file, name another '
                            'one with --mirror, or give your own copy as --pretrained FILE after '
                            'tools/model_converters/sg2mm.py.') from error
        # no code of the file is run, although its sum is known
        converted, report = from_supergradients(read_checkpoint(source), str(source))
        if not report.complete:
            raise UserError(f'{source} could not be converted: {len(report.left_over)} tensors are '
                            f'left over and {len(report.missing)} are missing.')
        write_checkpoint(target, converted)
    return target
