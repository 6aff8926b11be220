"""Images wait for the link that carries them, whichever of a node's links comes last."""

from kvnode.server.images import Images
from kvnode.storage.image import Ack, decode

IMAGE_ID = bytes(16)


class FakePeers:
    def __init__(self):
        self.linked = set()
        self.sent = []

    def is_image_linked(self, target):
        return target in self.linked

    def image_queued_bytes(self, target):
        return 0

    def send_image(self, target, body):
        if target not in self.linked:
            return False
        self.sent.append((target, decode(body)))
        return True


class FakeReceiver:
    received = None

    def __init__(self, *answers):
        self.answers = list(answers)

    def step(self, now_ms):
        pass

    def take(self):
        return self.answers.pop(0) if self.answers else None


class FakeSender:
    """Has one message for each connection."""

    failure, is_done, facts = "", False, None

    def __init__(self):
        self.is_connected = False
        self.messages = []

    def step(self, now_ms):
        self.facts = self.facts or object()

    def connect(self):
        self.is_connected = True
        self.messages = [Ack(IMAGE_ID, 7)]

    def disconnect(self):
        self.is_connected = False

    def take(self):
        return self.messages.pop(0) if self.messages else None


def images_with(peers):
    return Images(None, peers, None, IMAGE_ID, reader=None, writer=None, now_ms=lambda: 0)


def test_an_answer_waits_for_its_link_and_only_the_last_is_sent():
    peers = FakePeers()
    images = images_with(peers)
    images.receiver = FakeReceiver((2, Ack(IMAGE_ID, 0)), (2, Ack(IMAGE_ID, 1)))
    images.pump()
    assert peers.sent == []
    peers.linked.add(2)
    images.pump()
    images.pump()
    assert peers.sent == [(2, Ack(IMAGE_ID, 1))]


def test_a_sender_is_connected_when_its_link_comes(monkeypatch):
    peers = FakePeers()
    images = images_with(peers)
    images.receiver = FakeReceiver()
    monkeypatch.setattr(images, "_is_there", lambda peer, sender: False)
    images._senders[2] = sender = FakeSender()
    images._begun.add(2)
    images.pump()
    assert not sender.is_connected
    peers.linked.add(2)
    images.pump()
    assert peers.sent == [(2, Ack(IMAGE_ID, 7))]
    images.lost(2)
    images.pump()
    assert len(peers.sent) == 2
