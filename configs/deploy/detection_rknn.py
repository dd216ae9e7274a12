# Rockchip's NPUs, by RKNN-Toolkit2 2.5 (it asks for torch <= 2.4 and numpy < 2: give python). It
# takes the maps, since its 8 bit ruins decoded boxes; the file takes raw pixels in the channel
# order of the network. calib_images: folder or pattern of pictures to find ranges with; None:
# those of the command line. The comparison is of the toolkit's simulator.
_base_ = './detection_onnxruntime_static.py'

codebase_config = dict(post_processing=dict(nms_type='maps'))
backend_config = dict(
    _delete_=True,
    type='rknn',
    python=None,
    target_platform='rk3588',
    quantize=True,
    calib_images=None)
