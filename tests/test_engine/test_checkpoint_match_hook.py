"""What load_from accepts, refuses, and says."""
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmyolonas.utils import UserError
from mmyolonas.utils.building import build_model
from mmyolonas.utils.checkpoint_match import check_match, match_state
from tests import tiny


@pytest.fixture
def runner(tmp_path):
    """A runner for two classes; call it with a checkpoint's content."""
    cfg = Config(tiny.config(tiny.write_data(tmp_path / 'data', 2), tmp_path / 'work', epochs=1))
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.optim_wrapper.optimizer.lr = 0.0

    def load(content, resume: bool = False) -> Runner:
        torch.save(content, tmp_path / 'start.pth')
        cfg.load_from = str(tmp_path / 'start.pth')
        cfg.resume = resume
        # runners of one second share a name, hence a logger, hence the test before's output
        cfg.experiment_name = tmp_path.name
        made = Runner.from_cfg(cfg)
        made.train()
        return made

    return load


def model_state(**changes) -> dict:
    cfg = tiny.model_config(changes.pop('num_classes', 2))
    cfg['backbone']['arch'].update(changes)
    torch.manual_seed(5)
    return build_model(Config(dict(model=cfg, default_scope='mmdet'))).state_dict()


def test_parts_that_must_be_given_whole():
    """Other shapes of the head are let through, one of the trunk is not."""
    model = {name: torch.zeros(4) for name in ('backbone.a', 'neck.b', 'head.c')}
    options = dict(strict_shapes=False, whole=('backbone', 'neck'))
    check_match(match_state(model, dict(model, **{'head.c': torch.zeros(2)})), 'x.pth', **options)
    for state in (dict(model, **{'neck.b': torch.zeros(2)}),
                  {name: value for name, value in model.items() if name != 'neck.b'}):
        with pytest.raises(UserError, match='x.pth is of another.* not give 1 tensors .* neck.b'):
            check_match(match_state(model, state), 'x.pth', **options)


def test_other_number_of_classes(runner, capsys):
    """All but the class layers are taken, also by the average, and one sentence says so."""
    state = model_state(num_classes=7)
    made = runner(dict(state_dict=state, meta={}))
    loaded = made.model.state_dict()
    hook = next(h for h in made.hooks if 'EMA' in type(h).__name__)
    average = hook.ema_model.module.state_dict()
    parameters = dict(made.model.named_parameters())
    for key, value in state.items():
        if 'cls_pred' in key:
            assert len(loaded[key]) == 2
            assert torch.equal(loaded[key], average[key])
        elif key in parameters:  # statistics of batch norms move while training
            assert torch.equal(loaded[key], value), key
            assert torch.equal(average[key], value), key
    text = ''.join(capsys.readouterr())
    layers = ', '.join(f'bbox_head.levels.{i}.cls_pred' for i in range(3))
    assert f'{layers} keep their initial weights and everything else is taken' in text
    assert 'do not match exactly' not in text


def test_partial_checkpoint(runner, capsys):
    """A backbone alone is taken; what is missing is said by part."""
    state = {k: v for k, v in model_state().items() if k.startswith('backbone.')}
    made = runner(dict(state_dict={**state, 'extra.weight': torch.zeros(1)}))
    key = 'backbone.stem.conv.branch_3x3.conv.weight'
    assert torch.equal(made.model.state_dict()[key], state[key])
    text = ''.join(capsys.readouterr())
    assert 'tensors of bbox_head, neck are not in the checkpoint' in text
    assert '1 tensors of extra have no place in the model' in text


@pytest.mark.parametrize('content, message', [
    (lambda: dict(state_dict=model_state(stem_channels=16)),
     'of another architecture: .* tensors have other shapes, for example backbone.stem.*s, m, l'),
    (lambda: dict(state_dict={'backbone.layer1.weight': torch.zeros(3)}),
     'none of its 1 tensors has a place in the model'),
    (lambda: dict(net=model_state()), 'SuperGradients checkpoint; convert it first'),
    (lambda: dict(state_dict=dict(a=1)), 'holds no tensors'),
    (lambda: dict(state_dict=fused_state()), 're-parameterised blocks'),
])
def test_refused(runner, content, message):
    with pytest.raises(UserError, match=message):
        runner(content())


def fused_state() -> dict:
    model = build_model(Config(dict(model=tiny.model_config(), default_scope='mmdet')))
    model.switch_to_deploy()
    return model.state_dict()


def test_shapes_may_be_forgiven(tmp_path):
    from mmyolonas.utils.checkpoint_match import check_match, describe_match, match_state
    match = match_state(dict(a=torch.zeros(2), b=torch.zeros(2)),
                        dict(a=torch.zeros(2), b=torch.zeros(3)))
    with pytest.raises(UserError, match='of another architecture: 1 of 2'):
        check_match(match, 'x.pth')
    check_match(match, 'x.pth', strict_shapes=False)
    assert '1 tensors of other shapes are left out' in describe_match(match, 'x.pth')
