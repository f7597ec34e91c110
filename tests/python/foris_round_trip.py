"""The foris protocol as the router's programs speak it, over paho-mqtt 1 or 2, with MQTT 3.1.1 or 5.

Controllers answer requests, clients send them and wait for the reply; each side may come by password or by certificate
(`--endpoint`, once for each way in: they are used in turn). As in foris: persistent sessions with random client ids, QoS 0,
a reply that is retained and cleared a little later by an empty retained message of QoS 2.

It prints one line of JSON and exits with 0 when every request got its reply; else it says on standard error what failed.
It knows nothing of the broker but its addresses.
"""

import argparse
import json
import ssl
import sys
import threading
import uuid

import paho.mqtt.client as mqtt

DEADLINE_S = 60
CLEAR_AFTER_S = 0.3
PAHO_2 = hasattr(mqtt, "CallbackAPIVersion")


class Failed(Exception):
    """What the protocol promises did not come."""


def wait(event, what):
    if not event.wait(DEADLINE_S):
        raise Failed(f"never came: {what}")


class Peer:
    """One connection, with the messages and acknowledgements that it has seen."""

    def __init__(self, endpoint, protocol, role):
        client_id = f"{uuid.uuid4()}-{role}"
        version = mqtt.MQTTv5 if protocol == 5 else mqtt.MQTTv311
        # MQTT 5 has no clean session: there the expiry interval says that the session is to stay.
        options = {"client_id": client_id, "protocol": version}
        if protocol != 5:
            options["clean_session"] = False
        if PAHO_2:
            self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, **options)
        else:
            self.client = mqtt.Client(**options)
        self.role = role
        self.answered = {}
        self.early = set()
        self.lock = threading.Lock()
        self.connected = threading.Event()
        self.refused = None
        self.handlers = []
        self.client.on_connect = self.on_connect
        self.client.on_message = self.on_message
        self.client.on_subscribe = self.on_answer
        self.client.on_unsubscribe = self.on_answer
        if endpoint.get("ca"):
            self.client.tls_set(
                endpoint["ca"], endpoint["certificate"], endpoint["key"], tls_version=ssl.PROTOCOL_TLSv1_2
            )
            self.client.tls_insecure_set(True)
        else:
            self.client.username_pw_set(endpoint["user"], endpoint["password"])
        arguments = {}
        if protocol == 5:
            from paho.mqtt.packettypes import PacketTypes
            from paho.mqtt.properties import Properties

            arguments["clean_start"] = False
            arguments["properties"] = Properties(PacketTypes.CONNECT)
            arguments["properties"].SessionExpiryInterval = 3600
        self.client.connect(endpoint["host"], endpoint["port"], keepalive=30, **arguments)
        self.client.loop_start()
        wait(self.connected, f"CONNACK of {role}")
        if self.refused:
            raise Failed(f"{role} was refused: {self.refused}")

    # The callbacks of paho 1 and 2, of 3.1.1 and 5, differ in their last arguments only.

    def on_connect(self, _client, _userdata, _flags, reason, *_rest):
        code = getattr(reason, "value", reason)
        self.refused = str(reason) if code != 0 else None
        self.connected.set()

    def on_message(self, _client, _userdata, message):
        for handler in self.handlers:
            handler(message)

    def on_answer(self, _client, _userdata, packet_id, *_rest):
        with self.lock:
            event = self.answered.get(packet_id)
            if event is None:
                self.early.add(packet_id)
            else:
                event.set()

    def acknowledged(self, packet_id, what):
        event = threading.Event()
        with self.lock:
            if packet_id in self.early:
                self.early.discard(packet_id)
                return
            self.answered[packet_id] = event
        wait(event, what)

    def subscribe(self, topic):
        _result, packet_id = self.client.subscribe(topic, 0)
        self.acknowledged(packet_id, f"SUBACK for {topic}")

    def unsubscribe(self, topic):
        _result, packet_id = self.client.unsubscribe(topic)
        self.acknowledged(packet_id, f"UNSUBACK for {topic}")

    def publish(self, topic, payload, qos=0, retain=False):
        return self.client.publish(topic, payload, qos, retain)

    def stop(self):
        self.client.disconnect()
        self.client.loop_stop()


class Controller:
    """Answers `foris-controller/ID/request/M/action/A` by a retained reply, which it clears later."""

    def __init__(self, endpoint, protocol, number):
        self.id = f"{number:016X}"
        self.seen = 0
        self.clearings = []
        self.timers = []
        self.lock = threading.Lock()
        self.peer = Peer(endpoint, protocol, "controller-request")
        self.peer.handlers.append(self.on_request)
        self.peer.subscribe(f"foris-controller/{self.id}/request/+/action/+")
        self.peer.subscribe(f"foris-controller/{self.id}/request/+/list")

    def on_request(self, message):
        request = json.loads(message.payload)
        topic = f"foris-controller/{self.id}/reply/{request['reply_msg_id']}"
        self.peer.publish(topic, json.dumps({"data": request["data"], "from": self.id}), retain=True)
        timer = threading.Timer(CLEAR_AFTER_S, self.clear, [topic])
        with self.lock:
            self.seen += 1
            self.timers.append(timer)
        timer.start()

    def clear(self, topic):
        published = self.peer.publish(topic, None, qos=2, retain=True)
        with self.lock:
            self.clearings.append(published)

    def finish(self):
        """Waits until every reply is cleared."""
        for timer in self.timers:
            timer.join(DEADLINE_S)
        for published in self.clearings:
            for _ in range(DEADLINE_S):
                if published.is_published():
                    break
                published.wait_for_publish(1)
            if not published.is_published():
                raise Failed("a clearing message was not acknowledged")
        self.peer.stop()


class Requester:
    """Sends requests by one connection and watches for the replies by another, as foris' client does."""

    def __init__(self, endpoint, protocol):
        self.sender = Peer(endpoint, protocol, "client-sender")
        self.watcher = Peer(endpoint, protocol, "client-reply-watcher")
        self.watcher.handlers.append(self.on_reply)
        self.lock = threading.Lock()
        self.waiting = {}
        self.twice = 0

    def on_reply(self, message):
        # The empty message clears the reply; who still listens gets it as well.
        if not message.payload:
            return
        with self.lock:
            waiting = self.waiting.get(message.topic)
            if waiting is None or waiting["reply"] is not None:
                self.twice += 1
                return
            waiting["reply"] = json.loads(message.payload)
            waiting["event"].set()

    def request(self, controller_id, data):
        """Steps 1 to 6: subscribe, publish, be answered, unsubscribe."""
        reply_id = str(uuid.uuid4())
        topic = f"foris-controller/{controller_id}/reply/{reply_id}"
        waiting = {"event": threading.Event(), "reply": None}
        with self.lock:
            self.waiting[topic] = waiting
        self.watcher.subscribe(topic)
        payload = json.dumps({"reply_msg_id": reply_id, "data": data})
        self.sender.publish(f"foris-controller/{controller_id}/request/about/action/get", payload)
        wait(waiting["event"], f"the reply on {topic}")
        self.watcher.unsubscribe(topic)
        if waiting["reply"] != {"data": data, "from": controller_id}:
            raise Failed(f"the reply on {topic} is another one")

    def stop(self):
        self.sender.stop()
        self.watcher.stop()


def retained_replies(endpoint, protocol, counted_to):
    """The retained replies that the broker still holds, seen by a client that comes last."""
    found = []
    end = threading.Event()
    last = Peer(endpoint, protocol, "client-listener")

    def on_message(message):
        if message.topic == counted_to:
            end.set()
        elif message.payload:
            found.append(message.topic)

    last.handlers.append(on_message)
    last.subscribe("foris-controller/+/reply/+")
    last.subscribe(counted_to)
    last.publish(counted_to, "end")
    wait(end, "the client's own last message")
    last.stop()
    return found


def work(requester, controllers, arguments, number, failures):
    try:
        for count in range(arguments.requests):
            controller = controllers[(number + count) % len(controllers)]
            data = {"client": number, "count": count, "padding": "x" * arguments.padding}
            requester.request(controller.id, data)
    except Failed as failure:
        failures.append(f"client {number}: {failure}")


def run(arguments):
    endpoints = [json.loads(text) for text in arguments.endpoint]

    def way_in(number):
        return endpoints[number % len(endpoints)]

    controllers = [Controller(way_in(n), arguments.protocol, n + 1) for n in range(arguments.controllers)]
    # The first clients come by the other way in than the controllers that they ask first.
    requesters = [Requester(way_in(n + 1), arguments.protocol) for n in range(arguments.clients)]
    failures = []
    threads = [
        threading.Thread(target=work, args=(requester, controllers, arguments, number, failures))
        for number, requester in enumerate(requesters)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise Failed("; ".join(failures[:5]))
    for controller in controllers:
        controller.finish()
    left = retained_replies(endpoints[0], arguments.protocol, f"end/{uuid.uuid4()}")
    for requester in requesters:
        requester.stop()
    return {
        "paho": mqtt.__dict__.get("__version__") or __import__("paho.mqtt").mqtt.__version__,
        "requests": arguments.clients * arguments.requests,
        "seen": sum(controller.seen for controller in controllers),
        "cleared": sum(len(controller.clearings) for controller in controllers),
        "twice": sum(requester.twice for requester in requesters),
        "left": len(left),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", action="append", required=True, help="a way in, as JSON")
    parser.add_argument("--protocol", type=int, choices=[4, 5], required=True, help="4 is MQTT 3.1.1")
    parser.add_argument("--controllers", type=int, default=1)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--requests", type=int, default=1, help="of each client")
    parser.add_argument("--padding", type=int, default=0, help="bytes in each request and reply")
    try:
        print(json.dumps(run(parser.parse_args())))
    except Failed as failure:
        print(failure, file=sys.stderr)
        # Threads of other connections would keep the interpreter waiting.
        sys.stderr.flush()
        import os

        os._exit(1)


if __name__ == "__main__":
    main()
