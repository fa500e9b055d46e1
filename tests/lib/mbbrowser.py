"""A real browser: headless Chromium with a home and a profile of its own, told by chromedriver (W3C WebDriver) what to do.
A test that imports this is skipped where there is none."""

import http.client
import json
import os
import signal
from base64 import b64decode

import mbtest
from mbtest import equal, until

CHROMIUM = mbtest.need("chromium")
CHROMEDRIVER = mbtest.need("chromedriver")

COMMAND_SECONDS = mbtest.RUN_MAX  # for one command of WebDriver, the first of which starts a browser
WIDTH, HEIGHT = 800, 600
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how WebDriver names an element (section 12)
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which root cannot have; the only pages are ours
    "--disable-dev-shm-usage",  # small in containers
    "--disable-gpu",
    "--no-first-run",
    "--no-proxy-server",
    # Nothing but what the test asks for.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    f"--window-size={WIDTH},{HEIGHT}",
)


# What WebDriver says of an element while one page takes the place of another.
BETWEEN_PAGES = ("stale element reference", "no such element", "javascript error", "no such execution context")


class Refused(mbtest.Failed):
    """An error of WebDriver, with its code (section 6.6)."""

    def __init__(self, command, value):
        self.code = value["error"]
        super().__init__(f"{command}: {self.code}: {value['message']}")


class Browser:
    """Chromium with a home, a profile and a directory for downloads of its own, ended with the test. phone: the width and
    the height of a telephone's screen, as which it behaves."""

    def __init__(self, phone=None):
        self.profile = mbtest.tmp("profile", "x")[:-2]
        self.downloads = mbtest.tmp("downloads", "x")[:-2]
        home = mbtest.tmp("home", "x")[:-2]
        self.port = mbtest.free_port()
        self.session = None
        mbtest.cleanup.callback(self._kill_left)
        self.driver = mbtest.Process(
            [CHROMEDRIVER, f"--port={self.port}"],
            env={"PATH": os.environ["PATH"], "HOME": home, "TMPDIR": mbtest.TMP, "LANG": "C.UTF-8"},
        )
        mbtest.cleanup.callback(self.quit)
        mbtest.wait_listening(("127.0.0.1", self.port))
        options = {
            "binary": CHROMIUM,
            "args": [*FLAGS, f"--user-data-dir={self.profile}"],
            "prefs": {"download.default_directory": self.downloads, "download.prompt_for_download": False},
        }
        if phone:
            metrics = {"width": phone[0], "height": phone[1], "pixelRatio": 2, "touch": True, "mobile": True}
            options["mobileEmulation"] = {"deviceMetrics": metrics}
        wanted = {"browserName": "chrome", "timeouts": {"pageLoad": 30000, "script": 30000}, "goog:chromeOptions": options}
        wanted["goog:loggingPrefs"] = {"browser": "ALL"}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = made["sessionId"]

    def _call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=COMMAND_SECONDS)
        try:
            data = None if method != "POST" else json.dumps(body or {})
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            value = json.loads(response.read())["value"]
        finally:
            connection.close()
        if response.status != 200:
            raise Refused(f"{method} {path}", value)
        return value

    def call(self, method, path, body=None):
        return self._call(method, f"/session/{self.session}{path}", body)

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *args):
        """What a function body of JavaScript returns; a promise is waited for."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(args)})

    def text(self, css):
        """The text that is seen in the element."""
        return self.call("GET", f"/element/{self.find(css)}/text")

    def shows(self, css, want):
        """Waits until the text that is seen in the element is this, maybe on a page that comes only now."""
        got = None

        def shown():
            nonlocal got
            try:
                got = self.text(css)
            except Refused as error:
                if error.code not in BETWEEN_PAGES:
                    raise
            return got == want

        try:
            until(shown, "")
        except mbtest.Failed:
            page = self.run("return [location.href, document.readyState, document.activeElement && document.activeElement.id]")
            equal(got, want, f"text of {css}, on the page {page}")

    def find(self, css):
        return self.call("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def type(self, css, text):
        self.call("POST", f"/element/{self.find(css)}/value", {"text": text})

    def click(self, css):
        self.call("POST", f"/element/{self.find(css)}/click")

    def command(self, name, **parameters):
        """A command of Chromium's own protocol (DevTools), such as Emulation.setEmulatedMedia."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": name, "params": parameters})

    def console(self):
        """The lines that have come to the console of its pages since the last call, with what the browser itself says."""
        return [f"{line['level']} {line['message']}" for line in self.call("POST", "/se/log", {"type": "browser"})]

    def screenshot(self, path):
        with open(path, "wb") as f:
            f.write(b64decode(self.call("GET", "/screenshot")))

    def processes(self):
        """Those of the browser that are alive: they name its profile, and nobody else does."""
        return [int(pid) for pid in filter(str.isdigit, os.listdir("/proc")) if self._is_ours(pid)]

    def _is_ours(self, pid):
        try:
            return self.profile in mbtest.read_file(f"/proc/{pid}/cmdline") and mbtest.alive(int(pid))
        except ProcessLookupError:  # it has ended while we read
            return False

    def quit(self):
        if self.session:
            try:
                self.call("DELETE", "")
            except (OSError, http.client.HTTPException, mbtest.Failed) as error:
                mbtest.diagnose(f"the browser does not quit: {error}")
            self.session = None
        self.driver.stop()

    def _kill_left(self):
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
