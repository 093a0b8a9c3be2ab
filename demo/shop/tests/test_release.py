"""The release script, against a load balancer that only remembers."""

import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(SOURCE / "deploy"))

import release  # noqa: E402  (its directory is no package)

BLUE, GREEN, RULE = "arn:blue", "arn:green", "arn:rule"


class LoadBalancer:
    """Registers targets and finds all of them healthy."""

    def __init__(self, blue: int, green: int):
        self.weights = {BLUE: blue, GREEN: green}
        self.targets = {BLUE: [], GREEN: []}

    def describe_rules(self, RuleArns):
        groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in self.weights.items()]
        return {"Rules": [{"Actions": [{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]}]}

    def describe_target_health(self, TargetGroupArn, Targets=None):
        healthy = [target for target in self.targets[TargetGroupArn] if Targets is None or target in Targets]
        described = [{"Target": target, "TargetHealth": {"State": "healthy"}} for target in healthy]
        return {"TargetHealthDescriptions": described}

    def register_targets(self, TargetGroupArn, Targets):
        self.targets[TargetGroupArn] += Targets

    def deregister_targets(self, TargetGroupArn, Targets):
        self.targets[TargetGroupArn] = [it for it in self.targets[TargetGroupArn] if it not in Targets]


@pytest.mark.parametrize(("blue", "green", "idle"), [(100, 0, GREEN), (0, 1, BLUE)])
def test_the_idle_group_is_the_one_without_traffic(blue, green, idle):
    assert release.idle_group(LoadBalancer(blue, green), RULE, [BLUE, GREEN]) == idle


@pytest.mark.parametrize(("blue", "green"), [(95, 5), (0, 0)])
def test_a_release_under_way_is_not_disturbed(blue, green):
    with pytest.raises(release.ReleaseError, match="another release"):
        release.idle_group(LoadBalancer(blue, green), RULE, [BLUE, GREEN])


def test_a_group_that_the_rule_does_not_name_is_told():
    with pytest.raises(release.ReleaseError, match="arn:red"):
        release.idle_group(LoadBalancer(100, 0), RULE, [BLUE, "arn:red"])


def test_a_release_replaces_the_version_before_it_and_stops_that(tmp_path):
    balancer = LoadBalancer(100, 0)
    ports = []
    try:
        for _ in range(2):
            ports.append(release.release(balancer, GREEN, SOURCE, tmp_path))
            assert balancer.targets[GREEN] == [{"Id": release.HOST, "Port": ports[-1]}]
            assert release.answers(ports[-1])
        assert balancer.targets[BLUE] == []
        assert not release.answers(ports[0])
        assert not release.pid_file(tmp_path, ports[0]).exists()
    finally:
        for port in ports:
            release.stop(tmp_path, port)
    assert not release.answers(ports[-1])


def test_a_version_that_does_not_answer_changes_nothing(tmp_path, monkeypatch):
    source = tmp_path / "source"
    (source / "shop").mkdir(parents=True)
    (source / "shop" / "app.py").write_text("raise SystemExit('broken')\n")
    monkeypatch.setattr(release, "START_SECONDS_MAX", 1)
    balancer = LoadBalancer(100, 0)
    with pytest.raises(release.ReleaseError, match="did not answer"):
        release.release(balancer, GREEN, source, tmp_path / "run")
    assert balancer.targets == {BLUE: [], GREEN: []}
    assert list((tmp_path / "run").iterdir()) == []
