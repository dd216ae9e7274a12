"""Thresholds for a precision, on cases that can be followed by hand."""
import numpy as np
import pytest

from mmyolonas.evaluation.score_thresholds import (
    MatchedScores,
    class_thresholds,
    match_detections,
    precision_threshold,
)


def threshold(scores, hits, target, **kwargs):
    return precision_threshold(np.array(scores), np.array(hits, bool), target, **kwargs)


def test_smallest_score_that_keeps_the_precision():
    scores, hits = [0.9, 0.8, 0.7, 0.6, 0.5], [1, 0, 1, 1, 0]
    # precisions from the top: 1, 1/2, 2/3, 3/4, 3/5
    assert threshold(scores, hits, 1.0) == 0.9
    assert threshold(scores, hits, 0.7) == 0.6
    assert threshold(scores, hits, 0.6) == 0.5
    assert threshold(scores, hits, 0.75, min_hits=4) is None
    assert threshold([0.9], [0], 0.1) is None
    assert threshold([], [], 0.5) is None
    assert threshold([0.5, 0.9, 0.7], [0, 1, 1], 1.0) == 0.7  # any order


def test_equal_scores_stay_together():
    """Keeping 0.8 keeps both, one of them wrong."""
    assert threshold([0.9, 0.8, 0.8], [1, 1, 0], 0.9) == 0.9
    assert threshold([0.9, 0.8, 0.8], [1, 0, 1], 0.6) == 0.8


def test_rare_classes_take_the_common_threshold():
    many = MatchedScores(np.array([0.9, 0.8, 0.7, 0.6]), np.array([1, 1, 1, 0], bool), 4)
    rare = MatchedScores(np.array([0.75]), np.array([True]), 2)
    wrong = MatchedScores(np.array([0.3]), np.array([False]), 1)
    results = {t.name: t for t in class_thresholds(dict(many=many, rare=rare, wrong=wrong), 0.9,
                                                   min_hits=2)}
    assert results['many'].threshold == 0.7 and results['many'].basis == 'class'
    assert results['many'].precision == 1 and results['many'].recall == 0.75
    assert results['rare'].threshold == 0.7 and results['rare'].basis == 'all classes'
    assert results['rare'].recall == 0.5 and results['rare'].kept == 1
    assert results['wrong'].threshold == 0.7 and results['wrong'].kept == 0
    none, = class_thresholds(dict(wrong=wrong), 0.9)
    assert none.basis == 'none' and none.threshold > 1


@pytest.mark.parametrize('first_id', [0, 1])
def test_matching(first_id):
    """Hits, a double detection, a miss, another class, a crowd; annotation ids from 0."""
    data = dict(
        images=[dict(id=3, file_name='a', width=100, height=100)],
        annotations=[
            dict(id=first_id, image_id=3, category_id=7, bbox=[10, 10, 20, 20]),
            dict(id=first_id + 1, image_id=3, category_id=7, bbox=[60, 60, 30, 30], iscrowd=1),
            dict(id=first_id + 2, image_id=3, category_id=9, bbox=[40, 10, 10, 10]),
        ],
        categories=[dict(id=7, name='cat'), dict(id=9, name='dog')])

    def found(label, score, box):
        return dict(image_id=3, label=label, score=score, bbox=box)

    matches = match_detections(data, [
        found(1, 0.9, [10, 10, 20, 20]), found(1, 0.8, [11, 10, 20, 20]),
        found(1, 0.7, [65, 65, 20, 20]), found(0, 0.6, [10, 10, 20, 20])], ('dog', 'cat'))
    cat, dog = matches['cat'], matches['dog']
    np.testing.assert_allclose(cat.scores, [0.9, 0.8])  # the one on the crowd does not count
    assert cat.hits.tolist() == [True, False] and cat.num_objects == 1
    assert dog.hits.tolist() == [False] and dog.num_objects == 1
    nothing = match_detections(data, [], ('dog', 'cat'))
    assert len(nothing['cat'].scores) == 0 and nothing['cat'].num_objects == 1
