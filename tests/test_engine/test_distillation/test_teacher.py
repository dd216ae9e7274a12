"""Teachers: what fits, what is read from mmdet's heads, what the input becomes."""
import pytest
import torch
from mmdet.models import DetDataPreprocessor
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope

from mmyolonas.engine.distillation import Teacher, input_converter
from mmyolonas.models.pose_heads import YOLONASPoseHead
from mmyolonas.utils import UserError
from mmyolonas.utils.building import build_model
from tests import tiny

POINTS = dict(type='MlvlPointGenerator', offset=0.5, strides=[8, 16, 32])
SQUARES = dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1,
               strides=[8, 16, 32])
CENTRED = {**SQUARES, 'center_offset': 0.5}
COMMON = dict(num_classes=2, in_channels=16, feat_channels=32, stacked_convs=1)
HEADS = dict(
    rtmdet=dict(type='RTMDetHead', **COMMON, anchor_generator=POINTS, with_objectness=False,
                bbox_coder=dict(type='DistancePointBBoxCoder')),
    gfl=dict(type='GFLHead', **COMMON, anchor_generator=SQUARES),
    gfl_centred=dict(type='GFLHead', **COMMON, anchor_generator=CENTRED),
    atss=dict(type='ATSSHead', **COMMON, anchor_generator=SQUARES,
              bbox_coder=dict(type='DeltaXYWHBBoxCoder')),
    fcos=dict(type='FCOSHead', **COMMON, strides=[8, 16, 32], norm_on_bbox=True,
              regress_ranges=((-1, 64), (64, 128), (128, 1e8))),
    yolox=dict(type='YOLOXHead', **COMMON),
    retina=dict(type='RetinaHead', **COMMON, anchor_generator=dict(
        type='AnchorGenerator', octave_base_scale=4, scales_per_octave=3,
        ratios=[0.5, 1.0, 2.0], strides=[8, 16, 32])),
    softmax=dict(type='RetinaHead', **COMMON, anchor_generator=SQUARES,
                 loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False)))


def build(head: dict = {}, **changes):
    """Return a tiny detector in evaluation mode whose feature maps have 16 channels."""
    init_default_scope('mmdet')
    cfg = ConfigDict(tiny.model_config())
    for stage in cfg.neck.arch.stages:
        stage.out_channels = 16
    cfg.bbox_head.in_channels = (16, 16, 16)
    cfg.bbox_head.update(changes)
    if head:
        cfg.bbox_head = ConfigDict(head)
    torch.manual_seed(3)
    return MODELS.build(cfg).eval()


@pytest.mark.parametrize('name', HEADS)
def test_heads_of_mmdet(name):
    """The best box of every image is among what the head itself predicts."""
    model = build(HEADS[name])
    teacher = Teacher(model, build())
    inputs = torch.rand(2, 3, 96, 64)
    outputs = teacher(inputs)
    priors = 12 * 8 + 6 * 4 + 3 * 2
    assert outputs.scores.shape == (2, priors, 2) and outputs.boxes.shape == (2, priors, 4)
    # only distributions that count from the middle of a cell compare
    assert (outputs.bbox_dists is not None) == (name == 'gfl_centred')
    assert [x.shape[1] for x in outputs.feats] == [16] * 3
    metas = [dict(img_shape=(96, 64), scale_factor=(1.0, 1.0))] * 2
    found = model.bbox_head.predict_by_feat(
        *model.bbox_head(model.extract_feat(inputs)), batch_img_metas=metas,
        cfg=ConfigDict(score_thr=0, nms_pre=1000), with_nms=False)
    for image, instances in enumerate(found):
        best = instances.scores.argmax()
        score = outputs.scores[image].amax(-1)
        torch.testing.assert_close(instances.scores[best], score.max())
        boxes = outputs.boxes[image][score > score.max() - 1e-6]
        limit = torch.tensor([64., 96, 64, 96])
        distance = (boxes.clamp(min=0).minimum(limit) - instances.bboxes[best].clamp(
            min=0).minimum(limit)).abs().amax(-1)
        assert distance.min() < 1e-3


def test_levels_that_the_student_lacks():
    head = {**HEADS['gfl_centred'], 'anchor_generator': {**CENTRED, 'strides': [8, 16, 32, 64]}}
    model = build(head)
    feats = model.extract_feat
    model.extract_feat = lambda x: (*feats(x), torch.nn.functional.max_pool2d(feats(x)[-1], 2))
    outputs = Teacher(model, build())(torch.rand(1, 3, 128, 128))
    assert outputs.scores.shape[1] == 256 + 64 + 16 and len(outputs.bbox_dists) == 3


def test_a_head_that_is_read_wrongly_is_refused():
    """TOOD's forward gives scores where others give logits."""
    init_default_scope('mmdet')
    model = build(HEADS['rtmdet'])
    logits = model.bbox_head.forward
    model.bbox_head.forward = lambda x: (logits(x)[0], [y * 2 for y in logits(x)[1]])
    own = model.bbox_head.predict_by_feat
    model.bbox_head.predict_by_feat = lambda cls, box, **options: own(
        cls, [y / 2 for y in box], **options)
    with pytest.raises(UserError, match='a RTMDetHead cannot be a teacher, it scores or decodes'):
        Teacher(model, build())


@pytest.mark.parametrize('changes, message', [
    (dict(num_classes=5), 'the teacher has 5 classes, the student 2; both need the same classes'),
    (dict(strides=(8, 16, 64)), r'strides \[8, 16, 64\], the student of \[8, 16, 32\]; every'),
])
def test_other_classes_and_strides(changes, message):
    with pytest.raises(UserError, match=message):
        Teacher(build(**changes), build())


def test_a_detector_for_poses_and_the_other_way_round():
    pose = build()
    pose.bbox_head = YOLONASPoseHead(
        3, 'n', in_channels=(16, ) * 3, feat_channels=8, pose_channels=8, sigmas=0.1)
    with pytest.raises(UserError, match='student is a YOLO-NAS detector, the teacher is none'):
        Teacher(pose, build())
    with pytest.raises(UserError, match='learns from a YOLO-NAS-Pose model'):
        Teacher(build(), pose)


def test_other_number_of_bins():
    """The boxes are compared instead of the distributions."""
    outputs = Teacher(build(reg_max=8), build())(torch.rand(1, 3, 64, 64))
    assert outputs.bbox_dists is None


def test_yolonas_teacher_agrees_with_decode():
    model, student = build(), build()
    inputs = torch.rand(2, 3, 64, 96)
    outputs = Teacher(model, student)(inputs)
    boxes, scores = model.bbox_head.decode(model.extract_feat(inputs))
    torch.testing.assert_close(outputs.boxes, boxes)
    torch.testing.assert_close(outputs.scores, scores)
    assert not any(p.requires_grad for p in model.parameters()) and not model.training


IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
PLAIN = dict(mean=[0, 0, 0], std=[255, 255, 255])


@pytest.mark.parametrize('student, teacher', [
    (dict(PLAIN, bgr_to_rgb=True), dict(IMAGENET, bgr_to_rgb=True)),
    (dict(PLAIN, bgr_to_rgb=True), dict(IMAGENET)),
    (dict(IMAGENET), dict(PLAIN, bgr_to_rgb=True)),
    (dict(PLAIN, bgr_to_rgb=True), dict()),
])
def test_input_of_the_teacher(student, teacher):
    student, teacher = DetDataPreprocessor(**student), DetDataPreprocessor(**teacher)
    image = torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8)
    given, wanted = (p(dict(inputs=[image], data_samples=None))['inputs']
                     for p in (student, teacher))
    torch.testing.assert_close(
        input_converter(student, teacher)(given), wanted.float(), rtol=1e-4, atol=1e-4)
    assert input_converter(student, student) is None


def test_building_does_not_change_the_scope(tmp_path):
    from mmengine.registry import DefaultScope

    from mmyolonas.engine.distillation import load_teacher
    student = build()
    cfg = dict(default_scope='mmengine', model=tiny.model_config())
    path = tiny.write_config(tmp_path / 'teacher.py', cfg)
    cfg['model']['data_preprocessor']['type'] = 'mmdet.DetDataPreprocessor'
    path = tiny.write_config(tmp_path / 'teacher.py', cfg)
    torch.save(dict(state_dict=build_model(Config(cfg)).state_dict()), tmp_path / 't.pth')
    init_default_scope('mmdet')
    load_teacher(str(path), str(tmp_path / 't.pth'), student)
    assert DefaultScope.get_current_instance().scope_name == 'mmdet'


# --------------------------------------------------------------- smaller images
def test_a_smaller_image_is_asked_and_its_cells_serve_the_students_priors():
    """Prior by prior, by hand: the cell of the same level in which its centre lies."""
    model, student = build(), build()
    inputs = torch.rand(2, 3, 192, 128)
    outputs = Teacher(model, student, 0.5)(inputs)
    half = torch.nn.functional.avg_pool2d(inputs, 2)
    expected = Teacher(model, student)(half)
    assert outputs.bbox_dists is None and outputs.scores.shape == (2, 24 * 16 + 12 * 8 + 6 * 4, 2)
    prior = first = 0
    for stride in (8, 16, 32):
        width = 64 // stride
        for row in range(192 // stride):
            for column in range(128 // stride):
                cell = first + (row // 2) * width + column // 2
                for image in range(2):
                    torch.testing.assert_close(
                        outputs.scores[image, prior], expected.scores[image, cell])
                    torch.testing.assert_close(
                        outputs.boxes[image, prior], 2 * expected.boxes[image, cell])
                prior += 1
        first += (96 // stride) * width
    assert [tuple(x.shape[-2:]) for x in outputs.feats] == [(24, 16), (12, 8), (6, 4)]


def test_sizes_that_do_not_halve():
    """Sides of odd multiples: factors of their own, and every prior has a cell."""
    model, student = build(), build()
    seen = []
    read = Teacher(model, student, 0.6)
    read.read, inner = lambda x: seen.append(x.shape[-2:]) or inner(x), read.read
    outputs = read(torch.rand(1, 3, 96, 160))
    assert tuple(seen[0]) == (64, 96)
    whole = inner(torch.nn.functional.interpolate(torch.rand(1, 3, 8, 8), (64, 96)))
    assert outputs.scores.shape[1] == 12 * 20 + 6 * 10 + 3 * 5 and whole.scores.shape[1] == 126
    boxes = outputs.boxes[0, [0, 239]]  # the first and the last cell of the finest level
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert (centres[0] < 60).all() and (centres[1] > torch.tensor([100., 40])).all()
    # a scale that changes nothing leaves the distributions
    assert Teacher(model, student, 0.9)(torch.rand(1, 3, 64, 64)).bbox_dists is not None


def test_poses_of_smaller_images():
    pose = build()
    pose.bbox_head = YOLONASPoseHead(
        3, 'n', in_channels=(16, ) * 3, feat_channels=8, pose_channels=8, sigmas=0.1)
    inputs = torch.rand(1, 3, 64, 64)
    outputs = Teacher(pose, pose, 0.5)(inputs)
    expected = Teacher(pose, pose)(torch.nn.functional.avg_pool2d(inputs, 2))
    torch.testing.assert_close(outputs.keypoints[0, 9], 2 * expected.keypoints[0, 0])
    torch.testing.assert_close(outputs.keypoint_scores[0, 9], expected.keypoint_scores[0, 0])
    torch.testing.assert_close(outputs.keypoints[0, 63], 2 * expected.keypoints[0, 15])


@pytest.mark.parametrize('scale', [0, -1, 1.5, float('nan')])
def test_scales_that_are_refused(scale):
    with pytest.raises(UserError, match='input_scale of the teacher must be above 0'):
        Teacher(build(), build(), scale)
