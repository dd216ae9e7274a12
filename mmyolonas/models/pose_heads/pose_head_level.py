"""One pyramid level of the pose head."""
import math
from typing import Tuple

from torch import Tensor, nn

from mmyolonas.models.layers import ConvNormAct


class YOLONASPoseHeadLevel(nn.Module):
    r"""Two paths: boxes with all confidences, and key points (reference.md 3.4).

    .. code:: text

        x -> bbox_stem -> cls_convs -> cls_pred   1 + K: object, key points
                      \\-> reg_convs -> reg_pred   4 * (reg_max + 1)
          -> pose_stem -> pose_convs -> pose_pred  2 * K

    With ``shared_stem`` one ``stem``, as wide as the wider path, feeds all
    three; the first convolution of each branch then adapts the width.

    Args:
        in_channels (int): Channels of the feature map.
        feat_channels (int): Channels of the box path.
        pose_channels (int): Channels of the pose path.
        num_keypoints (int): Number K of key points.
        reg_out_channels (int): Number of distribution logits.
        num_bbox_convs (int): 3x3 convolutions in front of ``cls_pred`` and of
            ``reg_pred``.
        num_pose_convs (int): 3x3 convolutions in front of ``pose_pred``.
        shared_stem (bool): Whether both paths share their stem.
        prior_prob (float): Confidence that the initial ``cls_pred`` bias gives.
        norm_cfg (dict): Normalisation.
        act_cfg (dict): Activation.
    """

    def __init__(self, in_channels: int, feat_channels: int, pose_channels: int,
                 num_keypoints: int, reg_out_channels: int, num_bbox_convs: int,
                 num_pose_convs: int, shared_stem: bool, prior_prob: float, norm_cfg: dict,
                 act_cfg: dict) -> None:
        super().__init__()
        cfg = dict(norm_cfg=norm_cfg, act_cfg=act_cfg)
        self.shared_stem = shared_stem
        if shared_stem:
            bbox_in = pose_in = max(feat_channels, pose_channels)
            self.stem = ConvNormAct(in_channels, bbox_in, 1, **cfg)
        else:
            bbox_in, pose_in = feat_channels, pose_channels
            self.pose_stem = ConvNormAct(in_channels, pose_channels, 1, **cfg)
            self.bbox_stem = ConvNormAct(in_channels, feat_channels, 1, **cfg)

        def convs(channels: int, width: int, number: int) -> nn.Sequential:
            widths = [channels] + [width] * number
            return nn.Sequential(
                *(ConvNormAct(a, b, 3, **cfg) for a, b in zip(widths, widths[1:])))

        self.cls_convs = convs(bbox_in, feat_channels, num_bbox_convs)
        self.reg_convs = convs(bbox_in, feat_channels, num_bbox_convs)
        self.pose_convs = convs(pose_in, pose_channels, num_pose_convs)
        bbox_out = feat_channels if num_bbox_convs else bbox_in
        pose_out = pose_channels if num_pose_convs else pose_in
        self.reg_pred = nn.Conv2d(bbox_out, reg_out_channels, 1)
        self.cls_pred = nn.Conv2d(bbox_out, 1 + num_keypoints, 1)
        self.pose_pred = nn.Conv2d(pose_out, 2 * num_keypoints, 1)
        nn.init.constant_(self.cls_pred.bias, -math.log((1 - prior_prob) / prior_prob))

    def forward(self, x: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
        """Return confidence logits, distribution logits and key-point offsets.

        Args:
            x (Tensor): Feature map of shape (B, in_channels, H, W).

        Returns:
            tuple[Tensor, Tensor, Tensor]: (B, 1 + K, H, W), (B, 4 * (reg_max + 1),
            H, W) and (B, 2 * K, H, W) in units of the stride.
        """
        if self.shared_stem:
            bbox_feat = pose_feat = self.stem(x)
        else:
            bbox_feat, pose_feat = self.bbox_stem(x), self.pose_stem(x)
        return (self.cls_pred(self.cls_convs(bbox_feat)),
                self.reg_pred(self.reg_convs(bbox_feat)),
                self.pose_pred(self.pose_convs(pose_feat)))
