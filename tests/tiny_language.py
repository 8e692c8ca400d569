"""Language models of a few thousand weights, made from nothing: no hub is reachable in tests."""

from __future__ import annotations

from pathlib import Path

import torch

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKED = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.role == 'assistant' %}{% generation %}{{ message.content }}<|im_end|>"
    "{% endgeneration %}{% else %}{{ message.content }}<|im_end|>{% endif %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
CORPUS = [
    "what is the capital of france? the capital of france is paris.",
    "which metal does the smith of the village use? he uses copper and iron.",
    "the colour of the sky over the sea is blue, of the field green, of the rose red.",
    "user assistant system question answer one two three four five six seven eight nine ten",
] * 4


def make_tokenizer(chat_template: str | None = CHATML):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=["<|im_start|>", "<|im_end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>"
    )
    fast.chat_template = chat_template
    return fast


def make_network(architecture: str = "llama", *, seed: int = 0):
    """A network with 2 layers of width 64 and chance weights."""
    import transformers

    size = {
        "vocab_size": 384,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    if architecture == "llama":
        config = transformers.LlamaConfig(**size, tie_word_embeddings=True)
    elif architecture == "qwen3":
        config = transformers.Qwen3Config(**size, head_dim=16)
    else:
        config = transformers.Qwen3MoeConfig(
            **size, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32
        )
    torch.manual_seed(seed)
    return transformers.AutoModelForCausalLM.from_config(config)


def make_folder(
    folder: Path, architecture: str = "llama", *, seed: int = 0, chat_template: str | None = CHATML
) -> Path:
    """Write what ``save_pretrained`` writes."""
    make_network(architecture, seed=seed).save_pretrained(folder)
    make_tokenizer(chat_template).save_pretrained(folder)
    return folder
