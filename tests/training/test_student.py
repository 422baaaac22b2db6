"""Tests of training/student.py."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from training import base, student
from training.config import Config, Data, Fit, Loss, Student
from training.encoding import Encoded
from training.errors import ConfigError, ModelError
from training.loop import Stage
from training.machine import Machine

DATA = Encoded(tuple((2, 5 + i % 2, 7, 3) for i in range(32)), tuple(i % 2 for i in range(32)), pad_id=0)


@pytest.mark.parametrize(
    ("config", "teacher", "layers"),
    [
        (Student("half"), 6, (1, 3, 5)),
        (Student(3), 6, (1, 3, 5)),
        (Student(4), 6, (0, 2, 3, 5)),
        (Student(1), 6, (5,)),
        (Student("half"), 12, (1, 3, 5, 7, 9, 11)),
        (Student("half"), 1, (0,)),
        (Student(2, take=(0, 5)), 6, (0, 5)),
    ],
)
def test_layers_to_take(config: Student, teacher: int, layers: tuple[int, ...]) -> None:
    assert student.layers_to_take(config, teacher) == layers


@pytest.mark.parametrize("config", [Student(7), Student(2, take=(0,)), Student(2, take=(0, 6))])
def test_layers_that_the_teacher_lacks_are_refused(config: Student) -> None:
    with pytest.raises(ConfigError, match=r"student\.(layers|take)"):
        student.layers_to_take(config, 6)


SMALL: dict[str, Any] = {"vocab_size": 30, "hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2}


@pytest.mark.parametrize(
    "teacher",
    [
        transformers.BertForSequenceClassification(transformers.BertConfig(num_hidden_layers=4, **SMALL)),
        transformers.RobertaForSequenceClassification(transformers.RobertaConfig(num_hidden_layers=4, **SMALL)),
        transformers.DistilBertForSequenceClassification(
            transformers.DistilBertConfig(n_layers=4, vocab_size=30, dim=16, hidden_dim=32, n_heads=2)
        ),
    ],
    ids=["bert", "roberta", "distilbert"],
)
def test_a_student_is_the_teacher_with_some_of_its_layers(teacher: Any) -> None:
    teacher.eval()
    cut = student.cut(teacher, (1, 3))
    assert len(student._layer_list(cut)[1]) == cut.config.num_hidden_layers == 2  # type: ignore[union-attr]
    assert teacher.config.num_hidden_layers == len(student._layer_list(teacher)[1]) == 4
    taken, all_layers = student._layer_list(cut)[1], student._layer_list(teacher)[1]
    for mine, theirs in zip(taken, (all_layers[1], all_layers[3]), strict=True):
        assert all(
            torch.equal(a, b) and a is not b for a, b in zip(mine.parameters(), theirs.parameters(), strict=True)
        )
    whole = student.cut(teacher, (0, 1, 2, 3)).eval()
    ids = torch.tensor([[2, 5, 6, 3]])
    assert torch.equal(whole(input_ids=ids).logits, teacher(input_ids=ids).logits)


def distilled(tiny_base: Path, weights: Loss) -> tuple[Any, Any]:
    """A teacher with random answers and a student that was taught with these weights."""
    torch.manual_seed(3)
    teacher: Any = base.load_classifier(tiny_base, ("a", "b")).eval()
    with torch.no_grad():
        teacher.classifier.weight.mul_(100)  # answers that differ clearly between texts
    config = Config(
        "m", Data("demo"), loss=weights, student=Student("half", fit=Fit(30, 3e-3, batch_size=8)), precision="fp32"
    )
    head = student.masking_for(tiny_base, base.load_tokenizer(tiny_base))
    return teacher, student.distil(config, teacher, DATA, Machine(), Stage("student", 7), head)


@torch.no_grad()
def gap(teacher: Any, learned: Any) -> float:
    """Mean distance between the answers' probabilities."""
    ids = torch.tensor(DATA.ids)
    mine, theirs = (torch.softmax(model(input_ids=ids).logits, -1) for model in (learned, teacher))
    return float((mine - theirs).abs().mean())


@pytest.mark.parametrize(
    "weights",
    [Loss(1.0, 0.0, 0.0, 0.0), Loss(1.0, 0.0, 0.5, 0.0), Loss(1.0, 0.2, 0.0, 0.0)],
    ids=["kl", "kl+cosine", "kl+mlm"],
)
def test_the_student_comes_to_answer_as_the_teacher_does(tiny_base: Path, weights: Loss) -> None:
    teacher, learned = distilled(tiny_base, weights)
    assert gap(teacher, learned) < 0.05
    assert gap(teacher, student.cut(teacher, (1, 3))) > gap(teacher, learned)


def test_cosine_alone_moves_hidden_states_towards_the_teacher(tiny_base: Path) -> None:
    teacher, learned = distilled(tiny_base, Loss(0.0, 0.0, 1.0, 0.0))
    ids = torch.tensor(DATA.ids)

    def distance(model: Any) -> float:
        mine = model(input_ids=ids, output_hidden_states=True).hidden_states[-1]
        theirs = teacher(input_ids=ids, output_hidden_states=True).hidden_states[-1]
        return float(1 - torch.nn.functional.cosine_similarity(mine, theirs, dim=-1).mean())

    with torch.no_grad():
        assert distance(learned) < distance(student.cut(teacher, (1, 3)).eval()) / 2


def test_the_mlm_term_needs_a_base_with_a_head(tiny_base: Path, tmp_path: Path) -> None:
    base.load_classifier(tiny_base, ("a", "b")).save_pretrained(tmp_path)  # type: ignore[operator]
    with pytest.raises(ModelError, match=r"loss\.beta needs .* BertForSequenceClassification"):
        base.load_masked_lm(tmp_path)
