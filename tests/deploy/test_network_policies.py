"""The network policies as what they let through: exactly the flows that the parts need, each on both ends."""

from collections.abc import Iterable
from typing import Any

from tests.deploy.chart import at, component, kind, pods, values
from tests.deploy.cluster import Json
from tests.deploy.helm import Helm, Revision

ANYBODY, PROMETHEUS, WORLD, DNS = "anybody", "prometheus", "world", "dns"
# Of the default install: from, to, port.
FLOWS = {
    (ANYBODY, "gateway", 8080),
    (ANYBODY, "gateway", 8081),
    (PROMETHEUS, "gateway", 9091),
    (PROMETHEUS, "model-server", 8002),
    (PROMETHEUS, "model-server", 8003),
    ("gateway", "model-server", 8001),
    ("gateway", "redis", 6379),
    ("gateway", DNS, 53),
    ("test", DNS, 53),
    ("test", "gateway", 8080),
    ("test", "gateway", 8081),
    ("training", DNS, 53),
}


def peers(rule: Json, direction: str) -> Iterable[str]:
    """Name who is at the other end of a rule."""
    if direction not in rule:
        ports = {port["port"] for port in rule["ports"]}
        yield DNS if ports == {53} else WORLD if direction == "to" else ANYBODY
    for peer in rule.get(direction, []):
        labels = peer.get("podSelector", {}).get("matchLabels", {})
        if "namespaceSelector" not in peer and "app.kubernetes.io/component" in labels:
            yield component(labels)
        else:
            yield PROMETHEUS if labels.get("app.kubernetes.io/name") == "prometheus" else str(peer)


def flows(revision: Revision) -> set[tuple[str, str, Any]]:
    """Return (from, to, port) of everything that gets through; a flow between two parts must be open on both ends."""
    incoming, outgoing = set(), set()
    for policy in kind(revision, "NetworkPolicy"):
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        own = policy["spec"]["podSelector"]["matchLabels"].get("app.kubernetes.io/component")
        for rule in policy["spec"].get("ingress", []):
            incoming |= {(peer, own, port["port"]) for peer in peers(rule, "from") for port in rule["ports"]}
        for rule in policy["spec"].get("egress", []):
            outgoing |= {(own, peer, port["port"]) for peer in peers(rule, "to") for port in rule["ports"]}
    parts = {component(pod["metadata"]["labels"]) for pod in pods(revision).values()}
    inner_in = {flow for flow in incoming if flow[0] in parts}
    inner_out = {flow for flow in outgoing if flow[1] in parts}
    to_open_doors = {flow for flow in inner_out if (ANYBODY, *flow[1:]) in incoming}
    assert inner_out - to_open_doors == inner_in - to_open_doors
    return incoming | outgoing


def test_the_default_flows_are_exactly_these(helm: Helm) -> None:
    assert flows(helm.render()) == FLOWS


def test_nothing_of_the_release_is_left_open(variant: Revision) -> None:
    policies = kind(variant, "NetworkPolicy")
    if policies:
        (deny,) = [p for p in policies if p["metadata"]["name"].endswith("-default-deny")]
        assert "ingress" not in deny["spec"]
        assert "egress" not in deny["spec"]
        wanted = deny["spec"]["podSelector"]["matchLabels"].items()
        assert all(wanted <= pod["metadata"]["labels"].items() for pod in pods(variant).values())


def test_named_clients_alone_may_call(helm: Helm) -> None:
    found = flows(helm.render(values("everything")))
    assert not any(source == ANYBODY for source, _, _ in found)
    assert {(str({"ipBlock": {"cidr": "10.0.0.0/8"}}), "gateway", port) for port in (8080, 8081)} <= found
    assert {("test", "gateway", 8080), ("load", "gateway", 8081), ("load", "load", 5557)} <= found
    assert [port for source, to, port in found if "role" in source and to == "gateway"] == [8082]
    assert ("gateway", WORLD, 4318) in found
    assert ("training", WORLD, 443) in found


def test_nobody_reaches_the_admin_api_unless_told(helm: Helm) -> None:
    story = helm.play(("install", at("admin.enabled", value=True)))
    assert flows(story.revisions[0]) == FLOWS


def test_the_way_out_follows_the_addresses(helm: Helm) -> None:
    found = flows(helm.render(values("existing")))
    assert {("gateway", WORLD, 6380), ("gateway", WORLD, 443)} <= found
    assert not any("redis" in (source, to) for source, to, _ in found)
    given = {
        "redis": {"enabled": False, "external": {"url": "rediss://redis.example.com:6390/0"}},
        "tracing": {"otlpEndpoint": "http://collector"},
    }
    out = {port for _, to, port in flows(helm.play(("install", given)).revisions[0]) if to == WORLD}
    assert out == {6390, 80}


def test_policies_can_be_left_to_somebody_else(helm: Helm) -> None:
    assert kind(helm.render(values("open")), "NetworkPolicy") == []
