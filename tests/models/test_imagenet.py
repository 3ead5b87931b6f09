from onebyone.models.imagenet import imagenet_classes


def test_every_class_has_a_name_of_its_own():
    names = imagenet_classes()
    assert len(names) == len(set(names)) == 1000


def test_names_are_the_usual_ones():
    names = imagenet_classes()
    known = {0: "tench", 282: "tiger cat", 698: "palace", 872: "tripod", 967: "espresso"}
    assert {index: names[index] for index in known} == known
