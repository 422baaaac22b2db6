"""Jobs that write the repository: the bootstrap of an empty one, a training, a schedule."""

from pathlib import Path

import pytest

from retort_cli.__main__ import main
from tests.deploy.chart import at, container, kind, values
from tests.deploy.cluster import Json
from tests.deploy.helm import Helm, Revision
from tests.tiny_model import publish_tiny


def job(revision: Revision, prefix: str) -> Json:
    """Return the Job whose name begins like this."""
    (found,) = [job for job in kind(revision, "Job") if job["metadata"]["name"].startswith(f"rel-retort-{prefix}-")]
    return found


@pytest.mark.parametrize("holds_a_model", [False, True])
def test_the_bootstrap_copies_only_where_no_model_is(helm: Helm, tmp_path: Path, *, holds_a_model: bool) -> None:
    (run,) = job(helm.render(), "bootstrap")["spec"]["template"]["spec"]["containers"]
    repository, demo = tmp_path / "model-repo", tmp_path / "demo"
    publish_tiny(demo)
    (repository / "lost+found").mkdir(parents=True)
    if holds_a_model:
        publish_tiny(repository).path.parent.rename(repository / "tickets")
    places = {"/model-repo": str(repository), "/opt/demo": str(demo)}
    with pytest.raises(SystemExit) as ended:
        main([places.get(word, word) for word in run["args"]])
    assert ended.value.code == 0
    assert (repository / "tiny").exists() is not holds_a_model
    assert run["image"].startswith("retort-demo:")


def test_an_upgrade_leaves_jobs_alone_until_their_work_changes(helm: Helm) -> None:
    def named(revision: Revision) -> dict[str, Json]:
        return {found["metadata"]["name"]: found for found in kind(revision, "Job")}

    trained = {"training": {"enabled": True}}
    story = helm.play(
        ("install", trained),
        ("upgrade", {**trained, "load": {"enabled": True}}),
        ("upgrade", {"training": {"enabled": True, "config": "configs/other.toml"}}),
        ("upgrade", {"training": {"enabled": True, "backoffLimit": 1}}),
    )
    first, same, other, bounded = map(named, story.revisions)
    assert first == same
    assert len(first) == 2
    assert job(story.revisions[2], "bootstrap")["metadata"]["name"] in first
    assert job(story.revisions[2], "training")["metadata"]["name"] not in first
    assert not bounded.keys() & (first | other).keys()
    (run,) = job(story.revisions[2], "training")["spec"]["template"]["spec"]["containers"]
    assert run["args"] == ["train", "configs/other.toml", "--repository", "/model-repo"]


def test_another_inline_configuration_is_another_job(helm: Helm) -> None:
    def name(config: str) -> str:
        story = helm.play(("install", {"training": {"enabled": True, "inlineConfig": config}}))
        assert story.revisions[0].find("ConfigMap", "rel-retort-training")["data"] == {"training.toml": config}
        found = job(story.revisions[0], "training")
        assert found["spec"]["template"]["spec"]["containers"][0]["args"][1] == "/etc/retort/training.toml"
        return str(found["metadata"]["name"])

    assert name('model = "a"\n') != name('model = "b"\n')


def test_jobs_end_and_are_removed(helm: Helm) -> None:
    for name in ("everything", "hpa"):
        revision = helm.render(values(name))
        specs = [found["spec"] for found in kind(revision, "Job")]
        specs += [found["spec"]["jobTemplate"]["spec"] for found in kind(revision, "CronJob")]
        assert len(specs) == 2
        for spec in specs:
            assert {"backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"} <= spec.keys()
            assert spec["template"]["spec"]["restartPolicy"] == "Never"
            spot = bool(spec["template"]["spec"].get("tolerations"))
            assert spot is (name == "everything")
            assert ("podFailurePolicy" in spec) is spot


def test_a_schedule_makes_a_cron_job_that_never_overlaps(helm: Helm) -> None:
    (cron,) = kind(helm.render(values("hpa")), "CronJob")
    assert cron["spec"]["schedule"] == "0 3 * * 1"
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"


def test_data_and_runs_are_where_the_image_looks(helm: Helm) -> None:
    _, run = container(helm.render(values("everything")), "training")
    mounts = {mount["name"]: mount["mountPath"] for mount in run["volumeMounts"]}
    assert run["env"] == [{"name": "DATA_DIR", "value": mounts["data"]}]
    assert mounts["runs"] == "/tmp/runs"  # the image's working folder is /tmp, `runs` is the configuration's default


def test_uninstalling_keeps_the_models_unless_told(helm: Helm) -> None:
    kept = helm.play(("install", {}), ("uninstall", {}))
    gone = helm.play(("install", at("modelRepository.keepOnUninstall", value=False)), ("uninstall", {}))
    assert [document["kind"] for document in kept.left] == ["PersistentVolumeClaim"]
    assert gone.left == []
