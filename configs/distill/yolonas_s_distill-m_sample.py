# Distillation that runs on a CPU: yolonas_s_sample.py with a teacher.
#   python -m mmyolonas.datasets.samples.sample_data detection data/sample_shapes
#   python tools/train.py configs/distill/yolonas_m_sample.py
#   python tools/train.py configs/distill/yolonas_s_distill-m_sample.py
_base_ = '../yolonas/yolonas_s_sample.py'

# A folder stands for its last checkpoint.
teacher_checkpoint = 'work_dirs/yolonas_m_sample'

custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='mmyolonas.DistillationHook',
        teacher=dict(
            config='mmyolonas::distill/yolonas_m_sample.py',
            checkpoint=teacher_checkpoint),
        weights=dict(cls=1.0, dfl=1.0),
        schedule=dict(warmup=1)),
]
