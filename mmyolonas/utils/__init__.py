"""Small helpers that the other rooms share."""
from .errors import UserError
from .files import atomic_path, write_bytes, write_json, write_text
from .progress import format_duration, track
from .setup_env import register_all_modules

__all__ = [
    'UserError', 'atomic_path', 'format_duration', 'register_all_modules', 'track', 'write_bytes',
    'write_json', 'write_text'
]
