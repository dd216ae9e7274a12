# The narrow model with RepVGG blocks in the place of QARepVGG blocks.
_base_ = 'narrow_sample.py'

custom_imports = dict(
    imports=['mmyolonas', 'benchmarks.repvgg'], allow_failed_imports=False)
model = dict(type='mmyolonas.RepVGGYOLONAS')
