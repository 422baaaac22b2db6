"""What the chart tells people: the notes after an install, and the README with every value."""

import importlib.util
import json
import sys
from types import ModuleType

from tests.deploy.chart import values
from tests.deploy.helm import CHART, ROOT, Helm


def generator() -> ModuleType:
    """Return deploy/helm/generate.py, which is a script and in no package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "deploy/helm/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_the_notes_tell_the_next_command(helm: Helm) -> None:
    default, existing = helm.render().notes, helm.render(values("existing")).notes
    assert (
        "wait --for=condition=Available --timeout=5m deployment/rel-retort-gateway deployment/rel-retort-model-server"
        in default
    )
    assert "get secret rel-retort-api-keys" in default
    assert "helm test rel --namespace shop" in default
    assert "wait --for" not in existing
    assert "the Secret tickets-keys" in existing
    assert "curl --insecure https://127.0.0.1:8080/predict" in existing
    assert "port-forward service/rel-retort-gateway" in existing
    assert "port-forward service/rel-retort-load 8089:8089" in existing
    assert "Bearer" not in helm.render(values("open")).notes


def test_readme_and_schema_are_as_the_generator_writes_them() -> None:
    made = generator()
    hint = "run python deploy/helm/generate.py"
    assert (CHART / "README.md").read_text() == made.readme(), hint
    assert json.loads((CHART / "values.schema.json").read_text()) == json.loads(made.schema()), hint


def test_every_value_says_what_it_means() -> None:
    found = generator().values((CHART / "values.yaml").read_text())
    assert len(found) > 100
    assert [value.path for value in found if not value.meaning.endswith((".", "`]"))] == []


def test_the_generator_reads_a_comment_of_several_lines_and_keeps_lists_and_resources_whole() -> None:
    text = 'a:\n  # One,\n  # two.\n  b: [1, "x"]\n  # Of a pod.\n  resources:\n    requests: {cpu: 1}\n  c: {}\n'
    found = [(value.path, value.default, value.meaning) for value in generator().values(text)]
    assert found == [
        ("a.b", [1, "x"], "One, two."),
        ("a.resources", {"requests": {"cpu": 1}}, "Of a pod."),
        ("a.c", {}, ""),
    ]
    assert '| `a.b` | `[1, "x"]` | One, two. |' in generator().table(text)


def test_every_value_does_something() -> None:
    templates = "".join(path.read_text() for path in (CHART / "templates").rglob("*") if path.is_file())
    for value in generator().values((CHART / "values.yaml").read_text()):
        assert value.path.rpartition(".")[2] in templates, value.path
