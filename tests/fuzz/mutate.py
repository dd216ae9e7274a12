"""Files that were sound once: bytes and JSON values, changed."""
import json
from typing import Any

from hypothesis import strategies as st

#: Values that are wrong in most places.
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-2**70, 2**70), st.floats(), st.text(max_size=20),
    st.sampled_from(['', 'nan', '../..', '\0', '1e999', '{{$HOME:x}}']),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=5), st.none(),
                                                         max_size=2))


@st.composite
def changed_bytes(draw, data: bytes) -> bytes:
    """Return data cut, repeated, with bytes changed, added or taken away."""
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        end = min(len(data), place + draw(st.sampled_from([1, 1, 4, 64, 1024, 1 << 20])))
        how = draw(st.sampled_from(['cut', 'remove', 'zero', 'random', 'insert', 'flip', 'repeat']))
        if how == 'cut':
            del data[place:]
        elif how == 'remove':
            del data[place:end]
        elif how == 'zero':
            data[place:end] = bytes(end - place)
        elif how == 'random':
            data[place:place + 16] = draw(st.binary(max_size=16))
        elif how == 'insert':
            data[place:place] = draw(st.binary(min_size=1, max_size=32))
        elif how == 'repeat':
            data[place:place] = data[place:min(end, place + 4096)]
        elif place < len(data):
            data[place] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


@st.composite
def changed_value(draw, value: Any) -> Any:
    """Return a copy of JSON-like data with some values, keys or types changed."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        value = _change(draw, value)
    return value


def _change(draw, value: Any) -> Any:
    """Walk down a random way and change what is there."""
    if isinstance(value, (dict, list)) and value and draw(st.integers(0, 9)):
        keys = sorted(value) if isinstance(value, dict) else range(len(value))
        key = draw(st.sampled_from(list(keys)))
        how = draw(st.sampled_from(['deeper', 'deeper', 'deeper', 'remove', 'add', 'swap']))
        if how == 'deeper':
            value[key] = _change(draw, value[key])
        elif how == 'remove':
            del value[key]
        elif how == 'add' and isinstance(value, dict):
            value[draw(st.text(max_size=8))] = draw(ODD)
        elif how == 'add':
            value.insert(key, draw(ODD))
        else:
            other = draw(st.sampled_from(list(keys)))
            value[key], value[other] = value[other], value[key]
        return value
    return draw(ODD)


def json_text(value: Any) -> bytes:
    """Return JSON of a value; NaN and the like as Python spells them."""
    return json.dumps(value).encode('utf-8', 'surrogatepass')
