"""Which networks: one or two of each family of torchvision and timm, at sizes that run quickly.

Beside these sixty there are four of transformers, of usual kinds and a tenth of the usual widths.
All were chosen before any of them was tried, and none was taken out afterwards. Not asked at all:
networks that return lists of boxes, whose lengths depend on values (torchvision's detectors), and
torchvision's ``quantized_`` networks, whose packed weights no export holds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Foreign:
    """One network.

    Attributes
    ----------
    name : str
        As ``--model`` takes it.
    shape : str
        As ``--input-shape`` takes it.
    options : dict
        Of its constructor.
    inputs : int
        Tensors of that shape.
    """

    name: str
    shape: str = "1x3x64x64"
    options: dict[str, Any] = field(default_factory=dict)
    inputs: int = 1


def _small(side: int) -> str:
    return f"1x3x{side}x{side}"


TORCHVISION = (
    Foreign("alexnet"), Foreign("vgg11"), Foreign("vgg16_bn", _small(32)), Foreign("resnet18"),
    Foreign("resnet50"), Foreign("resnext50_32x4d"), Foreign("wide_resnet50_2", _small(32)),
    Foreign("densenet121"), Foreign("squeezenet1_1"),
    Foreign("googlenet", options={"init_weights": False}),
    Foreign("inception_v3", _small(96), {"init_weights": False}), Foreign("mobilenet_v2"),
    Foreign("mobilenet_v3_small"), Foreign("mnasnet0_5"), Foreign("shufflenet_v2_x0_5"),
    Foreign("efficientnet_b0"), Foreign("efficientnet_v2_s"),
    Foreign("regnet_y_400mf"), Foreign("convnext_tiny"),
    Foreign("vit_b_16", _small(64), {"image_size": 64}), Foreign("swin_t"), Foreign("swin_v2_t"),
    Foreign("maxvit_t", _small(224)), Foreign("fcn_resnet50", _small(32)),
    Foreign("deeplabv3_mobilenet_v3_large"), Foreign("lraspp_mobilenet_v3_large"),
    Foreign("r3d_18", "1x3x4x32x32"), Foreign("r2plus1d_18", "1x3x4x32x32"),
    Foreign("s3d", "1x3x16x224x224"), Foreign("raft_small", "1x3x128x128", inputs=2),
)  # fmt: skip
TIMM = (
    Foreign("mobilenetv2_100"), Foreign("mobilenetv4_conv_small"), Foreign("ghostnet_100"),
    Foreign("repvgg_a0"), Foreign("hrnet_w18_small"), Foreign("dla34"), Foreign("res2net50_14w_8s"),
    Foreign("resnest14d"), Foreign("skresnet18"), Foreign("ecaresnet26t"),
    Foreign("eca_nfnet_l0"), Foreign("ese_vovnet19b_dw"), Foreign("xception41"),
    Foreign("mixer_s32_224", _small(224)), Foreign("gmlp_ti16_224", _small(224)),
    Foreign("convmixer_768_32"), Foreign("deit_tiny_patch16_224", _small(64), {"img_size": 64}),
    Foreign("cait_xxs24_224", _small(64), {"img_size": 64}),
    Foreign("xcit_nano_12_p16_224", _small(64)), Foreign("pvt_v2_b0"), Foreign("poolformer_s12"),
    Foreign("edgenext_xx_small"), Foreign("mobilevit_xxs"),
    Foreign("levit_128s", _small(224)), Foreign("twins_svt_small", _small(224)),
    Foreign("sequencer2d_s"), Foreign("fastvit_t8"), Foreign("efficientvit_b0"),
    Foreign("halonet26t", _small(256)), Foreign("lambda_resnet26t", _small(256)),
)  # fmt: skip
_NARROW = {
    "hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512,
}  # fmt: skip
TRANSFORMERS = (
    Foreign("BertModel", "1x32:int30522", _NARROW),
    Foreign("GPT2Model", "1x32:int50257", {"n_embd": 128, "n_layer": 2, "n_head": 2}),
    Foreign("ViTModel", _small(64), {**_NARROW, "image_size": 64}),
    Foreign(
        "WhisperForAudioClassification", "1x80x200",
        {"d_model": 128, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 512,
         "max_source_positions": 100},
    ),
)  # fmt: skip
assert len(TORCHVISION) + len(TIMM) == 60
NETWORKS = tuple(
    Foreign(f"{library}:{one.name}", one.shape, one.options, one.inputs)
    for library, names in (
        ("torchvision", TORCHVISION), ("timm", TIMM), ("transformers", TRANSFORMERS)
    )
    for one in names
)  # fmt: skip
