"""The result files as a page of Markdown."""
import json
from pathlib import Path
from typing import Any, Dict, List

from benchmarks.gpu.items import DONE, FAILED
from benchmarks.gpu.stages import STAGES
from mmyolonas.utils.files import write_text


def write_report(out: Path) -> str:
    """Write ``report.md`` beside the result files; return a short account."""
    lines: List[str] = ['# Measured on a GPU', '']
    short: List[str] = []
    for name, stage in STAGES.items():
        path = Path(out) / f'gpu-{name}.json'
        if not path.is_file():
            continue
        state = json.loads(path.read_text(encoding='utf-8'))
        items: Dict[str, Any] = state['items']
        count = sum(item['status'] == DONE for item in items.values())
        failed = [key for key, item in items.items()
                  if item['status'] == FAILED or not item.get('result', {}).get('passed', True)]
        short.append(f'{name}: {count} of {len(items)} begun items done'
                     + (f'; NOT PASSED: {", ".join(failed)}' if failed else ''))
        lines += [f'## {name}: {stage.title}', '']
        if state['rehearsal']:
            lines += ['**A rehearsal at a tiny size: no figure of it means anything.**', '']
        for label, machine in state['machines'].items():
            lines.append(f'- {label}: ' + ', '.join(f'{k} {v}' for k, v in machine.items()))
        lines += ['', '| item | status | s | machine | result |', '| --- | --- | --- | --- | --- |']
        for key, item in items.items():
            found = item.get('result') or item.get('reason', '').strip().splitlines()[-1:]
            text = _flat(found) if isinstance(found, dict) else ''.join(found)
            lines.append(f'| {key} | {item["status"]} | {item["seconds"]:.0f} | '
                         f'{item["machine"]} | {text} |'.replace('\n', ' '))
        lines.append('')
    write_text(Path(out) / 'report.md', '\n'.join(lines))
    return '\n'.join(short)


def _flat(found: Dict[str, Any], before: str = '') -> str:
    """Return nested results in one line; longer lists are left to the file."""
    parts = []
    for key, value in found.items():
        name = f'{before}{key}'
        if isinstance(value, dict):
            parts.append(_flat(value, f'{name}.'))
        elif isinstance(value, float):
            parts.append(f'{name} {value:.4g}')
        elif not isinstance(value, list) or len(value) <= 3:
            parts.append(f'{name} {value}')
    return ', '.join(part for part in parts if part).replace('|', '/')
