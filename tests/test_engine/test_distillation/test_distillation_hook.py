"""A whole training with a teacher: what is added, what stays as it was, what is refused."""
import copy
import pickle
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmyolonas.engine.hooks import DistillationHook
from mmyolonas.utils import UserError
from mmyolonas.utils.building import build_model
from tests import tiny

ADAPTERS = dict(type='mmyolonas.FeatureAdapters', in_channels=(16, 16, 32),
                out_channels=(16, 16, 32))


@pytest.fixture
def teacher(tmp_path):
    """Write a teacher's config and checkpoint; return the hook's argument."""
    cfg = dict(default_scope='mmdet', model=tiny.model_config())
    torch.manual_seed(7)
    state = build_model(Config(copy.deepcopy(cfg))).state_dict()
    for key in state:  # confident enough to be listened to
        if key.endswith('cls_pred.bias'):
            state[key] += 4
    torch.save(dict(state_dict=state, meta=dict(dataset_meta=dict(classes=tiny.CLASSES))),
               tmp_path / 'teacher.pth')
    path = tiny.write_config(tmp_path / 'teacher.py', cfg)
    return dict(config=str(path), checkpoint=str(tmp_path / 'teacher.pth'))


class Record(Hook):
    """Keeps the losses of every iteration; may stop the training."""
    priority = 'LOWEST'

    def __init__(self, stop=None):
        self.losses, self.stop = [], stop

    def before_train_iter(self, runner, **kwargs):
        if runner.iter == self.stop:
            raise KeyboardInterrupt

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({key: float(value) for key, value in outputs.items()})


def make_runner(tmp_path, name='work', hook=None, epochs=2, feats=False, resume=False,
                optim=None) -> Runner:
    data = tmp_path / 'data'
    cfg = Config(tiny.config(data if data.is_dir() else tiny.write_data(data), tmp_path / name,
                             epochs))
    cfg.experiment_name = f'{name}-{resume}-{len(list(tmp_path.glob("*")))}'
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.resume = resume
    if hook is not None:
        cfg.custom_hooks.append(dict(type='mmyolonas.DistillationHook', **hook))
    if feats:
        cfg.model.bbox_head.feature_adapters = ADAPTERS
    cfg.optim_wrapper.update(optim or {})
    return Runner.from_cfg(cfg)


def train(runner: Runner, stop=None) -> list:
    record = Record(stop)
    runner.register_hook(record)
    if stop is None:
        runner.train()
    else:
        with pytest.raises(KeyboardInterrupt):
            runner.train()
    return record.losses


def tapped(runner: Runner) -> DistillationHook:
    """Attach the hook of a runner whose loop is built; return it."""
    hook = next(h for h in runner.hooks if isinstance(h, DistillationHook))
    assert runner.train_loop  # builds it
    hook.before_train(runner)
    return hook


def test_losses_are_added_and_nothing_else_changes(tmp_path, teacher):
    before = torch.load(teacher['checkpoint'])['state_dict']
    plain = train(make_runner(tmp_path, 'plain'))
    runner = make_runner(tmp_path, 'distilled', dict(
        teacher=teacher, weights=dict(cls=2.0),
        schedule=dict(begin=1, warmup=3, end=5, by_epoch=False)))
    hook = next(h for h in runner.hooks if isinstance(h, DistillationHook))
    kept = []
    make = hook._make_teacher
    hook._make_teacher = lambda *a: kept.append(make(*a)) or kept[0]
    losses = train(runner)
    # iterations 0 and 1 have the factor 0: as if there were no hook
    assert losses[0] == plain[0] and losses[1]['loss_cls'] == plain[1]['loss_cls']
    active = ['loss_kd_cls' in row for row in losses]
    assert active == [False, False, True, True, True, False]
    for row in losses[2:5]:
        assert row['loss_kd_cls'] > 0 and row['loss_kd_dfl'] > 0
        assert row['loss'] == pytest.approx(sum(v for k, v in row.items() if k != 'loss'))
    assert losses[2]['loss_cls'] == plain[2]['loss_cls']  # the student's own loss is untouched
    assert losses[3]['loss_cls'] != plain[3]['loss_cls']  # but it has learnt something else
    files = [torch.load(tmp_path / name / 'epoch_2.pth') for name in ('plain', 'distilled')]
    for part in ('state_dict', 'ema_state_dict'):
        assert files[0][part].keys() == files[1][part].keys()
    assert len(files[0]['optimizer']['state']) == len(files[1]['optimizer']['state'])
    after = kept[0].model.state_dict()
    assert not kept[0].model.training
    assert all(torch.equal(after[key], value) for key, value in before.items() if key in after)
    assert not runner.model._forward_hooks and not runner.model.bbox_head.levels[0]._forward_hooks


def test_the_student_runs_once_and_copies_are_free(tmp_path, teacher):
    runner = make_runner(tmp_path, hook=dict(teacher=teacher))
    model = runner.model
    tapped(runner)
    calls = []
    count = model.backbone.register_forward_hook(lambda *a: calls.append(1))
    batch = model.data_preprocessor(next(iter(runner.train_dataloader)), training=True)
    model.train()
    assert 'loss_kd_cls' in model(**batch, mode='loss') and len(calls) == 1
    count.remove()
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert 'loss_kd_cls' not in other(**batch, mode='loss')
        assert other.state_dict().keys() == model.state_dict().keys()
    assert 'loss_kd_cls' in model(**batch, mode='loss')
    model.eval()
    assert 'loss_kd_cls' not in model(**batch, mode='loss')
    assert len(model(**batch, mode='predict')) == 2


def test_a_copy_of_itself_teaches_nothing(tmp_path, teacher):
    """The same weights, in evaluation mode: all terms are 0."""
    runner = make_runner(tmp_path, hook=dict(teacher=dict(teacher, fuse=False)))
    runner.model.load_state_dict(torch.load(teacher['checkpoint'])['state_dict'])
    tapped(runner)
    batch = runner.model.data_preprocessor(next(iter(runner.train_dataloader)), training=True)
    runner.model.eval()
    runner.model.training = True  # batch norms as the teacher's
    losses = runner.model(**batch, mode='loss')
    assert losses['loss_kd_cls'].item() == pytest.approx(0, abs=1e-6)
    assert losses['loss_kd_dfl'].item() == pytest.approx(0, abs=1e-6)
    assert losses['loss_cls'] > 0.01


def test_resumed_training_equals_uninterrupted(tmp_path, teacher):
    options = dict(teacher=teacher, weights=dict(feat=0.5), schedule=dict(decay='cosine'))
    train(make_runner(tmp_path, 'broken', options, feats=True), stop=4)
    losses = train(make_runner(tmp_path, 'broken', options, feats=True, resume=True))
    whole = train(make_runner(tmp_path, 'whole', options, feats=True))
    assert losses == whole[3:]
    one, two = (torch.load(tmp_path / name / 'epoch_2.pth') for name in ('broken', 'whole'))
    for part in ('state_dict', 'ema_state_dict'):
        assert all(torch.equal(one[part][key], value) for key, value in two[part].items())


def test_features(tmp_path, teacher):
    """Adapters are part of the model: trained, averaged, saved; idle when the teacher is."""
    runner = make_runner(tmp_path, hook=dict(
        teacher=teacher, weights=dict(cls=0, dfl=0, feat=1.0),
        schedule=dict(end=3, by_epoch=False)), feats=True)
    before = copy.deepcopy(runner.model.bbox_head.feature_adapters.state_dict())
    losses = train(runner)
    assert all(set(row) == {'loss', 'loss_cls', 'loss_bbox', 'loss_dfl', 'loss_kd_feat'}
               for row in losses)
    assert [row['loss_kd_feat'] > 0 for row in losses] == [True] * 3 + [False] * 3
    state = torch.load(tmp_path / 'work' / 'epoch_2.pth')
    for part, prefix in (('state_dict', ''), ('ema_state_dict', 'module.')):
        for key, value in before.items():
            saved = state[part][f'{prefix}bbox_head.feature_adapters.{key}']
            # the offset of a feature does not matter to a correlation
            assert key.endswith('bias') or not torch.equal(saved, value)


def test_accumulated_gradients(tmp_path, teacher):
    runner = make_runner(tmp_path, hook=dict(teacher=teacher), epochs=1,
                         optim=dict(accumulative_counts=3))
    weights = []
    head = runner.model.bbox_head

    class Watch(Hook):

        def after_train_iter(self, runner, **kwargs):
            weights.append(head.levels[0].cls_pred.weight.detach().clone())

    runner.register_hook(Watch())
    losses = train(runner)
    assert all('loss_kd_dfl' in row for row in losses) and len(losses) == 3
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[1], weights[2])


def test_every_second_step_with_a_smaller_image(tmp_path, teacher):
    """Asked in half of the steps; the others are plain steps."""
    runner = make_runner(tmp_path, 'cheap', dict(
        teacher=dict(teacher, input_scale=0.5), every=2), epochs=1)
    hook = next(h for h in runner.hooks if isinstance(h, DistillationHook))
    sizes, make = [], hook._make_teacher

    def watched(*args):
        made = make(*args)
        made.model.backbone.register_forward_pre_hook(
            lambda module, inputs: sizes.append(tuple(inputs[0].shape[-2:])))
        return made

    hook._make_teacher = watched
    losses = train(runner)
    assert ['loss_kd_cls' in row for row in losses] == [True, False, True]
    assert sizes == [(32, 32)] * 2


def test_steps_in_which_the_teacher_is_asked_count_for_the_others():
    hook = DistillationHook(teacher='ema', every=3,
                            schedule=dict(begin=3, warmup=6, by_epoch=False))
    hook.tap, factors = SimpleNamespace(), []
    for step in range(12):
        hook.before_train_iter(SimpleNamespace(iter=step, max_iters=12, max_epochs=1), step)
        factors.append(hook.tap.factor)
    assert factors == [0, 0, 0, 0, 0, 0, 1.5, 0, 0, 3, 0, 0]


def test_mixed_precision(tmp_path, teacher, monkeypatch):
    """bfloat16, and fp16 whose scaler unscales the teacher's terms with the student's own."""
    from mmengine.optim.optimizer import amp_optimizer_wrapper as amp
    monkeypatch.setattr(amp, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp, 'GradScaler', lambda **k: torch.amp.GradScaler('cpu', **k))

    def run(name, **optim) -> tuple:
        runner = make_runner(tmp_path, name, dict(teacher=teacher, weights=dict(feat=1.0)),
                             epochs=1, feats=True, optim=optim)
        return runner, train(runner)

    exact, expected = run('exact')
    found = dict(bf16=run('bf16', type='mmyolonas.BFloat16OptimWrapper'))
    monkeypatch.setattr('mmengine.runner.amp.autocast',
                        lambda **k: torch.autocast('cpu', torch.float16))
    for name, scale in (('fp16', 2.**8), ('overflowing', 2.**40)):
        found[name] = run(name, type='AmpOptimWrapper', loss_scale=dict(init_scale=scale))
    for _, losses in found.values():
        for key in ('loss_cls', 'loss_kd_cls', 'loss_kd_dfl', 'loss_kd_feat'):
            assert losses[0][key] == pytest.approx(expected[0][key], rel=0.05)
        assert losses[0] != expected[0]
    scales = {name: found[name][0].optim_wrapper.loss_scaler.get_scale()
              for name in ('fp16', 'overflowing')}
    # each of the three steps that overflow is left out, and halves the scale
    assert scales == dict(fp16=2.**8, overflowing=2.**37)
    states = {name: runner.model.state_dict() for name, (runner, _) in found.items()}
    wanted = exact.model.state_dict()
    for key in ('bbox_head.levels.0.cls_pred.weight', 'bbox_head.feature_adapters.0.weight'):
        for name in ('bf16', 'fp16'):
            torch.testing.assert_close(states[name][key], wanted[key], rtol=0, atol=2e-3)
        assert not torch.equal(states['overflowing'][key], states['fp16'][key])


def test_own_average_as_teacher(tmp_path):
    runner = make_runner(tmp_path, hook=dict(teacher='ema', threshold=0.0))
    losses = train(runner)
    # the average starts where the student does; batch norms make the difference
    assert all('loss_kd_cls' in row for row in losses)
    average = next(h for h in runner.hooks if 'EMA' in type(h).__name__).ema_model
    assert not average.module._forward_hooks and int(average.steps) == 6
    assert not any('teacher' in key for key in runner.model.state_dict())


def test_teacher_of_mmdet(tmp_path):
    from tests.test_engine.test_distillation.test_teacher import HEADS, build
    model = build(HEADS['rtmdet'])
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'rtmdet.pth')
    cfg = tiny.model_config()
    for stage in cfg['neck']['arch']['stages']:
        stage['out_channels'] = 16
    cfg['bbox_head'] = HEADS['rtmdet']
    cfg['data_preprocessor'] = dict(
        type='DetDataPreprocessor', mean=[103.53, 116.28, 123.675], std=[57.375, 57.12, 58.395],
        bgr_to_rgb=False, pad_size_divisor=32)
    path = tiny.write_config(tmp_path / 'rtmdet.py', dict(default_scope='mmdet', model=cfg))
    losses = train(make_runner(tmp_path, epochs=1, hook=dict(teacher=dict(
        config=str(path), checkpoint=str(tmp_path / 'rtmdet.pth')), threshold=0.0)))
    assert all(row['loss_kd_dfl'] > 0 for row in losses)


def other_classes(teacher, tmp_path):
    state = torch.load(teacher['checkpoint'])
    state['meta']['dataset_meta']['classes'] = ('disc', 'square')
    torch.save(state, tmp_path / 'other.pth')
    return dict(teacher=dict(teacher, checkpoint=str(tmp_path / 'other.pth')))


@pytest.mark.parametrize('change, message', [
    (lambda t, p: dict(teacher=dict(t, checkpoint=str(p / 'gone.pth'))),
     'checkpoint .*gone.pth does not exist'),
    (lambda t, p: dict(teacher=dict(t, config=str(p / 'gone.py'))), 'config .*gone.py does not'),
    (lambda t, p: dict(teacher=dict(t, cfg_options={'model.bbox_head.num_classes': 3})),
     'has another number of classes'),
    (lambda t, p: dict(teacher=dict(t, cfg_options={'model.bbox_head.strides': (4, 8, 16)})),
     r'strides \[4, 8, 16\], the student of \[8, 16, 32\]'),
    (other_classes, "its class 0 is 'disc', the student's is 'square'"),
    (lambda t, p: dict(teacher=t, weights=dict(kpt=1.0)), 'no term kpt for this student'),
    (lambda t, p: dict(teacher=t, weights=dict(feat=1.0)), 'give both or neither'),
])
def test_refused(tmp_path, teacher, change, message):
    runner = make_runner(tmp_path, hook=change(teacher, tmp_path))
    with pytest.raises(UserError, match=message):
        train(runner)


def test_refused_from_the_start(tmp_path):
    with pytest.raises(UserError, match='teacher must be dict'):
        DistillationHook(teacher='yolonas_l')
    for every in (0, 1.5, '2'):
        with pytest.raises(UserError, match='every must be a whole number from 1 on'):
            DistillationHook(teacher='ema', every=every)
    with pytest.raises(TypeError, match='strength'):
        DistillationHook(teacher='ema', strength=2)
    runner = make_runner(tmp_path, hook=dict(teacher='ema'))
    runner._hooks = [h for h in runner._hooks if 'EMA' not in type(h).__name__]
    with pytest.raises(UserError, match='ScheduledEMAHook'):
        train(runner)


def test_adapters_that_do_not_fit(tmp_path, teacher):
    runner = make_runner(tmp_path, hook=dict(teacher=teacher, weights=dict(feat=1.0)), feats=True)
    runner.model.bbox_head.feature_adapters[2] = torch.nn.Conv2d(32, 64, 1)
    with pytest.raises(UserError, match=r'out_channels=\[16, 16, 64\], but .* 32\] in the teach'):
        train(runner)
