"""Convolution, normalisation and activation in one module."""
from mmcv.cnn import ConvModule


class ConvNormAct(ConvModule):
    """mmcv's ``ConvModule`` with PyTorch's default initialisation.

    YOLO-NAS is trained from PyTorch's default convolution weights
    (reference.md 2.4), whereas ``ConvModule`` draws Kaiming-normal ones when it is
    constructed. Padding defaults to ``kernel_size // 2``.

    Args:
        in_channels (int): Input channels.
        out_channels (int): Output channels.
        kernel_size (int): Side of the square kernel. Defaults to 1.
        stride (int): Stride. Defaults to 1.
        **kwargs: Further arguments of :class:`mmcv.cnn.ConvModule`, as a rule
            ``norm_cfg`` and ``act_cfg``.
    """

    def __init__(self,
                 in_channels: int,
                 out_channels: int,
                 kernel_size: int = 1,
                 stride: int = 1,
                 **kwargs) -> None:
        kwargs.setdefault('padding', kernel_size // 2)
        super().__init__(in_channels, out_channels, kernel_size, stride=stride, **kwargs)

    def init_weights(self) -> None:
        """Keep the weights that PyTorch's constructors drew."""
