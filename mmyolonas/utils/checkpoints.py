"""Checkpoints: the one way in for every file of weights, and which is the last of a training."""
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional, Tuple

import torch
from packaging.version import Version
from torch import Tensor

from mmyolonas.utils.errors import UserError

#: Where the weights of a checkpoint may be: mmengine's, its average's, SuperGradients'.
_PLACES = ('state_dict', 'ema_state_dict', 'ema_net', 'net')
#: First bytes of what is often taken for a checkpoint.
_FOREIGN = (
    (b'version https://git-lfs', 'is a pointer of Git LFS, not the checkpoint itself; fetch it '
     'with `git lfs pull`'),
    (b'<', 'is a web page, not a checkpoint; download the file itself'),
    (b'\x1f\x8b', 'is a gzip archive; unpack it first'),
    (b'\xfd7zXZ', 'is an xz archive; unpack it first'),
    (b'\x89HDF', 'is an HDF5 file; a checkpoint of PyTorch is needed'),
)
_ZIP, _LEGACY = b'PK\x03\x04', b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'


def last_checkpoint(work_dir: str) -> Optional[Path]:
    """Return the last checkpoint of a training, or None.

    The pointer that mmengine writes holds a path as seen from the folder in
    which training was started; a moved work folder is found as well.

    Raises:
        UserError: The pointer is damaged, or names a file that is gone.
    """
    pointer = Path(work_dir) / 'last_checkpoint'
    if not pointer.is_file():
        return None
    advice = ('give the checkpoint to continue from as --resume CHECKPOINT, or remove the pointer '
              'to start anew.')
    text = pointer.read_bytes()[:4096].decode('utf-8', 'replace').strip()
    if not text or not text.isprintable():
        raise UserError(f'{pointer} is damaged: it names no checkpoint; {advice}')
    noted = Path(text)
    for candidate in (Path(work_dir) / noted.name, noted):
        try:
            if candidate.is_file():
                return candidate
        except OSError:  # longer than a name may be
            pass
    raise UserError(f'{pointer} names {text[:200]}, which does not exist; {advice}')


def check_checkpoint(path: str) -> str:
    """Return the path of a checkpoint after a look whether it exists and may be one.

    Raises:
        UserError: There is no such file, or its first bytes are of something else.
    """
    if '://' not in str(path):
        _look(Path(path))
    return path


def read_checkpoint(path: Any, trust: bool = False, map_location: Any = 'cpu',
                    finite: bool = True) -> Any:
    """Read a checkpoint file without running code that it may hold.

    Also where mmengine, mmdet, mmpose and mmdeploy read one: see
    :mod:`mmyolonas.compat.config_text`.

    Args:
        path (str | Path): File name: PyTorch's format, or safetensors (the tensors
            alone).
        trust (bool): Whether to unpickle any object. Only for files from a
            source you trust: unpickling runs code. Defaults to False.
        map_location: Where the tensors go. Defaults to the CPU.
        finite (bool): Whether weights that are not numbers are an error. Defaults
            to True.

    Returns:
        Any: What the file holds, mostly a dictionary with ``state_dict``.

    Raises:
        UserError: The file is missing, damaged, no checkpoint, holds more than plain
            data, or its weights are not finite.
    """
    path = Path(path).expanduser()
    try:
        content = _load(path, _look(path), trust, map_location)
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f'{path} does not fit into the memory.') from error
    except Exception as error:  # garbage makes the unpickler fail in many ways
        raise _explain(error, path, trust) from error
    check_tensors(content, str(path), finite)
    return content


def _look(path: Path) -> str:
    """Return the format of a file ('torch' or 'safetensors') by its first bytes."""
    try:
        if path.is_dir():
            raise UserError(f'checkpoint {path} is a folder; give a file in it.')
        with open(path, 'rb') as file:
            head = file.read(64)
            size = file.seek(0, 2)
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f'checkpoint {path} does not exist.') from None
    except (OSError, ValueError) as error:
        raise UserError(f'checkpoint {path} cannot be read: {error}.') from error
    if not head:
        raise UserError(f'checkpoint {path} is empty (0 bytes): copy or download it again.')
    for start, what in _FOREIGN:
        if head.lstrip().startswith(start):
            raise UserError(f'{path} {what}.')
    if head.startswith((_ZIP, _LEGACY)):
        return 'torch'
    if head[8:9] == b'{' and int.from_bytes(head[:8], 'little') <= size - 8:
        return 'safetensors'
    raise UserError(f'{path} is damaged or not a PyTorch checkpoint (it begins with '
                    f'{head[:12]!r}): copy it again, or give another file.')


def _load(path: Path, kind: str, trust: bool, map_location: Any) -> Any:
    if kind == 'safetensors':
        from mmyolonas.utils.optional import require
        try:
            reader = require('safetensors.torch', 'Reading a safetensors file')
        except ImportError as error:
            raise UserError(str(error)) from error
        device = map_location if isinstance(map_location, (str, torch.device)) else 'cpu'
        return reader.load_file(str(path), device=str(device))
    if trust:
        return torch.load(path, map_location=map_location, weights_only=False)
    if Version(torch.__version__.split('+')[0]) >= Version('2.6'):
        return torch.load(path, map_location=map_location, weights_only=True)
    return load_plain(path, map_location)


def load_plain(path: Path, map_location: Any = 'cpu') -> Any:
    """Read a checkpoint of PyTorch through our own unpickler; for torch < 2.6.

    Raises:
        Exception: The file is damaged, or holds more than plain data.
    """
    import zipfile

    from mmyolonas.utils import plain_pickle
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith('/constants.pkl') for name in archive.namelist()):
                raise pickle.UnpicklingError('Unsupported: a TorchScript archive is code')
    return torch.load(path, map_location=map_location, weights_only=False,
                      pickle_module=plain_pickle)


def _explain(error: Exception, path: Path, trust: bool) -> UserError:
    """Return the sentence for a file that could not be read."""
    text = str(error)
    if 'TorchScript' in text:
        return UserError(f'{path} is a TorchScript archive, which holds code; save the '
                         "model's state_dict() instead.")
    if isinstance(error, pickle.UnpicklingError) and 'nsupported' in text and not trust:
        names = [word for word in text.replace(',', ' ').split() if '.' in word]
        reason = next((line.strip() for line in text.split('\n') if 'nsupported' in line), '')
        return UserError(
            f'{path} holds Python objects besides tensors and plain data, which may run code when '
            'they are read. If you trust its source, repeat with --trust where the tool has it, '
            'or make a plain copy: python tools/misc/publish_model.py FILE COPY.pth --trust. '
            f'({(reason or " ".join(names))[:200]})')
    if isinstance(error, OSError) and error.errno is not None:
        return UserError(f'checkpoint {path} cannot be read: {error.strerror}.')
    reason = (text.splitlines() or [type(error).__name__])[0][:200]
    return UserError(f'{path} is damaged or not a PyTorch checkpoint ({reason}): copy it again, '
                     'or give another file.')


def _states(content: Any) -> Tuple[Mapping, ...]:
    """Return the dictionaries of weights within a checkpoint."""
    if not isinstance(content, Mapping):
        return ()
    found = tuple(content[key] for key in _PLACES if isinstance(content.get(key), Mapping))
    return found or (content, )


def check_structure(content: Any, source: str) -> None:
    """Raise unless a checkpoint is built as mmengine's loaders take for granted.

    Raises:
        UserError: It is no dictionary, or its parts are of other types.
    """
    if not isinstance(content, Mapping):
        raise UserError(f'{source} holds a {type(content).__name__}, not a checkpoint.')
    for key in ('state_dict', 'meta', 'message_hub', 'optimizer'):
        if not isinstance(content.get(key, {}), Mapping):
            raise UserError(f'{source} is no checkpoint of a model: its {key} is a '
                            f'{type(content[key]).__name__}.')


def check_tensors(content: Any, source: str, finite: bool = True) -> None:
    """Raise if the weights within a checkpoint are not usable numbers.

    Args:
        content (Any): What was in the file.
        source (str): Its name, for the message.
        finite (bool): Whether NaN anywhere, or infinity where a layer multiplies by
            it, is an error. Defaults to True.

    Raises:
        UserError: They are not finite, or a tensor is larger than what is stored of it.
    """
    bad, total = [], 0
    for state in _states(content):
        for name, value in state.items():
            if not isinstance(value, Tensor) or value.layout != torch.strided:
                continue
            total += 1
            stored = value.untyped_storage().nbytes()
            if value.numel() * value.element_size() > stored and value.device.type != 'meta':
                raise UserError(f'{source} is damaged: {name} has {value.numel()} values, and '
                                f'{stored} bytes of them are stored.')
            if finite and not _usable(str(name), value):
                bad.append(name)
    if bad:
        raise UserError(
            f'{source} holds weights that are not numbers: {len(bad)} of {total} tensors have NaN '
            f'or infinite values, first {bad[0]}. The training diverged; take an earlier '
            'checkpoint, or train again with a lower rate.')


def _usable(name: str, value: Tensor) -> bool:
    if not (value.is_floating_point() or value.is_complex()) or value.device.type == 'meta':
        return True
    value = value.detach()
    if value.element_size() == 1:  # few operators know 8-bit floats
        value = value.float()
    if bool(torch.isfinite(value).all()):
        return True
    # masks and bounds of other models may be infinite on purpose
    weight = name.endswith(('weight', 'bias', 'running_mean', 'running_var', 'alpha'))
    return not weight and not bool(torch.isnan(value).any())
