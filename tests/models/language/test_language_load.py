"""A model folder either loads whole and unaltered, or is refused by the name of what is wrong."""

from __future__ import annotations

import json
import shutil
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file

from loopwright.core.digest import digest_tree
from loopwright.core.errors import DamagedData, InvalidConfig, UnknownName, UnsafeCandidate
from loopwright.core.policy import Candidate
from loopwright.models.language import LanguageModel, Sampling, load
from loopwright.models.language.adapter import ADAPTER_NAME, attach
from loopwright.models.language.candidate import save_adapter, save_whole
from tiny_language import make_folder, make_network, make_tokenizer

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of the folder that a test may spoil."""
    return shutil.copytree(whole, tmp_path / "tiny")


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder, change):
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "qwen3_moe"])
def test_a_loaded_model_computes_what_was_saved(architecture, tmp_path):
    folder = make_folder(tmp_path / architecture, architecture, seed=3)
    tokens = torch.arange(40).reshape(2, 20)
    network = make_network(architecture, seed=3).eval()
    with torch.no_grad():
        expected = network(input_ids=tokens).logits
    torch.testing.assert_close(load(folder).logits(tokens), expected)


def test_loading_opens_no_connection(whole, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert load(whole).encode("paris")


def test_names_of_hub_models_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidConfig, match="no folder"):
        load("gpt2")


def test_shards_load_like_one_file(whole, tmp_path):
    model = load(whole)
    model.module.save_pretrained(tmp_path, max_shard_size="100KB")
    model.tokenizer.save_pretrained(tmp_path)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    tokens = torch.arange(8)[None]
    torch.testing.assert_close(load(tmp_path).logits(tokens), model.logits(tokens))
    min(tmp_path.glob("model-*.safetensors")).unlink()
    with pytest.raises(DamagedData, match="model-00001"):
        load(tmp_path)


def test_an_index_may_not_lead_out_of_the_folder(copy):
    (copy / WEIGHTS).rename(copy.parent / "other.safetensors")
    index = {"weight_map": {"model.norm.weight": "../other.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UnsafeCandidate, match=r"\.\./other"):
        load(copy)


def test_pickled_weights_are_refused_and_a_way_out_is_named(copy):
    (copy / WEIGHTS).unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(UnsafeCandidate, match=r"pytorch_model\.bin.*save_pretrained"):
        load(copy)


def test_a_pickle_that_is_not_needed_is_left_alone(copy, whole):
    (copy / "pytorch_model.bin").write_bytes(b"whatever")
    assert load(copy).digest == load(whole).digest


def test_a_truncated_file_is_named(copy):
    data = (copy / WEIGHTS).read_bytes()
    (copy / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(DamagedData, match=r"model\.safetensors is no whole"):
        load(copy)


def test_a_missing_tensor_is_named(copy):
    edit_weights(copy, lambda tensors: tensors.pop("model.norm.weight"))
    with pytest.raises(DamagedData, match=r"lacks the tensor 'model\.norm\.weight'"):
        load(copy)


def test_a_tensor_without_a_place_is_named(copy):
    edit_config(copy, num_hidden_layers=1, layer_types=None)
    with pytest.raises(DamagedData, match=r"no place.*model\.layers\.1\."):
        load(copy)


def test_a_wrong_shape_is_named(copy):
    edit_weights(copy, lambda tensors: tensors.update({"model.norm.weight": torch.ones(32)}))
    with pytest.raises(DamagedData, match=r"model\.norm\.weight.*\(32,\).*\(64,\)"):
        load(copy)


def test_a_weight_that_is_no_number_is_named(copy):
    def spoil(tensors):
        tensors["model.norm.weight"][3] = torch.nan

    edit_weights(copy, spoil)
    with pytest.raises(DamagedData, match=r"model\.norm\.weight.*NaN"):
        load(copy)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"model_type": "lama"}, UnknownName, "'llama'"),
        ({"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "x.Y"}}, UnknownName, "mine"),
        ({"model_type": None}, UnknownName, "None"),
        ({"num_attention_heads": "four"}, DamagedData, "num_attention_heads"),
        ({"hidden_size": -1}, DamagedData, "cannot be built|does not describe"),
        ({"quantization_config": {"quant_method": "gptq"}}, InvalidConfig, "gptq"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(copy, changes, error, said):
    edit_config(copy, **changes)
    with pytest.raises(error, match=said):
        load(copy)


def test_code_in_the_folder_is_not_run(copy):
    (copy / "modeling.py").write_text("raise SystemExit('code of the folder was run')")
    edit_config(copy, auto_map={"AutoModelForCausalLM": "modeling.Mine"})
    assert type(load(copy).module).__name__ == "LlamaForCausalLM"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_broken_json_is_refused(copy, name, content):
    (copy / name).write_bytes(content)
    with pytest.raises((DamagedData, InvalidConfig), match=r"config\.json|tokenizer"):
        load(copy)


def test_a_tokenizer_of_another_model_is_refused(copy):
    network = make_network()
    network.resize_token_embeddings(300)
    network.save_pretrained(copy)
    with pytest.raises(DamagedData, match=r"knows 3\d\d tokens, but the model only 300"):
        load(copy)


def test_a_token_without_a_place_is_refused_when_it_is_used(copy):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens([f"word{n}" for n in range(40)])
    tokenizer.save_pretrained(copy)
    model = load(copy)
    assert model.encode("red")
    with pytest.raises(InvalidConfig, match="'word39' as token"):
        model.encode("red word39")


def test_a_network_with_a_state_in_place_of_a_cache_speaks_too(tmp_path):
    import transformers

    config = transformers.MambaConfig(
        vocab_size=384, hidden_size=32, num_hidden_layers=1, eos_token_id=1
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    model = load(tmp_path)
    prompt = model.encode("the colour of the sky")
    answer = model.generate(prompt, Sampling(max_tokens=4))
    apart = model.losses([prompt + list(answer.tokens)])[0][-len(answer.tokens) :]
    torch.testing.assert_close(-apart, torch.tensor(answer.log_probabilities), atol=1e-4, rtol=1e-4)


class TestCandidates:
    def test_a_whole_candidate_loads_like_its_model(self, whole, tmp_path):
        model = load(whole)
        candidate = save_whole(model, tmp_path)
        again = load(tmp_path)
        assert again.digest == candidate.digest == Candidate.open(tmp_path).digest
        assert again.chat_template == model.chat_template
        tokens = torch.arange(8)[None]
        torch.testing.assert_close(again.logits(tokens), model.logits(tokens))

    def test_one_changed_byte_is_noticed(self, whole, tmp_path):
        save_whole(load(whole), tmp_path)
        data = bytearray((tmp_path / WEIGHTS).read_bytes())
        data[-1] ^= 1
        (tmp_path / WEIGHTS).write_bytes(data)
        with pytest.raises(DamagedData, match=r"model\.safetensors"):
            load(tmp_path)

    def test_a_merged_adapter_computes_what_the_adapter_does(self, adapter):
        tokens = torch.arange(8)[None]
        apart, folded = load(adapter, merge=False), load(adapter)
        torch.testing.assert_close(
            folded.logits(tokens), apart.logits(tokens), atol=1e-5, rtol=1e-5
        )
        base = load(adapter.parent / "base")
        assert (folded.logits(tokens) - base.logits(tokens)).abs().max() > 0.01

    def test_equal_adapters_in_equal_trees_have_equal_digests(self, whole, tmp_path):
        digests = {
            make_adapter(whole, tmp_path / name).joinpath("candidate.json").read_bytes()
            for name in ("one", "two")
        }
        assert len(digests) == 1

    def test_another_base_is_refused(self, adapter, tmp_path):
        other = make_folder(tmp_path / "other", seed=9)
        with pytest.raises(DamagedData, match="was trained on"):
            load(adapter, base=other)

    def test_a_base_that_is_gone_must_be_given(self, adapter, whole):
        shutil.rmtree(adapter.parent / "base")
        with pytest.raises(InvalidConfig, match="base="):
            load(adapter)
        assert load(adapter, base=whole).encode("red")

    def test_an_adapter_tensor_of_a_wrong_shape_is_named(self, adapter):
        tensors = load_file(adapter / ADAPTER_NAME)
        name = sorted(tensors)[0]
        tensors[name] = torch.ones(1, 1)
        save_file(tensors, adapter / ADAPTER_NAME)
        reseal(adapter)
        with pytest.raises(DamagedData, match=name):
            load(adapter)

    def test_a_candidate_of_another_family_is_refused(self, whole, tmp_path):
        candidate = save_whole(load(whole), tmp_path)
        Candidate.seal(tmp_path, family="wam", interface=candidate.interface, config={})
        with pytest.raises(InvalidConfig, match="'wam'"):
            load(tmp_path)


def make_adapter(whole, parent):
    """Write a base and an adapter with some effect, side by side."""
    import peft

    base = shutil.copytree(whole, parent / "base")
    model: LanguageModel = load(base)
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"])
    torch.manual_seed(0)
    adapted = attach(model.module, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    folder = parent / "adapter"
    folder.mkdir()
    save_adapter(model, adapted, folder, base=base, place=folder)
    return folder


@pytest.fixture
def adapter(whole, tmp_path):
    return make_adapter(whole, tmp_path)


def reseal(folder):
    old = json.loads((folder / "candidate.json").read_text())
    interface = Candidate.from_json(old).interface
    Candidate.seal(
        folder,
        family="language",
        interface=interface,
        config=old["config"],
        lineage=old["lineage"],
    )


def test_the_digest_covers_what_is_read_and_nothing_else(copy):
    before = load(copy).digest
    (copy / "README.md").write_text("notes")
    assert load(copy).digest == before
    tree = digest_tree(copy)
    edit_config(copy, bos_token_id=5)
    assert digest_tree(copy) != tree
    assert load(copy).digest != before
