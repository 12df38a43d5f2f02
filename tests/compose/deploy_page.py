"""Does what docs/deploy.md says, in a clean clone with the machine's engine.

What differs from the page: where the clone comes from, the ports, the certificate's issuer (and so curl is told whom to
trust, and where the name leads), and that images are built by ../shared/containers where that made the engine.
"""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from tests.compose.compose import PROJECT, Compose
from tests.compose.engine import TOOLS, Failed
from tests.compose.internet import IMAGE, OUT, reaching_out
from tests.stack import ROOT, reserve_ports

PAGE = ROOT / "docs" / "deploy.md"
NAME = "halftone.example"
MOST_COMMANDS = 10
OWN_PROJECT = f"{PROJECT}-deploy"
CERTIFICATE = "/certificates/caddy/pki/authorities/local/root.crt"


def commands() -> list[str]:
    """Those of the page, in its order."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def script(*, with_tools: bool, https: int) -> str:
    """The page's commands, with what differs; what curl is told stands in its own file, `.curlrc`."""
    lines = ["set -euo pipefail"]
    for command in commands():
        if " up " in command and with_tools:
            lines += [f"{TOOLS}/compose-build .", command.replace("--build", "--no-build")]
        else:
            lines.append(command.replace("ADDRESS", str(ROOT)))
        if " up " in command:
            lines += [
                f'docker compose cp gateway:{CERTIFICATE} "$CURL_HOME/root.crt"',
                'echo "cacert = $CURL_HOME/root.crt" > "$CURL_HOME/.curlrc"',
                f'echo "connect-to = {NAME}:443:127.0.0.1:{https}" >> "$CURL_HOME/.curlrc"',
            ]
    return "\n".join(lines)


def check_deploy_page(compose: Compose) -> None:
    """The page's commands do what it promises, with a project of their own."""
    engine = compose.engine
    http, https = reserve_ports(2)
    with tempfile.TemporaryDirectory() as folder:
        own = {"HALFTONE_HTTP_PORT": str(http), "HALFTONE_HTTPS_PORT": str(https), "HALFTONE_CERT_ISSUER": "internal"}
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("HALFTONE_", "COMPOSE_"))
        }
        env = {**inherited, **engine.env, **own, "COMPOSE_PROJECT_NAME": OWN_PROJECT, "CURL_HOME": folder}
        try:
            _follow(script(with_tools=engine.tools, https=https), env, Path(folder), http)
        except Failed:
            print(_docker(env, f"{folder}/halftone", "compose", "logs", "--no-color", "--tail", "20"))
            raise
        finally:
            _docker(env, f"{folder}/halftone", "compose", "down", "-v", "--timeout", "5")


def _follow(commands: str, env: dict[str, str], folder: Path, http: int) -> None:
    followed = subprocess.run(
        ["bash", "-c", commands], cwd=folder, env=env, check=False, text=True, stdout=subprocess.PIPE
    )
    print(followed.stdout)
    if followed.returncode:
        raise Failed(f"the page's commands ended with status {followed.returncode}")
    _hold(followed.stdout, env, folder, http)


def _hold(said: str, env: dict[str, str], folder: Path, http: int) -> None:
    """What the page promises."""
    if len(commands()) > MOST_COMMANDS:
        raise Failed(f"the page has {len(commands())} commands")
    if '"request_id"' not in said or '"name":"shop"' not in said:
        raise Failed("an account or a request is missing in the answers")
    plain = _run(
        env, folder, "curl", "-sSi", "--connect-to", f"{NAME}:80:127.0.0.1:{http}", f"http://{NAME}/v1/requests"
    )
    if "308" not in plain.partition("\n")[0] or f"Location: https://{NAME}/v1/requests" not in plain:
        raise Failed("HTTP does not lead to HTTPS")
    head = _run(env, folder, "curl", "-sSi", f"https://{NAME}/v1/requests")
    if " 401 " not in head.partition("\n")[0] or "strict-transport-security" not in head.lower():
        raise Failed("without a key a call is answered, or HSTS is missing")
    clone = str(folder / "halftone")

    def container(service: str) -> str:
        return _docker(env, clone, "compose", "ps", "-q", service).split()[0]

    network = ("--network", f"{OWN_PROJECT}_outside")
    outsider = _docker(env, clone, "run", "-d", *network, IMAGE, "python", "-m", "http.server", "80").strip()
    try:
        address = _docker(
            env, clone, "inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", outsider
        ).strip()
        found = reaching_out(lambda *words: _docker(env, clone, *words), container, address, 80)
    finally:
        _docker(env, clone, "rm", "-f", outsider)
    if found != set(OUT):
        raise Failed(f"these reach out: {', '.join(sorted(found))}")


def _docker(env: dict[str, str], folder: str, *words: str) -> str:
    return _run(env, Path(folder), "docker", *words)


def _run(env: dict[str, str], folder: Path, *command: str) -> str:
    where = folder if folder.is_dir() else None
    return subprocess.run(command, env=env, cwd=where, check=False, text=True, stdout=subprocess.PIPE).stdout
