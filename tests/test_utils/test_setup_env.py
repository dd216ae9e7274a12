"""Components are registered on request, under the scope that was asked for."""
from mmengine.hub import get_model
from mmengine.registry import DefaultScope

from mmyolonas.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS
from mmyolonas.utils import register_all_modules


def test_registers_everything_and_leaves_the_scope_alone():
    register_all_modules()
    for registry in (MODELS, DATASETS, HOOKS, METRICS, TRANSFORMS):
        assert registry.module_dict, registry.name
    assert DefaultScope.get_current_instance() is None


def test_sets_the_scope_when_asked():
    register_all_modules(init_default_scope=True)
    assert DefaultScope.get_current_instance().scope_name == 'mmyolonas'


def test_own_scope_finds_host_components_and_prefers_ours_then_mmdets():
    register_all_modules(init_default_scope=True)
    from mmdet.datasets.transforms import LoadAnnotations
    assert TRANSFORMS.get('LoadAnnotations') is LoadAnnotations
    assert MODELS.get('YOLONAS') is MODELS.get('mmyolonas.YOLONAS') is not None
    assert MODELS.get('NoSuchThing') is None


def test_other_scopes_find_no_host_component_in_ours():
    assert MODELS.get('DetDataPreprocessor') is None
    assert MODELS.get('mmyolonas.DetDataPreprocessor') is None


def test_hub_builds_a_model():
    model = get_model('mmyolonas::yolonas/yolonas_s_coco.py')
    assert type(model).__name__ == 'YOLONAS'
