"""Products by NEON without an ARM processor: its machine code, and its loops on this one."""

import ctypes
import functools
import re

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from cimsim.kernels import neon, products

ARM = "aarch64-unknown-linux-gnu"
ADDRESSES = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 6)


def plain(builder, sums, a, b):
    """Do what ``sdot`` does with instructions that any processor has."""
    wide, four = ir.VectorType(ir.IntType(32), 16), ir.VectorType(ir.IntType(32), 4)
    both = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    for k in range(4):
        places = ir.Constant(four, list(range(k, 16, 4)))
        sums = builder.add(sums, builder.shuffle_vector(both, both, places))
    return sums


def written(triple, multiply):
    """The tile as LLVM's text."""
    module = ir.Module("tile")
    module.triple = triple
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 6)
    function = ir.Function(module, kind, "tile")
    builder = ir.IRBuilder(function.append_basic_block())
    neon.emit(builder, *function.args, multiply=multiply)
    builder.ret_void()
    return str(module)


def machine(triple, features="", cpu="generic"):
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic"
    )


def compiled(triple, multiply, **how):
    """The tile as LLVM optimises it, and the machine that it is for."""
    target = machine(triple, **how)
    module = llvm.parse_assembly(written(triple, multiply))
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    llvm.create_pass_builder(target, options).getModulePassManager().run(
        module, llvm.create_pass_builder(target, options)
    )
    return module, target


@functools.cache
def assembly():
    module, target = compiled(ARM, neon.dot, features="+neon,+dotprod")
    return target.emit_assembly(module)


def test_arm_gets_dot_products_and_keeps_its_sums_in_registers():
    """One for each register of the panel and vector, and for the columns; none on the stack."""
    body = assembly()
    loops = re.findall(r"\bsdot\s+v\d+\.4s, v\d+\.16b, v\d+\.16b", body)
    assert len(loops) % (4 * (neon.ROWS + 1)) == 0
    assert len(loops) >= 4 * (neon.ROWS + 1)
    blocks = [part for part in re.split(r"\n\.LBB", body) if "sdot" in part]
    assert blocks
    for block in blocks:
        assert "[sp" not in block
    assert not re.search(r"\bbl\s", body)


@functools.cache
def here():
    """The tile on this processor, with plain instructions for the dot product."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple = llvm.get_process_triple()
    module, target = compiled(triple, plain)
    engine = llvm.create_mcjit_compiler(module, target)
    engine.finalize_object()
    return engine, ADDRESSES(engine.get_function_address("tile"))


def panels(plane):
    """A plane as `products.pack` packs it for instructions."""
    k4, n_panels = -(-plane.shape[0] // 4), -(-plane.shape[1] // 16)
    padded = np.zeros((4 * k4, 16 * n_panels), np.int8)
    padded[: plane.shape[0], : plane.shape[1]] = plane
    return products._aligned(padded.reshape(k4, 4, n_panels, 16).transpose(2, 0, 3, 1))


def multiply(x, plane, parts=None):
    packed = panels(plane)
    padded = np.zeros((products.ROWS, 4 * packed.shape[1]), np.uint8)
    padded[: len(x), : x.shape[1]] = x
    out = np.full((products.ROWS, 16 * packed.shape[0]), 77, np.int32)
    if parts is None:
        parts = np.array([[0, packed.shape[0], 0, packed.shape[1]]])
    neon.product.py_func(padded, packed, parts, len(x), -1, out)
    return out[: len(x)]


@pytest.mark.parametrize("shape", [(1, 3, 5), (4, 4, 16), (96, 130, 40), (7, 1000, 17)])
def test_its_loops_give_the_integer_product(shape, monkeypatch):
    monkeypatch.setattr(neon, "tile", here()[1])
    vectors, rows, cols = shape
    rng = np.random.default_rng(rows)
    x = rng.integers(0, 256, (vectors, rows), dtype=np.uint8)
    plane = rng.integers(-128, 128, (rows, cols), dtype=np.int8)
    got = multiply(x, plane)
    np.testing.assert_array_equal(got[:, :cols], x.astype(np.int64) @ plane.astype(np.int64))
    assert not got[:, cols:].any()


@pytest.mark.parametrize(("code", "weight"), [(255, -128), (255, 127), (0, -128), (127, 1)])
def test_the_largest_numbers_fit(code, weight, monkeypatch):
    monkeypatch.setattr(neon, "tile", here()[1])
    x, plane = np.full((5, 4096), code, np.uint8), np.full((4096, 16), weight, np.int8)
    assert (multiply(x, plane) == 4096 * code * weight).all()


def test_rows_and_panels_that_hold_nothing_are_left_out(monkeypatch):
    monkeypatch.setattr(neon, "tile", here()[1])
    rng = np.random.default_rng(0)
    plane = np.zeros((40, 40), np.int8)
    plane[8:20, :16] = rng.integers(-128, 128, (12, 16))
    plane[20:, 16:] = rng.integers(-128, 128, (20, 24))
    x = rng.integers(0, 256, (9, 40), dtype=np.uint8)
    parts = np.array([[0, 1, 2, 5], [1, 2, 5, 10]])
    got = multiply(x, plane, parts)
    np.testing.assert_array_equal(got[:, :40], x.astype(np.int64) @ plane.astype(np.int64))


def test_an_empty_panel_gives_nothing(monkeypatch):
    monkeypatch.setattr(neon, "tile", here()[1])
    x = np.full((3, 8), 200, np.uint8)
    assert not multiply(x, np.ones((8, 16), np.int8), np.array([[0, 1, 2, 2]])).any()


def emulated(uc, x, w, k4):
    """Run the machine code of an ARM processor in an emulator: 4 vectors, sums of 16 columns."""
    arm = pytest.importorskip("unicorn.arm64_const")
    module, target = compiled(ARM, neon.dot, features="+neon,+dotprod")
    sections = llvm.ObjectFileRef.from_data(target.emit_object(module)).sections()
    code = next(one.data() for one in sections if one.is_text())
    end, vectors, panel, sums, stack = 0x10FF0, 0x100000, 0x140000, 0x180000, 0x1F0000
    processor = uc.Uc(uc.UC_ARCH_ARM64, uc.UC_MODE_ARM)
    processor.ctl_set_cpu_model(arm.UC_CPU_ARM64_MAX)
    processor.mem_map(0x10000, 0x10000)
    processor.mem_map(0x100000, 0x100000)
    for place, content in ((0x10000, code), (vectors, x.tobytes()), (panel, w.tobytes())):
        processor.mem_write(place, bytes(content))
    given = (vectors, x.shape[1], panel, k4, sums, 64)
    for number, value in enumerate(given):
        processor.reg_write(getattr(arm, f"UC_ARM64_REG_X{number}"), value)
    processor.reg_write(arm.UC_ARM64_REG_SP, stack)
    processor.reg_write(arm.UC_ARM64_REG_X30, end)
    processor.reg_write(arm.UC_ARM64_REG_CPACR_EL1, 0x300000)  # lets vectors be used
    processor.emu_start(0x10000, end)
    return np.frombuffer(processor.mem_read(sums, 256), np.int32).reshape(4, 16)


@pytest.mark.parametrize("k4", [0, 1, 2, 33, 250])
@pytest.mark.parametrize("largest", [False, True])
def test_arm_code_gives_the_integer_product_in_an_emulator(k4, largest):
    """With ``pip install unicorn``."""
    uc = pytest.importorskip("unicorn")
    rng = np.random.default_rng(k4)
    x = rng.integers(0, 256, (4, 4 * k4), dtype=np.uint8)
    w = rng.integers(-128, 128, (4 * k4, 16), dtype=np.int8)
    if largest:
        x[:], w[:] = 255, -128
    got = emulated(uc, x, w.reshape(k4, 4, 16).transpose(0, 2, 1).copy(), k4)
    np.testing.assert_array_equal(got, x.astype(np.int64) @ w.astype(np.int64))
