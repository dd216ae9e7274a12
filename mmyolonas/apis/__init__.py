"""What a notebook imports. Light: the parts are loaded when they are asked for."""
from mmyolonas.utils.lazy import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, {
    'FinetuneOptions': 'mmyolonas.workflows.finetune.finetune_settings',
    'Finetuning': 'mmyolonas.workflows.finetune.task',
    'InferenceOptions': 'mmyolonas.inference.inference',
    'Prediction': 'mmyolonas.inference.prediction',
    'Predictor': 'mmyolonas.inference.inference',
    'PseudoLabelOptions': 'mmyolonas.workflows.pseudo_labels.pseudo_labels',
    'PseudoLabeller': 'mmyolonas.workflows.pseudo_labels.pseudo_labels',
    'Runtime': 'mmyolonas.runtime.runtime',
    'RuntimeResult': 'mmyolonas.runtime.result',
    'finetune': 'mmyolonas.workflows.finetune.finetuning',
})
