"""A language model as a rewriter: its template, its sampling, and outputs without an end."""

from __future__ import annotations

import numpy as np
import pytest

from rlcompress.config.generating import DecodingConfig, RewritingTemplateConfig
from rlcompress.generation.prompting import RewritingTemplate
from rlcompress.generation.rewriting import rewriter, rewritten
from rlcompress.generation.writing import Ending, Written, write
from rlcompress.words import Unfinished

PROMPTS = ["Tom has 80 apples.", "He buys 110 more. How many?", "Tom has 80 apples."]
RATES = [0.5, 0.5, 0.3]
TEMPLATE = RewritingTemplate(RewritingTemplateConfig(text="{percent} {text} =>"))
DECODING = DecodingConfig(max_new_tokens=12)


def test_it_writes_what_write_writes_and_marks_what_did_not_end(llama):
    found = rewriter(llama, TEMPLATE, DecodingConfig(max_new_tokens=12, temperature=0.0))(PROMPTS, RATES)
    ids = [llama.prompt_ids(TEMPLATE.prompt(p, r, llama.tokenizer)) for p, r in zip(PROMPTS, RATES, strict=True)]
    outputs = write(llama, ids, DecodingConfig(max_new_tokens=12, temperature=0.0))
    assert found == [output.text.strip() for output in outputs]
    assert [isinstance(text, Unfinished) for text in found] == [o.ending is not Ending.ENDED for o in outputs]


def test_company_and_place_change_nothing_and_the_seed_does(llama):
    rewrite = rewriter(llama, TEMPLATE, DECODING)
    together = rewrite(PROMPTS, RATES)
    assert rewrite(PROMPTS[::-1], RATES[::-1]) == together[::-1]
    assert rewrite(PROMPTS[1:2], RATES[1:2]) == together[1:2]
    assert rewriter(llama, TEMPLATE, DECODING, seed=1)(PROMPTS, RATES) != together


@pytest.mark.parametrize("ending", Ending)
def test_only_what_ended_is_a_rewrite(ending):
    nothing = np.zeros(1)
    text = rewritten(Written([1], " Tom: 80. ", nothing, nothing, np.ones(1, np.bool_), ending), TEMPLATE)
    assert text == "Tom: 80."
    assert isinstance(text, Unfinished) == (ending is not Ending.ENDED)
