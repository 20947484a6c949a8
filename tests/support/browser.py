"""A headless Chromium driven as a user drives it, by its DevTools protocol over two pipes.

https://chromedevtools.github.io/devtools-protocol/
"""

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Self

SWITCHES = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update
"""
KEYS = {"Tab": 9, "Enter": 13, " ": 32}


class Browser:
    """One tab, with all that the browser told of it."""

    def __init__(self, folder: Path, width: int = 1280, height: int = 1000) -> None:
        browser = shutil.which("chromium")
        assert browser is not None
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()

        command = [
            *(browser, *SWITCHES.split(), "--remote-debugging-pipe"),
            "--host-resolver-rules=MAP * ~NOTFOUND",
            *(f"--user-data-dir={folder}/profile", f"--window-size={width},{height}"),
        ]
        self._process = subprocess.Popen(  # it reads descriptor 3 and writes 4
            ["bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "bash", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(commands, answers),
        )
        os.close(commands)
        os.close(answers)
        self.events: list[dict[str, Any]] = []
        self._number, self._rest, self._session = 0, b"", {}
        self.call("Target.setDiscoverTargets", discover=True)
        self.call("Browser.setDownloadBehavior", behavior="deny", eventsEnabled=True)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": found["sessionId"]}
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)  # ends the browser
        self._process.wait(300)
        os.close(self._in)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command; events on the way are kept."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._out, json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self.events.append(message)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            read = os.read(self._in, 1 << 20)
            assert read, "the browser has ended"
            self._rest += read
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript in the page, allowed all that a click of the user allows."""
        found = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Until the expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.05)

    def press(self, key: str) -> None:
        """One key, down and up, as a keyboard sends it."""
        text = {"Enter": "\r", " ": " "}.get(key)
        code = {"key": key, "windowsVirtualKeyCode": KEYS[key]}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown", **code, **({"text": text} if text else {})
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def click(self, x: float, y: float) -> None:
        """The pointer moved there, and one click."""
        place = {"x": x, "y": y}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def told(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of that name so far."""
        return [event["params"] for event in self.events if event.get("method") == method]
