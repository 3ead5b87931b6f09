"""Every study, as data: does it hang together?"""

import pytest
import torch

from onebyone.errors import UnknownNameError
from onebyone.studies.catalogue import STUDIES, find_study
from onebyone.studies.study import USUAL_QUANTITIES
from onebyone.training.data import read_data

DIGITS = read_data("digits")


@pytest.mark.parametrize("name", STUDIES)
class TestStudy:
    def test_it_is_what_the_catalogue_says(self, name):
        study = find_study(name)
        assert (study.name, study.title) == (name, STUDIES[name].title)

    def test_the_full_form_is_on_fashion_mnist_with_five_seeds(self, name):
        full = find_study(name).full
        assert (full.data, full.recipe.schedule) == ("fashion-mnist", "one-cycle")
        assert full.seeds >= 5
        assert full.rounds > 0

    def test_the_quick_form_is_on_digits(self, name):
        quick = find_study(name).quick
        assert quick.data == "digits"
        assert quick.seeds >= 2

    def test_names_are_words_and_no_two_are_alike(self, name):
        study = find_study(name)
        names = [*(arm.name for arm in study.arms), *study.labels]
        assert len(set(names)) == len(names)
        assert not any("/" in one for one in names)

    def test_what_is_asked_and_drawn_is_there(self, name):
        study = find_study(name)
        known = {arm.name for arm in study.arms}
        known |= {f"{arm}/{inner}" for arm in known for inner in study.labels}
        drawn = [one for p in study.panels for series in p.series for one in series.conditions]
        bases = [panel.base for panel in study.panels if panel.base]
        asked = [one for c in study.comparisons for one in (c.this, c.that)]
        assert {*drawn, *bases, *asked} <= known
        quantities = {c.quantity for c in study.comparisons}
        quantities |= {q for panel in study.panels for q in (panel.x, panel.y) if q}
        assert quantities <= {*USUAL_QUANTITIES, *study.quantities}

    def test_texts_are_sentences(self, name):
        study = find_study(name)
        texts = [study.question, study.article, study.literature, study.limits]
        texts += [t for c in study.comparisons for t in (c.question, c.more, c.less, c.alike)]
        for text in texts:
            assert text[-1] in ".?)", text
            assert "  " not in text
            assert "\n#" not in text

    def test_arms_give_a_score_for_each_class(self, name):
        for arm in find_study(name).arms:
            network = arm.build(DIGITS).eval()
            with torch.no_grad():
                scores = network(torch.zeros(2, *DIGITS.image_shape))
            assert scores.shape == (2, len(DIGITS.classes))


def test_a_wrong_name_gives_the_nearest_or_all():
    with pytest.raises(UnknownNameError, match="^no study 'botleneck'; did you mean 'bottleneck'"):
        find_study("botleneck")
    with pytest.raises(UnknownNameError, match="^no study 'zzz'; there are bottleneck, width"):
        find_study("zzz")
