"""A fine-tune learns, can be killed, and what it leaves behind loads again."""

from __future__ import annotations

import json

import pytest
import torch

from loopwright.core.errors import InvalidConfig, UsageError
from loopwright.models.language import Sampling, load
from loopwright.train.finetune.config import AdaptConfig, FinetuneConfig
from loopwright.train.finetune.examples import InvalidExamples
from loopwright.train.finetune.run import METRICS_NAME, finetune
from tiny_language import make_folder

CAPITALS = {
    "france": "paris",
    "japan": "tokyo",
    "egypt": "cairo",
    "peru": "lima",
    "kenya": "nairobi",
    "cuba": "havana",
}


def asked(country: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"what is the capital of {country}?"}]


def exact_share(model) -> float:
    right = 0
    for country, capital in CAPITALS.items():
        sampling = Sampling(temperature=0.0, max_tokens=12)
        answer = model.generate(model.encode_chat(asked(country)), sampling)
        right += answer.text == f"{capital}." and answer.finish == "stop"
    return right / len(CAPITALS)


def quiet(fraction: float, message: str) -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture
def facts(tmp_path):
    lines = [
        {"messages": [*asked(country), {"role": "assistant", "content": f"{capital}."}]}
        for country, capital in CAPITALS.items()
    ]
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def pairs(tmp_path):
    lines = [
        {"prompt": asked(country)[0]["content"], "chosen": f"{capital}.", "rejected": "the sea."}
        for country, capital in CAPITALS.items()
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def learn_fast(method: str = "lora", **changes) -> FinetuneConfig:
    """Settings for a network of chance weights, which has far to go."""
    given = {
        "adapt": AdaptConfig(method=method, rank=32),
        "epochs": 80.0,
        "batch": 2,
        "row_tokens": 64,
        "learning_rate": 5e-3 if method != "full" else 3e-3,
    }
    return FinetuneConfig(**{**given, **changes})


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_facts_are_learned_and_the_result_loads_again(base, facts, tmp_path, method):
    assert exact_share(load(base)) == 0.0
    made = finetune(
        base, facts, tmp_path / "out", learn_fast(method), progress=quiet, validation=facts
    )
    again = load(made.folder)
    assert exact_share(again) >= 0.9
    assert made.after["loss"] < made.before["loss"]
    assert again.digest == made.candidate.digest
    assert not list(tmp_path.glob(".out*"))


def test_an_adapter_and_the_merged_model_agree(base, facts, tmp_path):
    config = learn_fast(epochs=5.0)
    merged = finetune(base, facts, tmp_path / "merged", config, progress=quiet)
    apart = finetune(
        base, facts, tmp_path / "apart", learn_fast(epochs=5.0, keep="adapter"), progress=quiet
    )
    tokens = torch.arange(40)[None]
    models = [load(merged.folder), load(apart.folder), load(apart.folder, merge=False)]
    logits = [model.logits(tokens) for model in models]
    assert (logits[0] - load(base).logits(tokens)).abs().max() > 0.01
    for other in logits[1:]:
        torch.testing.assert_close(other, logits[0], atol=1e-5, rtol=1e-5)
    small = sum(p.stat().st_size for p in apart.folder.glob("*.safetensors"))
    assert small < sum(p.stat().st_size for p in merged.folder.glob("*.safetensors"))


def test_an_adapter_of_experts_loads_again(facts, tmp_path):
    base = make_folder(tmp_path / "sparse", "qwen3_moe")
    config = learn_fast(adapt=AdaptConfig(rank=4, experts=True), epochs=3.0, keep="adapter")
    made = finetune(base, facts, tmp_path / "out", config, progress=quiet)
    tokens = torch.arange(40)[None]
    folded, apart = load(made.folder).logits(tokens), load(made.folder, merge=False).logits(tokens)
    torch.testing.assert_close(folded, apart, atol=1e-5, rtol=1e-5)
    assert (folded - load(base).logits(tokens)).abs().max() > 1e-3
    names = (made.folder / "adapter_model.safetensors").read_bytes()
    assert b"experts" in names


def test_a_fine_tune_can_be_fine_tuned(base, facts, tmp_path):
    config = learn_fast(epochs=2.0, keep="adapter")
    first = finetune(base, facts, tmp_path / "first", config, progress=quiet)
    second = finetune(first.folder, facts, tmp_path / "second", config, progress=quiet)
    assert second.candidate.lineage["base"] == first.candidate.digest
    assert load(second.folder).digest == second.candidate.digest


def test_stopped_in_the_middle_it_ends_at_the_same_bytes(base, facts, tmp_path):
    class Stop(Exception):
        pass

    def stop_late(fraction: float, message: str) -> None:
        if fraction > 0.5:
            raise Stop

    changes = {"epochs": 8.0, "checkpoint_every_steps": 3}
    config = learn_fast(adapt=AdaptConfig(rank=4, dropout=0.2), **changes)
    calm = finetune(base, facts, tmp_path / "calm", config, progress=quiet)
    with pytest.raises(Stop):
        finetune(base, facts, tmp_path / "stormy", config, progress=stop_late)
    stormy = finetune(base, facts, tmp_path / "stormy", config, progress=quiet)
    assert stormy.candidate.digest == calm.candidate.digest
    assert len((calm.folder / METRICS_NAME).read_text().splitlines()) > 1


def test_checkpoints_hold_the_adapter_only(base, facts, tmp_path):
    sizes = []

    def look(fraction: float, message: str) -> None:
        sizes.extend(p.stat().st_size for p in tmp_path.glob(".out.training/finetune.safetensors"))

    config = learn_fast(adapt=AdaptConfig(rank=2), epochs=2.0, checkpoint_every_steps=1)
    finetune(base, facts, tmp_path / "out", config, progress=look)
    assert 0 < max(sizes) < (base / "model.safetensors").stat().st_size / 2


@pytest.mark.parametrize("method", ["lora", "full"])
def test_preferences_raise_the_margin(base, pairs, tmp_path, method):
    config = learn_fast(
        method, objective="dpo", epochs=6.0, learning_rate=2e-3 if method == "lora" else 5e-4
    )
    made = finetune(base, pairs, tmp_path / "out", config, progress=quiet, validation=pairs)
    assert made.before["margin"] == pytest.approx(0.0, abs=1e-4)
    assert made.before["loss"] == pytest.approx(0.6931, abs=1e-3)
    assert made.after["margin"] > 0.5
    assert made.after["accuracy"] == 1.0
    assert load(made.folder).digest == made.candidate.digest


def test_in_bfloat16_the_reference_is_rounded_as_what_is_compared_with_it(base, pairs, tmp_path):
    """Nothing is learned yet, so nothing is gained, however long the replies are."""
    config = learn_fast(
        "lora", objective="dpo", epochs=1.0, precision="bfloat16", beta=10.0, row_tokens=128
    )
    lines = [json.loads(line) for line in pairs.read_text().splitlines()]
    for line in lines:
        line["chosen"] = " ".join([line["chosen"]] * 10)
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = finetune(base, pairs, tmp_path / "out", config, progress=quiet, validation=pairs)
    assert made.before["chosen_reward"] == pytest.approx(0.0, abs=1e-3)
    assert made.curves["chosen_reward"][0][1] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize(
    "change",
    [{"schedule": "linear"}, {"final_rate": 0.9}, {"average_decay": 0.9}],
    ids=str,
)
def test_how_rates_fall_and_whether_weights_are_averaged_is_a_setting(
    base, facts, tmp_path, change
):
    made = [
        finetune(base, facts, tmp_path / name, learn_fast(epochs=4.0, **settings), progress=quiet)
        for name, settings in (("usual", {}), ("changed", change))
    ]
    assert made[0].candidate.digest != made[1].candidate.digest


@pytest.mark.parametrize(
    "change", [{"schedule": "sine"}, {"final_rate": 2.0}, {"average_decay": 1.0}], ids=str
)
def test_rates_that_cannot_be_are_refused_by_name(change):
    with pytest.raises(InvalidConfig, match=next(iter(change))):
        FinetuneConfig(**change)


def test_rewards_are_the_gain_in_log_likelihood(base, pairs, tmp_path):
    """The margin that is reported is the one that two models give from outside."""
    config = learn_fast(objective="dpo", epochs=2.0, learning_rate=2e-3, beta=0.3)
    made = finetune(base, pairs, tmp_path / "out", config, progress=quiet, validation=pairs)

    def likely(model, line, side):
        prompt = model.encode_chat([{"role": "user", "content": line["prompt"]}])
        reply = model.encode(line[side] + "<|im_end|>")
        return -model.losses([prompt + reply])[0][-len(reply) :].sum().item()

    before, after = load(base), load(made.folder)
    margins = []
    for line in map(json.loads, pairs.read_text().splitlines()):
        gains = [
            likely(after, line, side) - likely(before, line, side)
            for side in ("chosen", "rejected")
        ]
        margins.append(0.3 * (gains[0] - gains[1]))
    assert made.after["margin"] == pytest.approx(sum(margins) / len(margins), abs=1e-3)


def test_examples_that_are_too_long_are_left_out_and_counted(base, facts, tmp_path):
    long = {"messages": [*asked("france"), {"role": "assistant", "content": "paris " * 100}]}
    with facts.open("a") as file:
        file.write(json.dumps(long) + "\n")
    config = learn_fast(epochs=1.0)
    made = finetune(base, facts, tmp_path / "out", config, progress=quiet)
    assert (made.examples, made.left_out) == (6, 1)
    with pytest.raises(InvalidConfig, match="none of the 7 examples"):
        finetune(base, facts, tmp_path / "none", learn_fast(row_tokens=8), progress=quiet)


def test_a_reply_that_says_nothing_is_told_by_line(base, tmp_path):
    template = tmp_path / "mute.jinja"
    template.write_text("{% for m in messages[:1] %}{{ m.content }}{% endfor %}")
    data = tmp_path / "data.jsonl"
    data.write_text(
        json.dumps({"messages": [*asked("peru"), {"role": "assistant", "content": "x"}]})
    )
    with pytest.raises(InvalidExamples, match=r"line 1.*leaves no token of the reply"):
        finetune(base, data, tmp_path / "out", learn_fast(), progress=quiet, chat_template=template)


def test_nothing_is_overwritten(base, facts, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InvalidConfig, match="exists already"):
        finetune(base, facts, tmp_path / "out", learn_fast(), progress=quiet)


@pytest.mark.parametrize("objective", ["sft", "dpo"])
@pytest.mark.parametrize("lines", ["{}\n", None], ids=["damaged", "too long"])
def test_what_is_refused_leaves_nothing_behind(base, facts, pairs, tmp_path, objective, lines):
    good = facts if objective == "sft" else pairs
    bad = tmp_path / "bad.jsonl"
    bad.write_text(lines or good.read_text().replace(".", " the sea" * 64))
    before = sorted(tmp_path.iterdir())
    for data, held in ((bad, None), (good, bad)):
        with pytest.raises(UsageError, match=r"bad\.jsonl"):
            finetune(
                base,
                data,
                tmp_path / "out",
                learn_fast(objective=objective),
                progress=quiet,
                validation=held,
            )
    assert sorted(tmp_path.iterdir()) == before


def test_several_processes_are_refused_before_anything_is_written(
    base, facts, tmp_path, monkeypatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InvalidConfig, match=r"one process, and torchrun started 2"):
        finetune(base, facts, tmp_path / "out", learn_fast(), progress=quiet)
    assert sorted(tmp_path.iterdir()) == before


def test_a_chat_template_that_cannot_be_read_is_named(base, facts, tmp_path):
    for template in (tmp_path / "missing.jinja", tmp_path):
        with pytest.raises(InvalidConfig, match=r"the chat template .* cannot be read"):
            finetune(
                base, facts, tmp_path / "out", learn_fast(), progress=quiet, chat_template=template
            )
