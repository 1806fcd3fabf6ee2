from wordcount import count


def test_case_does_not_matter():
    assert count("The cat and the dog")["the"] == 2
