"""One training step, the loss alone and post-processing of each pose model that is compared.

Runs inside the workers of pose_train_step.py. Every class builds a model of its own package with
random weights, around the configuration that package ships, at the size of the problem.
"""
from dataclasses import dataclass
from typing import Callable, List, Tuple

import torch
from torch import Tensor

COCO = 'configs/_base_/datasets/coco.py'


@dataclass
class Problem:
    """What is computed.

    Attributes:
        size (int): Side of the square images, a multiple of 32.
        batch (int): Images a step.
        persons (int): Persons an image.
        candidates (int): Priors that post-processing looks at.
        arch (str): Size of this package's model.
        device (str): Where a step is computed.
        precision (str): ``'fp32'``, ``'fp16'`` or ``'bf16'``, of a step.
        channels_last (bool): Whether a step's model and images are laid out so.
        compile (bool): Whether a step's backbone and neck are compiled.
    """
    size: int = 320
    batch: int = 8
    persons: int = 4
    candidates: int = 300
    arch: str = 'n'
    device: str = 'cpu'
    precision: str = 'fp32'
    channels_last: bool = False
    compile: bool = False

    def images(self) -> Tensor:
        """Return images (B, 3, size, size) within [0, 1]."""
        return torch.rand(
            self.batch, 3, self.size, self.size, generator=torch.Generator().manual_seed(0))

    def samples(self) -> list:
        """Return mmpose's data samples with persons of a fifth to four fifths of the image."""
        from mmengine.structures import InstanceData, PixelData
        from mmpose.structures import PoseDataSample
        generator = torch.Generator().manual_seed(1)
        samples = []
        for _ in range(self.batch):
            shape = (self.persons, )
            sides = self.size * (0.2 + 0.6 * torch.rand(*shape, 2, generator=generator))
            corner = (self.size - sides) * torch.rand(*shape, 2, generator=generator)
            points = corner[:, None] + sides[:, None] * torch.rand(
                *shape, 17, 2, generator=generator)
            sample = PoseDataSample(
                gt_instance_labels=InstanceData(
                    bboxes=torch.cat([corner, corner + sides], 1),
                    labels=torch.zeros(shape, dtype=torch.long),
                    keypoints=points,
                    keypoints_visible=torch.ones(*shape, 17),
                    areas=0.53 * sides.prod(1)),
                metainfo=dict(input_size=(self.size, self.size)))
            sample.gt_fields = PixelData()
            samples.append(sample)
        return samples

    def detections(self) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return boxes, scores, key points and their scores of an image of 640 x 640."""
        generator = torch.Generator().manual_seed(2)
        priors = 8400

        def rand(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=generator)

        centre = 640 * rand(self.candidates // 10, 2).repeat_interleave(priors, 0)
        centre = centre[torch.randperm(len(centre), generator=generator)[:priors]]
        sides = 60 + 100 * rand(priors, 2)
        centre = centre + 25 * rand(priors, 2)
        boxes = torch.cat([centre - sides / 2, centre + sides / 2], 1)
        points = centre[:, None] + sides[:, None] * (rand(priors, 17, 2) - 0.5)
        return boxes, rand(priors, 1), points, rand(priors, 17)


def step_function(model: torch.nn.Module, problem: Problem) -> Callable[[], float]:
    """Return a function that does one training step and returns the loss."""
    from benchmarks import detectors
    layout = torch.channels_last if problem.channels_last else torch.preserve_format
    images = problem.images().to(problem.device).contiguous(
        memory_format=torch.channels_last if problem.channels_last else torch.contiguous_format)
    samples = [sample.to(problem.device) for sample in problem.samples()]
    for sample in samples:  # mmengine moves the parts that are data fields, this one is none
        sample.gt_instance_labels = sample.gt_instance_labels.to(problem.device)
    model.train().to(problem.device, memory_format=layout)
    if problem.compile:
        model.extract_feat = torch.compile(model.extract_feat)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    return detectors.step_function(
        lambda: total(model.loss(images, samples)), optimizer,
        detectors.Problem(device=problem.device, precision=problem.precision))


def total(losses: dict) -> Tensor:
    """Return the sum of what is to be minimised."""
    return sum(value.mean() for name, value in losses.items() if 'loss' in name)


class MMPoseModel:
    """A model of mmpose from its own configuration file."""

    config = ''

    def __init__(self, problem: Problem) -> None:
        from mmengine.config import Config
        from mmengine.registry import init_default_scope
        from mmengine.utils import get_installed_path

        import mmyolonas  # noqa: F401, mmpose needs its repairs on this stack
        self.problem = problem
        init_default_scope('mmpose')
        path = f'{get_installed_path("mmpose")}/.mim/{self.config}'
        self.model_config = Config.fromfile(path).model
        self._adapt()

    def _adapt(self) -> None:
        """Leave out what is fetched from the network, and rescaling of the images."""
        self.model_config.backbone.pop('init_cfg', None)
        self.model_config.data_preprocessor.pop('batch_augments', None)

    def _build(self) -> torch.nn.Module:
        import mmpose.models  # noqa: F401
        from mmpose.registry import MODELS
        torch.manual_seed(0)
        model = MODELS.build(self.model_config)
        model.init_weights()
        return model

    def step(self) -> Callable[[], float]:
        """Return a whole training step."""
        return step_function(self._build(), self.problem)

    def loss(self) -> Callable[[], float]:
        """Return assignment and loss on given outputs of the network, with their gradient."""
        model, samples = self._build().train(), self.problem.samples()
        head = model.head
        with torch.no_grad():
            outputs = self._outputs(head, model.extract_feat(self.problem.images()))
        leaves = [x.detach().clone().requires_grad_() for maps in outputs for x in maps]
        maps = [leaves[start:start + len(outputs[0])]
                for start in range(0, len(leaves), len(outputs[0]))]
        self._replace(head, lambda feats: maps)

        def run() -> float:
            for leaf in leaves:
                leaf.grad = None
            loss = total(head.loss(None, samples))
            loss.backward()
            return loss.item()

        return run

    def _outputs(self, head: torch.nn.Module, feats: Tuple[Tensor, ...]) -> List[List[Tensor]]:
        return [list(maps) for maps in head.forward(feats)]

    def _replace(self, head: torch.nn.Module, function: Callable) -> None:
        head.forward = function

    def post(self) -> Callable[[], float]:
        """Return mmpose's selection around ``nms_torch``, as its heads write it."""
        from mmdet.models.utils import filter_scores_and_topk
        from mmengine.structures import InstanceData
        from mmpose.evaluation.functional import nms_torch
        detections = self.problem.detections()

        def run() -> float:
            boxes, scores, points, point_scores = detections
            scores, labels = scores.max(1, keepdim=True)
            scores, _, keep, results = filter_scores_and_topk(
                scores, 0.01, self.problem.candidates, results=dict(labels=labels[:, 0]))
            labels = results['labels']
            boxes, points, point_scores = boxes[keep], points[keep], point_scores[keep]
            keep = nms_torch(boxes, scores, 0.7)
            instances = InstanceData(
                scores=scores[keep], labels=labels[keep], bboxes=boxes[keep],
                bbox_scores=scores[keep], keypoints=points[keep],
                keypoint_scores=point_scores[keep], keypoints_visible=point_scores[keep])
            return float(len(instances.numpy()))

        return run


class RTMO(MMPoseModel):
    """mmpose's RTMO-s; its loss contains the coordinate classifier of the positives."""

    config = 'configs/body_2d_keypoint/rtmo/coco/rtmo-s_8xb32-600e_coco-640x640.py'


class YOLOXPose(MMPoseModel):
    """mmpose's YOLOX-Pose-s."""

    config = 'configs/body_2d_keypoint/yoloxpose/coco/yoloxpose_s_8xb32-300e_coco-640.py'

    def _adapt(self) -> None:
        super()._adapt()
        self.model_config.head.assigner.oks_calculator = dict(type='PoseOKS', metainfo=COCO)


class YOLONASPose(MMPoseModel):
    """This package's YOLO-NAS-Pose, N unless another is asked for."""

    def __init__(self, problem: Problem) -> None:
        from mmengine.config import Config
        from mmengine.registry import init_default_scope

        import mmyolonas  # noqa: F401
        from benchmarks.common import ROOT
        self.problem = problem
        init_default_scope('mmpose')
        self.model_config = Config.fromfile(
            ROOT / f'configs/yolonas_pose/yolonas_pose_{problem.arch}_coco.py').model

    def _outputs(self, head: torch.nn.Module, feats: Tuple[Tensor, ...]) -> List[List[Tensor]]:
        return head._forward_logits(feats)

    def _replace(self, head: torch.nn.Module, function: Callable) -> None:
        head._forward_logits = function

    def post(self) -> Callable[[], float]:
        """Return this package's selection."""
        from mmyolonas.models.pose_heads import select_poses
        detections = [x[None] for x in self.problem.detections()]

        def run() -> float:
            return float(len(select_poses(*detections, score_thr=0.01, nms_thr=0.7,
                                          nms_pre=self.problem.candidates,
                                          max_per_img=self.problem.candidates)[0]))

        return run


IMPLEMENTATIONS = {'mmyolonas N': YOLONASPose, 'RTMO-s': RTMO, 'YOLOX-Pose-s': YOLOXPose}
