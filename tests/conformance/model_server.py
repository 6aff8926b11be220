"""The model behind the interface of a server, truthful or with one planted fault."""

from collections.abc import Callable

from tests.support.model import Model
from tests.support.resp import Reply, ReplyStream, Status, decode_all, encode_reply

Call = Callable[..., Reply]  # runs the arguments it is given, truthfully
Fault = Callable[[Call, tuple[bytes, ...]], Reply]


class ModelStream(ReplyStream):
    """A connection to the model: what is sent is answered at once."""

    def __init__(self, model: Model, fault: Fault | None) -> None:
        super().__init__(self._execute, self._take)
        self._model = model
        self._fault = fault
        self._client = model.connect()
        self._protocol = 2
        self._output: list[bytes] = []

    def close(self) -> None:
        """Disconnect from the model."""
        self._model.disconnect(self._client)

    def _take(self) -> bytes:
        data = b"".join(self._output)
        self._output.clear()
        return data

    def _execute(self, data: bytes) -> None:
        for arguments in decode_all(data):
            self._output.append(self._answer(tuple(arguments)))

    def _call(self, *arguments: bytes) -> Reply:
        return self._model.call(self._client, *arguments)

    def _answer(self, arguments: tuple[bytes, ...]) -> bytes:
        name = arguments[0].lower()
        if name == b"hello":
            self._protocol = int(arguments[1])
            return encode_reply(Status(b"OK"))
        if self._fault is None:
            reply = self._call(*arguments)
        else:
            reply = self._fault(self._call, arguments)
        if name == b"exec" and reply is None and self._protocol == 2:
            return b"*-1\r\n"
        return encode_reply(reply, self._protocol)


class ModelServer:
    """Something to compare with: connections to one model. fault: answers in its place."""

    def __init__(self, clock_ms: Callable[[], int], fault: Fault | None = None) -> None:
        self.name = "model" if fault is None else "model with a fault"
        self._model = Model(clock_ms)
        self._fault = fault

    def connect(self, timeout_s: float = 0.0) -> ModelStream:
        """Return a new connection. timeout_s: not needed, nothing waits."""
        return ModelStream(self._model, self._fault)
