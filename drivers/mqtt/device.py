"""One MQTT device at work: messages become inputs with quality and time, outputs become messages.

Rules
* A value is good while the broker is there, the device is not known to be away, and the value is younger than
  ``max_age``. A reconnection makes it good again only if the broker kept the session: else something may be missed.
* A message that does not hold what its point expects makes that point bad and no other.
* Outputs are latest-wins: what could not be sent is sent as it is then, not as it was.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from drivers.mqtt.client import MqttClient
from drivers.mqtt.config import MqttDevice, Point, Publication, Subscription
from drivers.mqtt.payload import Message, PayloadError, Scalar, decode, encode, from_image, to_image, value_of
from drivers.mqtt.topics import matches
from scan.problem import Problem
from scan.quality import (
    BAD_NO_COMMUNICATION,
    BAD_NOT_CONNECTED,
    BAD_SENSOR_FAILURE,
    BAD_WAITING_FOR_INITIAL_DATA,
    GOOD,
    is_bad,
)

AGE_CHECK_S = 0.1
TOPICS_KNOWN_MAX = 10_000  # of topics under wildcards, whose subscriptions are remembered


class Image(Protocol):
    """The working copy of %I; see runtime.field_driver."""

    image: npt.NDArray[np.uint8]
    quality: npt.NDArray[np.uint16]
    times: npt.NDArray[np.int64]

    def changed(self) -> None: ...


OnState = Callable[[str, str], None]  # ("connecting" | "online" | "offline", why)


class Counts:
    """Figures since start."""

    def __init__(self) -> None:
        self.received = 0
        self.published = 0
        self.errors = 0
        self.last_error = ""


class MqttSession:
    """A device between its broker and the image. ``start`` on the event loop."""

    def __init__(
        self,
        device: MqttDevice,
        image: Image,
        *,
        first_row: int,
        on_state: OnState,
        wall_ns: Callable[[], int] = time.time_ns,
        mono_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.device = device
        self.state = "connecting"
        self.since_ns = wall_ns()
        self.counts = Counts()
        self._image, self._first_row, self._on_state = image, first_row, on_state
        self._wall_ns, self._mono_ns = wall_ns, mono_ns
        rows = len(device.inputs)
        self._rows = slice(first_row, first_row + rows)
        self._heard_ns = np.zeros(rows, np.int64)  # monotonic; 0: no value that counts
        self._last: dict[int, float] = {}  # the value in the image, of points with a deadband
        self._max_age_ns = _ages(device, rows)
        self._away = device.availability is not None
        self._exact, self._wild = _by_topic(device.subscriptions)
        self._found: dict[str, tuple[Subscription, ...]] = {}
        self._outputs = [_Output(publication) for publication in device.publications]
        self._followed = b""
        self._dirty = True
        self._ages: asyncio.Task[None] | None = None
        wanted = device.connection
        if not wanted.client_id:
            wanted = msgspec.structs.replace(wanted, client_id=f"tickwork-{secrets.token_hex(6)}")
        self.client = MqttClient(
            wanted, on_message=self.message, on_up=self.up, on_down=self.down, on_failed=self._failed,
            prepare=lambda _: device.will,
        )  # fmt: skip
        image.quality[self._rows] = BAD_NOT_CONNECTED
        self._show_status(False)

    def start(self) -> None:
        self.client.start()
        self._ages = asyncio.create_task(self._watch_ages(), name=f"ages {self.device.name}")

    async def stop(self) -> None:
        if self._ages is not None:
            self._ages.cancel()
            await asyncio.gather(self._ages, return_exceptions=True)
        await self.client.stop()

    # ------------------------------------------------------------ connection

    def up(self, session_present: bool) -> None:
        device = self.device
        filters = [(one.filter, one.qos) for one in device.subscriptions]
        if device.availability is not None:
            filters.append((device.availability.topic, 1))
        self.client.subscribe(filters)
        if device.birth is not None:
            birth = device.birth
            self.client.publish(birth.topic, birth.payload, qos=birth.qos, retain=birth.retain)
        if not session_present:
            self._heard_ns[:] = 0
            self._away = device.availability is not None
        for output in self._outputs:
            output.sent = None
        self._dirty = True
        self._judge()
        self._tell("offline" if self._away else "online", "waiting for the device" if self._away else "")

    def down(self, problem: Problem) -> None:
        self._trouble(f"{problem.code}: {problem.found or problem.message}")
        self._judge()
        self._tell("offline", problem.message)

    def _failed(self, problem: Problem) -> None:
        self._trouble(f"{problem.code}: {problem.found}")
        self._tell("offline", f"{problem.message}: {problem.found}")

    def _tell(self, state: str, why: str) -> None:
        if state != self.state:
            self.since_ns = self._wall_ns()
        self.state = state
        self._show_status(state == "online")
        self._on_state(state, why)

    def _show_status(self, online: bool) -> None:
        offset, bit = self.device.status
        if offset >= 0:
            image = self._image.image
            image[offset] = int(image[offset]) & ~(1 << bit) & 0xFF | online << bit
            row = self._first_row + self.device.status_row
            self._image.quality[row], self._image.times[row] = GOOD, self._wall_ns()
        self._image.changed()

    def _trouble(self, text: str) -> None:
        self.counts.errors += 1
        self.counts.last_error = text

    # ------------------------------------------------------------ inputs

    def message(self, topic: str, payload: bytes, retained: bool) -> None:
        """Any topic, any bytes."""
        self.counts.received += 1
        availability = self.device.availability
        if availability is not None and topic == availability.topic:
            self._available(payload)
            return
        if len(payload) > self.device.payload_max:
            self._trouble(f"MQ2003: {len(payload)} bytes on {topic[:100]}")
            return
        message = Message(payload)
        for subscription in self._subscriptions_of(topic):
            if not retained or subscription.retained:
                self._take(subscription, topic, message)

    def _subscriptions_of(self, topic: str) -> tuple[Subscription, ...]:
        if not self._wild:
            return self._exact.get(topic, ())
        found = self._found.get(topic)
        if found is None:
            if len(self._found) >= TOPICS_KNOWN_MAX:
                self._found.clear()
            wild = (one for one in self._wild if matches(one.filter, topic))
            found = self._found[topic] = (*self._exact.get(topic, ()), *wild)
        return found

    def _take(self, subscription: Subscription, topic: str, message: Message) -> None:
        levels = topic.split("/") if subscription.places else []
        at = [levels[place] for place in subscription.places]
        for index, point in enumerate(subscription.points):
            if at and any(text and text != level for text, level in zip(point.where, at, strict=True)):
                continue
            self._set(subscription, subscription.first_row + index, point, message, topic)

    def _set(self, subscription: Subscription, row: int, point: Point, message: Message, topic: str) -> None:
        try:
            data = to_image(point, value := decode(message, point.field))
        except PayloadError as error:
            if point.optional and error.missing:
                return
            self._trouble(f"MQ2003: {point.name} on {topic[:100]}: {error}")
            self._heard_ns[row] = 0
            self._spoil(subscription, row, point, BAD_SENSOR_FAILURE)
            return
        self._heard_ns[row] = self._mono_ns()
        if not self._within_deadband(row, point, value):
            self._store(point, data)
        self._image.quality[self._first_row + row] = BAD_NOT_CONNECTED if self._away else GOOD
        self._image.times[self._first_row + row] = self._wall_ns()
        self._image.changed()

    def _within_deadband(self, row: int, point: Point, value: Scalar) -> bool:
        if point.deadband <= 0.0 or isinstance(value, str):
            return False
        number, last = float(value) * point.scale + point.shift, self._last.get(row)
        if last is not None and abs(number - last) < point.deadband:
            return True
        self._last[row] = number
        return False

    def _store(self, point: Point, data: bytes) -> None:
        image = self._image.image
        if point.bit >= 0:
            mask = 1 << point.bit
            image[point.offset] = int(image[point.offset]) & ~mask & 0xFF | (mask if data != b"\0" else 0)
        else:
            image[point.offset : point.offset + len(data)] = np.frombuffer(data, np.uint8)

    def _spoil(self, subscription: Subscription, row: int, point: Point, quality: int) -> None:
        """The point has no valid value any more: what the program sees then is as ``on_loss`` says."""
        self._last.pop(row, None)
        size = point.size or 1
        if subscription.on_loss == "zero":
            self._store(point, bytes(size))
        elif subscription.on_loss == "substitute" and point.substitute:
            self._store(point, point.substitute)
        self._image.quality[self._first_row + row] = quality
        self._image.changed()

    def _available(self, payload: bytes) -> None:
        wanted = self.device.availability
        assert wanted is not None
        text = payload.decode("utf-8", "replace").strip()
        if text not in (wanted.online, wanted.offline):
            self._trouble(f"MQ2003: neither {wanted.online!r} nor {wanted.offline!r}: {text[:40]!r}")
            return
        self._away = text == wanted.offline
        self._judge()
        self._tell(
            "offline" if self._away else "online", "the device says that it is away" if self._away else ""
        )

    def _judge(self) -> None:
        """Quality of all points by connection, availability and age."""
        now = self._mono_ns()
        for subscription in self.device.subscriptions:
            for index, point in enumerate(subscription.points):
                row = subscription.first_row + index
                quality = self._quality(row, now)
                if quality != self._image.quality[self._first_row + row]:
                    if is_bad(quality):
                        self._spoil(subscription, row, point, quality)
                    else:
                        self._image.quality[self._first_row + row] = quality
        self._image.changed()

    def _quality(self, row: int, now_ns: int) -> int:
        if not self.client.connected or self._away:
            return BAD_NOT_CONNECTED
        heard = int(self._heard_ns[row])
        if heard == 0:
            before = int(self._image.quality[self._first_row + row])
            return before if before == BAD_SENSOR_FAILURE else BAD_WAITING_FOR_INITIAL_DATA
        limit = int(self._max_age_ns[row])
        return BAD_NO_COMMUNICATION if limit and now_ns - heard > limit else GOOD

    async def _watch_ages(self) -> None:
        limits = self._max_age_ns
        while limits.any():
            await asyncio.sleep(AGE_CHECK_S)
            now = self._mono_ns()
            if np.any((self._heard_ns > 0) & (limits > 0) & (now - self._heard_ns > limits)):
                self._judge()

    # ------------------------------------------------------------ outputs

    @property
    def settled(self) -> bool:
        return (not self._dirty and self.client.waiting == 0) or not self.client.connected

    def follow(self, image: bytes, *, live: bool) -> None:
        """Publishes what differs, each message at most once in its interval."""
        key = image if live else b"\0" + image
        if key == self._followed and not self._dirty:
            return
        self._followed = key
        if not self.client.connected:
            self._dirty = True
            return
        now = self._mono_ns()
        self._dirty = False
        for output in self._outputs:
            if output.due(image, live, now) and not self._publish(output, now):
                self._dirty = True
            self._dirty |= output.later

    def _publish(self, output: _Output, now_ns: int) -> bool:
        publication = output.publication
        try:
            payload = encode(publication.kind, publication.points, output.wanted)
        except PayloadError as error:
            self._trouble(f"MQ2003: {publication.topic}: {error}")
            output.done(now_ns)
            return True
        if not self.client.publish(
            publication.topic, payload, qos=publication.qos, retain=publication.retain
        ):
            return False
        self.counts.published += 1
        output.done(now_ns)
        return True


class _Output:
    """One publication: what was sent, what is wanted, and when."""

    def __init__(self, publication: Publication) -> None:
        self.publication = publication
        self.sent: list[Scalar] | None = None
        self.wanted: list[Scalar] = []
        self.later = False  # something is to be sent that is not due yet
        self._sent_ns = 0

    def due(self, image: bytes, live: bool, now_ns: int) -> bool:
        publication = self.publication
        wanted = self._values(image, live)
        self.later = False
        if wanted is None:
            return False
        changed = self.sent is None or _differ(publication.points, wanted, self.sent)
        age = now_ns - self._sent_ns
        refresh = publication.refresh_ns > 0
        if changed and (self.sent is None or age >= publication.interval_ns):
            self.wanted = wanted
            return True
        if refresh and age >= publication.refresh_ns:
            self.wanted = wanted
            return True
        self.later = changed or refresh
        return False

    def _values(self, image: bytes, live: bool) -> list[Scalar] | None:
        points, safe = self.publication.points, self.publication.safe
        if live:
            return [from_image(point, image) for point in points]
        if all(one is None for one in safe):
            return None
        before = self.sent or [value_of(point, bytes(point.size or 1)) for point in points]
        return [before[i] if one is None else value_of(points[i], one) for i, one in enumerate(safe)]

    def done(self, now_ns: int) -> None:
        self.sent, self._sent_ns = self.wanted, now_ns
        self.later = self.publication.refresh_ns > 0


def _differ(points: Sequence[Point], new: Sequence[Scalar], old: Sequence[Scalar]) -> bool:
    for point, a, b in zip(points, new, old, strict=True):
        if a == b or (a != a and b != b):  # NaN is no change of NaN
            continue
        numbers = not isinstance(a, str) and not isinstance(b, str)
        if not (numbers and abs(float(a) - float(b)) < point.deadband):
            return True
    return False


def _ages(device: MqttDevice, rows: int) -> npt.NDArray[np.int64]:
    limits = np.zeros(rows, np.int64)
    for subscription in device.subscriptions:
        first = subscription.first_row
        limits[first : first + len(subscription.points)] = subscription.max_age_ns
    return limits


def _by_topic(
    subscriptions: Sequence[Subscription],
) -> tuple[dict[str, tuple[Subscription, ...]], tuple[Subscription, ...]]:
    exact: dict[str, tuple[Subscription, ...]] = {}
    wild = []
    for one in subscriptions:
        if "+" in one.filter or "#" in one.filter:
            wild.append(one)
        else:
            exact[one.filter] = (*exact.get(one.filter, ()), one)
    return exact, tuple(wild)
