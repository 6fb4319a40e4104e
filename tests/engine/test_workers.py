import numpy as np
from threadpoolctl import threadpool_info

from cimsim.engine.workers import workers


def blas_threads():
    np.ones((2, 2)) @ np.ones((2, 2))
    return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]


def test_products_are_single_threaded_inside_and_as_before_outside():
    before = blas_threads()
    assert before
    with workers(2) as (pool, threads):
        assert threads == 2
        assert list(pool.map(abs, [-1, 2])) == [1, 2]
        assert blas_threads() == [1] * len(before)
    assert blas_threads() == before


def test_all_cores_by_default():
    with workers() as (_, threads):
        assert threads >= 1
