"""A client of paho-mqtt 1 or 2 over WebSocket, plain or by TLS: what it publishes it gets back, a thousand times, and a megabyte.

Its argument is the way in as JSON. It prints one line of JSON and exits with 0, or says on standard error what failed.
"""

import json
import ssl
import sys
import threading

import paho.mqtt.client as mqtt

DEADLINE_S = 60
COUNT = 1000
LARGE = bytes(range(256)) * 4096


def main():
    endpoint = json.loads(sys.argv[1])
    options = {"client_id": "page", "transport": "websockets"}
    if hasattr(mqtt, "CallbackAPIVersion"):
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, **options)
    else:
        client = mqtt.Client(**options)
    if endpoint["ca"]:
        client.tls_set(endpoint["ca"], tls_version=ssl.PROTOCOL_TLSv1_2)
        client.tls_insecure_set(True)
    client.username_pw_set(endpoint["user"], endpoint["password"])
    client.max_inflight_messages_set(100)
    subscribed, done = threading.Event(), threading.Event()
    got = []

    def on_message(_client, _userdata, message):
        got.append(message.payload)
        if len(got) == COUNT + 1:
            done.set()

    client.on_connect = lambda client, *_rest: client.subscribe("back", 1)
    client.on_subscribe = lambda *_rest: subscribed.set()
    client.on_message = on_message
    client.connect(endpoint["host"], endpoint["port"])
    client.loop_start()
    if not subscribed.wait(DEADLINE_S):
        return "never subscribed"
    expected = [b"%d" % number for number in range(COUNT)] + [LARGE]
    for number, payload in enumerate(expected):
        client.publish("back", payload, qos=number % 2)
    if not done.wait(DEADLINE_S):
        return f"only {len(got)} messages came back"
    # QoS 0 and QoS 1 messages of one topic keep their order within each QoS only.
    if sorted(got) != sorted(expected):
        return "the messages are not those that were sent"
    client.disconnect()
    client.loop_stop()
    print(json.dumps({"messages": len(got) - 1, "large": len(got[-1] if got[-1] == LARGE else max(got, key=len))}))
    return None


if __name__ == "__main__":
    sys.exit(main())
