"""The supervisor and MQTT: a Sparkplug host that shows edge nodes as runtimes, and a bridge that publishes values."""

from supervisor.mqtt.config import MqttSettings, load_settings
from supervisor.mqtt.service import MqttService

__all__ = ["MqttService", "MqttSettings", "load_settings"]
