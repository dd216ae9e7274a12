"""torch.export programs: names, numbers, description."""
import numpy as np
import pytest
import torch

from mmyolonas.export import export_program, load_program
from tests.exported_models import metadata, pixels


@pytest.mark.parametrize('task', ['detection', 'pose'])
def test_a_program_is_the_model(zoo, task, tmp_path):
    path = str(tmp_path / 'model.pt2')
    program = export_program(zoo.model(task), path, (1, 3, 96, 128), metadata=metadata(task))
    image = pixels(1, 96, 128)
    expected = zoo.decoded(task, image)
    loaded, described = load_program(path)
    for one in (program, loaded):
        got = one.module()(torch.from_numpy(image))
        assert list(got) == list(expected)
        for name, value in expected.items():
            assert np.abs(got[name].numpy() - value).max() < 0.01, name
        outputs = one.graph_signature.user_outputs
        assert len(outputs) == len(expected)
    assert described.task == task and described.postprocess.nms == 'none'
    assert described.input_size == [128, 96]
    assert described.class_names == metadata(task).class_names


def test_other_flavours(zoo):
    program = export_program(zoo.model('detection'), None, (1, 3, 64, 64), nms='maps')
    got = program.module()(torch.zeros(1, 3, 64, 64))
    assert list(got) == ['reg_8', 'cls_8', 'reg_16', 'cls_16', 'reg_32', 'cls_32']
    with pytest.raises(ValueError, match="no form for nms='onnx'"):
        export_program(zoo.model('detection'), None, (1, 3, 64, 64), nms='onnx')
    with pytest.raises(ValueError, match='multiples of 32'):
        export_program(zoo.model('detection'), None, (1, 3, 64, 60))
    with pytest.raises(FileNotFoundError, match='no such program'):
        load_program('nothing.pt2')
