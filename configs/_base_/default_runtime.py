# What every detection config shares: scope, hooks, logging, visualisation.
default_scope = 'mmdet'
custom_imports = dict(imports=['mmyolonas'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='mmyolonas.ProgressLoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # Each epoch, so that `--resume` loses at most one.
    checkpoint=dict(
        type='mmyolonas.AtomicCheckpointHook',
        interval=1,
        max_keep_ckpts=2,
        save_best='coco/bbox_mAP',
        rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='DetVisualizationHook'))

env_cfg = dict(
    cudnn_benchmark=True,
    # OpenCV's threads would compete with the data workers.
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'))

visualizer = dict(
    type='DetLocalVisualizer',
    vis_backends=[dict(type='LocalVisBackend')],
    name='visualizer')
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
load_from = None
resume = False
