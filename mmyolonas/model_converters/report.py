"""What a conversion did."""
from dataclasses import dataclass, field
from typing import List, Optional


@dataclass
class ConversionReport:
    """What became of the tensors of a checkpoint.

    Args:
        title: What was converted into what.
        mapped: Number of tensors that were taken over.
        dropped: Untrained placeholders that were left out.
        added: Placeholders that the original wants and that were written.
        partial: Partially fused blocks that were expanded.
        full: Fully fused blocks that were expanded.
        left_over: Tensors of the source that have no place.
        missing: Tensors of the target that the source does not give.
        notes: Further sentences for the user.
    """
    title: str
    mapped: int = 0
    dropped: List[str] = field(default_factory=list)
    added: int = 0
    partial: int = 0
    full: int = 0
    left_over: List[str] = field(default_factory=list)
    missing: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """bool: Whether every tensor found its place."""
        return not self.left_over and not self.missing

    def text(self) -> str:
        """Return the report as lines."""
        lines = [self.title, f'  mapped:       {self.mapped} tensors']
        if self.dropped:
            lines.append(f'  dropped:      {len(self.dropped)} untrained placeholder tensors '
                         '(rbr_reparam of unfused blocks)')
        if self.added:
            lines.append(f'  added:        {self.added} tensors (rbr_reparam, the partial fusion)')
        for count, form in ((self.partial, 'partially'), (self.full, 'fully')):
            if count:
                lines.append(f'  expanded:     {count} {form} fused blocks into unfused ones of '
                             'the same output')
        if self.partial or self.full:
            lines.append('                their batch norms pass values on: training on from it\n'
                         '                renormalises, so prefer an unfused checkpoint for that')
        lines.append(_listed('left over:  ', self.left_over))
        lines.append(_listed('missing:    ', self.missing))
        lines.extend(f'  {note}' for note in self.notes)
        return '\n'.join(line for line in lines if line)


def _listed(label: str, keys: List[str], limit: int = 10) -> Optional[str]:
    if not keys:
        return f'  {label}  none'
    shown = ''.join(f'\n    {key}' for key in keys[:limit])
    more = f'\n    ... and {len(keys) - limit} more' if len(keys) > limit else ''
    return f'  {label}  {len(keys)} tensors{shown}{more}'
