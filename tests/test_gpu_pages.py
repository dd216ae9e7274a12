"""The figures of the GPU program as rows of a page."""
import json

import pytest
from scipy.stats import ttest_1samp

from benchmarks.gpu.pages import BEGIN, END, figures, interval, publish, read_states
from benchmarks.gpu.speed import _summary
from mmyolonas.utils import UserError

CARD = dict(device='Card X', driver='1.2', torch='2.11.0', cuda='13.0', processor='CPU Y', cores=16)
RUN = dict(median_ms=2.5, p5_ms=2.4, p95_ms=2.75, runs=200, images_a_second=400., power_w=300.,
           sm_mhz=1900)
T4 = dict(fp16=3.21)


def training(ap):
    return dict(ap=ap, ap50=ap + 0.3, step_seconds=0.1, epochs=300, seed=0)


def speed():
    seconds = {'mmyolonas': [0.1, 0.1, 0.1], 'mmyolonas, compiled': [0.08] * 3,
               'modern-yolonas': [0.14, 0.15, 0.16], 'rtmdet-s': [0.2] * 3}
    return _summary(32, seconds, {name: dict(peak_mib=1000., loss=1.) for name in seconds}, {})


RESULTS = dict(
    sanity={'model/s': dict(passed=True, size=320, fp32=dict(
        outputs=1e-6, loss=2e-6, linear=3e-6, gradients=4e-6, passed=True,
        fused=dict(outputs=5e-6, passed=True))), 'ema': dict(error=1e-7, passed=False)},
    speed={'step/s-b32-fp16': speed(), 'data/s': dict(
        workers=15, loader_images_a_second=900., step_images_a_second=800.,
        fed_images_a_second=700., waiting_share=0.125),
        'parts/s': dict(parts_ms=dict(step=50., forward=20., assign=2., backward=25.,
                                      optimiser=5.), waits=dict(count=3))},
    accuracy={**{f'scratch/bccd-s-{seed}': training(ap) for seed, ap in enumerate(
        (0.6, 0.61, 0.62))}, **{f'distill/{seed}': dict(
            teacher=training(0.65), plain=training(0.6), gain_equal_time=gain)
            for seed, gain in enumerate((0.01, 0.02, 0.06))},
        'pretrain/0': dict(drawn=20000, scratch=dict(ap=0.5, ap50=0.8, split='test'))},
    latency={'torch/s': {'published_t4_ms': T4, 'size': 640, 'tf32': True, 'fp16 batch 1': RUN}},
    tensorrt={'tried': dict(tensorrt='no | such\nmodule'), 'fp16/s': dict(
        flavour='tensorrt_rtx', version='1.7', mib=25., build_seconds=9., published_t4_ms=T4,
        with_copies=RUN, layers_ms=2.)},
    search={'operators/torch': dict(networks=20, spearman=0.95, measured_ms=[1., 2.])})


@pytest.fixture
def results(tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    for name, found in RESULTS.items():
        items = {key: dict(status='done', seconds=1., attempts=1, machine='machine 1',
                           date='2026-01-02', result=value) for key, value in found.items()}
        items['lost'] = dict(status='failed', seconds=1., attempts=2, machine='machine 1',
                             date='2026-01-03', reason='File "/root/x.py"\nValueError: no')
        (out / f'gpu-{name}.json').write_text(json.dumps(dict(
            format='mmyolonas-gpu/1', stage=name, rehearsal=False, machines={'machine 1': CARD},
            items=items)))
    return out


def test_rows_say_what_the_results_say(results):
    text = figures(read_states(results))
    assert text.count('2026-01-02; Card X, driver 1.2, torch 2.11.0, CUDA 13.0, CPU Y, 16 cores; '
                      '`python benchmarks/gpu.py --stages ') == 6
    assert text.count('Without a figure: lost (failed).') == 6
    for row in ('| s | fp32 | 1e-06 | 5e-06 | 2e-06 | 3e-06 | yes |',
                '| ema | error 1e-07 | **no** |',
                '| s-b32-fp16 | modern-yolonas | 213.3 | 150 | 1.50 (1.40 .. 1.60) | 1000 |',
                '| s-b32-fp16 | modern-yolonas | 1.50 (1.40 .. 1.60) | 1.3 | yes | 1.875 |',
                '| s | 15 | 900 | 800 | 700 | 12% |', '| s | 50 | 20 | 2 | 25 | 5 | 3 |',
                '| scratch bccd-s | 0.610 +- 0.025 (0.600, 0.610, 0.620) |',
                '| distill: gain_equal_time | 0.030 +- 0.066 (0.010, 0.020, 0.060) |',
                '| pretrain: scratch | 0.500 (one seed) | 0.800 (one seed) | 1 |',
                '| s | torch | fp16 batch 1 | 2.5 | 2.4 .. 2.75 | 400 | 300 | 1900 | fp16 3.21 |',
                '| s | fp16 | tensorrt_rtx 1.7 | 25 | 2.5 | 2 | 300 | 1900 | fp16 3.21 |',
                '| tried | tensorrt: no / such module |',
                '| operators/torch | networks 20, spearman 0.95 |'):
        assert row in text, row


def test_interval_is_students():
    values = [0.01, 0.02, 0.06]
    low, high = ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval(values).startswith(f'{(low + high) / 2:.3f} +- {(high - low) / 2:.3f} ')


def test_figures_are_published(results, tmp_path):
    page = tmp_path / 'README.md'
    page.write_text(f'before\n{BEGIN}\n\nnothing yet\n\n{END}\nafter\n')
    for _ in range(2):  # renewed, not doubled
        written = publish(results, page)
    text = page.read_text()
    assert text.startswith('before\n') and text.endswith('after\n') and 'nothing yet' not in text
    assert text.count('### Training steps') == 1 and len(written) == 7
    kept = json.loads((tmp_path / 'results' / 'gpu-speed.json').read_text())
    assert kept['items']['lost']['reason'] == 'ValueError: no'
    (tmp_path / 'other.md').write_text('no place')
    with pytest.raises(UserError, match='lacks the lines'):
        publish(results, tmp_path / 'other.md')


def test_a_rehearsal_is_not_published(results, tmp_path):
    state = json.loads((results / 'gpu-speed.json').read_text())
    for change, message in ((dict(rehearsal=True), 'no figure of it means anything'),
                            (dict(format='x'), 'is no result file')):
        (results / 'gpu-speed.json').write_text(json.dumps({**state, **change}))
        with pytest.raises(UserError, match=message):
            read_states(results)
    with pytest.raises(UserError, match='has no results'):
        read_states(tmp_path)
