"""The few functions of the C library that the compiled engine calls; pointers pass as ``int64``.

The list is closed: ``scan.native`` resolves exactly these names and refuses to build an engine that needs others.
"""

from __future__ import annotations

from typing import Any

from numba import types

_INT: Any = types.int32
_WORD: Any = types.int64

clock_gettime: Any = types.ExternalFunction("clock_gettime", _INT(_INT, _WORD))
clock_nanosleep: Any = types.ExternalFunction("clock_nanosleep", _INT(_INT, _INT, _WORD, _WORD))
pthread_mutex_lock: Any = types.ExternalFunction("pthread_mutex_lock", _INT(_WORD))
pthread_mutex_unlock: Any = types.ExternalFunction("pthread_mutex_unlock", _INT(_WORD))
sem_post: Any = types.ExternalFunction("sem_post", _INT(_WORD))
sem_clockwait: Any = types.ExternalFunction("sem_clockwait", _INT(_WORD, _INT, _WORD))
