"""The kernels of a program that XLA has compiled for GPUs, and the bytes that they move."""

from conftest import load_benchmark

TEXT = """HloModule jit_step

%fused (x: bf16[2,4,4,8]) -> f32[8] {
  %x = bf16[2,4,4,8]{3,2,1,0} parameter(0)
  ROOT %reduce.9 = f32[8]{0} reduce(%x), dimensions={0,1,2}
}

ENTRY %main (x: bf16[2,4,4,8], k: bf16[3,3,8,8]) -> (f32[8], f32[8]) {
  %x = bf16[2,4,4,8]{3,2,1,0} parameter(0)
  %k = bf16[3,3,8,8]{3,2,1,0} parameter(1)
  %conv.1 = (bf16[2,4,4,8]{3,2,1,0}, u8[0]{0}) custom-call(%x, %k), window={size=3x3 pad=1_1x1_1}, \
custom_call_target="__cudnn$convForward", metadata={op_name="jit(step)/jvp(net)/conv1"}
  %y = bf16[2,4,4,8]{3,2,1,0} get-tuple-element(%conv.1), index=0
  %input_reduce_fusion.2 = f32[8]{0} fusion(%y), kind=kInput, calls=%fused, \
metadata={op_name="jit(step)/transpose(jvp(net))/bn1/reduce_sum"}
  %add.3 = f32[8]{0} add(%input_reduce_fusion.2, %input_reduce_fusion.2), \
metadata={op_name="jit(step)/add"}
  ROOT %tuple.4 = (f32[8]{0}, f32[8]{0}) tuple(%input_reduce_fusion.2, %add.3)
}
"""


def test_kernels_are_counted_by_group_with_what_they_move():
    """Those of the entry alone: what a fusion holds, parameters and tuples launch nothing."""
    program = load_benchmark("gpu_profile").Program(TEXT)
    activations, kernel, line = 2 * 4 * 4 * 8 * 2, 3 * 3 * 8 * 8 * 2, 8 * 4
    assert program.bytes == {
        "conv.1": 2 * activations + kernel,
        "input_reduce_fusion.2": activations + line,
        "add.3": 3 * line,
    }
    assert program.groups == {
        "conv.1": "convolution 3x3, forward",
        "input_reduce_fusion.2": "sums, backward, second stage or small",
        "add.3": "optimizer, norms of gradients",
    }
    # A profile names kernels with underscores.
    assert program._find("input_reduce_fusion_2") == "input_reduce_fusion.2"
