"""References of the methods, as BibTeX."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Citation:
    """One reference; `bibtex` prints it."""

    key: str
    kind: str
    author: str
    title: str
    venue: str
    year: int

    def bibtex(self) -> str:
        """A BibTeX entry.

        >>> print(PEARSON.bibtex().splitlines()[0])
        @article{pearson1901lines,
        """
        container = {"article": "journal", "inproceedings": "booktitle", "misc": "howpublished"}[self.kind]
        fields = {"author": self.author, "title": f"{{{self.title}}}", container: self.venue, "year": str(self.year)}
        body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
        return f"@{self.kind}{{{self.key},\n{body}\n}}"


def _article(key: str, author: str, title: str, venue: str, year: int) -> Citation:
    return Citation(key, "article", author, title, venue, year)


def _proceedings(key: str, author: str, title: str, venue: str, year: int) -> Citation:
    return Citation(key, "inproceedings", author, title, venue, year)


ICON = _proceedings(
    "alshammari2025icon",
    "Alshammari, Shaden and Hershey, John and Feldmann, Axel and Freeman, William T. and Hamilton, Mark",
    "I-Con: A Unifying Framework for Representation Learning",
    "International Conference on Learning Representations",
    2025,
)
HINTON = _proceedings(
    "hinton2002stochastic",
    "Hinton, Geoffrey and Roweis, Sam",
    "Stochastic Neighbor Embedding",
    "Advances in Neural Information Processing Systems",
    2002,
)
MAATEN = _article(
    "vandermaaten2008visualizing",
    "van der Maaten, Laurens and Hinton, Geoffrey",
    "Visualizing Data using t-SNE",
    "Journal of Machine Learning Research",
    2008,
)
PEARSON = _article(
    "pearson1901lines",
    "Pearson, Karl",
    "On Lines and Planes of Closest Fit to Systems of Points in Space",
    "The London, Edinburgh, and Dublin Philosophical Magazine and Journal of Science",
    1901,
)
CHEN = _proceedings(
    "chen2020simple",
    "Chen, Ting and Kornblith, Simon and Norouzi, Mohammad and Hinton, Geoffrey",
    "A Simple Framework for Contrastive Learning of Visual Representations",
    "International Conference on Machine Learning",
    2020,
)
KHOSLA = _proceedings(
    "khosla2020supervised",
    "Khosla, Prannay and Teterwak, Piotr and Wang, Chen and Sarna, Aaron and Tian, Yonglong and Isola, Phillip "
    "and Maschinot, Aaron and Liu, Ce and Krishnan, Dilip",
    "Supervised Contrastive Learning",
    "Advances in Neural Information Processing Systems",
    2020,
)
MACQUEEN = _proceedings(
    "macqueen1967some",
    "MacQueen, James",
    "Some Methods for Classification and Analysis of Multivariate Observations",
    "Fifth Berkeley Symposium on Mathematical Statistics and Probability",
    1967,
)
DO = _proceedings(
    "do2021clustering",
    "Do, Kien and Tran, Truyen and Venkatesh, Svetha",
    "Clustering by Maximizing Mutual Information Across Views",
    "IEEE/CVF International Conference on Computer Vision",
    2021,
)
GOOD = _article(
    "good1952rational", "Good, I. J.", "Rational Decisions", "Journal of the Royal Statistical Society: Series B", 1952
)
