"""Foris' controllers and clients over paho-mqtt 1, driven line by line: what a test says on standard input they do, what happens to
them they say on standard output. As in foris: persistent sessions with random client ids, MQTT 3.1.1, QoS 0, a reply that is
retained and cleared 10 s later by an empty retained message of QoS 2. paho connects again by itself, a second after a loss.

A line in is `WHAT NAME [ARGUMENT...]`, a line out is `NAME WHAT [DETAIL...]`:

    controller NAME ID PORT USER PASSWORD    NAME ready N        connected and subscribed, for the Nth time
                                             NAME got N UUID     the Nth request, or N questions before
    reply NAME UUID                          NAME replied UUID   the bus has it
    client NAME ID PORT USER PASSWORD        NAME ready N
    subscribe NAME                           NAME subscribed UUID
    request NAME                             NAME published      the bus has it
                                             NAME answered N retained|live
    unsubscribe NAME                         NAME unsubscribed
    end NAME                                 NAME ended

`NAME end` says that a message on `foris-controller/ID/request/end/action/end` or `.../reply/end` has come: all that was sent before has too.
"""

import json
import sys
import threading
import uuid

import paho.mqtt.client as mqtt

CLEAR_AFTER_S = 10
OUTPUT = threading.Lock()


def say(*words):
    with OUTPUT:
        print(*words, flush=True)


class Connection:
    """One connection, which comes again after a loss; what it is subscribed to it subscribes to again."""

    def __init__(self, way, role, topics, on_message, on_ready):
        port, user, password = way
        self.client = mqtt.Client(client_id=f"{uuid.uuid4()}-{role}", clean_session=False)
        self.client.username_pw_set(user, password)
        # A bus that is away is tried again every second, not ever more seldom: a test need not wait longer.
        self.client.reconnect_delay_set(1, 1)
        self.topics = list(topics)
        self.answers = {}
        self.lock = threading.RLock()
        self.ready = threading.Event()
        self.on_ready = on_ready
        self.client.on_connect = self.on_connect
        self.client.on_disconnect = lambda *_: self.ready.clear()
        self.client.on_subscribe = lambda _client, _userdata, number, _codes: self.answered(number)
        self.client.on_unsubscribe = lambda _client, _userdata, number: self.answered(number)
        self.client.on_message = lambda _client, _userdata, message: on_message(message)
        self.client.connect("127.0.0.1", int(port), keepalive=30)
        self.client.loop_start()

    def on_connect(self, *_):
        with self.lock:
            self.answers.clear()
            _result, number = self.client.subscribe([(topic, 0) for topic in self.topics] or [("none", 0)])
            self.answers[number] = self.is_ready

    def is_ready(self):
        self.ready.set()
        self.on_ready()

    def answered(self, number):
        with self.lock:
            then = self.answers.pop(number, None)
        if then:
            then()

    def subscribe(self, topic, then):
        self.ready.wait()
        with self.lock:
            if topic not in self.topics:
                self.topics.append(topic)
            _result, number = self.client.subscribe(topic, 0)
            self.answers[number] = then

    def unsubscribe(self, topic, then):
        self.ready.wait()
        with self.lock:
            self.topics.remove(topic)
            _result, number = self.client.unsubscribe(topic)
            self.answers[number] = then

    def publish(self, topic, payload, then, retain=False):
        """Waits for a connection, and publishes once: a SUBACK that follows says that the bus has it."""
        self.ready.wait()
        self.client.publish(topic, payload, 0, retain)
        self.subscribe("none", then)

    def end(self):
        self.client.disconnect()
        self.client.loop_stop()


class Controller:
    """Gets requests, replies when it is told to, and says which it works on."""

    LISTENS_TO = ["request/+/action/+", "request/+/list", "list", "jsonschemas", "working_replies"]

    def __init__(self, name, controller_id, *way):
        self.name = name
        self.below = f"foris-controller/{controller_id}"
        self.working = []
        self.count = 0
        self.times = 0
        topics = [f"{self.below}/{topic}" for topic in self.LISTENS_TO]
        self.connection = Connection(way, "controller-request", topics, self.on_message, self.on_ready)

    def on_ready(self):
        self.times += 1
        say(self.name, "ready", self.times)

    def on_message(self, message):
        if message.topic.endswith("/end/action/end"):
            return say(self.name, "end")
        reply_id = json.loads(message.payload)["reply_msg_id"]
        if message.topic.endswith("/working_replies"):
            return self.publish(reply_id, self.working)
        self.count += 1
        self.working.append(reply_id)
        say(self.name, "got", self.count, reply_id)

    def publish(self, reply_id, data):
        topic = f"{self.below}/reply/{reply_id}"
        self.connection.client.publish(topic, json.dumps(data), 0, True)
        timer = threading.Timer(CLEAR_AFTER_S, self.connection.client.publish, [topic, None, 2, True])
        timer.daemon = True
        timer.start()

    def reply(self, reply_id):
        self.connection.ready.wait()
        self.publish(reply_id, {"kind": "reply", "data": reply_id})
        self.working.remove(reply_id)
        self.connection.subscribe("none", lambda: say(self.name, "replied", reply_id))

    def end(self):
        self.connection.end()


class Client:
    """Sends one request by one connection and watches for its reply by another."""

    def __init__(self, name, controller_id, *way):
        self.name = name
        self.below = f"foris-controller/{controller_id}"
        self.id = str(uuid.uuid4())
        self.topic = f"{self.below}/reply/{self.id}"
        self.count = 0
        self.times = [0, 0]
        self.lock = threading.Lock()
        end = f"{self.below}/reply/end"
        self.sender = Connection(way, "client-sender", [], lambda _: None, lambda: self.on_ready(0))
        self.watcher = Connection(way, "client-reply-watcher", [end], self.on_message, lambda: self.on_ready(1))

    def on_ready(self, which):
        with self.lock:
            before = min(self.times)
            self.times[which] += 1
            after = min(self.times)
        if after > before:
            say(self.name, "ready", after)

    def on_message(self, message):
        if message.topic.endswith("/end"):
            say(self.name, "end")
        elif message.payload:
            self.count += 1
            say(self.name, "answered", self.count, "retained" if message.retain else "live")

    def subscribe(self):
        self.watcher.subscribe(self.topic, lambda: say(self.name, "subscribed", self.id))

    def request(self):
        payload = json.dumps({"reply_msg_id": self.id, "data": 7})
        topic = f"{self.below}/request/about/action/get"
        self.sender.publish(topic, payload, lambda: say(self.name, "published"))

    def unsubscribe(self):
        self.watcher.unsubscribe(self.topic, lambda: say(self.name, "unsubscribed"))

    def end(self):
        self.sender.end()
        self.watcher.end()


def main():
    programs = {}

    def act(what, name, *rest):
        getattr(programs[name], what)(*rest)
        if what == "end":
            say(name, "ended")

    for line in sys.stdin:
        what, name, *rest = line.split()
        if what in ("controller", "client"):
            programs[name] = (Controller if what == "controller" else Client)(name, *rest)
        else:
            # Each on a thread of its own: what waits for a connection keeps nobody else waiting.
            threading.Thread(target=act, args=[what, name, *rest], daemon=True).start()


if __name__ == "__main__":
    main()
