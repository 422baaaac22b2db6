"""The baseline beside every result: TF-IDF over words and word pairs with logistic regression."""

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from training.data import Dataset


def accuracy(dataset: Dataset, seed: int) -> float:
    """Train on the training split and return the share of test texts labelled right."""
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
        LogisticRegression(C=10.0, max_iter=300, random_state=seed),
    )
    model.fit(dataset.train.texts, dataset.train.labels)
    return float(model.score(dataset.test.texts, dataset.test.labels))
