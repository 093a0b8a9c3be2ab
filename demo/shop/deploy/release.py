"""Starts this version of the shop and puts it into the idle target group.

The idle group is the one with weight 0 in the load balancer's rule, so no customer sees the new
version yet: moving traffic is the next action's business. What was in the group before is
deregistered, and its process stopped. Until the new process answers, nothing else is changed.

Environment: RULE_ARN, BLUE_ARN, GREEN_ARN, and SHOP_RUN_DIR, a directory for what keeps running.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS_MAX = 20
HEALTHY_SECONDS_MAX = 60
STOP_SECONDS_MAX = 10
POLL_SECONDS = 0.2


class ReleaseError(Exception):
    """Finishes the phrase 'could not release: ...'."""


def idle_group(elbv2, rule_arn: str, groups: list[str]) -> str:
    """The one of the two groups that gets no traffic."""
    actions = elbv2.describe_rules(RuleArns=[rule_arn])["Rules"][0]["Actions"]
    forwards = [action["ForwardConfig"]["TargetGroups"] for action in actions if action["Type"] == "forward"]
    weights = {group["TargetGroupArn"]: group.get("Weight", 1) for forward in forwards for group in forward}
    missing = [group for group in groups if group not in weights]
    if missing:
        raise ReleaseError(f"the rule does not name {missing[0]}; add it with weight 0")
    idle = [group for group in groups if weights[group] == 0]
    if len(idle) != 1:
        split = " and ".join(str(weights[group]) for group in groups)
        raise ReleaseError(f"exactly one group must have weight 0, but they have {split}: is another release under way?")
    return idle[0]


def free_port() -> int:
    with socket.create_server((HOST, 0)) as server:
        return server.getsockname()[1]


def start(source: Path, run_dir: Path, port: int) -> int:
    """Starts the shop in a session of its own, so that it outlives the build, and returns its pid.

    It runs from a copy: the build's directory goes away with the build.
    """
    home = run_dir / str(port)
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(source / "shop", home / "shop", ignore=shutil.ignore_patterns("__pycache__"))
    with open(home / "shop.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "shop.app", "--port", str(port)],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    pid_file(run_dir, port).write_text(f"{process.pid}\n")
    return process.pid


def pid_file(run_dir: Path, port: int) -> Path:
    return run_dir / f"{port}.pid"


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ReleaseError(f"{what} within {seconds:g} s")
        time.sleep(POLL_SECONDS)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def registered(elbv2, group: str) -> list[dict]:
    health = elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    return [description["Target"] for description in health]


def replace_targets(elbv2, group: str, port: int) -> list[dict]:
    """Makes the new version the group's only target and returns those it replaced."""
    replaced = registered(elbv2, group)
    if replaced:
        elbv2.deregister_targets(TargetGroupArn=group, Targets=[target_key(target) for target in replaced])
    elbv2.register_targets(TargetGroupArn=group, Targets=[{"Id": HOST, "Port": port}])
    return replaced


def target_key(target: dict) -> dict:
    return {"Id": target["Id"], "Port": target["Port"]}


def is_healthy(elbv2, group: str, port: int) -> bool:
    target = {"Id": HOST, "Port": port}
    health = elbv2.describe_target_health(TargetGroupArn=group, Targets=[target])["TargetHealthDescriptions"]
    return [description["TargetHealth"]["State"] for description in health] == ["healthy"]


def is_running(pid: int, port: int) -> bool:
    """Whether the process is still the shop on this port, and not another that got its number."""
    state = subprocess.run(["ps", "-o", "stat=,args=", "-p", str(pid)], capture_output=True, text=True)
    return "shop.app" in state.stdout and f"--port {port}" in state.stdout and not state.stdout.startswith("Z")


def stop(run_dir: Path, port: int) -> None:
    """Stops the version that was started on this port, if it still runs."""
    file = pid_file(run_dir, port)
    try:
        pid = int(file.read_text())
    except (FileNotFoundError, ValueError):
        return
    for request in (signal.SIGTERM, signal.SIGKILL):
        if is_running(pid, port):
            os.kill(pid, request)
            deadline = time.monotonic() + STOP_SECONDS_MAX
            while is_running(pid, port) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
    file.unlink(missing_ok=True)
    shutil.rmtree(run_dir / str(port), ignore_errors=True)


def release(elbv2, group: str, source: Path, run_dir: Path) -> int:
    """Puts this version into the group and returns its port."""
    run_dir.mkdir(parents=True, exist_ok=True)
    port = free_port()
    try:
        pid = start(source, run_dir, port)
        print(f"started on port {port} as process {pid}", flush=True)
        wait_until(lambda: answers(port), START_SECONDS_MAX, f"the new version did not answer on port {port}")
    except BaseException:
        stop(run_dir, port)
        raise
    # From here on the new version is in the group; even when it never becomes healthy it stays there to be looked at.
    replaced = replace_targets(elbv2, group, port)
    wait_until(lambda: is_healthy(elbv2, group, port), HEALTHY_SECONDS_MAX, f"port {port} did not become healthy")
    for target in replaced:
        stop(run_dir, target["Port"])
        print(f"stopped the version on port {target['Port']}", flush=True)
    return port


def variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise ReleaseError(f"set the environment variable {name}") from None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", help="this target group instead of the idle one: for the first version of all")
    group = parser.parse_args().group
    source = Path(__file__).resolve().parent.parent
    try:
        import boto3  # the shop's tests need no AWS SDK

        elbv2 = boto3.client("elbv2")
        run_dir = Path(variable("SHOP_RUN_DIR")).resolve()
        if group is None:
            group = idle_group(elbv2, variable("RULE_ARN"), [variable("BLUE_ARN"), variable("GREEN_ARN")])
        port = release(elbv2, group, source, run_dir)
    except ReleaseError as error:
        sys.exit(f"could not release: {error}")
    print(f"{group.rpartition(':')[2]} serves this version on port {port}", flush=True)


if __name__ == "__main__":
    main()
