"""Several image sizes in a training."""
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from mmyolonas.models.data_preprocessors import BatchGrowingResize, BatchRandomResize


def sample():
    item = DetDataSample(metainfo=dict(img_shape=(64, 128), pad_shape=(64, 128)))
    item.gt_instances = InstanceData(bboxes=torch.tensor([[8., 16., 32., 64.]]),
                                     labels=torch.tensor([0]))
    item.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0))
    return item


def test_boxes_follow_the_image():
    """A box stays where it was, relative to the image; what was given is not written to."""
    resize = BatchRandomResize((2.0, 2.0))
    given = sample()
    boxes = given.gt_instances.bboxes
    MessageHub.get_instance('resize').update_info('iter', 0)
    images, (scaled, ) = resize(torch.rand(1, 3, 64, 128), [given])
    assert images.shape == (1, 3, 128, 256) and scaled.metainfo['img_shape'] == (128, 256)
    assert scaled.metainfo['batch_input_shape'] == (128, 256)
    assert scaled.gt_instances.bboxes.tolist() == [[16., 32., 64., 128.]]
    assert boxes.tolist() == [[8., 16., 32., 64.]]


def test_sizes_depend_on_the_step_alone():
    resize = BatchRandomResize(interval=5, seed=3)
    sizes = [resize.size_at(step, 320, 640) for step in range(200)]
    assert sizes == [BatchRandomResize(interval=5, seed=3).size_at(s, 320, 640) for s in range(200)]
    assert all(len(set(sizes[start:start + 5])) == 1 for start in range(0, 200, 5))
    assert {height for height, _ in sizes} == {256, 288, 320, 352, 384}
    assert all(side % 32 == 0 for size in sizes for side in size)
    assert sizes != [BatchRandomResize(interval=5, seed=4).size_at(s, 320, 640) for s in range(200)]
    with pytest.raises(ValueError, match='must rise'):
        BatchRandomResize((1.2, 0.8))


def test_growing():
    """Half the side up to six tenths of the steps, then the images as they come."""
    grow = BatchGrowingResize()
    sizes = [grow.size_at(step / 100, 240, 320) for step in range(100)]
    assert sizes == [(128, 160)] * 60 + [(240, 320)] * 40
    MessageHub.get_instance('grow')
    MessageHub.get_current_instance().update_info('iter', 10)
    MessageHub.get_current_instance().update_info('max_iters', 100)
    images, (scaled, ) = grow(torch.rand(1, 3, 64, 128), [sample()])
    assert images.shape == (1, 3, 32, 64)
    assert scaled.gt_instances.bboxes.tolist() == [[4., 8., 16., 32.]]
    for wrong in (((0.6, 1.5), ), ((0.6, 0.5), (0.3, 0.7))):
        with pytest.raises(ValueError, match='the shares rising'):
            BatchGrowingResize(wrong)
