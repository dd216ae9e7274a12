"""A grid over settings, kept in a data base, so that it goes on where it was interrupted."""
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

from mmyolonas.search.study.storage import import_optuna
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.figures import write_figure
from mmyolonas.utils.files import PathLike

#: Values of each setting by its name.
Grid = Dict[str, Sequence[float]]


@dataclass
class SweepPoint:
    """One combination of settings.

    Attributes:
        params: Its values by name.
        value: What the objective gave.
    """
    params: Dict[str, float]
    value: float


class GridSweep:
    """Tries every combination of a grid once and maximises an objective.

    Every finished combination is in an optuna study in ``<folder>/study.db``
    (SQLite), which optuna's own tools (dashboard, plots) read. One that was
    interrupted is begun again; the objective may continue what it left behind
    in the combination's folder. A longer grid keeps what is there.

    Args:
        folder (str | Path): Folder of the study.
        grid (dict): Values by name of the setting.
        context (dict): Plain values that the objective depends on otherwise.

    Raises:
        UserError: optuna is missing, or the folder holds another study.
    """

    def __init__(self, folder: PathLike, grid: Grid, context: Dict[str, Any]) -> None:
        self._optuna = optuna = import_optuna()
        self.folder = Path(folder)
        self.grid = {name: list(dict.fromkeys(values)) for name, values in grid.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        self.study = optuna.create_study(
            study_name='sweep', direction='maximize', load_if_exists=True,
            storage=f'sqlite:///{(self.folder / "study.db").absolute()}')
        before = self.study.user_attrs.get('context')
        if before is not None and before != context:
            raise UserError(f'{self.folder} holds a sweep with other settings; give another '
                            'folder.')
        self.study.set_user_attr('context', context)

    @property
    def combinations(self) -> List[Dict[str, float]]:
        """list[dict]: All combinations, in order."""
        return [dict(zip(self.grid, values)) for values in itertools.product(*self.grid.values())]

    @property
    def points(self) -> List[SweepPoint]:
        """list[SweepPoint]: What is finished, the best first."""
        state = self._optuna.trial.TrialState.COMPLETE
        trials = self.study.get_trials(deepcopy=False, states=[state])
        return sorted((SweepPoint(dict(t.params), t.value) for t in trials),
                      key=lambda point: -point.value)

    def run(self, objective: Callable[[Dict[str, float], Path], float]) -> List[SweepPoint]:
        """Evaluate the combinations that are not finished.

        Args:
            objective (Callable): Takes the settings and the combination's folder,
                returns what is to be maximised.

        Returns:
            list[SweepPoint]: All that is finished, the best first.
        """
        trial_state = self._optuna.trial.TrialState
        for trial in self.study.get_trials(states=[trial_state.RUNNING, trial_state.WAITING]):
            self.study.tell(trial.number, state=trial_state.FAIL)  # of a killed process
        spaces = {name: self._optuna.distributions.CategoricalDistribution(values)
                  for name, values in self.grid.items()}
        done = [point.params for point in self.points]
        combinations = self.combinations
        for number, params in enumerate(combinations, 1):
            label = ', '.join(f'{name} {value:g}' for name, value in params.items())
            if params in done:
                print(f'--- {number} of {len(combinations)}: {label}: done before', flush=True)
                continue
            print(f'--- {number} of {len(combinations)}: {label}', flush=True)
            self.study.enqueue_trial(params)
            trial = self.study.ask(spaces)
            try:
                value = objective(params, self.folder / folder_name(params))
            except BaseException:
                self.study.tell(trial, state=trial_state.FAIL)
                raise
            self.study.tell(trial, value)
            print(f'--- {value:.4f}', flush=True)
        return self.points


def folder_name(params: Dict[str, float]) -> str:
    """Return a folder for a combination, such as ``lr0.0005_wd0.0001``."""
    return '_'.join(f'{name}{value:g}' for name, value in params.items())


def plot_sweep(points: Sequence[SweepPoint], path: PathLike, objective: str) -> None:
    """Draw the objective over each setting, with the mean at each value.

    Args:
        points (Sequence[SweepPoint]): At least one.
        path (str | Path): Picture to write.
        objective (str): What was maximised.
    """
    from matplotlib.figure import Figure
    names = list(points[0].params)
    figure = Figure(figsize=(3.6 * len(names) + 1, 3.6), layout='constrained')
    best = max(points, key=lambda point: point.value)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names):
        values = sorted({point.params[name] for point in points})
        places = {value: index for index, value in enumerate(values)}
        axes.plot([places[p.params[name]] for p in points], [p.value for p in points], 'o',
                  alpha=0.6, label='combinations')
        groups = [[p.value for p in points if p.params[name] == value] for value in values]
        axes.plot(range(len(values)), [sum(g) / len(g) for g in groups], '-', color='tab:orange',
                  label='mean')
        axes.plot(places[best.params[name]], best.value, '*', markersize=13, color='tab:red',
                  label='best')
        axes.set_xticks(range(len(values)), [f'{value:g}' for value in values])
        axes.set(xlabel=name, ylabel=objective)
        axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    write_figure(path, figure, 120)
