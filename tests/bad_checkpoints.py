"""Files that are given as checkpoints and are none, or none that may be used."""
import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Dict, Tuple

import torch


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = str(proof)

    def __reduce__(self):
        return os.mkdir, (self.proof, )


class Legacy:
    """mmengine's own kind of object: known to nobody else."""


def saved(content, **options) -> bytes:
    """Return what ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def safetensors(state: Dict[str, torch.Tensor]) -> bytes:
    """Return a safetensors file, by the format's description."""
    header, data = {}, b''
    for key, value in state.items():
        raw = value.float().contiguous().numpy().tobytes()
        header[key] = dict(dtype='F32', shape=list(value.shape),
                           data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, 'little') + text + data


def bad_checkpoints(good: dict, proof: Path) -> Dict[str, Tuple[bytes, str]]:
    """Return files by name: their content, and a part of the sentence they deserve.

    Args:
        good (dict): A checkpoint that is sound, with ``meta`` and ``state_dict``.
        proof (Path): A folder that a payload would make.
    """
    whole, state = saved(good), good['state_dict']
    first = next(key for key, value in state.items() if value.is_floating_point())

    def with_value(number: float) -> bytes:
        changed = {key: value.clone() for key, value in state.items()}
        changed[first].flatten()[0] = number
        return saved(dict(good, state_dict=changed))

    web = b'<!DOCTYPE html><html><body>404</body></html>'
    half = zipfile.ZipFile(io.BytesIO(whole))
    without_data = io.BytesIO()
    with zipfile.ZipFile(without_data, 'w') as archive:
        for name in half.namelist():
            if '/data/' not in name:
                archive.writestr(name, half.read(name))
    other_zip = io.BytesIO()
    with zipfile.ZipFile(other_zip, 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    return {
        'empty': (b'', 'empty'),
        'cut': (whole[:len(whole) // 2], 'damaged'),
        'head': (whole[:100], 'damaged'),
        'middle_lost': (whole[:len(whole) // 3] + whole[2 * len(whole) // 3:], 'damaged'),
        'lfs': (b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n', 'LFS'),
        'web': (web, 'web page'),
        'text': (b'hello', 'damaged'),
        'zeros': (bytes(4096), 'damaged'),
        'without_data': (without_data.getvalue(), 'damaged'),
        'other_zip': (other_zip.getvalue(), 'damaged'),
        'pickle': (pickle.dumps(dict(a=1)), 'damaged'),
        'nan': (with_value(float('nan')), 'not numbers'),
        'inf': (with_value(float('inf')), 'not numbers'),
        'list': (saved([1, 2]), 'list, not a checkpoint'),
        'tensor': (saved(torch.ones(2)), 'Tensor, not a checkpoint'),
        'number': (saved(3), 'int, not a checkpoint'),
        'nothing': (saved(None), 'NoneType, not a checkpoint'),
        'no_tensors': (saved(dict(state_dict=dict(a=1))), 'no tensors'),
        'state_list': (saved(dict(state_dict=[1])), 'state_dict is a list'),
        'payload': (saved(dict(good, meta=Payload(proof))), '--trust'),
        'legacy_payload': (
            saved(dict(good, meta=Payload(proof)), _use_new_zipfile_serialization=False),
            '--trust'),
        'object': (saved(dict(good, meta=Legacy())), '--trust'),
    }
