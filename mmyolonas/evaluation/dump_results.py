"""Predictions in a pickle file, complete or not at all."""
import pickle
from typing import Any, Dict, Sequence

from mmengine.evaluator import DumpResults
from mmengine.logging import print_log

from mmyolonas.utils.files import write_bytes


class AtomicDumpResults(DumpResults):
    """mmengine's ``DumpResults`` that leaves no half a file behind."""

    def compute_metrics(self, results: Sequence[Any]) -> Dict[str, float]:
        """Write the predictions; there are no metrics.

        Args:
            results (Sequence): What was kept of each image.

        Returns:
            dict: Empty.
        """
        write_bytes(self.out_file_path, pickle.dumps(results, protocol=2))
        print_log(f'Results has been saved to {self.out_file_path}.', logger='current')
        return {}
