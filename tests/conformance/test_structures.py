"""Every structure inherits every law."""

from tests.conformance import structures as s
from tests.conformance.structure_laws import StructureLaws


class TestDense(StructureLaws):
    structure = s.DenseRows()


class TestDenseWithoutSelf(StructureLaws):
    structure = s.DenseRows(excludes_self=True)


class TestDenseRectangular(StructureLaws):
    structure = s.DenseRows(square=False)


class TestSparse(StructureLaws):
    structure = s.SparseRows()


class TestSparseRectangular(StructureLaws):
    structure = s.SparseRows(square=False)


class TestRaised(StructureLaws):
    structure = s.RaisedRows()


class TestRaisedRectangular(StructureLaws):
    structure = s.RaisedRows(square=False)


class TestDot(StructureLaws):
    structure = s.KernelRows(*s.DOT)


class TestCosineRectangular(StructureLaws):
    structure = s.KernelRows(*s.COSINE, square=False)


class TestCosineScaled(StructureLaws):
    structure = s.KernelRows(*s.COSINE, row_scale=s.SCALE)


class TestGaussian(StructureLaws):
    structure = s.KernelRows(*s.GAUSSIAN)


class TestGaussianWithSelf(StructureLaws):
    structure = s.KernelRows(*s.GAUSSIAN, includes_self=True)


class TestGaussianScaled(StructureLaws):
    structure = s.KernelRows(*s.GAUSSIAN, row_scale=s.SCALE)


class TestGaussianRectangularScaled(StructureLaws):
    structure = s.KernelRows(*s.GAUSSIAN, square=False, row_scale=s.SCALE)


class TestStudentT(StructureLaws):
    structure = s.KernelRows(*s.STUDENT)


class TestStudentTRectangular(StructureLaws):
    structure = s.KernelRows(*s.STUDENT, square=False)


class TestClusters(StructureLaws):
    structure = s.ClusterRows("cluster")


class TestClustersByPoint(StructureLaws):
    structure = s.ClusterRows("point")


class TestClustersRectangular(StructureLaws):
    structure = s.ClusterRows("cluster", square=False)


class TestClustersByPointRectangular(StructureLaws):
    structure = s.ClusterRows("point", square=False)


class TestDebiasedDense(StructureLaws):
    structure = s.MixtureRows(s.DenseRows())


class TestDebiasedSparse(StructureLaws):
    structure = s.MixtureRows(s.SparseRows())


class TestDebiasedSparseRectangular(StructureLaws):
    structure = s.MixtureRows(s.SparseRows(square=False))


class TestDebiasedKernel(StructureLaws):
    structure = s.MixtureRows(s.KernelRows(*s.STUDENT))


class TestDebiasedClusters(StructureLaws):
    structure = s.MixtureRows(s.ClusterRows("cluster"))


class TestDebiasedTwice(StructureLaws):
    structure = s.MixtureRows(s.MixtureRows(s.SparseRows()), 0.1)
